// The data hub: what its API means. The wire is in service.h, the one-shot commands in oneshot.h. spec/guest.md §9.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "base/secret.h"
#include "guest/cdh/api.h"
#include "guest/cdh/source.h"

namespace cairn::cdh {

struct HubOptions {
  bool accept_unsigned_secrets = false;
  std::filesystem::path data_folder{kDataFolder};  // sealed-secret/ below it holds signers' keys
};

// One loop. All references must outlive it; `evidence` is for resource injection only and may be nullptr.
class Hub {
 public:
  Hub(ResourceSource& source, kbs::EvidenceProvider* evidence, HubOptions options);

  // `uri`: a full KBS URI.
  [[nodiscard]] net::Task<Secret> resource(std::string uri);
  // Verifies the signature (unless unsigned ones are accepted), then opens: vault by the provider kbs. Other providers
  // are unsupported and named.
  [[nodiscard]] net::Task<Secret> unseal(std::string sealed);
  // An annotation packet (versions 1 and 2): the layer key, unwrapped with the resource `kid`.
  [[nodiscard]] net::Task<Secret> unwrap_annotation(std::string packet_json);
  // The key provider protocol around it: input JSON to output JSON. malformed is the caller's fault.
  [[nodiscard]] net::Task<Secret> unwrap_key(Bytes input_json);
  // Always unsupported: mounting needs rights this program does not take. The error says what to use instead.
  [[nodiscard]] Result<std::string> secure_mount(const api::SecureMountRequest& request) const;

  // Push model: a TEE key under evidence over the caller's nonce; then the resource, encrypted to that key, is written
  // below the data folder. Sessions are single use, limits::injection_sessions at a time.
  [[nodiscard]] net::Task<api::PrepareInjectionResponse> prepare_injection(api::PrepareInjectionRequest request);
  [[nodiscard]] Result<void> commit_injection(const api::CommitInjectionRequest& request);

  // Fetches and writes every credential, 0600; the first failure ends it.
  [[nodiscard]] net::Task<> fetch_credentials(std::vector<Credential> credentials);

 private:
  struct Injection {
    std::string path;
    kbs::TeeKey key;
    std::chrono::steady_clock::time_point expires;
  };
  [[nodiscard]] net::Task<> check_signature(const std::string& sealed);

  ResourceSource& source_;
  kbs::EvidenceProvider* evidence_;
  HubOptions options_;
  std::map<std::string, Injection> injections_;
};

}  // namespace cairn::cdh
