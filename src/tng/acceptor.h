// Accepts connections for one block and serves each on one of the process's loops.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "net/stream.h"
#include "tng/status.h"

namespace cairn::tng {

// Runs `task` on another loop and waits for it here.
[[nodiscard]] net::Task<> on_loop(net::Executor loop, net::Task<> task);

class Acceptor {
 public:
  // Serves one connection on the loop numbered `shard`; a returned error counts as a failed connection and is logged.
  using Serve = std::function<net::Task<>(net::StreamPtr, std::size_t shard)>;
  Acceptor(net::Runtime& runtime, BlockStatusPtr status, Serve serve);
  ~Acceptor();  // after stop()
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // Binds one more address, without accepting yet.
  [[nodiscard]] Result<net::Endpoint> listen(const net::Endpoint& endpoint, net::ListenOptions options = {});
  void start();  // on loop 0
  // No new connections; waits while the block is busy, for at most `grace`, then cuts what is left.
  [[nodiscard]] net::Task<> stop(net::Milliseconds grace);

 private:
  [[nodiscard]] net::Task<> accept_all(net::Listener& listener);
  [[nodiscard]] net::Task<> guarded(net::StreamPtr stream, std::size_t shard);
  net::Runtime& runtime_;
  BlockStatusPtr status_;
  Serve serve_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::size_t next_shard_ = 0;
  std::unique_ptr<net::TaskGroup> accepting_;
  std::vector<std::unique_ptr<net::TaskGroup>> shards_;
};

}  // namespace cairn::tng
