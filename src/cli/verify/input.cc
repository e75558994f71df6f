#include "cli/verify/input.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"

namespace cairn::cli {
namespace {

bool looks_like_quote(ByteView b) {
  return b.size() >= 4 && b[0] >= 3 && b[0] <= 5 && b[1] == 0 && b[2] == 2 && b[3] == 0;
}

std::string without_space(std::string_view text) {
  std::string out;
  std::ranges::copy_if(text, std::back_inserter(out), [](char c) { return !std::string_view(" \t\r\n").contains(c); });
  return out;
}

// A quote as text: hex or base64 of either alphabet.
std::optional<Bytes> decode_quote(std::string_view text) {
  const std::string plain = without_space(text);
  if (Result<Bytes> b = from_hex(plain); b && looks_like_quote(*b)) return *std::move(b);
  if (Result<Bytes> b = from_base64_lenient(plain); b && looks_like_quote(*b)) return *std::move(b);
  return std::nullopt;
}

// A member that may be absent, null or "".
std::optional<std::string> text_member(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string() || found->get_ref<const std::string&>().empty()) return std::nullopt;
  return found->get<std::string>();
}

Result<Evidence> parse_json_evidence(const Json& json) {
  if (!json.is_object()) return fail(ErrorCode::malformed, "$", "evidence is a JSON object");
  const auto quote = text_member(json, "quote");
  if (!quote) {
    if (json.contains("svn"))
      return fail(ErrorCode::unsupported, "$", "sample evidence proves nothing and has no verdict");
    return fail(ErrorCode::unsupported, "$.quote", "no quote: this is not TDX evidence");
  }
  Evidence out;
  auto bytes = decode_quote(*quote);
  if (!bytes) return fail(ErrorCode::malformed, "$.quote", "not a quote in base64 or hex");
  out.quote = *std::move(bytes);
  if (const auto log = text_member(json, "cc_eventlog")) {
    Result<Bytes> b = from_base64_lenient(without_space(*log));
    if (!b) return fail(ErrorCode::malformed, "$.cc_eventlog", "not base64");
    out.cc_eventlog = *std::move(b);
  }
  out.aa_eventlog = text_member(json, "aa_eventlog").value_or("");
  out.gpu = json.value("gpu_evidence", Json());
  if (const auto c = json.find("collateral"); c != json.end()) {
    CAIRN_TRY(out.collateral, tdx::parse_collateral(compact_json(*c)));
  }
  return out;
}

}  // namespace

Result<Evidence> parse_evidence(ByteView bytes) {
  Evidence out;
  if (looks_like_quote(bytes)) {
    out.quote = to_bytes(bytes);
    return out;
  }
  const std::string_view text = as_text(bytes);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '{') {
    CAIRN_TRY(const Json json, parse_json(text, {.bytes = kMaxEvidence, .depth = 64}));
    return parse_json_evidence(json);
  }
  if (std::ranges::count(text, '.') == 2 && text.starts_with("eyJ"))
    return fail(ErrorCode::unsupported, "a token: its issuer's key judges it, not this verb");
  if (auto quote = decode_quote(text)) {
    out.quote = *std::move(quote);
    return out;
  }
  return fail(ErrorCode::malformed, "neither a quote (binary, hex, base64) nor evidence JSON");
}

Result<Evidence> read_evidence(const std::filesystem::path& path) {
  CAIRN_TRY(const Bytes bytes, read_file(path, kMaxEvidence));
  return parse_evidence(bytes);
}

}  // namespace cairn::cli
