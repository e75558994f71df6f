// The measurement scheme "cairn-measure/1": which events a machine logs before it serves, and how a verifier reads
// them. spec/guest.md §11. Pure; hashing of files is in cli/measure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "evidence/eventlog/aael.h"

namespace cairn::eventlog {

inline constexpr std::string_view measure_domain = "measure.cairn.v1";
// Name of kind gpu: all confidential GPUs of the machine together, recorded once by the attestation agent, at boot and
// so before the measurer's first run. spec/nvidia-gpu.md §9.1.
inline constexpr std::string_view gpu_inventory = "inventory";

enum class Kind { begin, kernel, image, engine, ui, config, model, gpu, ready, unload, reload };
[[nodiscard]] std::string_view name(Kind kind);
[[nodiscard]] std::optional<Kind> kind_named(std::string_view name);

struct Measurement {
  Kind kind = Kind::begin;
  std::string name;   // [A-Za-z0-9._:@+-]{1,128}
  Digest<48> digest;  // SHA-384 of the subject
  bool operator==(const Measurement&) const = default;
  [[nodiscard]] std::string operation() const;      // "<kind>/<name>"
  [[nodiscard]] std::string content() const;        // "sha384:<96 hex>": also the value registered with the RVPS
  [[nodiscard]] std::string reference_key() const;  // "measurement.<kind>.<name>"
};

// A subject's name in the grammar: '/' becomes '+'; invalid_argument for anything else that does not fit.
[[nodiscard]] Result<std::string> measurement_name(std::string_view text);
// Both directions; from_event is malformed where domain, operation or content break the grammar.
[[nodiscard]] AaelEvent to_event(const Measurement& measurement);
[[nodiscard]] Result<Measurement> from_event(const AaelEvent& event);

// SHA-384 over the digests named by every measurement of a run so far, `begin` included: the subject of `ready`.
[[nodiscard]] Digest<48> ready_digest(std::span<const Measurement> run);
// Interop doubles that unmodified Trustee policies match: PAI's per model, measurement_tool's per file.
[[nodiscard]] AaelEvent pai_load_model_event(std::string_view model_id, const Digest<48>& digest);
[[nodiscard]] AaelEvent file_event(std::string_view absolute_path, const Digest<32>& sha256);

// Writes one run in the only legal order. Each call checks grammar and uniqueness and returns the event to extend with;
// a caller whose extension fails must stop.
class MeasureRun {
 public:
  // `boot_id`: the text of /proc/sys/kernel/random/boot_id without its LF. `earlier`: what this log already holds (a
  // restarted measurer); conflict where that is malformed.
  [[nodiscard]] static Result<MeasureRun> begin(std::string_view boot_id, std::span<const AaelEvent> earlier = {});
  [[nodiscard]] AaelEvent begin_event() const;
  [[nodiscard]] Result<AaelEvent> add(Kind kind, std::string_view name, const Digest<48>& digest);
  // Closes the run. After it only unload, reload, model and config are accepted by add.
  [[nodiscard]] Result<AaelEvent> ready();
  [[nodiscard]] unsigned number() const { return number_; }

 private:
  unsigned number_ = 1;
  bool ready_ = false;
  std::vector<Measurement> run_;  // begin first; what follows ready too
};

// What a verified log says.
struct Measurements {
  struct Run {
    unsigned number = 0;
    std::vector<Measurement> subjects;  // between begin and ready
  };
  std::vector<Run> complete;            // runs with begin and a correct ready, in order
  std::vector<Run> abandoned;           // runs that another begin cut short
  std::optional<Run> open;              // the last run, begun and not ready yet
  std::vector<Measurement> later;       // model, config, unload, reload after the last ready
  std::optional<Digest<48>> inventory;  // gpu/inventory before the first run
  std::vector<AaelEvent> foreign;       // events of other domains before the last ready

  // The digest of a subject in the last complete run, after what followed it (reload replaces, unload removes).
  [[nodiscard]] std::optional<Digest<48>> find(Kind kind, std::string_view name) const;
};
// §11.4 steps 5 and 7 over events whose digests were already recomputed and replayed. evidence_rejected, with the
// event's number as `where`: bad grammar in our domain, an operation repeated within a run, subjects before begin (but
// for one gpu/inventory, which then is in no run), runs out of order, a wrong `ready`. `require_ready`: also where no
// run is complete or the last one is open. A second run means that the measurer restarted; it is refused unless
// `allow_restarts`, and then the caller must judge every run's contents.
[[nodiscard]] Result<Measurements> read_measurements(std::span<const AaelEvent> events, bool require_ready = true,
                                                     bool allow_restarts = false);

// --- manifests: detached documents whose SHA-384 is measured ---

// Relative, '/'-separated UTF-8, at most limits::manifest_path bytes, each part 1 to 255 bytes, none "." or "..";
// invalid_argument otherwise.
[[nodiscard]] Result<void> check_manifest_path(std::string_view path);

struct ManifestFile {
  std::string path;
  std::uint64_t size = 0;
  std::optional<Digest<48>> sha384;
  std::optional<Digest<32>> verity;  // fs-verity (SHA-256, 4096, no salt) instead of sha384
  bool executable = false;
};
struct Manifest {
  std::string kind;  // "model", "engine", "ui", …
  std::string name;
  std::vector<ManifestFile> files;  // any order; written sorted by path bytes
};
// Canonical JSON (RFC 8785), schema "cairn.manifest/1". invalid_argument for a bad path, a path twice, or a file with
// neither or both digests.
[[nodiscard]] Result<std::string> manifest_text(const Manifest& manifest);
// Accepts canonical text only: what is parsed is exactly what was measured.
[[nodiscard]] Result<Manifest> parse_manifest(std::string_view text);
[[nodiscard]] Digest<48> subject_digest(std::string_view text);  // SHA-384 of a manifest's or document's bytes

// The configuration document: canonical JSON with only what matters for security. invalid_argument where a name is in
// `environment` twice.
struct ConfigDocument {
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> environment;  // whitelisted, never secrets
  std::vector<std::string> read_only_mounts;
  std::vector<std::uint16_t> ports;
  std::optional<Digest<48>> tng_config;
  std::optional<std::string> trustee_address;
  std::optional<bool> tdx_ra_enable;
  std::optional<bool> gpu_ra_enable;
  std::optional<std::string> model_decryption_key_id;
};
[[nodiscard]] Result<std::string> config_text(const ConfigDocument& document);

}  // namespace cairn::eventlog
