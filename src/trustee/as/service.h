// The attestation service: evidence in, token out. spec/trustee.md §4.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "trustee/as/authority.h"
#include "trustee/as/policies.h"
#include "trustee/as/request.h"
#include "trustee/as/token_broker.h"

namespace cairn::trustee::as {

enum class TokenKind {
  by_form,  // Simple for the old request form, EAR for the new one
  simple,
  ear,
};

struct ServiceOptions {
  std::filesystem::path folder;  // <data>/attestation-service
  TokenKind kind = TokenKind::by_form;
  TokenOptions token;
};

struct IssuedToken {
  std::string jwt;
  Json claims;
};

// Any thread; every call may take milliseconds.
class AttestationService {
 public:
  // Verifiers: the TEEs that are accepted. `references` must outlive this.
  [[nodiscard]] static Result<std::unique_ptr<AttestationService>> open(
      ServiceOptions options, std::vector<std::unique_ptr<TeeVerifier>> verifiers, const rvps::Store& references,
      Time now);

  // Refuses when it added to `pending`: what it needs first. Called again, it has no memory of that.
  [[nodiscard]] Outcome<IssuedToken> evaluate(const AttestationRequest& request, Time now, Pending* pending = nullptr);
  // {"nonce":…,"extra-params":{"jwt":…}}: a nonce that this service will know again for five minutes. §4.2.
  [[nodiscard]] Result<Json> challenge(Time now);

  [[nodiscard]] PolicyStore& policies() { return *policies_; }
  [[nodiscard]] Authority& authority() { return *authority_; }
  [[nodiscard]] std::vector<std::string> tees() const;

 private:
  AttestationService(ServiceOptions options, const rvps::Store& references)
      : options_(std::move(options)), data_(references) {}
  [[nodiscard]] Outcome<Appraised> appraise(const Evidence& evidence, Time now, Pending* pending);
  [[nodiscard]] Outcome<> check_challenge_token(const Json& runtime_claims, Time now);
  [[nodiscard]] Outcome<IssuedToken> issue(const std::vector<Appraised>& appraised, const AttestationRequest& request,
                                           Time now);
  [[nodiscard]] bool wants_ear(Form form) const;

  ServiceOptions options_;
  std::vector<std::unique_ptr<TeeVerifier>> verifiers_;
  PolicyData data_;
  std::unique_ptr<PolicyStore> policies_;
  std::unique_ptr<Authority> authority_;
  crypto::PrivateKey nonce_key_;
};

}  // namespace cairn::trustee::as
