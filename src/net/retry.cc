#include "net/retry.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace cairn::net {

bool transient(const Error& error) {
  return error.code == ErrorCode::unavailable || error.code == ErrorCode::timed_out;
}

Milliseconds pause_after(const RetryPolicy& policy, unsigned failure) {
  thread_local std::minstd_rand random(std::random_device{}());
  const double exponent = std::min(failure == 0 ? 0U : failure - 1, 64U);
  const double plain = std::min(static_cast<double>(policy.first.count()) * std::pow(policy.factor, exponent),
                                static_cast<double>(policy.most.count()));
  const double scale =
      policy.jitter <= 0 ? 1.0 : std::uniform_real_distribution(1 - policy.jitter, 1 + policy.jitter)(random);
  return Milliseconds(static_cast<std::int64_t>(plain * scale));
}

}  // namespace cairn::net
