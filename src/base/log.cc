#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/encoding.h"

namespace cairn {
namespace {

// The message as a JSON string, quotes included: what a line says may come from outside.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& line, const std::tm&, spdlog::memory_buf_t& out) override {
    const auto text = nlohmann::json(std::string(line.payload.data(), line.payload.size()))
                          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

std::unique_ptr<spdlog::formatter> formatter_of(LogFormat format) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JsonMessage>('*').set_pattern(
      format == LogFormat::json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","program":"%n","message":%*})"
                                : "%Y-%m-%dT%H:%M:%S.%e%z %^%-5l%$ %n: %v");
  return formatter;
}

}  // namespace

Result<void> start_logging(std::string_view program, std::string_view level, LogFormat format) {
  std::string wanted(level);
  const bool given = !wanted.empty();
  for (const char* variable : {"CAIRN_LOG", "RUST_LOG"}) {
    if (!wanted.empty()) break;
    if (const char* value = std::getenv(variable)) wanted = value;
  }
  // RUST_LOG may be a list "target=level,level": the part without a target is the one that fits here.
  if (!given) {
    std::string plain;
    for (std::size_t start = 0; start <= wanted.size();) {
      const std::size_t comma = std::min(wanted.find(',', start), wanted.size());
      const auto part = wanted.substr(start, comma - start);
      if (part.find('=') == std::string::npos) plain = part;
      start = comma + 1;
    }
    wanted = plain;
  }
  if (wanted.empty()) wanted = "info";
  const auto parsed = spdlog::level::from_str(wanted);
  if (parsed == spdlog::level::off && wanted != "off") {
    if (given)
      return fail(ErrorCode::invalid_argument, "log level",
                  "unknown level \"" + printable(wanted) + "\"; one of trace, debug, info, warn, error, off");
  }
  auto logger = spdlog::stderr_color_mt(std::string(program));
  logger->set_level(parsed == spdlog::level::off && wanted != "off" ? spdlog::level::info : parsed);
  logger->set_formatter(formatter_of(format));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  return {};
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  const bool cut = text.size() > limit;
  for (const char c : text.substr(0, limit)) {
    const auto b = static_cast<unsigned char>(c);
    if (b < 0x20 || b == 0x7F || c == '"' || c == '\\') {
      out += "\\x";
      out += hex(ByteView(&b, 1));
    } else {
      out.push_back(c);
    }
  }
  if (!is_utf8(out)) {
    for (char& c : out)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return cut ? out + "…" : out;
}

}  // namespace cairn
