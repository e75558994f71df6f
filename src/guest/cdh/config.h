// The data hub's configuration: file, environment, kernel command line. spec/guest.md §9.2.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "guest/common/config_file.h"
#include "kbs_protocol/uri.h"

namespace cairn::cdh {

// A resource fetched at start and written to a file.
struct Credential {
  kbs::ResourceUri uri;
  std::filesystem::path path;
};

struct Config {
  std::string socket;
  std::string kbc_name = "offline_fs_kbc";  // or "cc_kbc"
  std::string kbc_url;
  std::string kbs_cert;  // PEM
  std::vector<Credential> credentials;
  // Ours, not in the originals:
  std::string aa_socket;
  bool accept_unsigned_secrets = false;
};

inline constexpr std::string_view kDataFolder = "/run/confidential-containers/cdh";

// From a file's value; every problem of the file at once. The table [image] is recognised and ignored with a warning.
[[nodiscard]] Result<Config> read_config(const Json& file);
[[nodiscard]] Config config_of(const guest::KbcParams& params);
// `file`, else CDH_CONFIG_PATH, else the KBC parameters; then cdh.kbs_resources= of the kernel command line and
// SKIP_SEALED_SECRET_VERIFICATION. A file that was named and is not there is an error.
[[nodiscard]] Result<Config> load_config(const std::string& file, const guest::Environment& environment,
                                         std::string_view command_line);
// Under kDataFolder, no "." or ".." component.
[[nodiscard]] bool is_credential_path(const std::filesystem::path& path);

}  // namespace cairn::cdh
