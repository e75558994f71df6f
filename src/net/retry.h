// The one retry policy.
#pragma once

#include <functional>

#include "net/task.h"

namespace cairn::net {

struct RetryPolicy {
  unsigned attempts = 5;    // all together
  Milliseconds first{200};  // pause after the first failure
  double factor = 2.0;      // growth of the pauses
  Milliseconds most{5000};  // longest pause
  double jitter = 0.2;      // each pause is scaled by 1 +- jitter
};

// Worth trying again: unavailable, timed_out.
[[nodiscard]] bool transient(const Error& error);
// The pause after failure number `failure` (from 1).
[[nodiscard]] Milliseconds pause_after(const RetryPolicy& policy, unsigned failure);

// Calls `attempt` until it succeeds, `again` says no, or the attempts are used up; returns the last result.
template <class T = void>
[[nodiscard]] Task<T> retry(RetryPolicy policy, std::type_identity_t<std::function<Task<T>()>> attempt,
                            std::function<bool(const Error&)> again = transient) {
  for (unsigned failure = 1;; ++failure) {
    Result<T> result = co_await attempt();
    if (result || failure >= policy.attempts || !again(result.error())) co_return result;
    Result<> slept = co_await sleep_for(pause_after(policy, failure));
    if (!slept) co_return fail(std::move(slept).error());
  }
}

}  // namespace cairn::net
