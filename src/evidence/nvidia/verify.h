// The verdict on GPU and NVSwitch evidence: every check of nvidia-gpu §5 and §9.4 through one entry point. Pure: time,
// nonce, documents and trust roots are arguments; nothing is fetched.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "evidence/nvidia/chain.h"
#include "evidence/nvidia/evidence.h"
#include "evidence/nvidia/golden.h"
#include "evidence/nvidia/ocsp.h"

namespace cairn::nvidia {

// What a relying party accepts, as data. The defaults are strict.
struct Policy {
  bool allow_simulated = false;     // roots other than NVIDIA's
  bool require_ocsp = true;         // false: revocation is not asked, and claims say so
  std::int64_t ocsp_grace = 0;      // seconds past its end that an answer is still taken
  bool allow_cert_hold = false;     // certificateHold counts as good
  bool allow_absent_fwid = false;   // reports of GPU drivers before 550, which have none
  bool allow_multi_tenant = false;  // feature flag MPT
  // Whether the set must be the eight GPUs and four switches of a protected PCIe machine, whose fabric carries plain
  // text: automatic asks it where a GPU says it is in that mode, or a switch is there.
  enum class Ppcie : std::uint8_t { automatic, required, off } ppcie = Ppcie::automatic;
  bool pdi_from_serial = true;      // protected PCIe: the certificates' device ids must be the fabric's
  std::optional<std::size_t> gpus;  // how many GPUs there must be
  std::set<Architecture> allowed = {Architecture::hopper, Architecture::blackwell, Architecture::ls10};
  std::string min_driver;  // "550.90.07"; "": any
  std::vector<Exception> exceptions;
  // Golden values of the administrator's own for RIM ids that nobody publishes. Used only where no RIM is given.
  std::map<std::string, std::vector<Golden>> enrolled;
};
// JSON with the member names above (exceptions: {"source":"Driver","index":9,"value":hex}; enrolled:
// {id: {index: [hex]}}); all problems at once.
[[nodiscard]] Result<Policy> parse_policy(const Json& json);
// conflict, naming them, where members are set that do not reach a remote service, which judges by its own: exceptions,
// enrolled, ocsp_grace, allow_cert_hold. Ask before verify_remote.
[[nodiscard]] Result<void> check_remote_policy(const Policy& policy);

struct Options {
  Time time{};
  std::optional<Nonce> nonce;  // what every report must answer; without one all fail
};

// State of one certificate chain at the verification time.
struct ChainFacts {
  Time not_after{};  // of the one that ends first
  enum class State : std::uint8_t { valid, expired, not_yet_valid, revoked } state = State::valid;
  std::optional<CertificateStatus> ocsp;  // the worst answer; absent when not all were given
  std::optional<int> revocation_reason;
  std::optional<bool> nonce_matches;  // absent for kept answers
  bool answers_fresh = false;         // all answers were given and within their time
  std::vector<std::string> answers;   // ids of those that were given
};
// One reference manifest.
struct RimFacts {
  std::string id;
  bool fetched = false, schema_validated = false, signature_verified = false, version_match = false,
       measurements_available = false;
  bool enrolled = false;  // golden values of the policy instead
  std::string oem_id;
  std::optional<ChainFacts> chain;
};

struct DeviceVerdict {
  std::string label;              // "GPU-0", "SWITCH-1": position in the evidence among its kind
  std::vector<Finding> findings;  // empty: the device is verified

  // Present once the report's chain, signature, nonce and firmware id hold, and never before.
  struct Authentic {
    DeviceIdentity identity;
    Facts facts;
    Report report;
    Nonce nonce{};
    std::string root_name;
    bool simulated = false;
    bool fwid_in_report = false;
    ChainFacts chain;
    RimFacts driver, firmware;  // driver: of GPUs
    bool no_conflict = true;
    bool compared = false;  // with every manifest the device needs, here or by the remote service
    std::size_t matched = 0;
    std::vector<Mismatch> mismatches;
    std::vector<SvnMismatch> svn_mismatches;
    Json remote;  // claims of the remote service that judged instead; null: judged here

    [[nodiscard]] bool measurements_hold() const { return compared && mismatches.empty() && svn_mismatches.empty(); }
  };
  std::optional<Authentic> authentic;
  [[nodiscard]] bool verified() const { return authentic.has_value() && findings.empty(); }
};

struct Verdict {
  std::vector<DeviceVerdict> devices;  // as in the evidence
  std::vector<Finding> findings;       // of the set
  std::size_t gpus = 0, switches = 0, verified_gpus = 0, verified_switches = 0;
  bool ppcie = false;      // the topology of protected PCIe was checked and holds
  bool simulated = false;  // some device or RIM is under a root that is not NVIDIA's

  [[nodiscard]] bool affirming() const;
  // The first finding as an Error: evidence_rejected, where = "nvidia.FwidMismatch".
  [[nodiscard]] Result<void> result() const;
};

// What a remote attestation service said of devices, by their position in the evidence: nras.h.
struct RemoteResult {
  Json claims;            // of the device's token
  bool positive = false;  // the service's result for all devices of the request
  Time expires{};         // of the tokens
};
using Remote = std::map<std::size_t, RemoteResult>;

// Documents one piece of evidence needs, learnt from reports whose signatures hold under the roots.
struct Wanted {
  std::set<std::string> rims;
  struct Ocsp {
    crypto::Certificate certificate, issuer;
  };
  std::map<std::string, Ocsp> ocsp;  // by hex of ocsp_certificate_id
  [[nodiscard]] bool empty() const { return rims.empty() && ocsp.empty(); }
};
// Adds the revocation answers that a chain is judged with.
void add_wanted(const Chain& chain, ChainKind kind, Wanted& out);

// Judges evidence against trust roots. Keeps bounded caches keyed by content: device chains, RIMs and OCSP answers. An
// entry holds only what bytes and roots prove for all time; dates and revocation are judged at every use.
// One thread at a time; keep one per worker thread.
class Verifier {
 public:
  struct CacheSizes {
    std::size_t chains = 1024, rims = 256, ocsp = 4096;  // 0: no such cache
  };
  explicit Verifier(TrustRoots roots);
  Verifier(TrustRoots roots, CacheSizes sizes);
  Verifier(Verifier&&) noexcept;
  Verifier& operator=(Verifier&&) noexcept;
  ~Verifier();

  [[nodiscard]] Verdict verify(const Evidence& evidence, const Collateral& collateral, const Options& options,
                               const Policy& policy);
  // The same with a remote service's word on measurements and revocation: steps 1 to 6, the set and the policy are
  // judged here. The policy must be one that check_remote_policy lets pass.
  [[nodiscard]] Verdict verify_remote(const Evidence& evidence, const Remote& remote, const Options& options,
                                      const Policy& policy);
  // What a fetcher must get. RIM chains' OCSP answers are wanted once `have` holds the RIMs.
  [[nodiscard]] Wanted wanted(const Evidence& evidence, const Collateral& have);

  struct CacheUse {
    std::size_t chains, rims, ocsp;
  };
  [[nodiscard]] CacheUse cache_use() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::nvidia
