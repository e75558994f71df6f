#include "trustee/rvps/extract.h"

#include "base/encoding.h"
#include "base/log.h"
#include "trustee/limits.h"

namespace cairn::trustee::rvps {
namespace {

constexpr std::int64_t kYear = 365LL * 86400;

std::vector<ReferenceValue> values_of(const Json& map, Time expires) {
  std::vector<ReferenceValue> out;
  for (const auto& [name, value] : map.items()) out.push_back({name, expires, value});
  return out;
}

Result<Registration> sample(const std::string& payload, Time now) {
  auto bytes = from_base64(payload);
  if (!bytes) return fail(ErrorCode::malformed, "payload", "the sample extractor takes base64 of a JSON object");
  CAIRN_TRY(const Json map, parse_json(as_text(*bytes)));
  if (!map.is_object()) return fail(ErrorCode::malformed, "payload", "not an object of names and lists of values");
  return Registration{values_of(map, now.plus(kYear)), Store::Mode::replace};
}

Result<Registration> native(const std::string& payload, Time now) {
  CAIRN_TRY(const Json json, parse_json(payload));
  Problems problems;
  Fields f(json, "payload", problems);
  const Json* values = f.raw("values");
  if (!values || !values->is_object()) f.problem("values", "missing, or not an object");
  Time expires = now.plus(kYear);
  if (const auto text = f.optional<std::string>("expires")) {
    if (const auto time = parse_rfc3339(*text); time && *time > now)
      expires = *time;
    else
      f.problem("expires", "not a time in the future such as 2030-01-31T12:00:00Z");
  }
  const auto mode = f.value_or<std::string>("mode", "replace");
  if (mode != "replace" && mode != "merge") f.problem("mode", "must be \"replace\" or \"merge\"");
  f.done();
  CAIRN_CHECK(problems.result());
  return Registration{values_of(*values, expires), mode == "merge" ? Store::Mode::merge : Store::Mode::replace};
}

}  // namespace

Result<Registration> extract(std::string_view message, Time now) {
  CAIRN_TRY(const Json json, parse_json(message, {.bytes = limits::kBody}));
  Problems problems;
  Fields f(json, "message", problems);
  const auto version = f.value_or<std::string>("version", "0.1.0");
  const auto type = f.required<std::string>("type");
  const auto payload = f.required<std::string>("payload");
  CAIRN_CHECK(problems.result());
  if (version != "0.1.0")
    return fail(ErrorCode::unsupported, "version",
                "Version unmatched! Need 0.1.0, given " + printable(version, 32) + ".");
  if (type == "sample") return sample(payload, now);
  if (type == "cairn") return native(payload, now);
  return fail(ErrorCode::unsupported, "type",
              "RVPS Extractors does not support the given extractor: " + printable(type, 64) + "!");
}

std::string message_for(const Json& values, Store::Mode mode) {
  const Json payload = {{"values", values}, {"mode", mode == Store::Mode::merge ? "merge" : "replace"}};
  return compact_json({{"version", "0.1.0"}, {"type", "cairn"}, {"payload", compact_json(payload)}});
}

}  // namespace cairn::trustee::rvps
