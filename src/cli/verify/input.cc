#include "cli/verify/input.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"
#include "evidence/eventlog/aael.h"
#include "evidence/eventlog/eventlog.h"

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

// dstack: {"quote", "event_log": text of a JSON array, "report_data": hex, …}.
Result<void> take_dstack(const Json& json, Evidence& out) {
  const auto log = json.find("event_log");
  if (log == json.end() || log->is_null()) return {};
  if (!log->is_string() && !log->is_array())
    return fail(ErrorCode::malformed, "$.event_log", "neither text nor a list");
  out.dstack_log = log->is_string() ? log->get<std::string>() : compact_json(*log);
  if (const auto data = text_member(json, "report_data")) {
    auto bytes = from_hex(*data);
    if (!bytes || bytes->size() > 64) return fail(ErrorCode::malformed, "$.report_data", "not at most 64 bytes of hex");
    bytes->resize(64);
    out.report_data = *std::move(bytes);
  }
  return {};
}

Result<Evidence> parse_json_evidence(const Json& json);

// The text of a JSON object of TEE and evidence, or "". Each is bound to the session, as the quote is to all of them.
Result<void> take_devices(const std::string& text, Evidence& out) {
  if (text.empty()) return {};
  const auto devices = parse_json(text, {.bytes = kMaxEvidence, .depth = 64});
  if (!devices || !devices->is_object())
    return fail(ErrorCode::malformed, "$.additional_evidence", "not the text of a JSON object");
  for (const auto& [tee, value] : devices->items()) out.devices.emplace(tee, value);
  return {};
}

// Protocol 0.4.0: {"primary_evidence", "additional_evidence"}, in an attest body with the "runtime-data" it is bound
// to.
Result<Evidence> parse_composite(const Json& composite, const Json& runtime_data) {
  const Json primary = composite.value("primary_evidence", Json());
  CAIRN_TRY(Evidence out, parse_json_evidence(primary));
  const std::string additional = text_member(composite, "additional_evidence").value_or("");
  CAIRN_CHECK(take_devices(additional, out));
  if (!runtime_data.is_object()) return out;
  out.device_data = runtime_data;
  out.runtime_data = runtime_data;
  out.runtime_data["additional-evidence"] = additional;
  return out;
}

// The messages that carry evidence to a key broker, both protocols; nullopt where `json` is none of them.
std::optional<Result<Evidence>> parse_envelope(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  if (json.contains("primary_evidence")) return parse_composite(json, json.value("runtime-data", Json()));
  const auto inner = json.find("tee-evidence");
  if (inner == json.end()) return std::nullopt;
  if (inner->is_object()) return parse_composite(*inner, json.value("runtime-data", Json()));
  if (!inner->is_string()) return fail(ErrorCode::malformed, "$.tee-evidence", "neither text nor an object");
  return parse_json(inner->get_ref<const std::string&>(), {.bytes = kMaxEvidence, .depth = 64})
      .and_then(parse_json_evidence);
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
  CAIRN_CHECK(take_dstack(json, out));
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
    if (auto carried = parse_envelope(json)) return *std::move(carried);
    return parse_json_evidence(json);
  }
  if (auto quote = decode_quote(text)) {
    out.quote = *std::move(quote);
    return out;
  }
  if (bytes.size() == 1024 && bytes[0] == 0x81)
    return fail(ErrorCode::unsupported, "a TDREPORT: only the machine that made it can check it; ask for a quote");
  if (eventlog::parse_ccel(bytes) || eventlog::parse_text_log(text))
    return fail(ErrorCode::unsupported,
                "an event log alone proves nothing; give the evidence that holds it and the quote");
  return fail(ErrorCode::malformed, "neither a quote (binary, hex, base64), nor evidence JSON, nor a token");
}

}  // namespace cairn::cli
