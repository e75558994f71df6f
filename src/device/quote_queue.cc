#include "device/quote_queue.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "device/limits.h"

namespace cairn::device {

struct QuoteQueue::State {
  struct Request {
    ReportData data;
    std::uint64_t generation;
    std::size_t waiters = 0;
    std::optional<Result<Bytes>> result;
  };
  struct Remembered {
    ReportData data;
    std::uint64_t epoch, generation;
    Bytes quote;
  };
  using Shared = std::shared_ptr<Request>;

  explicit State(Tee& t) : tee(t) {}

  // The request to wait for: one that answers the same question, or a new one at the end of the queue.
  Result<Shared> join(const ReportData& data) {
    const auto same =
        std::ranges::find_if(queue, [&](const Shared& r) { return r->data == data && r->generation == generation; });
    if (same != queue.end()) return *same;
    if (queue.size() >= limits::waiting_quotes)
      return fail(ErrorCode::unavailable, "too many quotes are asked for at once; try again later");
    queue.push_back(
        std::make_shared<Request>(Request{.data = data, .generation = generation, .waiters = 0, .result = {}}));
    return queue.back();
  }

  // Makes the quote at the head of the queue; the lock is released meanwhile.
  void serve(std::unique_lock<std::mutex>& lock, const Shared& request) {
    running = true;
    lock.unlock();
    auto result = tee.quote(request->data);
    lock.lock();
    ++made;
    running = false;
    request->result = std::move(result);
    queue.pop_front();
    changed.notify_all();
  }

  void leave(const Shared& request) {
    // A request that nobody waits for and nobody serves need not be made.
    if (--request->waiters == 0 && !(running && queue.front() == request)) std::erase(queue, request);
    changed.notify_all();
  }

  Tee& tee;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Shared> queue;  // the head is being served while `running`
  bool running = false;
  std::uint64_t generation = 0;  // grows with every extension
  std::uint64_t made = 0;
  std::deque<Remembered> remembered;
};

QuoteQueue::QuoteQueue(Tee& tee) : state_(std::make_unique<State>(tee)) {}
QuoteQueue::~QuoteQueue() = default;

std::string_view QuoteQueue::type() const { return state_->tee.type(); }
bool QuoteQueue::simulated() const { return state_->tee.simulated(); }
std::string QuoteQueue::description() const { return state_->tee.description(); }
Result<Digest<48>> QuoteQueue::read_rtmr(unsigned index) { return state_->tee.read_rtmr(index); }
Result<Bytes> QuoteQueue::ccel() { return state_->tee.ccel(); }
Result<Digest<48>> QuoteQueue::mr_config_id() { return state_->tee.mr_config_id(); }

Result<Bytes> QuoteQueue::quote(const ReportData& report_data) {
  std::unique_lock lock(state_->mutex);
  const auto deadline = std::chrono::steady_clock::now() + limits::quote_deadline;
  CAIRN_TRY(const auto request, state_->join(report_data));
  ++request->waiters;
  while (!request->result) {
    if (!state_->running && state_->queue.front() == request) {
      state_->serve(lock, request);
    } else if (state_->changed.wait_until(lock, deadline) == std::cv_status::timeout && !request->result) {
      state_->leave(request);
      return fail(ErrorCode::timed_out, "no quote within the time allowed: the machine makes few per second");
    }
  }
  --request->waiters;
  return *request->result;
}

Result<Bytes> QuoteQueue::quote_in_epoch(const ReportData& report_data, std::uint64_t epoch) {
  std::uint64_t generation = 0;
  {
    const std::lock_guard lock(state_->mutex);
    generation = state_->generation;
    for (const auto& r : state_->remembered)
      if (r.data == report_data && r.epoch == epoch && r.generation == generation) return r.quote;
  }
  CAIRN_TRY(auto made, quote(report_data));
  const std::lock_guard lock(state_->mutex);
  state_->remembered.push_back({report_data, epoch, generation, made});
  if (state_->remembered.size() > limits::epoch_quotes) state_->remembered.pop_front();
  return made;
}

Result<void> QuoteQueue::extend_rtmr(unsigned index, const Digest<48>& value) {
  auto done = state_->tee.extend_rtmr(index, value);
  // Even a failed extension may have happened: nothing made before it is shared with what is asked after it.
  const std::lock_guard lock(state_->mutex);
  ++state_->generation;
  return done;
}

std::uint64_t QuoteQueue::made() const {
  const std::lock_guard lock(state_->mutex);
  return state_->made;
}

}  // namespace cairn::device
