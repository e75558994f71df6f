#include "evidence/nvidia/golden.h"

#include <algorithm>

namespace cairn::nvidia {
namespace {

constexpr std::uint16_t kNvdec0Index = 35;  // not measured while the unit is off

std::optional<std::uint16_t> svn(const Report& report, std::uint16_t type) {
  const OpaqueField* field = report.field(type);
  if (field == nullptr || field->value_type != opaque::kMinSvn || field->value.size() != 2) return std::nullopt;
  return static_cast<std::uint16_t>(field->value[0] | (field->value[1] << 8));
}

}  // namespace

Comparison compare(const Report& report, const Facts& facts, RimSource source, const std::vector<Golden>& golden,
                   const std::vector<MinimumSvn>& minimum, const std::vector<Exception>& exceptions) {
  Comparison out;
  for (const Golden& g : golden) {
    if (g.index == kNvdec0Index && facts.kind == Kind::gpu && facts.nvdec0 == opaque::kOff) {
      out.skipped.push_back(g.index);
      continue;
    }
    std::optional<Measurement> runtime;
    if (g.index < report.measurements.size()) runtime = report.measurements[g.index];
    const auto excepted = [&](const Exception& e) {
      return e.source == source && e.index == g.index && e.value == *runtime;
    };
    if (runtime && (std::ranges::contains(g.alternatives, *runtime) || std::ranges::any_of(exceptions, excepted)))
      ++out.matched;
    else
      out.mismatches.push_back({source, g.index, g.alternatives, runtime});
  }
  for (const MinimumSvn& m : minimum) {
    const auto value = svn(report, m.type);
    if (!value || *value < m.value) out.svn_mismatches.push_back({m, value});
  }
  return out;
}

bool conflict(const Rim& a, const Rim& b) {
  const auto same_index = [&](const Golden& g) { return std::ranges::contains(b.golden, g.index, &Golden::index); };
  const auto same_record = [&](const MinimumSvn& m) {
    return std::ranges::any_of(
        b.minimum, [&](const MinimumSvn& o) { return o.type == m.type || (!m.name.empty() && o.name == m.name); });
  };
  return std::ranges::any_of(a.golden, same_index) || std::ranges::any_of(a.minimum, same_record);
}

}  // namespace cairn::nvidia
