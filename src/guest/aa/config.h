// The agent's configuration: file, environment, KBC parameters. spec/guest.md §2.2-2.3.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "guest/common/config_file.h"
#include "kbs_protocol/rcar.h"
#include "kbs_protocol/tee_key.h"

namespace cairn::aa {

struct KbsConfig {
  std::string url = {};
  std::string cert = {};  // PEM, may be empty
  std::optional<kbs::TeeKeyKind> tee_key = {};
};
struct HeartbeatConfig {
  bool enabled = false;
  std::string trustee_url;
  unsigned interval_minutes = 5;
};
// How GPUs are judged at start, and what opens them to work. Members but `ready` as of cairn-trustee's verifier.nvidia.
struct GpuConfig {
  enum class Ready {
    verified,    // set once all are verified and their inventory is recorded; cleared when they are refused
    unverified,  // set without verification
    leave,       // somebody else's
  } ready = Ready::verified;
  std::string policy = {};                                     // file; "": strict defaults
  std::vector<std::string> bundles = {};                       // documents at hand
  std::optional<std::string> rim_url = {}, ocsp_url = {};      // none: NVIDIA's where there are no bundles
  std::vector<std::string> device_roots = {}, rim_roots = {};  // of simulators
};
struct Config {
  std::optional<KbsConfig> kbs;
  std::optional<std::string> coco_as_url;
  std::vector<std::string> policy_ids;  // of coco_as tokens
  std::optional<std::string> api_key;
  bool eventlog = false;
  std::uint64_t init_pcr = 17;
  std::string instance_type;                 // "", "aliyun_ecs", "aliyun_eas"
  std::optional<std::string> instance_info;  // AA_INSTANCE_INFO as it was found
  HeartbeatConfig heartbeat;
  GpuConfig gpu;
  std::optional<std::string> log_level;
};

// From a file's value: unknown keys, wrong types and settings that could only make unverifiable logs (another hash than
// SHA-384) are problems, all reported at once.
[[nodiscard]] Result<Config> read_config(const Json& file, kbs::Profile profile);
// Without a file: both services under the KBC parameters' URL (none for offline_fs_kbc).
[[nodiscard]] Config config_of(const guest::KbcParams& params);
// TRUSTEE_URL, COCO_AS_POLICY_ID, TRUSTEE_API_KEY, AA_INSTANCE_INFO; invalid URLs are refused.
[[nodiscard]] Result<void> apply_environment(Config& config, const guest::Environment& environment);

// An initdata document: digest of the exact text under the algorithm it names. §2.1.
struct InitData {
  std::string text;
  Bytes digest;
};
[[nodiscard]] Result<InitData> read_init_data(std::string text);
// Zero-padded or cut to 48 bytes, as MRCONFIGID holds it.
[[nodiscard]] Digest<48> as_config_id(ByteView digest);

}  // namespace cairn::aa
