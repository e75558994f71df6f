// What the guest's daemons share about configuration: files by extension, the KBC parameters of CoCo guests.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/limits.h"

namespace cairn::guest {

// The file as a JSON value: .json, .yaml/.yml, everything else TOML (as the originals do). Errors name the file.
[[nodiscard]] Result<Json> load_config_file(const std::filesystem::path& path, std::size_t limit = kConfigFileMax);
// The same for a text of the format that `like` (a file name) says.
[[nodiscard]] Result<Json> parse_config_text(std::string_view text, std::string_view like);

// "<kbc-name>::<url>" with exactly one "::" (spec/guest.md §2.2). Absent everywhere: name "offline_fs_kbc", empty URL.
struct KbcParams {
  std::string name = "offline_fs_kbc";
  std::string url = {};
};
[[nodiscard]] Result<KbcParams> parse_kbc_params(std::string_view text);

// Environment variable or nothing; an empty value counts as nothing.
using Environment = std::function<std::optional<std::string>(const char* name)>;
[[nodiscard]] std::optional<std::string> process_environment(const char* name);
// Value of `key=` on a kernel command line (words separated by white space), the first.
[[nodiscard]] std::optional<std::string> kernel_parameter(std::string_view command_line, std::string_view key);
// AA_KBC_PARAMS, else agent.aa_kbc_params= of `command_line`, else the default.
[[nodiscard]] Result<KbcParams> find_kbc_params(const Environment& environment, std::string_view command_line);

}  // namespace cairn::guest
