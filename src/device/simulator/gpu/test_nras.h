// NVIDIA's remote service as tests meet it: evidence is judged by the local verifier with the simulator's documents,
// and the verdict is signed with keys made here.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/encoding.h"
#include "crypto/hash.h"
#include "crypto/jose.h"
#include "device/simulator/gpu/gpu_simulator.h"
#include "evidence/nvidia/claims.h"

namespace cairn::device {

class TestNras {
 public:
  explicit TestNras(const GpuSimulator& machine) : machine_(&machine) { rotate(); }

  // A new key under a new id, as the service makes every two days.
  void rotate() {
    key = crypto::PrivateKey::generate(crypto::KeyType::ec_p384).value();
    kid = "nv-eat-kid-test-" + std::to_string(++rotations_);
  }
  [[nodiscard]] Json jwks() const {
    Json one = crypto::emit_jwk(key.public_key(), "");
    one["kid"] = kid;
    return {{"keys", Json::array({std::move(one)})}};
  }
  // The answer to a request, as text.
  [[nodiscard]] std::string answer(std::string_view body, Time now) const {
    const Json request = parse_json(body).value();
    const nvidia::Evidence evidence = nvidia::parse_evidence(request).value();
    nvidia::Policy policy;
    policy.allow_simulated = true;
    nvidia::Verifier verifier(machine_->roots());
    const nvidia::Verdict verdict =
        verifier.verify(evidence, machine_->collateral(now).value(), {.time = now, .nonce = evidence.nonce}, policy);
    Json tokens = Json::object(), submods = Json::object();
    bool all = true;
    for (const auto& device : verdict.devices) {
      all &= device.verified();
      Json claims = stamped(request.at("nonce"), now);
      if (device.authentic)
        claims.update(nvidia::device_claims(device));
      else
        claims["x-nvidia-error-details"] = {{"code", 4010}, {"message", "refused"}};
      for (const char* own : {"verified", "errors", "simulated", "fwid", "x-cairn-test-roots"}) claims.erase(own);
      if (change_device) change_device(claims);
      const std::string jwt = sign(claims);
      tokens[device.label] = jwt;
      submods[device.label] = {"DIGEST", {"SHA-256", hex(crypto::sha256(as_bytes(jwt)).view())}};
    }
    Json overall = stamped(request.at("nonce"), now);
    overall["sub"] = "NVIDIA-PLATFORM-ATTESTATION";
    overall["x-nvidia-overall-att-result"] = all;
    overall["submods"] = std::move(submods);
    if (change_overall) change_overall(overall);
    Json out = {{"JWT", sign(overall)}, std::move(tokens)};
    if (change_answer) change_answer(out);
    return compact_json(out);
  }
  [[nodiscard]] std::string sign(const Json& claims) const {
    return crypto::sign_jws({{"kid", kid}}, as_bytes(compact_json(claims)), key, crypto::JwsAlg::es384).value();
  }

  crypto::PrivateKey key;
  std::string kid, issuer = "https://nras.attestation.nvidia.com";
  std::function<void(Json&)> change_device, change_overall, change_answer;

 private:
  [[nodiscard]] Json stamped(const Json& nonce, Time now) const {
    return {{"iss", issuer},           {"eat_nonce", nonce},        {"iat", now.seconds},
            {"nbf", now.seconds - 60}, {"exp", now.seconds + 3600}, {"jti", "test"}};
  }
  const GpuSimulator* machine_;
  unsigned rotations_ = 0;
};

}  // namespace cairn::device
