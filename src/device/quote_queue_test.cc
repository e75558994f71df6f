#include "device/quote_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "device/limits.h"

namespace cairn::device {
namespace {

// A TEE whose quotes wait until the test lets them go.
class SlowTee final : public Tee {
 public:
  std::string_view type() const override { return "tdx"; }
  bool simulated() const override { return true; }
  std::string description() const override { return "slow"; }
  Result<Bytes> quote(const ReportData& data) override {
    EXPECT_EQ(in_flight.fetch_add(1), 0);
    started.release();
    gate.acquire();
    order.push_back(data[0]);
    in_flight.fetch_sub(1);
    return Bytes{data[0]};
  }
  Result<void> extend_rtmr(unsigned, const Digest<48>&) override { return {}; }
  Result<Digest<48>> read_rtmr(unsigned) override { return Digest<48>{}; }
  Result<Bytes> ccel() override { return Bytes{}; }
  Result<Digest<48>> mr_config_id() override { return Digest<48>{}; }

  std::atomic<int> in_flight = 0;
  std::counting_semaphore<4096> started{0}, gate{0};
  std::vector<int> order;
};

ReportData nonce(std::uint8_t v) {
  ReportData out{};
  out[0] = v;
  return out;
}

struct Asking {
  explicit Asking(QuoteQueue& queue, std::uint8_t v)
      : thread([&queue, v, this] { answer = queue.quote(nonce(v)).value_or(Bytes{}); }) {}
  ~Asking() { thread.join(); }
  Bytes answer;
  std::thread thread;
};

void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }

TEST(QuoteQueue, EqualQuestionsShareOneQuoteInOrder) {
  SlowTee tee;
  QuoteQueue queue(tee);
  {
    const Asking a(queue, 1);
    tee.started.acquire();
    const Asking b(queue, 2);
    settle();
    const Asking c(queue, 3), d(queue, 2), e(queue, 1);
    settle();
    tee.gate.release(3);
  }
  EXPECT_EQ(queue.made(), 3U);
  EXPECT_EQ(tee.order, (std::vector{1, 2, 3}));
}

TEST(QuoteQueue, AnExtensionEndsSharing) {
  SlowTee tee;
  QuoteQueue queue(tee);
  {
    const Asking a(queue, 1);
    tee.started.acquire();
    ASSERT_TRUE(queue.extend_rtmr(3, {}));
    const Asking b(queue, 1);
    settle();
    tee.gate.release(2);
  }
  EXPECT_EQ(queue.made(), 2U);
}

TEST(QuoteQueue, EpochsReuseUntilTheyEndOrARegisterChanges) {
  SlowTee tee;
  QuoteQueue queue(tee);
  tee.gate.release(100);
  EXPECT_TRUE(queue.quote_in_epoch(nonce(1), 1));
  EXPECT_TRUE(queue.quote_in_epoch(nonce(1), 1));
  EXPECT_EQ(queue.made(), 1U);
  EXPECT_TRUE(queue.quote_in_epoch(nonce(1), 2));
  EXPECT_TRUE(queue.quote_in_epoch(nonce(2), 1));
  EXPECT_EQ(queue.made(), 3U);
  ASSERT_TRUE(queue.extend_rtmr(3, {}));
  EXPECT_TRUE(queue.quote_in_epoch(nonce(1), 1));
  EXPECT_EQ(queue.made(), 4U);
  for (std::uint8_t i = 0; i < limits::epoch_quotes; ++i) EXPECT_TRUE(queue.quote_in_epoch(nonce(100 + i), 1));
  const auto before = queue.made();
  EXPECT_TRUE(queue.quote_in_epoch(nonce(1), 1));  // forgotten: the memory is bounded
  EXPECT_EQ(queue.made(), before + 1);
}

TEST(QuoteQueue, ManyThreadsGetTheirOwnAnswers) {
  SlowTee tee;
  QuoteQueue queue(tee);
  tee.gate.release(4096);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (std::uint8_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (std::uint8_t i = 0; i < 50; ++i) {
        const auto v = static_cast<std::uint8_t>(t * 3 + i);
        if (queue.quote(nonce(v)).value_or(Bytes{}) != Bytes{v}) ++wrong;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace cairn::device
