// Where resources come from: a key broker through attestation, or files on the guest's own disk. spec/guest.md §9.2.
#pragma once

#include <filesystem>
#include <map>
#include <memory>

#include "base/secret.h"
#include "guest/cdh/config.h"
#include "kbs_protocol/aa_client.h"
#include "kbs_protocol/client.h"
#include "net/task.h"

namespace cairn::cdh {

// One loop.
class ResourceSource {
 public:
  virtual ~ResourceSource() = default;
  [[nodiscard]] virtual net::Task<Secret> get(kbs::ResourceUri uri) = 0;
};

// cc_kbc: an RCAR client of its own under a key pair made at the first use, evidence from the agent. The session is
// kept; a 401 makes a new one.
struct KbsSourceOptions {
  kbs::ClientOptions client;
  kbs::TeeKeyKind key = kbs::TeeKeyKind::rsa1_5;
};
// `agent` and `runtime` must outlive it.
[[nodiscard]] std::unique_ptr<ResourceSource> kbs_source(net::Runtime& runtime, agent::Client& agent,
                                                         KbsSourceOptions options);

// offline_fs_kbc: {"<repo>/<type>/<tag>": "<b64>"} of both files of the folder; the resources file wins. A missing file
// is a warning, a broken one an error.
[[nodiscard]] Result<std::unique_ptr<ResourceSource>> offline_source(const std::filesystem::path& folder = "/etc");

}  // namespace cairn::cdh
