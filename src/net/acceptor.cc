#include "net/acceptor.h"

#include <atomic>
#include <boost/asio/post.hpp>

#include "base/log.h"

namespace cairn::net {

void Drain::start() {
  started_ = true;
  for (auto at = hooks_.begin(); at != hooks_.end();) (*at++)();
}
Drain::Hook::Hook(Drain* drain, std::function<void()> callback) : drain_(drain) {
  if (drain_ != nullptr) at_ = drain_->hooks_.insert(drain_->hooks_.end(), std::move(callback));
}
Drain::Hook::~Hook() {
  if (drain_ != nullptr) drain_->hooks_.erase(at_);
}

struct Acceptor::State {
  struct PerLoop {
    explicit PerLoop(const Executor& executor) : loop(executor), connections(executor) {}
    Executor loop;
    TaskGroup connections;
    Drain drain;
  };
  State(Runtime& r, std::size_t limit) : runtime(r), max_connections(limit), accepting(r.loop(0)) {
    for (std::size_t i = 0; i < r.loops(); ++i) loops.push_back(std::make_unique<PerLoop>(r.loop(i)));
  }
  Runtime& runtime;
  const std::size_t max_connections;
  std::vector<std::unique_ptr<PerLoop>> loops;
  std::atomic<std::size_t> connections{0};
  // On loop 0:
  TaskGroup accepting;
  std::vector<std::shared_ptr<Listener>> listeners;
  std::size_t next = 0;
  bool stopping = false;
};

namespace {

// Says on scope exit that a connection is over.
struct Counted {
  std::atomic<std::size_t>& count;
  explicit Counted(std::atomic<std::size_t>& c) : count(c) { ++count; }
  ~Counted() { --count; }
};

}  // namespace

Acceptor::Acceptor(Runtime& runtime, std::size_t max_connections)
    : state_(std::make_shared<State>(runtime, max_connections)) {}
Acceptor::~Acceptor() = default;
std::size_t Acceptor::connections() const { return state_->connections; }

Result<Endpoint> Acceptor::listen(const Endpoint& endpoint, Serve serve, ListenOptions options) {
  using StatePtr = std::shared_ptr<State>;
  using ServePtr = std::shared_ptr<const Serve>;
  CAIRN_TRY(auto made, Listener::listen(state_->runtime.loop(0), endpoint, options));
  const std::shared_ptr<Listener> listener = std::move(made);
  Endpoint bound = listener->local();
  const auto shared = std::make_shared<const Serve>(std::move(serve));

  static constexpr auto connection = [](StatePtr state, State::PerLoop& home, StreamPtr stream, ServePtr fn) -> Task<> {
    const Counted counted(state->connections);
    const auto result = co_await (*fn)(std::move(stream), home.drain);
    if (!result) spdlog::debug("connection: {}", printable(result.error().text()));
    co_return Result<>{};
  };
  static constexpr auto accept = [](StatePtr state, std::shared_ptr<Listener> source, ServePtr fn) -> Task<> {
    for (;;) {
      State::PerLoop& home = *state->loops[state->next++ % state->loops.size()];
      CAIRN_CO_TRY(StreamPtr stream, co_await source->accept(home.loop));
      if (state->connections >= state->max_connections) continue;  // closed
      asio::post(home.loop, [state, &home, fn, stream = std::move(stream)]() mutable {
        if (!home.drain.started()) home.connections.spawn(connection(state, home, std::move(stream), fn), "connection");
      });
    }
  };
  post(state_->runtime.loop(0), [state = state_, listener, shared] {
    if (state->stopping) return listener->close();
    state->listeners.push_back(listener);
    state->accepting.spawn(accept(state, listener, shared), "accept");
  });
  return bound;
}

Task<> Acceptor::stop(Milliseconds grace) {
  struct Stop {
    static Task<> accepting(std::shared_ptr<State> state) {
      state->stopping = true;
      for (const auto& listener : std::exchange(state->listeners, {})) listener->close();
      co_await state->accepting.stop();
      co_return Result<>{};
    }
    static Task<> one(std::shared_ptr<State> state, std::size_t index, Milliseconds limit) {
      State::PerLoop& home = *state->loops[index];
      home.drain.start();
      co_await home.connections.stop(limit);
      co_return Result<>{};
    }
    static Task<> from(std::shared_ptr<State> state, std::size_t index, Milliseconds limit) {
      if (index == state->loops.size()) co_return Result<>{};
      co_return co_await both(on_loop(state->loops[index]->loop, one(state, index, limit)),
                              from(state, index + 1, limit));
    }
  };
  const auto state = state_;
  CAIRN_CO_CHECK(co_await on_loop(state->runtime.loop(0), Stop::accepting(state)));
  co_return co_await Stop::from(state, 0, grace);
}

}  // namespace cairn::net
