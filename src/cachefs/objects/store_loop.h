// The thread on which one process talks to a store: an event loop with a client in it, for callers that may block.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>

#include "cachefs/objects/s3_client.h"
#include "net/retry.h"

namespace cairn::cachefs {

class StoreLoop {
 public:
  // `target` outlives this.
  [[nodiscard]] static Result<std::unique_ptr<StoreLoop>> start(const StoreTarget& target);
  ~StoreLoop();  // cancels what is under way
  StoreLoop(const StoreLoop&) = delete;
  StoreLoop& operator=(const StoreLoop&) = delete;

  using Work = std::function<net::Task<>(S3Client&)>;
  // Starts it on the loop; any thread. Dropped, and destroyed, where the loop ends first.
  void spawn(Work work);
  // Runs it on the loop and waits for it; any thread but the loop's. What `work` refers to must outlive this call.
  template <class T>
  [[nodiscard]] Result<T> call(std::function<net::Task<T>(S3Client&)> work) {
    auto done = std::make_shared<std::promise<Result<T>>>();
    auto end = done->get_future();
    spawn([work = std::move(work), done](S3Client& client) { return run<T>(client, work, done); });
    done.reset();
    try {
      return end.get();
    } catch (const std::future_error&) {  // the loop ended first
      return fail(ErrorCode::cancelled, "stopped on request");
    }
  }
  // The same, tried again after transient failures, for `limit` at most.
  template <class T>
  [[nodiscard]] Result<T> call_again(net::Milliseconds limit, std::function<net::Task<T>(S3Client&)> work) {
    return call<T>([limit, work = std::move(work)](S3Client& client) { return again<T>(client, limit, work); });
  }
  [[nodiscard]] net::WorkerPool& workers() { return runtime_.workers(); }

  static constexpr net::RetryPolicy kRetry{
      .attempts = kStoreTries, .first = net::Milliseconds(100), .factor = 2, .most = kStoreHedgeMax, .jitter = 0.3};

 private:
  template <class T>
  static net::Task<> run(S3Client& client, std::function<net::Task<T>(S3Client&)> work,
                         std::shared_ptr<std::promise<Result<T>>> done) {
    done->set_value(co_await work(client));
    co_return Result<>{};
  }
  template <class T>
  static net::Task<T> again(S3Client& client, net::Milliseconds limit, std::function<net::Task<T>(S3Client&)> work) {
    std::function<net::Task<T>()> once = [&] { return work(client); };
    co_return co_await net::with_timeout(net::retry<T>(kRetry, std::move(once)), limit);
  }
  StoreLoop();
  [[nodiscard]] net::Task<> main(net::Runtime& runtime, const StoreTarget& target,
                                 std::shared_ptr<const net::TlsContext> tls);

  net::Runtime runtime_;
  net::Executor loop_;
  S3Client* client_ = nullptr;       // of the loop, as long as it runs
  net::TaskGroup* group_ = nullptr;  // likewise
  std::thread thread_;
};

}  // namespace cairn::cachefs
