// Handshakes under way and attested clients, in memory. spec/trustee.md §3.2.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/error.h"
#include "kbs_protocol/token/token.h"
#include "policy/policy.h"

namespace cairn::trustee::kbs {

enum class Protocol { v0_1_0, v0_4_0 };

// A token whose signature and signer were checked once, with what each request needs of it.
struct AttestedToken {
  std::string jwt;
  token::Verified verified;
  policy::Document claims;      // the resource policy's input
  Result<crypto::Jwk> tee_key;  // what answers are encrypted to; not_found where the token names none
};

struct Session {
  std::string id;  // 32 hexadecimal digits
  std::string tee;
  std::string nonce;  // base64 of 32 random bytes
  Protocol protocol;
  Time expires;
  std::shared_ptr<const AttestedToken> token;  // null before attestation
};

// Any thread.
class Sessions {
 public:
  explicit Sessions(std::int64_t life_seconds) : life_(life_seconds) {}
  // unavailable while limits::kSessions are alive.
  [[nodiscard]] Result<Session> begin(std::string tee, Protocol protocol, Time now);
  // A copy; nullopt when unknown or expired.
  [[nodiscard]] std::optional<Session> find(const std::string& id, Time now) const;
  // Keeps the first token of a session. False when the session has gone meanwhile.
  bool attested(const std::string& id, std::shared_ptr<const AttestedToken> token);
  [[nodiscard]] std::size_t size() const;

 private:
  void purge(Time now);

  std::int64_t life_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Session> sessions_;
  Time next_purge_{};
};

// Tokens presented in headers, verified before: by hash of their text. Any thread.
class TokenCache {
 public:
  [[nodiscard]] std::shared_ptr<const AttestedToken> find(std::string_view jwt, Time now) const;  // null: verify it
  void put(std::shared_ptr<const AttestedToken> token);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const AttestedToken>> tokens_;  // key: SHA-256
};

}  // namespace cairn::trustee::kbs
