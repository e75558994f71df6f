// All blocks of one process: created from a Config, started together, stopped together.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "net/http_server.h"
#include "net/task.h"
#include "tng/config.h"
#include "tng/status.h"

namespace cairn::tng {

class Block;

class Gateway {
 public:
  // Reads the files the configuration names. Nothing is bound yet.
  [[nodiscard]] static Result<std::unique_ptr<Gateway>> create(net::Runtime& runtime, Config config);
  ~Gateway();  // after stop()
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Binds, obtains the first certificates, begins to serve. On loop 0. On an error stop() must still be called.
  [[nodiscard]] net::Task<> start();
  // Stops accepting, lets what is under way finish for limits::drain, cuts the rest.
  [[nodiscard]] net::Task<> stop();

  [[nodiscard]] const Status& status() const { return status_; }
  // Where block number `id` listens, "host:port"; after start().
  [[nodiscard]] std::string ingress_address(std::size_t id) const;
  [[nodiscard]] std::string egress_address(std::size_t id) const;
  [[nodiscard]] std::string control_address() const { return control_address_; }

 private:
  Gateway(net::Runtime& runtime, Config config);
  [[nodiscard]] Result<void> start_control();

  net::Runtime& runtime_;
  const Config config_;
  Status status_;
  std::vector<std::unique_ptr<Block>> ingress_, egress_;
  std::unique_ptr<net::HttpServer> control_;
  std::string control_address_;
  Fd namespace_claim_;  // netfilter blocks: one gateway for each network namespace
};

// `tng launch`: starts, serves until a stop is requested, stops. An error if a block failed.
[[nodiscard]] net::Task<> run_gateway(net::Runtime& runtime, Config config);

}  // namespace cairn::tng
