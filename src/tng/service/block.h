// One ingress or egress block: its listener, its certificates, and its state on every loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/task.h"
#include "tng/acceptor.h"
#include "tng/config.h"
#include "tng/netfilter/install.h"
#include "tng/ratls/security.h"
#include "tng/status.h"

namespace cairn::tng {

class Block {
 public:
  virtual ~Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Binds. Nothing is accepted yet; captured ports lead nowhere from here on.
  [[nodiscard]] net::Task<> listen();
  [[nodiscard]] net::Task<> prepare() { return security_->prepare(); }
  void start();
  [[nodiscard]] net::Task<> stop(net::Milliseconds grace);
  [[nodiscard]] std::string address() const { return status_->listen_address(); }

  // `config` must outlive the block.
  [[nodiscard]] static Result<std::unique_ptr<Block>> make(net::Runtime& runtime, const Ingress& config, Compat compat,
                                                           BlockStatusPtr status);
  [[nodiscard]] static Result<std::unique_ptr<Block>> make(net::Runtime& runtime, const Egress& config, Compat compat,
                                                           BlockStatusPtr status);

 protected:
  Block(net::Runtime& runtime, std::shared_ptr<Security> security, BlockStatusPtr status);
  [[nodiscard]] virtual Result<void> bind(Acceptor& acceptor) = 0;
  // Netfilter blocks: the rules to install once the port is known.
  [[nodiscard]] virtual std::optional<RuleSet> rules() const { return std::nullopt; }
  [[nodiscard]] virtual net::Task<> serve(net::StreamPtr stream, std::size_t shard) = 0;
  virtual void drain(std::size_t shard) = 0;  // on the shard's loop
  [[nodiscard]] virtual net::Task<> stop_shard(
      std::size_t shard) = 0;  // on the shard's loop, after its connections ended

  net::Runtime& runtime_;
  std::shared_ptr<Security> security_;
  BlockStatusPtr status_;

 private:
  Acceptor acceptor_;
  net::TaskGroup background_;
  std::shared_ptr<InstalledRules> installed_;
};

}  // namespace cairn::tng
