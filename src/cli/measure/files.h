// Files and folders as measured subjects: manifests, and programs that run from the very bytes that were hashed.
// spec/guest.md §11.3.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/file.h"
#include "evidence/eventlog/measure.h"

namespace cairn::cli {

struct FileDigests {
  std::uint64_t size = 0;
  Digest<48> sha384{};
  Digest<32> sha256{};
};
// Hashes what an open descriptor gives from its start.
[[nodiscard]] Result<FileDigests> hash_file(int fd, const std::filesystem::path& name_for_errors);
[[nodiscard]] Result<FileDigests> hash_file(const std::filesystem::path& path);

// Which files of a folder count.
enum class TreeRules {
  everything,
  model,  // not .git*, .cache/, *.lock, nor the manifest itself
};
inline constexpr std::string_view kManifestName = ".cairn-manifest.json";

// Manifest of a folder, or of one file under its own name. Regular files only; symbolic links are followed where they
// stay inside the folder, anything else is invalid_argument. Files are hashed by as many threads as there are cores;
// `progress` is told the bytes hashed so far, from any of them.
[[nodiscard]] Result<eventlog::Manifest> manifest_of(const std::filesystem::path& root, std::string kind,
                                                     std::string name, TreeRules rules = TreeRules::everything,
                                                     const std::function<void(std::uint64_t)>& progress = {});
// evidence_rejected, naming the first difference: a file missing, too many, of another size, digest or executable bit.
[[nodiscard]] Result<void> check_tree(const std::filesystem::path& root, const eventlog::Manifest& manifest,
                                      TreeRules rules = TreeRules::everything);

// A copy of a program in sealed memory and the digest of exactly that copy: run it with fexecve(file.get(), …) after
// the digest was extended, and nobody can have changed it in between.
struct MeasuredProgram {
  Fd file;
  FileDigests digests;
};
[[nodiscard]] Result<MeasuredProgram> measure_program(const std::filesystem::path& path);

// The text of /proc/sys/kernel/random/boot_id, and of /proc/cmdline, without the last LF.
[[nodiscard]] Result<std::string> boot_id();
[[nodiscard]] Result<std::string> kernel_cmdline();

// Drives one run of cairn-measure/1 through any way of extending (AA's ExtendRuntimeMeasurement, a file, a test).
class Measurer {
 public:
  using Extend = std::function<Result<void>(const eventlog::AaelEvent&)>;
  // Extends `begin`. `doubles`: also log the events that unmodified Trustee policies know.
  [[nodiscard]] static Result<Measurer> begin(Extend extend, std::string_view boot_id, bool doubles = true,
                                              std::span<const eventlog::AaelEvent> earlier = {});
  // Extends first; a caller uses the subject only when this succeeded. After an error every call fails.
  [[nodiscard]] Result<void> subject(eventlog::Kind kind, std::string_view name, const Digest<48>& digest);
  [[nodiscard]] Result<void> document(eventlog::Kind kind, std::string_view name, std::string_view text);
  // The double of an engine binary: `file <path> <sha256>`. Nothing without doubles.
  [[nodiscard]] Result<void> program_file(const std::filesystem::path& path, const Digest<32>& sha256);
  [[nodiscard]] Result<void> ready();

 private:
  Measurer(Extend extend, eventlog::MeasureRun run, bool doubles)
      : extend_(std::move(extend)), run_(std::move(run)), doubles_(doubles) {}
  Result<void> send(const eventlog::AaelEvent& event);
  Extend extend_;
  eventlog::MeasureRun run_;
  bool doubles_, failed_ = false, ready_ = false;
};

}  // namespace cairn::cli
