// One call to the attestation agent from code without a loop.
#pragma once

#include <functional>
#include <string>

#include "kbs_protocol/aa_client.h"

namespace cairn::cli {

// The client lives inside the loop that the call runs on and ends before it.
template <class T>
[[nodiscard]] Result<T> ask_agent(const std::string& socket, std::function<net::Task<T>(agent::Client&)> call,
                                  net::Milliseconds timeout = kbs::limits::agent_timeout) {
  return net::run_to_end<T>([&](net::Runtime&) -> net::Task<T> {
    CAIRN_CO_TRY(auto client, agent::Client::at("unix://" + socket, timeout));
    co_return co_await call(client);
  });
}

[[nodiscard]] inline Result<std::string> agent_evidence(const std::string& socket, const Digest<48>& runtime_data) {
  return ask_agent<std::string>(
      socket, [&](agent::Client& client) { return client.evidence(Bytes(runtime_data.begin(), runtime_data.end())); });
}

}  // namespace cairn::cli
