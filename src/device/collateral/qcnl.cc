#include "device/collateral/qcnl.h"

#include <algorithm>
#include <charconv>

#include "base/json.h"
#include "base/limits.h"

namespace cairn::device {
namespace {

constexpr unsigned kMostRetries = 100;

// The text without // comments; those inside strings stay.
std::string without_comments(std::string_view text) {
  std::string out;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!in_string && c == '/' && i + 1 < text.size() && text[i + 1] == '/') {
      i = std::min(text.find('\n', i), text.size());
      out += '\n';
      continue;
    }
    if (c == '"') in_string = !in_string;
    out += c;
    if (in_string && c == '\\' && i + 1 < text.size()) out += text[++i];
  }
  return out;
}

Result<void> set_update(QcnlConfig& out, const std::string& value) {
  if (value != "standard" && value != "early")
    return fail(ErrorCode::malformed, "tcb_update_type", "\"" + value + "\" is neither standard nor early");
  out.tcb_update_type = value == "early" ? TcbUpdate::early : TcbUpdate::standard;
  return {};
}

Result<QcnlConfig> parse_json_form(std::string_view text) {
  CAIRN_TRY(const Json json, parse_json(without_comments(text)));
  QcnlConfig out;
  const auto text_of = [&](const char* key, std::string& to) {
    if (const auto v = json.find(key); v != json.end() && v->is_string()) to = v->get<std::string>();
  };
  const auto flag = [&](const char* key, bool& to) {
    if (const auto v = json.find(key); v != json.end() && v->is_boolean()) to = v->get<bool>();
  };
  const auto number = [&](const char* key) -> std::optional<unsigned> {
    const auto v = json.find(key);
    if (v == json.end() || !v->is_number_unsigned()) return std::nullopt;
    return static_cast<unsigned>(std::min<std::uint64_t>(v->get<std::uint64_t>(), 1'000'000));
  };
  text_of("pccs_url", out.pccs_url);
  text_of("collateral_service", out.collateral_service);
  text_of("pccs_api_version", out.pccs_api_version);
  flag("use_secure_cert", out.use_secure_cert);
  flag("local_cache_only", out.local_cache_only);
  out.retry_times = std::min(number("retry_times").value_or(0), kMostRetries);
  out.retry_delay = number("retry_delay");
  out.verify_collateral_cache_expire_hours = number("verify_collateral_cache_expire_hours").value_or(0);
  std::string update = "standard";
  text_of("tcb_update_type", update);
  CAIRN_CHECK(set_update(out, update));
  return out;
}

bool truth(std::string_view value) { return value == "TRUE" || value == "true" || value == "True" || value == "1"; }

unsigned number_of(std::string_view value) {
  unsigned out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  return error == std::errc() && end == value.data() + value.size() ? std::min(out, 1'000'000U) : 0;
}

void take_line(QcnlConfig& out, std::string_view key, std::string_view value) {
  if (key == "PCCS_URL") out.pccs_url = value;
  if (key == "COLLATERAL_SERVICE") out.collateral_service = value;
  if (key == "PCCS_API_VERSION") out.pccs_api_version = value;
  if (key == "USE_SECURE_CERT") out.use_secure_cert = truth(value);
  if (key == "LOCAL_CACHE_ONLY") out.local_cache_only = truth(value);
  if (key == "RETRY_TIMES") out.retry_times = std::min(number_of(value), kMostRetries);
  if (key == "RETRY_DELAY") out.retry_delay = number_of(value);
  if (key == "VERIFY_COLLATERAL_CACHE_EXPIRE_HOURS") out.verify_collateral_cache_expire_hours = number_of(value);
}

QcnlConfig parse_lines(std::string_view text) {
  QcnlConfig out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string line;
    for (const char c : text.substr(0, end))
      if (c != ' ' && c != '\t' && c != '\r') line += c;
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = line.find('=');
    if (line.starts_with('#') || equals == std::string::npos) continue;
    take_line(out, std::string_view(line).substr(0, equals), std::string_view(line).substr(equals + 1));
  }
  return out;
}

}  // namespace

Result<QcnlConfig> parse_qcnl(std::string_view text) {
  if (text.size() > kSmallFileMax) return fail(ErrorCode::too_large, "a qcnl configuration has at most 64 KiB");
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '{') return parse_json_form(text);
  return parse_lines(text);
}

}  // namespace cairn::device
