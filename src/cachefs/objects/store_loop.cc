#include "cachefs/objects/store_loop.h"

#include "base/log.h"

namespace cairn::cachefs {

using net::Task;

namespace {
constexpr unsigned kCacheThreads = 2;  // that read and write the cache on disk
}

StoreLoop::StoreLoop() : runtime_({.loops = 1, .workers = kCacheThreads, .signals = false}), loop_(runtime_.loop(0)) {}

Result<std::unique_ptr<StoreLoop>> StoreLoop::start(const StoreTarget& target) {
  net::TlsOptions options;
  options.extra_roots_pem = target.extra_roots_pem;
  options.alpn = {"http/1.1"};
  CAIRN_TRY(const auto tls, net::TlsContext::client(std::move(options)));
  std::unique_ptr<StoreLoop> out(new StoreLoop);
  out->thread_ = std::thread([self = out.get(), &target, tls] {
    const auto end =
        self->runtime_.run([&](net::Runtime& runtime) -> Task<> { return self->main(runtime, target, tls); });
    if (!end && end.error().code != ErrorCode::cancelled) spdlog::error("store: {}", end.error().text());
  });
  return out;
}

StoreLoop::~StoreLoop() {
  runtime_.request_stop();
  thread_.join();
}

Task<> StoreLoop::main(net::Runtime& runtime, const StoreTarget& target, std::shared_ptr<const net::TlsContext> tls) {
  S3Client client(target, std::move(tls));
  net::TaskGroup group(co_await net::this_loop());
  client_ = &client;
  group_ = &group;
  (void)co_await runtime.stop_requested();
  group_ = nullptr;
  co_await group.stop();
  client_ = nullptr;
  co_return Result<>{};
}

void StoreLoop::spawn(Work work) {
  net::post(loop_, [this, work = std::move(work)] {
    if (group_ == nullptr) {
      // Not begun yet: in order behind the loop's main; or at its end.
      if (!runtime_.stopping()) spawn(work);
      return;
    }
    group_->spawn(work(*client_), "store");
  });
}

}  // namespace cairn::cachefs
