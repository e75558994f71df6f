// The HTTP proxy in front of the tunnel (spec/tng.md §6.1): CONNECT and ordinary requests, HTTP/1.1 and h2c.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "net/http_client.h"
#include "net/http_server.h"
#include "tng/ingress/ingress.h"

namespace cairn::tng {

class HttpProxy {  // one loop
 public:
  explicit HttpProxy(IngressShard& shard);
  ~HttpProxy();
  HttpProxy(const HttpProxy&) = delete;
  HttpProxy& operator=(const HttpProxy&) = delete;

  [[nodiscard]] net::Task<> serve(net::StreamPtr stream);
  void drain() { drain_.start(); }
  void close_idle() { idle_.clear(); }

 private:
  struct Target {
    net::Endpoint to;
    std::string authority;
    Route how;
    [[nodiscard]] std::string key(std::string_view path) const {
      return to.text() + " " + authority + " " + std::string(path);
    }
  };
  struct Idle {
    std::unique_ptr<net::Http1Connection> connection;
    std::int64_t since_ms;
  };
  [[nodiscard]] net::Task<> handle(net::Exchange& exchange);
  [[nodiscard]] net::Task<> connect(net::Exchange& exchange);
  [[nodiscard]] net::Task<> request(net::Exchange& exchange);
  [[nodiscard]] Result<Target> target(const net::RequestHead& head) const;
  [[nodiscard]] std::optional<net::Response> refusal(const net::Exchange& exchange) const;
  [[nodiscard]] std::unique_ptr<net::Http1Connection> take_idle(const std::string& key, bool repeatable);
  void keep(const std::string& key, std::unique_ptr<net::Http1Connection> connection);

  IngressShard& shard_;
  const HttpProxyIngress& config_;
  std::string authorization_;  // the header value that proxy_auth asks for
  net::Drain drain_;
  std::map<std::string, std::deque<Idle>> idle_;  // tunnel streams whose last exchange ended cleanly
  std::size_t idle_count_ = 0;
};

}  // namespace cairn::tng
