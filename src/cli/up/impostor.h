// The machine in the middle of `--tamper mitm`: listens where the protected service should be, speaks the gateway's
// protocol, and shows either no evidence or evidence that belongs to another key.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"

namespace cairn::cli {

class Impostor {
 public:
  enum class Evidence { none, of_another_key };
  // `agent_socket`: where evidence for the other key is had. Serves in a thread of its own.
  [[nodiscard]] static Result<std::unique_ptr<Impostor>> start(std::uint16_t port, Evidence evidence,
                                                               const std::string& agent_socket);
  ~Impostor();
  Impostor(const Impostor&) = delete;
  Impostor& operator=(const Impostor&) = delete;

  // Clients that began a TLS handshake, and bytes of application data they sent: must stay 0.
  [[nodiscard]] std::uint64_t handshakes() const;
  [[nodiscard]] std::uint64_t received() const;

 private:
  struct State;
  explicit Impostor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace cairn::cli
