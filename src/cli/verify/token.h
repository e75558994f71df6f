// Tokens as `cairn verify` judges them: an attestation service's (Simple, EAR) and NVIDIA's remote one (NRAS).
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "evidence/tdx/policy.h"
#include "kbs_protocol/token/token.h"

namespace cairn::cli {

struct TokenText {
  std::string jwt;  // compact, of an attestation service
  Json bundle;      // or an NRAS answer: [["JWT", overall], {"GPU-0": jwt, ...}]
};
// A token, alone or as the key broker hands it out ({"token": jwt}); nullopt where `bytes` are something else.
[[nodiscard]] std::optional<TokenText> find_token(ByteView bytes);

// Certificates (PEM) of authorities, or a key set (JWKS); each file is one of them.
[[nodiscard]] Result<token::Trust> read_token_trust(const std::vector<std::filesystem::path>& files);

struct TokenJudgement {
  std::string form;  // "Simple token", "EAR", "NRAS token"
  // Why the token proves nothing: "signer", "signature", "exp", ...; empty: signature, signer and times hold, and what
  // follows is what the signer says.
  std::string failure, detail;
  std::string signer, issuer;
  Time issued{}, expires{};
  bool simulated = false;
  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<std::string> checked;    // what was recomputed from the token's claims, and holds
  std::vector<tdx::Finding> findings;  // what the token, or the caller's policy, refuses
  Json claims;
  [[nodiscard]] bool affirming() const { return failure.empty() && findings.empty(); }
};
// Of `policy` the registers, the report data (for NRAS: its first 32 bytes are the nonce) and allow_simulated count:
// the rest is what the token's issuer appraised.
[[nodiscard]] TokenJudgement judge_token(const TokenText& token, const token::Trust& trust, const tdx::Policy& policy,
                                         Time at);

void print(std::ostream& out, const std::string& file, const TokenJudgement& judgement, Time at);
[[nodiscard]] Json to_json(const std::string& file, const TokenJudgement& judgement, Time at);

}  // namespace cairn::cli
