// Independent pieces of work on several threads.
#pragma once

#include <functional>

#include "base/error.h"

namespace cairn::cachefs {

// Calls `work` with 0 to count - 1, begun in order, on at most `threads` threads. The first error stops the rest and is
// returned.
[[nodiscard]] Result<void> for_each_number(std::size_t count, unsigned threads,
                                           const std::function<Result<void>(std::size_t)>& work);

}  // namespace cairn::cachefs
