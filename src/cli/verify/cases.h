// Runs a case file in the format of data/tdx/cases-*.json: each case a quote, its collateral, a root and a time, and
// the verdict that must come out.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace cairn::cli {

struct CaseResult {
  std::string id, wanted, got;
  std::string detail;  // why, where they differ or the verdict is a failure
  bool as_wanted = false;
};
// Paths are relative to the case file. Errors name the case that could not be read.
[[nodiscard]] Result<std::vector<CaseResult>> run_cases(const std::filesystem::path& file);

}  // namespace cairn::cli
