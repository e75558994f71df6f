// Coroutines, the loops that run them, and the few tools to put them together.
//
// Model: a Runtime has one event loop per thread. A coroutine stays on the loop it was started on, and so does every
// object it makes: a Stream, session or connection is used from its own loop only and needs no lock. What is shared
// between loops says so ("any thread"). Nothing blocks a loop: long computing goes through offload().
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace cairn::net {

namespace asio = boost::asio;
using Executor = asio::any_io_executor;
using Milliseconds = std::chrono::milliseconds;

// A coroutine that ends with a value or an Error. Lazy: runs when awaited or spawned. Arguments taken by reference
// must outlive it. Cancelling (race, with_timeout, TaskGroup) unwinds it as an exception that these helpers catch:
// clean up in destructors.
template <class T = void>
using Task = asio::awaitable<Result<T>>;

// The loop this coroutine runs on.
[[nodiscard]] asio::awaitable<Executor> this_loop();
// Lets the other coroutines of the loop run.
[[nodiscard]] asio::awaitable<void> yield();
[[nodiscard]] Task<> sleep_for(Milliseconds duration);
// For a coroutine that must clean up with co_await: from here on cancelling does not unwind it at its next co_await;
// what it waits for still ends with `cancelled`, and cancelled() tells.
[[nodiscard]] asio::awaitable<void> finish_when_cancelled();
[[nodiscard]] asio::awaitable<bool> cancelled();
// Runs fn on `loop` soon; any thread.
void post(const Executor& loop, std::function<void()> fn);

// Starts a coroutine nobody waits for; any thread. Errors and exceptions it ends with are logged under `name`.
// Prefer a TaskGroup: whoever spawns must see to it that what the task refers to outlives it.
void spawn(const Executor& loop, Task<> task, std::string name = {});

namespace detail {
[[nodiscard]] Task<> run_on(Executor loop, Task<> task);
}

// Coroutines with one owner, all on one loop. Destroy it only when empty: after stop().
class TaskGroup {
 public:
  explicit TaskGroup(Executor loop);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  void spawn(Task<> task, std::string name = {});
  [[nodiscard]] std::size_t size() const;
  // Waits until all have ended, for at most `grace`; cancels what is left and waits for that too. Both waits hold even
  // when the waiting coroutine is cancelled, which cancels the tasks.
  [[nodiscard]] asio::awaitable<void> stop(Milliseconds grace = Milliseconds(0));
  // Waits until all have ended.
  [[nodiscard]] asio::awaitable<void> join();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

namespace detail {
struct Pair {
  Result<> a, b;
  bool a_first = true;
};
// Both run at once; returns when both have ended. With `first_wins` the end of one cancels the other.
[[nodiscard]] asio::awaitable<Pair> run_pair(Task<> a, Task<> b, bool first_wins);
[[nodiscard]] Task<> deadline(Task<> task, Milliseconds limit);
template <class T>
[[nodiscard]] Task<> store(Task<T> task, std::optional<Result<T>>& out) {
  out.emplace(co_await std::move(task));
  if (!*out) co_return fail(out->error());
  co_return Result<>{};
}
}  // namespace detail

// The task's result, or timed_out after `limit` (the task is cancelled and unwound first).
template <class T>
[[nodiscard]] Task<T> with_timeout(Task<T> task, Milliseconds limit) {
  if constexpr (std::is_void_v<T>) {
    co_return co_await detail::deadline(std::move(task), limit);
  } else {
    std::optional<Result<T>> out;
    Result<> end = co_await detail::deadline(detail::store(std::move(task), out), limit);
    if (!end) co_return fail(std::move(end).error());
    co_return std::move(*out);
  }
}

// Runs the task on another loop and brings its result back to this one.
template <class T>
[[nodiscard]] Task<T> on_loop(Executor loop, Task<T> task) {
  if constexpr (std::is_void_v<T>) {
    co_return co_await detail::run_on(std::move(loop), std::move(task));
  } else {
    std::optional<Result<T>> out;
    Result<> end = co_await detail::run_on(std::move(loop), detail::store(std::move(task), out));
    if (!out) co_return fail(std::move(end).error());
    co_return std::move(*out);
  }
}

// Runs both at once and waits for both. The first error of the two, a's before b's.
[[nodiscard]] Task<> both(Task<> a, Task<> b);
// Runs both until one ends, cancels the other, and returns the result of the one that ended first.
[[nodiscard]] Task<> race(Task<> a, Task<> b);

// Wakes one coroutine of the same loop. set() before wait() is remembered once. Destroying it wakes its waiter with
// `cancelled`.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void set();
  // At most one waiter at a time. Ends with `cancelled` when the waiting coroutine is cancelled.
  [[nodiscard]] Task<> wait();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// At most `permits` holders at a time, the rest wait in order. One loop.
class Semaphore {
 public:
  explicit Semaphore(std::size_t permits);
  ~Semaphore();
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  [[nodiscard]] Task<> acquire();
  void release();
  [[nodiscard]] std::size_t available() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Threads for work that computes or blocks. Any thread.
class WorkerPool {
 public:
  explicit WorkerPool(unsigned threads = 0);  // 0: one per processor
  ~WorkerPool();                              // finishes what was accepted
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // fn() on a worker, its result here, back on the caller's loop. `unavailable` when limits::kOffloadQueue jobs wait.
  // fn runs to its end even if the waiting coroutine is cancelled: it must own what it uses. The loop must outlive
  // the pool's work, as it does with Runtime::workers().
  template <class F, class R = std::invoke_result_t<F>>
  [[nodiscard]] Task<R> offload(F fn);

 private:
  [[nodiscard]] Task<> run(std::function<void()> job);
  struct State;
  std::shared_ptr<State> state_;
};

// Loops, workers and signals of one process (or one test).
class Runtime {
 public:
  struct Options {
    unsigned loops = 0;    // 0: one per processor
    unsigned workers = 0;  // 0: one per processor
    bool signals = true;   // SIGTERM and SIGINT request a stop; the second of them ends the process; SIGPIPE ignored
  };
  Runtime();
  explicit Runtime(Options options);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Runs `main` on loop 0, in the calling thread, the other loops in threads of their own, until `main` has ended.
  // Once per Runtime. Tasks still running then are destroyed after the loops have stopped.
  [[nodiscard]] Result<> run(std::function<Task<>(Runtime&)> main);

  [[nodiscard]] Executor loop(std::size_t index);  // modulo the number of loops
  [[nodiscard]] Executor next_loop();              // round robin; any thread
  [[nodiscard]] std::size_t loops() const;
  [[nodiscard]] WorkerPool& workers();

  void request_stop();  // any thread; also what the signals do
  [[nodiscard]] bool stopping() const;
  // Ends when a stop is requested. On any loop of this runtime.
  [[nodiscard]] Task<> stop_requested();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// For tools and tests: one loop, no signal handling, runs the task to its end.
[[nodiscard]] Result<> run_task(std::function<Task<>(Runtime&)> main);
template <class T>
[[nodiscard]] Result<T> run_to_end(std::function<Task<T>(Runtime&)> main) {
  std::optional<Result<T>> out;
  auto end = run_task([&](Runtime& runtime) -> Task<> { return detail::store(main(runtime), out); });
  if (!out) return fail(std::move(end).error());
  return std::move(*out);
}

template <class F, class R>
Task<R> WorkerPool::offload(F fn) {
  if constexpr (std::is_void_v<R>) {
    co_return co_await run(std::move(fn));
  } else {
    auto out = std::make_shared<std::optional<R>>();
    auto shared = std::make_shared<F>(std::move(fn));
    Result<> end = co_await run([out, shared] { out->emplace((*shared)()); });
    if (!end) co_return fail(std::move(end).error());
    co_return std::move(**out);
  }
}

}  // namespace cairn::net
