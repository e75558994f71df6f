#include "net/task.h"

#include <signal.h>

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "base/log.h"
#include "net/limits.h"

namespace cairn::net {

namespace {

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
using TimePoint = asio::steady_timer::time_point;

// What a coroutine ended with: its result, or the exception that unwound it as an Error.
Result<> outcome(const std::exception_ptr& exception, Result<> result) {
  if (!exception) return result;
  try {
    std::rethrow_exception(exception);
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) return fail(ErrorCode::cancelled, "stopped on request");
    return fail(ErrorCode::io_failed, e.what());
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::too_large, "out of memory");
  } catch (const std::exception& e) {
    return fail(ErrorCode::internal, e.what());
  } catch (...) {
    return fail(ErrorCode::internal, "unknown exception");
  }
}

void log_end(const std::string& name, const Result<>& result) {
  if (result || result.error().code == ErrorCode::cancelled) return;
  spdlog::warn("{}: {}", name.empty() ? "task" : name, printable(result.error().text(), 1024));
}

}  // namespace

asio::awaitable<Executor> this_loop() { co_return co_await asio::this_coro::executor; }

asio::awaitable<void> yield() { co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable); }

Task<> sleep_for(Milliseconds duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor, duration);
  auto [ec] = co_await timer.async_wait(kAsTuple);
  if (ec) co_return fail(ErrorCode::cancelled, "stopped on request");
  co_return Result<>{};
}

void post(const Executor& loop, std::function<void()> fn) { asio::post(loop, std::move(fn)); }

void spawn(const Executor& loop, Task<> task, std::string name) {
  asio::co_spawn(loop, std::move(task), [name = std::move(name)](std::exception_ptr e, Result<> r) {
    log_end(name, outcome(e, std::move(r)));
  });
}

// ---- Event, Semaphore

// A timer that never fires serves as the place to wait: its operation belongs to the loop, so that a loop that is
// taken down takes its waiting coroutines with it.
struct Event::State {
  bool set = false, closed = false;
  std::optional<asio::steady_timer> timer;
};

Event::Event() : state_(std::make_shared<State>()) {}
Event::~Event() {
  state_->closed = true;
  if (state_->timer) state_->timer->cancel();
}

void Event::set() {
  if (state_->set) return;
  state_->set = true;
  if (state_->timer) state_->timer->cancel();
}

Task<> Event::wait() {
  const auto state = state_;
  if (!state->set && !state->closed) {
    state->timer.emplace(co_await asio::this_coro::executor, TimePoint::max());
    (void)co_await state->timer->async_wait(kAsTuple);
    state->timer.reset();  // without a waiter an Event may outlive its loop
  }
  if (!state->set) co_return fail(ErrorCode::cancelled, "stopped on request");
  state->set = false;
  co_return Result<>{};
}

struct Semaphore::State {
  struct Waiter {
    Event event;
    bool granted = false;
  };
  std::size_t free;
  std::list<Waiter> queue;

  void give() {
    for (Waiter& w : queue) {
      if (w.granted) continue;
      w.granted = true;
      w.event.set();
      return;
    }
    ++free;
  }
};

Semaphore::Semaphore(std::size_t permits) : state_(std::make_shared<State>(permits)) {}
Semaphore::~Semaphore() = default;
std::size_t Semaphore::available() const { return state_->free; }
void Semaphore::release() { state_->give(); }

Task<> Semaphore::acquire() {
  const auto state = state_;
  if (state->free > 0) {
    --state->free;
    co_return Result<>{};
  }
  struct Place {  // leaves the queue however the wait ends; a permit granted but not taken goes to the next
    State& state;
    std::list<State::Waiter>::iterator at;
    bool taken = false;
    ~Place() {
      const bool pass_on = at->granted && !taken;
      state.queue.erase(at);
      if (pass_on) state.give();
    }
  } place{*state, state->queue.emplace(state->queue.end())};
  CAIRN_CO_CHECK(co_await place.at->event.wait());
  place.taken = true;
  co_return Result<>{};
}

// ---- TaskGroup

struct TaskGroup::State {
  Executor loop;
  std::list<std::shared_ptr<asio::cancellation_signal>> running;
  std::vector<std::shared_ptr<Event>> waiting;

  void ended(std::list<std::shared_ptr<asio::cancellation_signal>>::iterator at) {
    asio::post(loop, [keep = std::move(*at)] {});  // the signal outlives the completion it belongs to
    running.erase(at);
    if (!running.empty()) return;
    for (const auto& event : std::exchange(waiting, {})) event->set();
  }
  void cancel_all() {
    const std::vector signals(running.begin(), running.end());
    for (const auto& signal : signals) signal->emit(asio::cancellation_type::terminal);
  }
};

TaskGroup::TaskGroup(Executor loop) : state_(std::make_shared<State>(std::move(loop))) {}
TaskGroup::~TaskGroup() = default;
std::size_t TaskGroup::size() const { return state_->running.size(); }

void TaskGroup::spawn(Task<> task, std::string name) {
  const auto at = state_->running.insert(state_->running.end(), std::make_shared<asio::cancellation_signal>());
  asio::co_spawn(state_->loop, std::move(task),
                 asio::bind_cancellation_slot(
                     (*at)->slot(), [state = state_, at, name = std::move(name)](std::exception_ptr e, Result<> r) {
                       log_end(name, outcome(e, std::move(r)));
                       state->ended(at);
                     }));
}

// What the tasks refer to is their owner's, who is waiting here: the wait goes on even if the owner is cancelled, and
// the cancellation is passed on to the tasks.
asio::awaitable<void> TaskGroup::join() {
  const auto state = state_;
  const bool throwing = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) state->cancel_all();
  while (!state->running.empty()) {
    const auto event = std::make_shared<Event>();
    state->waiting.push_back(event);
    if (!co_await event->wait() && !state->running.empty()) state->cancel_all();
  }
  co_await asio::this_coro::throw_if_cancelled(throwing);
}

asio::awaitable<void> TaskGroup::stop(Milliseconds grace) {
  const auto state = state_;
  const bool throwing = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  if (grace.count() > 0 && !state->running.empty()) {
    const auto waited = [](TaskGroup& group) -> Task<> {
      co_await group.join();
      co_return Result<>{};
    };
    (void)co_await with_timeout(waited(*this), grace);
  }
  state->cancel_all();
  co_await join();
  co_await asio::this_coro::throw_if_cancelled(throwing);
}

asio::awaitable<bool> cancelled() {
  co_return (co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none;
}
asio::awaitable<void> finish_when_cancelled() { co_await asio::this_coro::throw_if_cancelled(false); }

// ---- two at once

namespace detail {

asio::awaitable<Pair> run_pair(Task<> a, Task<> b, bool first_wins) {
  struct State {
    asio::cancellation_signal signals[2];
    Pair pair;
    int left = 2;
    Event changed;
    void ended(int which, bool first_wins_, Result<> result) {
      (which == 0 ? pair.a : pair.b) = std::move(result);
      if (left-- == 2) {
        pair.a_first = which == 0;
        if (first_wins_) signals[1 - which].emit(asio::cancellation_type::terminal);
      }
      if (left == 0) changed.set();
    }
    void cancel() {
      for (auto& s : signals) s.emit(asio::cancellation_type::terminal);
    }
  };
  const auto state = std::make_shared<State>();
  const auto loop = co_await asio::this_coro::executor;
  // The two use what belongs to our caller: whatever happens to us, wait for them.
  const bool throwing = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  const auto start = [&](int which, Task<> task) {
    asio::co_spawn(loop, std::move(task),
                   asio::bind_cancellation_slot(state->signals[which].slot(),
                                                [state, which, first_wins](std::exception_ptr e, Result<> r) {
                                                  state->ended(which, first_wins, outcome(e, std::move(r)));
                                                }));
  };
  start(0, std::move(a));
  if (state->left == 2 || !first_wins)
    start(1, std::move(b));
  else
    state->ended(1, false, fail(ErrorCode::cancelled, "stopped on request"));
  if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) state->cancel();
  while (state->left > 0)
    if (!co_await state->changed.wait()) state->cancel();
  co_await asio::this_coro::throw_if_cancelled(throwing);
  // The signals must outlive the completions they belong to.
  asio::post(loop, [state] {});
  co_return std::move(state->pair);
}

Task<> deadline(Task<> task, Milliseconds limit) {
  Pair pair = co_await run_pair(std::move(task), sleep_for(limit), true);
  if (pair.a_first) co_return std::move(pair.a);
  if (!pair.b) co_return std::move(pair.b);  // we were cancelled ourselves
  co_return fail(ErrorCode::timed_out, "no end within " + std::to_string(limit.count()) + " ms");
}

}  // namespace detail

Task<> detail::run_on(Executor loop, Task<> task) {
  co_return co_await asio::co_spawn(loop, std::move(task), asio::use_awaitable);
}

Task<> both(Task<> a, Task<> b) {
  detail::Pair pair = co_await detail::run_pair(std::move(a), std::move(b), false);
  co_return pair.a ? std::move(pair.b) : std::move(pair.a);
}

Task<> race(Task<> a, Task<> b) {
  detail::Pair pair = co_await detail::run_pair(std::move(a), std::move(b), true);
  co_return pair.a_first ? std::move(pair.a) : std::move(pair.b);
}

// ---- WorkerPool

struct WorkerPool::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> jobs;
  bool stopping = false;
  std::vector<std::thread> threads;

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [this] { return stopping || !jobs.empty(); });
      if (jobs.empty()) return;
      auto job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
    }
  }
};

WorkerPool::WorkerPool(unsigned threads) : state_(std::make_shared<State>()) {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < threads; ++i) state_->threads.emplace_back([s = state_.get()] { s->work(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  for (auto& thread : state_->threads) thread.join();
}

Task<> WorkerPool::run(std::function<void()> job) {
  struct Call {
    Event done;
    Result<> result;
  };
  const auto call = std::make_shared<Call>();
  const auto loop = co_await asio::this_coro::executor;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping || state_->jobs.size() >= limits::kOffloadQueue)
      co_return fail(ErrorCode::unavailable, "all workers are busy; try again later");
    state_->jobs.emplace_back([call, loop, job = std::move(job)]() mutable {
      try {
        job();
      } catch (...) {
        call->result = outcome(std::current_exception(), {});
      }
      job = nullptr;
      asio::post(loop, [call] { call->done.set(); });
    });
  }
  state_->wake.notify_one();
  CAIRN_CO_CHECK(co_await call->done.wait());
  co_return std::move(call->result);
}

// ---- Runtime

namespace {
struct Loop : asio::io_context {
  Loop() : asio::io_context(1) {}
  using asio::io_context::shutdown;
};
}  // namespace

struct Runtime::State {
  Options options;
  std::vector<std::unique_ptr<Loop>> loops;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::vector<std::pair<Executor, std::shared_ptr<Event>>> waiting;
  std::unique_ptr<WorkerPool> workers;
  std::optional<asio::signal_set> signals;

  void stop_all() {
    for (const auto& loop : loops) loop->stop();
  }
};

Runtime::Runtime() : Runtime(Options{}) {}

Runtime::Runtime(Options options) : state_(std::make_unique<State>()) {
  if (options.loops == 0) options.loops = std::max(1U, std::thread::hardware_concurrency());
  state_->options = options;
  for (unsigned i = 0; i < options.loops; ++i) state_->loops.push_back(std::make_unique<Loop>());
}

Runtime::~Runtime() {
  state_->workers.reset();
  state_->waiting.clear();
  state_->signals.reset();
  // All frames and operations first, while every loop's services still stand: they may hold each other's objects.
  for (const auto& loop : state_->loops) loop->shutdown();
}

Executor Runtime::loop(std::size_t index) { return state_->loops[index % state_->loops.size()]->get_executor(); }
Executor Runtime::next_loop() { return loop(state_->next.fetch_add(1, std::memory_order_relaxed)); }
std::size_t Runtime::loops() const { return state_->loops.size(); }
bool Runtime::stopping() const { return state_->stopping; }

WorkerPool& Runtime::workers() {
  const std::lock_guard lock(state_->mutex);
  if (!state_->workers) state_->workers = std::make_unique<WorkerPool>(state_->options.workers);
  return *state_->workers;
}

void Runtime::request_stop() {
  const std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  for (auto& [loop, event] : state_->waiting) asio::post(loop, [event] { event->set(); });
  state_->waiting.clear();
}

Task<> Runtime::stop_requested() {
  const auto event = std::make_shared<Event>();
  const auto loop = co_await asio::this_coro::executor;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping) co_return Result<>{};
    state_->waiting.emplace_back(loop, event);
  }
  co_return co_await event->wait();
}

Result<> Runtime::run(std::function<Task<>(Runtime&)> main) {
  State& s = *state_;
  ::signal(SIGPIPE, SIG_IGN);
  std::function<void(boost::system::error_code, int)> on_signal = [&](boost::system::error_code ec, int) {
    if (ec) return;
    if (s.stopping) ::_exit(130);
    request_stop();
    s.signals->async_wait(on_signal);
  };
  if (s.options.signals) {
    s.signals.emplace(*s.loops[0], SIGTERM, SIGINT);
    s.signals->async_wait(on_signal);
  }
  Result<> result = fail(ErrorCode::internal, "the main task was lost");
  std::vector<asio::executor_work_guard<asio::io_context::executor_type>> guards;
  for (const auto& loop : s.loops) guards.emplace_back(loop->get_executor());
  asio::co_spawn(
      *s.loops[0], [&]() -> Task<> { co_return co_await main(*this); },
      [&](std::exception_ptr e, Result<> r) {
        result = outcome(e, std::move(r));
        s.stop_all();
      });
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < s.loops.size(); ++i) threads.emplace_back([loop = s.loops[i].get()] { loop->run(); });
  s.loops[0]->run();
  for (auto& thread : threads) thread.join();
  s.signals.reset();
  return result;
}

Result<> run_task(std::function<Task<>(Runtime&)> main) {
  Runtime runtime({.loops = 1, .workers = 1, .signals = false});
  return runtime.run(std::move(main));
}

}  // namespace cairn::net
