// The key broker: handshake, resources, policies, over HTTP below /kbs/v0. spec/trustee.md §3.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "trustee/api.h"
#include "trustee/as/service.h"
#include "trustee/kbs/resource_policy.h"
#include "trustee/kbs/resources.h"
#include "trustee/kbs/sessions.h"
#include "trustee/rvps/api.h"

namespace cairn::trustee::kbs {

struct Options {
  std::int64_t session_seconds = 300;
  token::Trust tokens;  // who signs tokens: this Trustee's own authority, and others by configuration
  std::vector<std::string> extra_teekey_paths;  // JSON pointers into the claims, looked at first
};

// Everything it needs is owned elsewhere and outlives it. Any thread.
class Api {
 public:
  Api(Options options, as::AttestationService& attestation, rvps::Api& references, const Admin& admin,
      Resources& resources, ResourcePolicy& policy);
  // `call.path` starts behind the prefix: "/auth".
  [[nodiscard]] net::Response handle(const Call& call);
  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }

 private:
  [[nodiscard]] net::Response auth(const Call& call);
  [[nodiscard]] net::Response attest(const Call& call);
  [[nodiscard]] net::Response attest_session(const Call& call, const Session& session);
  [[nodiscard]] net::Response resource(const Call& call, std::string_view name);
  [[nodiscard]] net::Response get_resource(const Call& call, const ResourceName& name);
  [[nodiscard]] net::Response list_resources();
  [[nodiscard]] net::Response resource_policy(const Call& call);
  [[nodiscard]] net::Response attestation_policy(const Call& call, std::string_view id);
  [[nodiscard]] net::Response attestation_policies();
  [[nodiscard]] net::Response administer(const Call& call, std::string_view operation, std::string_view argument);

  struct Client {
    std::shared_ptr<const AttestedToken> token;
    crypto::AnswerForm form;
  };
  [[nodiscard]] std::expected<Client, net::Response> client_of(const Call& call);
  [[nodiscard]] Result<std::shared_ptr<const AttestedToken>> verify_token(std::string_view jwt, Time now);
  // Remembers a token with what requests need of it.
  [[nodiscard]] Result<std::shared_ptr<const AttestedToken>> keep(std::string_view jwt, token::Verified verified);
  [[nodiscard]] Result<crypto::Jwk> tee_key(const token::Verified& token) const;

  Options options_;
  as::AttestationService* attestation_;
  rvps::Api* references_;
  const Admin* admin_;
  Resources* resources_;
  ResourcePolicy* policy_;
  Sessions sessions_;
  TokenCache tokens_;
};

}  // namespace cairn::trustee::kbs
