// What an administrator asks of a Trustee, over HTTP: resources, policies, reference values, health. Works against any
// Trustee of profile A or B (reference values: through the gateway). spec/trustee.md §2, §3.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/secret.h"
#include "crypto/keys.h"
#include "net/http_client.h"

namespace cairn::cli {

struct AdminOptions {
  std::string url = "http://127.0.0.1:8081/api";  // with the gateway's prefix; a key broker's own address works too,
                                                  // but for reference values and health
  std::string extra_roots_pem;                    // trusted for https besides the system's
};

// Errors carry the server's words: unauthenticated (401), permission_denied (403), malformed (400), not_found,
// internal, unavailable. One loop.
class AdminClient {
 public:
  // `key`: the administrator's Ed25519 key; without one only health() and reference_values() succeed.
  AdminClient(AdminOptions options, std::optional<crypto::PrivateKey> key);

  [[nodiscard]] net::Task<> set_resource(std::string path, const Secret& bytes);  // "default/aliyun/key"
  [[nodiscard]] net::Task<> delete_resource(std::string path);
  [[nodiscard]] net::Task<Json> list_resources(std::string repository = {}, std::string type = {});

  [[nodiscard]] net::Task<> set_resource_policy(std::string text);
  [[nodiscard]] net::Task<std::string> resource_policy();
  [[nodiscard]] net::Task<> set_attestation_policy(std::string id, std::string text);
  [[nodiscard]] net::Task<std::string> attestation_policy(std::string id);
  [[nodiscard]] net::Task<> delete_attestation_policy(std::string id);
  [[nodiscard]] net::Task<Json> list_attestation_policies();  // id -> hash

  // {"name":[values…]}; `merge` adds to what a name has, otherwise it is replaced.
  [[nodiscard]] net::Task<> register_reference_values(Json values, bool merge);
  [[nodiscard]] net::Task<Json> reference_values();
  [[nodiscard]] net::Task<> delete_reference_value(std::string name);

  [[nodiscard]] net::Task<Json> health();  // the object of services-health

 private:
  [[nodiscard]] net::Task<std::string> ask(std::string method, std::string path, std::string body);

  AdminOptions options_;
  std::optional<crypto::PrivateKey> key_;
  net::HttpClient http_;
};

}  // namespace cairn::cli
