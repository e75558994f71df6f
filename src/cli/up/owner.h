// What the model's owner does with the trustee: stores the key, registers what the machine must be.
#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/secret.h"
#include "cli/up/session.h"
#include "net/http.h"

namespace cairn::cli {

// Over the trustee's HTTP API, signed with the owner's admin key.
[[nodiscard]] Result<void> store_key(Session& session, std::string_view path, const Secret& key);
[[nodiscard]] bool key_is_stored(const Session& session, std::string_view path);
// name -> accepted values, replacing what was registered under these names.
[[nodiscard]] Result<void> register_references(Session& session, const Json& values);
[[nodiscard]] Result<Json> registered_references(Session& session);

// Configuration of a trustee that trusts this session's simulator: its root is named there and nowhere else.
[[nodiscard]] Result<std::filesystem::path> simulated_trust(Session& session);

// One request to a local service, whole; blocks.
[[nodiscard]] Result<net::Response> http(std::string method, std::string url, std::string body = {},
                                         net::Headers headers = {}, std::int64_t timeout_ms = 10'000);

}  // namespace cairn::cli
