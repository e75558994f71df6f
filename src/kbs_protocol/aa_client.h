// Client of the attestation agent's ttrpc service: for the data hub, the gateway and the CLI. spec/guest.md §2.4-2.5.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/secret.h"
#include "kbs_protocol/agent_api.h"
#include "kbs_protocol/limits.h"
#include "net/task.h"

namespace cairn::agent {

// Connects at the first call and again after a broken connection; calls run concurrently on one connection. Belongs
// to the loop it is first used on and must not outlive it. A blocking tool therefore makes it inside its task:
//
//   auto tee = net::run_to_end<std::string>([](net::Runtime&) -> net::Task<std::string> {
//     CAIRN_CO_TRY(auto client, agent::Client::at());
//     co_return co_await client.tee_type();
//   });
//
// Errors: unavailable (nobody listens; the message names the socket), timed_out, and for an error the agent answered
// its status as code (INTERNAL -> internal, UNIMPLEMENTED -> unsupported, INVALID_ARGUMENT -> invalid_argument) with
// its message. The agent keeps causes in its own log.
class Client {
 public:
  // "unix:///path" or a plain absolute path; anything else is invalid_argument.
  [[nodiscard]] static Result<Client> at(std::string_view address = default_address,
                                         net::Milliseconds timeout = kbs::limits::agent_timeout);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  [[nodiscard]] net::Task<std::string> tee_type();
  // Evidence JSON whose report data is `runtime_data` (at most 64 bytes) padded with zeros.
  [[nodiscard]] net::Task<std::string> evidence(Bytes runtime_data);
  // P2: JSON object text of tee -> evidence; "" where there are no devices or the agent does not know the method.
  [[nodiscard]] net::Task<std::string> additional_evidence(Bytes runtime_data);
  [[nodiscard]] net::Task<std::vector<std::string>> additional_tees();
  // "kbs": {"token","tee_keypair"} as JSON text, which holds a private key. "coco_as": the token.
  [[nodiscard]] net::Task<Secret> token(std::string type, std::optional<std::string> additional_data = std::nullopt);
  // `pcr`: a PCR number; the agent's init_pcr when absent.
  [[nodiscard]] net::Task<> extend(std::string domain, std::string operation, std::string content,
                                   std::optional<std::uint64_t> pcr = std::nullopt);
  [[nodiscard]] net::Task<> bind_init_data(Bytes digest);
  [[nodiscard]] const std::string& address() const;

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace cairn::agent
