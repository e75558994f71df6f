// What the parts of the Trustee share as HTTP services: a request as data, paths, and administrators. No I/O.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/keys.h"
#include "net/http.h"
#include "trustee/pending.h"

namespace cairn::trustee {

// One request with its whole body. Parts answer it on a worker thread: they may compute and read files.
struct Call {
  const net::RequestHead& head;
  std::string_view path;  // what is left of the raw path for this part, e.g. "/attest"; never decoded
  std::string_view body;
  Time now;
  Pending* pending = nullptr;  // null: nothing is waited for any more

  [[nodiscard]] bool waits() const { return pending && !pending->empty(); }
};

// "/a//b/c/" -> {"a","b","c"}: empty segments are dropped. The segments are not decoded.
[[nodiscard]] std::vector<std::string_view> segments(std::string_view path);
// Takes the first segment off `path` (leading slashes dropped); what remains keeps its leading '/', or is empty.
[[nodiscard]] std::string_view take_segment(std::string_view& path);

// The member `name` of a JSON object body as text; nullopt where the body is not such an object.
[[nodiscard]] std::optional<std::string> text_member(const Json& object, std::string_view name);
// "Bearer <token>" of Authorization; "" where absent or of another scheme.
[[nodiscard]] std::string_view bearer(const net::RequestHead& head);

// Who may administer: holders of the Ed25519 key whose public half is configured, by short-lived JWTs (EdDSA) in
// "Authorization: Bearer". spec/trustee.md §3.10.
class Admin {
 public:
  explicit Admin(crypto::PublicKey key) : key_(std::move(key)) {}
  // unauthenticated with the text that the error's detail carries. Times that a token has are checked, with 60 s of
  // leeway; it must have `exp`.
  [[nodiscard]] Result<void> check(const net::RequestHead& head, Time now) const;

 private:
  crypto::PublicKey key_;
};
// 401 in the key broker's error form, which administrators' tools know from every part.
[[nodiscard]] net::Response admin_refused(const Error& error);
// A token for Admin::check, as kbs-client makes them.
[[nodiscard]] Result<std::string> admin_token(const crypto::PrivateKey& key, Time now,
                                              std::int64_t life_seconds = 7200);

}  // namespace cairn::trustee
