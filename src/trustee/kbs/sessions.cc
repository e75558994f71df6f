#include "trustee/kbs/sessions.h"

#include "base/encoding.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "trustee/limits.h"

namespace cairn::trustee::kbs {
namespace {

constexpr std::int64_t kPurgeEvery = 60;

// UUID version 4 without dashes.
std::string new_id() {
  Bytes bytes = crypto::random_bytes(16);
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  return hex(bytes);
}

std::string key_of(std::string_view jwt) { return std::string(as_text(crypto::sha256(as_bytes(jwt)).view())); }

}  // namespace

void Sessions::purge(Time now) {
  if (now < next_purge_ && sessions_.size() < limits::kSessions) return;
  std::erase_if(sessions_, [&](const auto& entry) { return entry.second.expires <= now; });
  next_purge_ = now.plus(kPurgeEvery);
}

Result<Session> Sessions::begin(std::string tee, Protocol protocol, Time now) {
  Session session{new_id(), std::move(tee), base64(crypto::random_bytes(32)), protocol, now.plus(life_), nullptr};
  const std::scoped_lock lock(mutex_);
  purge(now);
  if (sessions_.size() >= limits::kSessions)
    return fail(ErrorCode::unavailable, "too many handshakes are under way; try again later");
  sessions_[session.id] = session;
  return session;
}

std::optional<Session> Sessions::find(const std::string& id, Time now) const {
  const std::scoped_lock lock(mutex_);
  const auto it = sessions_.find(id);
  if (it == sessions_.end() || it->second.expires <= now) return std::nullopt;
  return it->second;
}

bool Sessions::attested(const std::string& id, std::shared_ptr<const AttestedToken> token) {
  const std::scoped_lock lock(mutex_);
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return false;
  if (!it->second.token) it->second.token = std::move(token);
  return true;
}

std::size_t Sessions::size() const {
  const std::scoped_lock lock(mutex_);
  return sessions_.size();
}

std::shared_ptr<const AttestedToken> TokenCache::find(std::string_view jwt, Time now) const {
  const std::scoped_lock lock(mutex_);
  const auto it = tokens_.find(key_of(jwt));
  if (it == tokens_.end() || it->second->verified.expires <= now) return nullptr;
  return it->second;
}

void TokenCache::put(std::shared_ptr<const AttestedToken> token) {
  const std::scoped_lock lock(mutex_);
  if (tokens_.size() >= limits::kVerifiedTokens) tokens_.clear();
  tokens_[key_of(token->jwt)] = std::move(token);
}

}  // namespace cairn::trustee::kbs
