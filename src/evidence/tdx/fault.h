// How the verifier's own steps report: a Failure with the place and reason, cheaper to pass on than an Error.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "evidence/tdx/verify.h"

namespace cairn::tdx {

struct Fault {
  Failure failure;
  std::string detail;
};
template <class T = void>
using Checked = std::expected<T, Fault>;

[[nodiscard]] inline std::unexpected<Fault> fault(Failure failure, std::string detail) {
  return std::unexpected(Fault{failure, std::move(detail)});
}
// An Error of a parser under the failure it means here.
[[nodiscard]] inline std::unexpected<Fault> fault(Failure failure, std::string_view what, const Error& error) {
  std::string detail(what);
  if (!error.where.empty()) detail += ", " + error.where;
  return fault(failure, detail + ": " + error.message);
}

// The verification time and what was found expired at it.
class TimeJudge {
 public:
  explicit TimeJudge(const Options& options) : options_(&options) {}

  // `failure` when `until` has passed, unless the options say to flag that or the grace still holds.
  [[nodiscard]] Checked<> not_after(Time until, Failure failure, std::string_view what) {
    if (options_->time <= until) return {};
    expired_ = true;
    if (options_->expiry == Expiry::flag || options_->time.seconds - until.seconds <= options_->grace_seconds)
      return {};
    return fault(failure, std::string(what) + " expired at " + rfc3339(until));
  }
  // `failure` when `from` lies ahead: always, whatever the options say about expiry.
  [[nodiscard]] Checked<> not_before(Time from, Failure failure, std::string_view what) const {
    if (options_->time >= from) return {};
    return fault(failure, std::string(what) + " holds from " + rfc3339(from) + " on");
  }
  [[nodiscard]] bool expired() const { return expired_; }
  [[nodiscard]] const Options& options() const { return *options_; }

 private:
  const Options* options_;
  bool expired_ = false;
};

}  // namespace cairn::tdx
