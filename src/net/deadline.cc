#include "net/deadline.h"

#include <boost/asio/steady_timer.hpp>

namespace cairn::net {

struct Deadline::State : std::enable_shared_from_this<Deadline::State> {
  using Clock = std::chrono::steady_clock;
  State(const Executor& loop, std::function<void()> fn) : timer(loop), on_expiry(std::move(fn)) {}

  asio::steady_timer timer;
  std::function<void()> on_expiry;
  std::optional<Clock::time_point> due;
  std::optional<Clock::time_point> armed;  // when the timer fires
  bool expired = false;

  void arm() {
    armed = due;
    timer.expires_at(*due);
    timer.async_wait([self = shared_from_this(), at = *due](boost::system::error_code) {
      if (self->armed == at) self->fired();
    });
  }
  void fired() {
    armed.reset();
    if (!due || !on_expiry) return;
    if (Clock::now() < *due) return arm();
    expired = true;
    due.reset();
    if (on_expiry) on_expiry();
  }
};

Deadline::Deadline(Executor loop, std::function<void()> on_expiry)
    : state_(std::make_shared<State>(std::move(loop), std::move(on_expiry))) {}

Deadline::~Deadline() {
  state_->on_expiry = nullptr;
  state_->armed.reset();
  state_->timer.cancel();
}

bool Deadline::expired() const { return state_->expired; }

void Deadline::set(std::optional<Milliseconds> duration) {
  State& s = *state_;
  s.expired = false;
  if (!duration) {
    s.due.reset();
    return;
  }
  s.due = State::Clock::now() + *duration;
  if (!s.armed || *s.due < *s.armed) s.arm();
}

}  // namespace cairn::net
