// A deadline that is cheap to move: the timer behind it is touched only when it fires or must fire earlier.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "net/task.h"

namespace cairn::net {

// Calls `on_expiry` once when the deadline set last has passed. One loop.
class Deadline {
 public:
  Deadline(Executor loop, std::function<void()> on_expiry);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  void set(std::optional<Milliseconds> duration);  // from now; nullopt: none
  [[nodiscard]] bool expired() const;              // until it is set again

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::net
