#include "trustee/as/metrics.h"

namespace cairn::trustee::as {
namespace {

using device::CollateralCounts;

struct Family {
  const char *name, *type, *help;
  std::int64_t (*value)(const CollateralCounts&);
};
constexpr Family kFamilies[] = {
    {"hits_total", "counter", "Uses of collateral that was held.",
     [](const CollateralCounts& c) { return static_cast<std::int64_t>(c.hits); }},
    {"fetches_total", "counter", "Collateral that was asked for.",
     [](const CollateralCounts& c) { return static_cast<std::int64_t>(c.fetches); }},
    {"failures_total", "counter", "Fetches that gave nothing of use.",
     [](const CollateralCounts& c) { return static_cast<std::int64_t>(c.failures); }},
    {"held", "gauge", "Collateral held now.",
     [](const CollateralCounts& c) { return static_cast<std::int64_t>(c.held); }},
    {"oldest_seconds", "gauge", "Age of the oldest collateral held.",
     [](const CollateralCounts& c) { return c.oldest; }},
};

}  // namespace

std::string metrics(const CollateralStore& collateral, const GpuJudge& gpu, Time now) {
  auto kinds = gpu.counts(now);
  kinds.emplace(kinds.begin(), "tdx", collateral.counts(now));
  std::string out;
  for (const Family& family : kFamilies) {
    const std::string name = std::string("cairn_trustee_collateral_") + family.name;
    out += "# HELP " + name + " " + family.help + "\n# TYPE " + name + " " + family.type + "\n";
    for (const auto& [kind, counts] : kinds)
      out += name + "{kind=\"" + kind + "\"} " + std::to_string(family.value(counts)) + "\n";
  }
  return out;
}

}  // namespace cairn::trustee::as
