// Policy as JSON.
#include <algorithm>
#include <charconv>

#include "base/encoding.h"
#include "evidence/nvidia/limits.h"
#include "evidence/nvidia/verify.h"

namespace cairn::nvidia {
namespace {

constexpr std::size_t kMaxEnrolled = 256;

std::optional<Measurement> digest(const Json& value) {
  if (!value.is_string()) return std::nullopt;
  const auto bytes =
      from_hex(value.get_ref<const std::string&>()).and_then([](const Bytes& b) { return Measurement::from(b); });
  return bytes ? std::optional(*bytes) : std::nullopt;
}

void read_exceptions(Fields& f, Policy& out) {
  f.objects("exceptions", [&](Fields& e) {
    Exception exception;
    const auto source = e.required<std::string>("source");
    if (source != "Driver" && source != "Firmware") e.problem("source", "is neither Driver nor Firmware");
    exception.source = source == "Driver" ? RimSource::driver : RimSource::firmware;
    exception.index = e.required<std::uint16_t>("index");
    const Json* value = e.raw("value");
    const auto read = value == nullptr ? std::nullopt : digest(*value);
    if (!read) e.problem("value", "must be 96 hexadecimal digits");
    exception.value = read.value_or(Measurement{});
    e.done();
    out.exceptions.push_back(exception);
  });
}

// {index: [hex]} of one RIM id.
std::optional<std::vector<Golden>> golden_values(const Json& values) {
  if (!values.is_object() || values.empty()) return std::nullopt;
  std::vector<Golden> out;
  for (const auto& [index, list] : values.items()) {
    Golden golden;
    const auto [end, error] = std::from_chars(index.data(), index.data() + index.size(), golden.index);
    if (error != std::errc() || end != index.data() + index.size() || golden.index >= kRimMeasurements) return {};
    if (!list.is_array() || list.empty() || list.size() > kMaxGoldenAlternatives) return std::nullopt;
    for (const Json& value : list) {
      const auto read = digest(value);
      if (!read) return std::nullopt;
      golden.alternatives.push_back(*read);
    }
    out.push_back(std::move(golden));
  }
  std::ranges::sort(out, {}, &Golden::index);
  return out;
}

void read_enrolled(Fields& f, Policy& out) {
  const Json* enrolled = f.raw("enrolled");
  if (enrolled == nullptr) return;
  if (!enrolled->is_object() || enrolled->size() > kMaxEnrolled) {
    f.problem("enrolled", "must be an object of RIM ids");
    return;
  }
  for (const auto& [id, values] : enrolled->items()) {
    auto golden = golden_values(values);
    if (golden)
      out.enrolled.emplace(id, *std::move(golden));
    else
      f.problem("enrolled." + id, "must be an object of lists of 96 hexadecimal digits by index 0 to 63");
  }
}

void read_allowed(Fields& f, Policy& out) {
  const auto names = f.optional<std::vector<std::string>>("allowed");
  if (!names) return;
  out.allowed.clear();
  for (const std::string& n : *names) {
    bool known = false;
    for (const Architecture a :
         {Architecture::hopper, Architecture::blackwell, Architecture::rubin, Architecture::ls10})
      if (n == name(a)) {
        out.allowed.insert(a);
        known = true;
      }
    if (!known) f.problem("allowed", "unknown architecture " + n + ": HOPPER, BLACKWELL, RUBIN or LS10");
  }
}

}  // namespace

Result<Policy> parse_policy(const Json& json) {
  Policy out;
  Problems problems;
  Fields f(json, "$", problems);
  out.allow_simulated = f.value_or<bool>("allow_simulated", out.allow_simulated);
  out.require_ocsp = f.value_or<bool>("require_ocsp", out.require_ocsp);
  out.ocsp_grace = f.value_or<std::int64_t>("ocsp_grace", out.ocsp_grace);
  if (out.ocsp_grace < 0) f.problem("ocsp_grace", "must not be negative");
  out.allow_cert_hold = f.value_or<bool>("allow_cert_hold", out.allow_cert_hold);
  out.allow_absent_fwid = f.value_or<bool>("allow_absent_fwid", out.allow_absent_fwid);
  out.allow_multi_tenant = f.value_or<bool>("allow_multi_tenant", out.allow_multi_tenant);
  out.pdi_from_serial = f.value_or<bool>("pdi_from_serial", out.pdi_from_serial);
  if (const auto gpus = f.optional<std::uint32_t>("gpus")) out.gpus = *gpus;
  out.min_driver = f.value_or<std::string>("min_driver", "");
  const auto ppcie = f.value_or<std::string>("ppcie", "auto");
  if (ppcie != "auto" && ppcie != "required" && ppcie != "off") f.problem("ppcie", "is neither auto, required nor off");
  out.ppcie = ppcie == "required" ? Policy::Ppcie::required
              : ppcie == "off"    ? Policy::Ppcie::off
                                  : Policy::Ppcie::automatic;
  read_allowed(f, out);
  read_exceptions(f, out);
  read_enrolled(f, out);
  f.done();
  CAIRN_CHECK(problems.result());
  return out;
}

Result<void> check_remote_policy(const Policy& policy) {
  std::string ignored;
  for (const auto& [name, set] : {std::pair("exceptions", !policy.exceptions.empty()),
                                  {"enrolled", !policy.enrolled.empty()},
                                  {"ocsp_grace", policy.ocsp_grace != 0},
                                  {"allow_cert_hold", policy.allow_cert_hold}})
    if (set) ignored += (ignored.empty() ? "" : ", ") + std::string(name);
  if (ignored.empty()) return {};
  return fail(ErrorCode::conflict, ignored,
              "does not reach the remote service, which judges GPUs by its own rules: leave it out, or judge locally");
}

}  // namespace cairn::nvidia
