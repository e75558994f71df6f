// How a judgement reads.
#pragma once

#include <iosfwd>
#include <string>

#include "base/json.h"
#include "cli/verify/cases.h"
#include "cli/verify/judge.h"

namespace cairn::cli {

// For a person: the verdict in one line, then what was checked, against which root and collateral, at which time, what
// the quote says, and what was refused.
void print(std::ostream& out, const std::string& file, const Judgement& judgement, Time at);
[[nodiscard]] Json to_json(const std::string& file, const Judgement& judgement, Time at, bool identities);
[[nodiscard]] std::string joined(const std::vector<std::string>& list);  // "a, b"; "none" of nothing
void print(std::ostream& out, const std::vector<CaseResult>& cases);
[[nodiscard]] Json to_json(const std::vector<CaseResult>& cases);

}  // namespace cairn::cli
