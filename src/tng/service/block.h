// One ingress or egress block: its listener, its certificates, and its state on every loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/task.h"
#include "tng/acceptor.h"
#include "tng/config.h"
#include "tng/ratls/security.h"
#include "tng/status.h"

namespace cairn::tng {

class Block {
 public:
  virtual ~Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  [[nodiscard]] Result<void> listen();
  [[nodiscard]] net::Task<> prepare() { return security_->prepare(); }
  void start();
  [[nodiscard]] net::Task<> stop(net::Milliseconds grace);
  [[nodiscard]] std::string address() const { return status_->listen_address(); }

  // `config` must outlive the block.
  [[nodiscard]] static Result<std::unique_ptr<Block>> make(net::Runtime& runtime, const Ingress& config, Compat compat, BlockStatusPtr status);
  [[nodiscard]] static Result<std::unique_ptr<Block>> make(net::Runtime& runtime, const Egress& config, Compat compat, BlockStatusPtr status);

 protected:
  Block(net::Runtime& runtime, std::shared_ptr<Security> security, BlockStatusPtr status);
  [[nodiscard]] virtual net::Endpoint where() const = 0;
  [[nodiscard]] virtual net::Task<> serve(net::StreamPtr stream, std::size_t shard) = 0;
  virtual void drain(std::size_t shard) = 0;                        // on the shard's loop
  [[nodiscard]] virtual net::Task<> stop_shard(std::size_t shard) = 0;  // on the shard's loop, after its connections ended

  net::Runtime& runtime_;
  std::shared_ptr<Security> security_;
  BlockStatusPtr status_;

 private:
  Acceptor acceptor_;
  net::TaskGroup background_;
};

}  // namespace cairn::tng
