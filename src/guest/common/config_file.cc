#include "guest/common/config_file.h"

#include <cstdlib>

#include "base/file.h"
#include "base/log.h"

namespace cairn::guest {

Result<Json> parse_config_text(std::string_view text, std::string_view like) {
  const auto extension = std::filesystem::path(like).extension();
  if (extension == ".json") {
    auto json = parse_json(text);
    if (!json) return fail(json.error().code, std::string(like) + ", " + json.error().where, json.error().message);
    return json;
  }
  if (extension == ".yaml" || extension == ".yml") return parse_yaml(text, like);
  return parse_toml(text, like);
}

Result<Json> load_config_file(const std::filesystem::path& path, std::size_t limit) {
  CAIRN_TRY(const std::string text, read_text(path, limit));
  return parse_config_text(text, path.string());
}

Result<KbcParams> parse_kbc_params(std::string_view text) {
  const std::size_t mark = text.find("::");
  if (mark == std::string_view::npos || mark == 0 || text.find("::", mark + 2) != std::string_view::npos)
    return fail(ErrorCode::malformed, printable(text), "KBC parameters must read <kbc-name>::<url>");
  return KbcParams{std::string(text.substr(0, mark)), std::string(text.substr(mark + 2))};
}

std::optional<std::string> process_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

std::optional<std::string> kernel_parameter(std::string_view command_line, std::string_view key) {
  constexpr std::string_view space = " \t\r\n";
  for (std::size_t at = command_line.find_first_not_of(space); at != std::string_view::npos;) {
    const std::size_t end = std::min(command_line.find_first_of(space, at), command_line.size());
    const auto word = command_line.substr(at, end - at);
    if (word.size() > key.size() && word.starts_with(key) && word[key.size()] == '=')
      return std::string(word.substr(key.size() + 1));
    at = command_line.find_first_not_of(space, end);
  }
  return std::nullopt;
}

Result<KbcParams> find_kbc_params(const Environment& environment, std::string_view command_line) {
  if (const auto text = environment("AA_KBC_PARAMS")) return parse_kbc_params(*text);
  if (const auto text = kernel_parameter(command_line, "agent.aa_kbc_params")) return parse_kbc_params(*text);
  return KbcParams{};
}

}  // namespace cairn::guest
