#include "net/task.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "net/deadline.h"
#include "net/limits.h"
#include "net/retry.h"

namespace cairn::net {
namespace {

using namespace std::chrono_literals;

Task<int> answer(int value) {
  CAIRN_CO_CHECK(co_await sleep_for(1ms));
  co_return value;
}
Task<> never() { co_return co_await sleep_for(1h); }

TEST(Task, CarriesValuesAndErrors) {
  EXPECT_EQ(run_to_end<int>([](Runtime&) { return answer(7); }).value(), 7);
  const auto failed = run_to_end<int>([](Runtime&) -> Task<int> { co_return fail(ErrorCode::conflict, "no"); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::conflict);
  const auto thrown = run_task([](Runtime&) -> Task<> {
    throw std::runtime_error("x");
    co_return Result<>{};
  });
  ASSERT_FALSE(thrown);
  EXPECT_EQ(thrown.error().code, ErrorCode::internal);
}

TEST(Task, TimeoutCancelsAndUnwinds) {
  struct Mark {
    bool& gone;
    ~Mark() { gone = true; }
  };
  bool unwound = false;
  const auto result = run_task([&](Runtime&) -> Task<> {
    const auto slow = [](bool& flag) -> Task<> {
      const Mark mark{flag};
      co_await never();
      co_return Result<>{};
    };
    auto r = co_await with_timeout(slow(unwound), 5ms);
    EXPECT_TRUE(unwound);
    EXPECT_EQ(r.error().code, ErrorCode::timed_out);
    auto in_time = co_await with_timeout(answer(3), 5s);
    EXPECT_EQ(in_time.value(), 3);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Task, RaceAndBoth) {
  const auto result = run_task([](Runtime&) -> Task<> {
    EXPECT_TRUE(co_await race(sleep_for(1ms), never()));
    EXPECT_TRUE(co_await race(never(), sleep_for(1ms)));
    const auto bad = []() -> Task<> { co_return fail(ErrorCode::conflict, "b"); };
    auto r = co_await both(sleep_for(2ms), bad());
    EXPECT_EQ(r.error().code, ErrorCode::conflict);
    // Nested: the outer timeout reaches both inner tasks.
    auto nested = co_await with_timeout(both(never(), race(never(), never())), 5ms);
    EXPECT_EQ(nested.error().code, ErrorCode::timed_out);
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(Event, RemembersOneSetAndCanBeCancelled) {
  const auto result = run_task([](Runtime&) -> Task<> {
    Event event;
    event.set();
    event.set();
    EXPECT_TRUE(co_await event.wait());
    auto r = co_await with_timeout(event.wait(), 5ms);
    EXPECT_EQ(r.error().code, ErrorCode::timed_out);
    const auto setter = [](Event& e) -> Task<> {
      CAIRN_CO_CHECK(co_await sleep_for(1ms));
      e.set();
      co_return Result<>{};
    };
    EXPECT_TRUE(co_await both(event.wait(), setter(event)));
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(Semaphore, BoundsHoldersInOrderAndSurvivesCancellation) {
  const auto result = run_task([](Runtime&) -> Task<> {
    Semaphore two(2);
    EXPECT_TRUE(co_await two.acquire());
    EXPECT_TRUE(co_await two.acquire());
    EXPECT_EQ((co_await with_timeout(two.acquire(), 2ms)).error().code, ErrorCode::timed_out);
    std::vector<int> order;
    TaskGroup group(co_await this_loop());
    const auto worker = [](Semaphore& s, std::vector<int>& out, int id) -> Task<> {
      CAIRN_CO_CHECK(co_await s.acquire());
      out.push_back(id);
      s.release();
      co_return Result<>{};
    };
    for (int i = 0; i < 5; ++i) group.spawn(worker(two, order, i));
    co_await yield();
    EXPECT_TRUE(order.empty());
    two.release();
    co_await group.join();
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
    two.release();
    EXPECT_EQ(two.available(), 2U);
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(TaskGroup, StopWaitsThenCancels) {
  const auto result = run_task([](Runtime&) -> Task<> {
    TaskGroup group(co_await this_loop());
    bool finished = false;
    const auto quick = [](bool& flag) -> Task<> {
      CAIRN_CO_CHECK(co_await sleep_for(2ms));
      flag = true;
      co_return Result<>{};
    };
    group.spawn(quick(finished));
    for (int i = 0; i < 100; ++i) group.spawn(never());
    EXPECT_EQ(group.size(), 101U);
    co_await group.stop(20ms);
    EXPECT_TRUE(finished);
    EXPECT_EQ(group.size(), 0U);
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(WorkerPool, RunsElsewhereAndRefusesWhenFull) {
  const auto result = run_task([](Runtime& runtime) -> Task<> {
    const auto here = std::this_thread::get_id();
    auto there = co_await runtime.workers().offload([] { return std::this_thread::get_id(); });
    EXPECT_NE(there.value(), here);
    EXPECT_EQ(std::this_thread::get_id(), here);
    auto thrown = co_await runtime.workers().offload([]() -> int { throw std::runtime_error("x"); });
    EXPECT_EQ(thrown.error().code, ErrorCode::internal);

    WorkerPool& pool = runtime.workers();  // one worker
    std::atomic<bool> release = false;
    TaskGroup group(co_await this_loop());
    int refused = 0;
    const auto block = [](WorkerPool& p, std::atomic<bool>& go, int& count) -> Task<> {
      auto r = co_await p.offload([&go] {
        while (!go) std::this_thread::yield();
      });
      if (!r && r.error().code == ErrorCode::unavailable) ++count;
      co_return Result<>{};
    };
    group.spawn(block(pool, release, refused));
    CAIRN_CO_CHECK(co_await sleep_for(20ms));  // it is at work now
    for (std::size_t i = 0; i <= limits::kOffloadQueue; ++i) group.spawn(block(pool, release, refused));
    co_await yield();
    co_await yield();
    EXPECT_EQ(refused, 1);
    release = true;
    co_await group.join();
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(Runtime, LoopsTalkAndStopIsHeardOnAll) {
  Runtime runtime({.loops = 3, .workers = 1, .signals = true});
  std::atomic<int> heard = 0;
  const auto result = runtime.run([&](Runtime& r) -> Task<> {
    const auto where = []() -> Task<std::thread::id> { co_return std::this_thread::get_id(); };
    auto other = co_await on_loop(r.loop(1), where());
    EXPECT_NE(other.value(), std::this_thread::get_id());
    const auto wait = [](Runtime& rt, std::atomic<int>& count) -> Task<> {
      CAIRN_CO_CHECK(co_await rt.stop_requested());
      ++count;
      co_return Result<>{};
    };
    const auto raise_soon = []() -> Task<> {
      CAIRN_CO_CHECK(co_await sleep_for(5ms));
      ::raise(SIGTERM);
      co_return Result<>{};
    };
    co_return co_await both(both(on_loop(r.loop(1), wait(r, heard)), on_loop(r.loop(2), wait(r, heard))), raise_soon());
  });
  EXPECT_TRUE(result);
  EXPECT_EQ(heard, 2);
  EXPECT_TRUE(runtime.stopping());
}

TEST(Runtime, TasksLeftBehindAreDestroyed) {
  struct Mark {
    std::atomic<int>& gone;
    ~Mark() { ++gone; }
  };
  std::atomic<int> gone = 0, begun = 0;
  {
    Runtime runtime({.loops = 2, .workers = 1, .signals = false});
    const auto result = runtime.run([&](Runtime& r) -> Task<> {
      const auto left = [](std::atomic<int>& count, std::atomic<int>& here) -> Task<> {
        const Mark mark{count};
        ++here;
        Event event;
        co_return co_await event.wait();
      };
      for (std::size_t i = 0; i < 4; ++i) spawn(r.loop(i), left(gone, begun));
      while (begun < 4) CAIRN_CO_CHECK(co_await sleep_for(1ms));
      co_return Result<>{};
    });
    EXPECT_TRUE(result);
    EXPECT_EQ(gone, 0);
  }
  EXPECT_EQ(gone, 4);
}

TEST(Deadline, MovesCheaplyAndFiresOnce) {
  const auto result = run_task([](Runtime&) -> Task<> {
    int fired = 0;
    Deadline deadline(co_await this_loop(), [&] { ++fired; });
    for (int i = 0; i < 20; ++i) {
      deadline.set(20ms);
      CAIRN_CO_CHECK(co_await sleep_for(2ms));
    }
    EXPECT_EQ(fired, 0);
    deadline.set(std::nullopt);
    CAIRN_CO_CHECK(co_await sleep_for(30ms));
    EXPECT_EQ(fired, 0);
    deadline.set(1h);
    deadline.set(1ms);
    CAIRN_CO_CHECK(co_await sleep_for(20ms));
    EXPECT_EQ(fired, 1);
    EXPECT_TRUE(deadline.expired());
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(Retry, StopsAtSuccessAtTheLimitAndAtLastingErrors) {
  const auto result = run_task([](Runtime&) -> Task<> {
    const RetryPolicy policy{.attempts = 3, .first = 1ms, .factor = 2, .most = 4ms, .jitter = 0};
    int calls = 0;
    auto r = co_await retry<int>(policy, [&]() -> Task<int> {
      if (++calls < 3) co_return fail(ErrorCode::unavailable, "not yet");
      co_return 5;
    });
    EXPECT_EQ(r.value(), 5);
    calls = 0;
    auto gone = co_await retry<>(policy, [&]() -> Task<> {
      ++calls;
      co_return fail(ErrorCode::unavailable, "never");
    });
    EXPECT_EQ(calls, 3);
    EXPECT_FALSE(gone);
    calls = 0;
    auto lasting = co_await retry<>(policy, [&]() -> Task<> {
      ++calls;
      co_return fail(ErrorCode::permission_denied, "no");
    });
    EXPECT_EQ(calls, 1);
    EXPECT_FALSE(lasting);
    EXPECT_EQ(pause_after(policy, 1), 1ms);
    EXPECT_EQ(pause_after(policy, 3), 4ms);
    EXPECT_EQ(pause_after(policy, 60), 4ms);
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

}  // namespace
}  // namespace cairn::net
