// Accepts connections and runs a coroutine for each, spread over the loops of a runtime.
#pragma once

#include <functional>
#include <list>
#include <memory>

#include "net/stream.h"

namespace cairn::net {

// Tells connections of one loop to finish: idle ones close now, the others after what is under way.
class Drain {
 public:
  void start();
  [[nodiscard]] bool started() const { return started_; }
  // Calls back at start() as long as the hook lives.
  class Hook {
   public:
    Hook(Drain* drain, std::function<void()> callback);  // drain may be nullptr
    ~Hook();
    Hook(const Hook&) = delete;
    Hook& operator=(const Hook&) = delete;

   private:
    Drain* drain_;
    std::list<std::function<void()>>::iterator at_;
  };

 private:
  bool started_ = false;
  std::list<std::function<void()>> hooks_;
};

class Acceptor {
 public:
  // One connection, until it ends. Lives on the connection's loop, like `drain`.
  using Serve = std::function<Task<>(StreamPtr, Drain& drain)>;

  explicit Acceptor(Runtime& runtime, std::size_t max_connections = limits::kConnections);
  ~Acceptor();  // after stop()
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // Binds and begins to accept; returns the address bound. Any thread, before stop(). Connections past the limit are
  // closed at once.
  [[nodiscard]] Result<Endpoint> listen(const Endpoint& endpoint, Serve serve, ListenOptions options = {});
  // Stops accepting, starts the drains, waits for at most `grace`, cancels the connections that are left.
  [[nodiscard]] Task<> stop(Milliseconds grace);
  [[nodiscard]] std::size_t connections() const;  // any thread

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::net
