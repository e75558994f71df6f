// A report's measurements against golden values. nvidia-gpu §5.8.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evidence/nvidia/rim.h"

namespace cairn::nvidia {

// An accepted deviation: this value, at this index, from this source. Never a whole index.
struct Exception {
  RimSource source = RimSource::driver;
  std::uint16_t index = 0;
  Measurement value{};
};

struct Mismatch {
  RimSource source = RimSource::driver;
  std::uint16_t index = 0;
  std::vector<Measurement> golden;
  std::optional<Measurement> runtime;  // absent where the report has no such block
};
struct SvnMismatch {
  MinimumSvn minimum;
  std::optional<std::uint16_t> runtime;  // absent where the report has no such record
};

struct Comparison {
  std::size_t matched = 0;
  std::vector<std::uint16_t> skipped;  // index 35 while NVDEC0 is off
  std::vector<Mismatch> mismatches;
  std::vector<SvnMismatch> svn_mismatches;
};
// Every active golden value of one RIM. `facts` is of the same report.
[[nodiscard]] Comparison compare(const Report& report, const Facts& facts, RimSource source,
                                 const std::vector<Golden>& golden, const std::vector<MinimumSvn>& minimum,
                                 const std::vector<Exception>& exceptions);

// Whether two RIMs cover the same index, opaque type or record name.
[[nodiscard]] bool conflict(const Rim& a, const Rim& b);

}  // namespace cairn::nvidia
