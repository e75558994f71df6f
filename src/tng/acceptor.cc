#include "tng/acceptor.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "tng/limits.h"

namespace cairn::tng {

net::Task<> on_loop(net::Executor loop, net::Task<> task) {
  co_return co_await net::asio::co_spawn(loop, std::move(task), net::asio::use_awaitable);
}

Acceptor::Acceptor(net::Runtime& runtime, BlockStatusPtr status, Serve serve)
    : runtime_(runtime), status_(std::move(status)), serve_(std::move(serve)) {
  for (std::size_t i = 0; i < runtime_.loops(); ++i)
    shards_.push_back(std::make_unique<net::TaskGroup>(runtime_.loop(i)));
  accepting_ = std::make_unique<net::TaskGroup>(runtime_.loop(0));
}
Acceptor::~Acceptor() = default;

Result<net::Endpoint> Acceptor::listen(const net::Endpoint& endpoint, net::ListenOptions options) {
  CAIRN_TRY(auto listener, net::Listener::listen(runtime_.loop(0), endpoint, options));
  listeners_.push_back(std::move(listener));
  if (listeners_.size() == 1) status_->listening(listeners_[0]->local().text());
  return listeners_.back()->local();
}

void Acceptor::start() {
  for (auto& listener : listeners_) accepting_->spawn(accept_all(*listener), "accept " + status_->name());
}

net::Task<> Acceptor::accept_all(net::Listener& listener) {
  for (;;) {
    const std::size_t shard = next_shard_++ % shards_.size();
    auto stream = co_await listener.accept(runtime_.loop(shard));
    if (!stream) {
      if (stream.error().code == ErrorCode::cancelled) co_return Result<>{};
      spdlog::error("{}: cannot accept any more: {}", status_->name(), stream.error().text());
      status_->ready = false;
      runtime_.request_stop();
      co_return fail(std::move(stream).error());
    }
    if (status_->active >= static_cast<std::int64_t>(limits::connections)) {
      ++status_->failed;
      continue;
    }
    ++status_->accepted;
    ++status_->active;
    // std::function must be copyable, a stream is not.
    auto holder = std::make_shared<net::StreamPtr>(*std::move(stream));
    net::post(runtime_.loop(shard),
              [this, holder, shard] { shards_[shard]->spawn(guarded(std::move(*holder), shard)); });
  }
}

net::Task<> Acceptor::guarded(net::StreamPtr stream, std::size_t shard) {
  struct Gone {
    BlockStatus& status;
    ~Gone() { --status.active; }
  } gone{*status_};
  const std::string peer = stream->peer().text();
  auto end = co_await serve_(std::move(stream), shard);
  if (!end && end.error().code != ErrorCode::cancelled) {
    ++status_->failed;
    spdlog::warn("{}: connection from {}: {}", status_->name(), peer, printable(end.error().text(), 512));
  }
  co_return Result<>{};
}

net::Task<> Acceptor::stop(net::Milliseconds grace) {
  for (auto& listener : listeners_) listener->close();
  const auto give_up = monotonic_ms() + grace.count();
  while (status_->busy > 0 && monotonic_ms() < give_up) CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(20)));
  co_await accepting_->stop();
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto task = [](net::TaskGroup& group) -> net::Task<> {
      co_await group.stop();
      co_return Result<>{};
    };
    CAIRN_CO_CHECK(co_await on_loop(runtime_.loop(i), task(*shards_[i])));
  }
  co_return Result<>{};
}

}  // namespace cairn::tng
