// The HTTP face of agent and data hub for workloads beside them: api-server-rest (P1) and its fork (P2), exactly as
// their clients know it, including what is odd about it. spec/guest.md §3.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/secret.h"
#include "guest/cdh/api.h"
#include "kbs_protocol/rcar.h"
#include "net/http.h"
#include "net/task.h"

namespace cairn::rest {

// What is behind the façade. One loop.
class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual net::Task<std::string> tee_type() = 0;
  [[nodiscard]] virtual net::Task<std::vector<std::string>> additional_tees() = 0;
  [[nodiscard]] virtual net::Task<std::string> evidence(Bytes runtime_data) = 0;
  [[nodiscard]] virtual net::Task<std::string> additional_evidence(Bytes runtime_data) = 0;
  [[nodiscard]] virtual net::Task<Secret> token(std::string type) = 0;
  [[nodiscard]] virtual net::Task<> extend(std::string domain, std::string operation, std::string content,
                                           std::optional<std::uint64_t> pcr) = 0;
  [[nodiscard]] virtual net::Task<Secret> resource(std::string uri) = 0;
  [[nodiscard]] virtual net::Task<cdh::api::PrepareInjectionResponse> prepare_injection(
      cdh::api::PrepareInjectionRequest) = 0;
  [[nodiscard]] virtual net::Task<> commit_injection(cdh::api::CommitInjectionRequest) = 0;
};

struct Rules {
  kbs::Profile profile = kbs::Profile::p1;
  bool aa = false;                // serve /aa
  bool cdh = true;                // serve /cdh
  bool remote_evidence = false;   // P2: evidence to other machines
  bool remote_injection = false;  // P2: resource injection from other machines
  std::string version = {};       // for /info
};

struct Request {
  std::string method = {};
  std::string path = {};   // raw, before '?'
  std::string query = {};  // raw, after '?'
  std::string body = {};
  bool loopback = true;  // the peer is this machine
};

// Never fails: every outcome is a response. Bodies with secrets are wiped by the caller after they were sent.
[[nodiscard]] net::asio::awaitable<net::Response> answer(const Request& request, const Rules& rules, Backend& backend);

// 127.0.0.0/8, ::1 and ::ffff:127.0.0.0/104.
[[nodiscard]] bool is_loopback(std::string_view host);

}  // namespace cairn::rest
