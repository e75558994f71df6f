#include "evidence/eventlog/dstack.h"

#include "base/cursor.h"
#include "base/encoding.h"
#include "base/json.h"
#include "crypto/hash.h"
#include "evidence/eventlog/limits.h"

namespace cairn::eventlog {
namespace {

Digest<48> runtime_digest(const DstackEvent& event) {
  Writer out;
  out.u32le(event.type).text(":").text(event.event).text(":").bytes(event.payload);
  return crypto::sha384(out.view());
}

Result<DstackEvent> read_entry(Fields& f, Problems& problems) {
  DstackEvent out;
  out.rtmr = f.required<unsigned>("imr");
  out.type = f.required<std::uint32_t>("event_type");
  const auto digest = f.required<std::string>("digest");
  out.event = f.required<std::string>("event");
  const auto payload = from_hex(f.required<std::string>("event_payload"));
  if (out.rtmr > 3) f.problem("imr", "TDX has RTMR0 to RTMR3");
  if (!payload)
    f.problem("event_payload", "not hex");
  else
    out.payload = *payload;
  f.done();
  CAIRN_CHECK(problems.result());

  out.authenticated = out.type == dstack_runtime_event;
  if (out.authenticated) out.digest = runtime_digest(out);
  if (out.authenticated && digest.empty()) return out;
  CAIRN_TRY(const auto given, from_hex(digest).and_then([](const Bytes& b) { return Digest<48>::from(b); }));
  if (out.authenticated && given != out.digest)
    return fail(ErrorCode::evidence_rejected, f.path(), "a runtime event's digest is not that of its text");
  out.digest = given;
  return out;
}

}  // namespace

Result<std::vector<DstackEvent>> parse_dstack_log(std::string_view json) {
  CAIRN_TRY(const auto value, parse_json(json, {.bytes = limits::ccel_bytes, .depth = 4}));
  if (!value.is_array()) return fail(ErrorCode::malformed, "$", "the event log is not an array");
  if (value.size() > limits::ccel_events) return fail(ErrorCode::too_large, "$", "the event log has too many events");
  std::vector<DstackEvent> out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    Problems problems;
    Fields f(value[i], "$[" + std::to_string(i) + "]", problems);
    CAIRN_TRY(auto event, read_entry(f, problems));
    out.push_back(std::move(event));
  }
  return out;
}

Rtmrs replay_dstack_log(const std::vector<DstackEvent>& events) {
  Rtmrs out{};
  for (const auto& event : events) {
    Bytes both = to_bytes(out[event.rtmr].view());
    append(both, event.digest.view());
    out[event.rtmr] = crypto::sha384(both);
  }
  return out;
}

}  // namespace cairn::eventlog
