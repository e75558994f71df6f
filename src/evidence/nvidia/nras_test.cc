// The remote service's word on simulated machines, and every way in which it is not taken.
#include "evidence/nvidia/nras.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "device/simulator/gpu/test_nras.h"

namespace cairn::nvidia {
namespace {

constexpr Time kNrasAt{1795305600};  // 2026-11-22

struct Remotely {
  explicit Remotely(const device::GpuMachine& machine = {})
      : simulator(device::GpuSimulator::make(machine, kNrasAt).value()) {
    nonce.fill(0xAA);
    policy.allow_simulated = true;
    evidence = simulator.evidence(nonce).value();
  }
  [[nodiscard]] Verdict judged(const Remote& remote) const {
    return Verifier(simulator.roots()).verify_remote(evidence, remote, {.time = at, .nonce = nonce}, policy);
  }
  [[nodiscard]] std::vector<NrasRequest> requests() const { return nras_requests(evidence, judged({})); }
  [[nodiscard]] Result<NrasAnswer> answer(const NrasRequest& request) const {
    const Json json = parse_json(nras.answer(request.body, made)).value();
    return verify_nras(json, crypto::parse_jwk_set(nras.jwks()).value(), kNrasIssuer, at);
  }
  // All requests answered and taken.
  [[nodiscard]] Verdict verdict() const {
    Remote remote;
    for (const auto& request : requests()) {
      const auto said = answer(request);
      EXPECT_TRUE(said) << said.error().text();
      const bool taken = said && take_nras(request, *said, remote);
      EXPECT_TRUE(taken);
    }
    return judged(remote);
  }
  // The one failure of the first device; "" if it is verified.
  [[nodiscard]] std::string outcome() const {
    const Verdict v = verdict();
    if (v.affirming()) return "";
    return v.devices.at(0).findings.empty() ? "set" : std::string(name(v.devices[0].findings[0].failure));
  }
  // Where the tokens themselves are refused.
  [[nodiscard]] std::string refused() const {
    const auto said = answer(requests().at(0));
    return said ? "" : said.error().where;
  }

  device::GpuSimulator simulator;
  device::TestNras nras{simulator};
  Evidence evidence;
  Policy policy;
  Nonce nonce{};
  Time at = kNrasAt, made = kNrasAt;
};

TEST(NrasVerdict, SoundMachinesAreAffirmedOnItsWord) {
  for (const device::GpuMachine& machine :
       {device::GpuMachine{}, device::GpuMachine{.gpus = 8}, device::GpuMachine{.ppcie = true}}) {
    const Remotely r(machine);
    const Verdict v = r.verdict();
    EXPECT_TRUE(v.affirming()) << v.result().error().text();
    EXPECT_EQ(v.ppcie, machine.ppcie);
    EXPECT_TRUE(v.simulated);
    const Json claims = device_claims(v.devices.back());
    EXPECT_EQ(claims.at("measres"), "success");
    EXPECT_EQ(claims.at("x-cairn-verifier"), "NRAS");
    EXPECT_EQ(claims.at("verified"), true);
  }
  EXPECT_EQ(Remotely({.ppcie = true}).requests().size(), 2U) << "GPUs and switches apart";
}

TEST(NrasVerdict, RequestsAreOfTheServicesForm) {
  const Remotely r({.gpus = 2});
  const auto requests = r.requests();
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].path, "/gpu");
  const Json body = parse_json(requests[0].body).value();
  EXPECT_EQ(body.at("arch"), "HOPPER");
  EXPECT_EQ(body.at("nonce"), hex(r.nonce));
  EXPECT_EQ(body.at("claims_version"), "3.0");
  EXPECT_EQ(body.at("evidence_list").size(), 2U);
  const Evidence read = parse_evidence(body).value();
  EXPECT_EQ(read.devices[1].report, r.evidence.devices[1].report);
  EXPECT_EQ(read.devices[1].certificate, r.evidence.devices[1].certificate);
}

TEST(NrasVerdict, WhatIsNotAuthenticHereIsNotAskedAbout) {
  using device::GpuScenario;
  for (const GpuScenario s : {GpuScenario::report_flip, GpuScenario::report_replay, GpuScenario::chain_other_root,
                              GpuScenario::fwid_other, GpuScenario::leaf_expired}) {
    Remotely r({.gpus = 2, .scenario = s});
    EXPECT_TRUE(r.requests().empty()) << device::name(s);
    const Verdict v = r.judged({});
    EXPECT_FALSE(v.devices[0].authentic) << device::name(s);
    EXPECT_FALSE(v.affirming());
  }
  const Verdict unasked = Remotely().judged({});
  EXPECT_EQ(unasked.devices.at(0).findings.at(0).failure, Failure::remote_token);
}

TEST(NrasVerdict, WhatTheServiceRefusesIsRefused) {
  using device::GpuScenario;
  for (const GpuScenario s : {GpuScenario::vbios_changed, GpuScenario::driver_changed, GpuScenario::rim_revoked,
                              GpuScenario::rim_missing, GpuScenario::device_revoked, GpuScenario::rim_expired})
    EXPECT_EQ(Remotely({.scenario = s}).outcome(), "RemoteRefused") << device::name(s);
  // The set and the policy are judged here.
  EXPECT_EQ(Remotely({.gpus = 2, .scenario = GpuScenario::device_twice}).outcome(), "set");
  Remotely r;
  r.policy.allow_simulated = false;
  EXPECT_EQ(r.outcome(), "Simulated");
  r.policy.allow_simulated = true;
  r.policy.min_driver = "999";
  EXPECT_EQ(r.outcome(), "DriverTooOld");
}

TEST(NrasVerdict, EveryClaimCounts) {
  const auto with = [](std::function<void(Json&)> change, bool ocsp = true) {
    Remotely r;
    r.policy.require_ocsp = ocsp;
    r.nras.change_device = std::move(change);
    return r.outcome();
  };
  const auto set = [&](const char* name, Json value) { return with([name, value](Json& c) { c[name] = value; }); };
  EXPECT_EQ(with({}), "");
  EXPECT_EQ(set("ueid", "1"), "RemoteToken");
  EXPECT_EQ(set("x-nvidia-gpu-driver-version", "550.144.04"), "RemoteToken");
  EXPECT_EQ(set("x-nvidia-gpu-vbios-version", "96.00.9F.00.02"), "RemoteToken");
  EXPECT_EQ(set("x-nvidia-gpu-vbios-version", "96.00.9f.00.01"), "") << "letters of either case";
  EXPECT_EQ(with([](Json& c) { c.erase("ueid"); }), "RemoteToken");
  EXPECT_EQ(set("measres", "fail"), "RemoteRefused");
  EXPECT_EQ(set("measres", nullptr), "RemoteRefused");
  EXPECT_EQ(set("secboot", nullptr), "RemoteRefused");
  EXPECT_EQ(set("dbgstat", "enabled"), "RemoteRefused");
  EXPECT_EQ(set("x-nvidia-error-details", {{"code", 4010}}), "RemoteRefused");
  EXPECT_EQ(set("x-nvidia-gpu-driver-rim-signature-verified", false), "RemoteRefused");
  EXPECT_EQ(set("x-nvidia-of-a-version-to-come", false), "RemoteRefused");
  EXPECT_EQ(with([](Json& c) { c.erase("x-nvidia-gpu-attestation-report-nonce-match"); }), "RemoteRefused");
  const auto chain = [](const char* member, const char* value) {
    return [member, value](Json& c) { c["x-nvidia-gpu-vbios-rim-cert-chain"][member] = value; };
  };
  EXPECT_EQ(with(chain("x-nvidia-cert-status", "expired")), "RemoteRefused");
  EXPECT_EQ(with(chain("x-nvidia-cert-ocsp-status", "unknown")), "RemoteRefused");
  EXPECT_EQ(with(chain("x-nvidia-cert-ocsp-status", "unknown"), false), "");
  EXPECT_EQ(with(chain("x-nvidia-cert-ocsp-status", "revoked"), false), "RemoteRefused");
  EXPECT_EQ(set("x-nvidia-gpu-vbios-rim-cert-chain", nullptr), "RemoteRefused");
  Remotely whole;
  whole.nras.change_overall = [](Json& c) { c["x-nvidia-overall-att-result"] = false; };
  EXPECT_EQ(whole.outcome(), "RemoteRefused");
}

TEST(NrasVerdict, TokensEndAndAreOfTheirDevices) {
  Remotely r({.gpus = 2});
  Remote remote;
  const auto request = r.requests().at(0);
  const NrasAnswer said = r.answer(request).value();
  EXPECT_EQ(said.expires.seconds, kNrasAt.seconds + 3600);
  EXPECT_EQ(said.issued, kNrasAt);
  ASSERT_TRUE(take_nras(request, said, remote));
  EXPECT_TRUE(r.judged(remote).affirming());
  std::swap(remote.at(0), remote.at(1));
  EXPECT_EQ(r.judged(remote).devices[0].findings.at(0).failure, Failure::remote_token);
  std::swap(remote.at(0), remote.at(1));
  r.at = kNrasAt.plus(3600);
  EXPECT_EQ(r.judged(remote).devices[0].findings.at(0).failure, Failure::remote_token);
  r.at = kNrasAt;
  remote.erase(1);
  EXPECT_EQ(r.judged(remote).devices[1].findings.at(0).failure, Failure::remote_token) << "one was not answered";
  NrasAnswer fewer = said;
  fewer.devices.erase("GPU-1");
  EXPECT_EQ(take_nras(request, fewer, remote).error().where, "submods");
  fewer.devices["GPU-7"] = said.devices.at("GPU-1");
  EXPECT_EQ(take_nras(request, fewer, remote).error().where, "submods");
}

// nvidia-gpu §8.4.
TEST(Checklist, Item22_TokensOfTheRemoteService) {
  const auto with = [](std::function<void(Remotely&)> change) {
    Remotely r;
    change(r);
    return r.refused();
  };
  EXPECT_EQ(with([](Remotely&) {}), "");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_overall = [](Json& c) { c.erase("iss"); }; }), "iss");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_device = [](Json& c) { c.erase("iss"); }; }), "iss");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_overall = [](Json& c) { c.erase("exp"); }; }), "exp");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_device = [](Json& c) { c.erase("exp"); }; }), "exp");
  EXPECT_EQ(with([](Remotely& r) { r.at = r.at.plus(3661); }), "exp");
  EXPECT_EQ(with([](Remotely& r) { r.at = r.at.plus(-121); }), "nbf");
  EXPECT_EQ(with([](Remotely& r) { r.at = r.at.plus(-61); }), "iat");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_overall = [](Json& c) { c.erase("submods"); }; }), "submods");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_overall = [](Json& c) { c["submods"] = Json::object(); }; }),
            "submods");
  EXPECT_EQ(with([](Remotely& r) {
              r.nras.change_overall = [](Json& c) { c["submods"]["GPU-0"][1][1] = std::string(64, '0'); };
            }),
            "submods");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_overall = [](Json& c) { c["submods"]["GPU-0"][1][0] = "MD5"; }; }),
            "submods");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_answer = [](Json& a) { a[1].erase("GPU-0"); }; }), "token");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_device = [](Json& c) { c["eat_nonce"] = std::string(64, '0'); }; }),
            "eat_nonce");
  EXPECT_EQ(with([](Remotely& r) { r.nras.change_overall = [](Json& c) { c["eat_nonce"] = "00"; }; }), "eat_nonce");
  // One nonce in all of them, in capitals: the same nonce.
  const auto capitals = [](Json& c) { c["eat_nonce"] = std::string(64, 'A'); };
  EXPECT_EQ(with([&](Remotely& r) { r.nras.change_device = capitals; }), "");
  // A nonce of another request is found where the device is judged.
  Remotely other;
  const auto request = other.requests().at(0);
  other.nras.change_device = other.nras.change_overall = [](Json& c) { c["eat_nonce"] = std::string(64, 'f'); };
  Remote remote;
  ASSERT_TRUE(take_nras(request, other.answer(request).value(), remote));
  EXPECT_EQ(other.judged(remote).devices[0].findings.at(0).failure, Failure::remote_token);
}

TEST(Checklist, Item22_AlgorithmsAndKeysOfTheRemoteService) {
  Remotely r;
  const std::string body = r.requests().at(0).body;
  const auto keys = crypto::parse_jwk_set(r.nras.jwks()).value();
  const Json good = parse_json(r.nras.answer(body, kNrasAt)).value();
  const auto refused = [&](const Json& answer, const std::vector<crypto::Jwk>& with) {
    const auto read = verify_nras(answer, with, kNrasIssuer, kNrasAt);
    return read ? std::string() : read.error().where;
  };
  EXPECT_EQ(refused(good, keys), "");
  // Another algorithm, whatever the header says.
  for (const char* header : {R"({"alg":"none","kid":")", R"({"alg":"HS256","kid":")"}) {
    Json answer = good;
    const std::string jwt = answer[0][1];
    const std::string text = header + r.nras.kid + "\"}";
    answer[0][1] = base64url(as_bytes(text)) + jwt.substr(jwt.find('.'));
    const auto read = verify_nras(answer, keys, kNrasIssuer, kNrasAt);
    EXPECT_FALSE(read) << header;
  }
  const auto p256 = crypto::PrivateKey::generate(crypto::KeyType::ec_p256).value();
  Json answer = good;
  const auto claims = crypto::parse_jws(good[0][1].get<std::string>()).value().claims().value();
  answer[0][1] =
      crypto::sign_jws({{"kid", r.nras.kid}}, as_bytes(compact_json(claims)), p256, crypto::JwsAlg::es256).value();
  EXPECT_EQ(refused(answer, {{p256.public_key(), "", r.nras.kid, {}}}), "alg") << "only ES384";
  // No kid, an unknown one, another key under a known one.
  EXPECT_EQ(refused(good, {}), "signer");
  auto renamed = keys;
  renamed[0].kid = "other";
  EXPECT_EQ(refused(good, renamed), "signer");
  renamed[0].kid = "";
  EXPECT_EQ(refused(good, renamed), "signer");
  device::TestNras stranger(r.simulator);
  EXPECT_EQ(refused(good, {{stranger.key.public_key(), "", r.nras.kid, {}}}), "signature");
  // A certificate beside the key is of that key.
  auto certified = keys;
  certified[0].x5c = {nvidia_roots().device[0].certificate};
  EXPECT_EQ(refused(good, certified), "signer");
}

TEST(Checklist, Item23_StagingAndBorrowedTokens) {
  Remotely r;
  r.nras.issuer = "https://nras.attestation-stg.nvidia.com";
  EXPECT_EQ(r.refused(), "iss");
  // A token that the attester brings is no evidence of its own: nothing reads one as device evidence.
  Remotely own;
  const Json bundle = parse_json(own.nras.answer(own.requests().at(0).body, kNrasAt)).value();
  EXPECT_FALSE(looks_like_evidence(bundle));
  EXPECT_FALSE(parse_evidence(bundle));
  const std::filesystem::path file =
      std::filesystem::path(CAIRN_SHARED_DATA) / "nvidia/attestation-sdk/eat/switch_detached_eat.json";
  const auto staging = read_text(file);
  if (!staging) GTEST_SKIP() << "shared data not present";
  EXPECT_EQ(verify_nras(parse_json(*staging).value(), {}, kNrasIssuer, Time{1751155070}).error().where, "signer");
}

TEST(NrasVerdict, OtherDocumentsAreNoAnswer) {
  for (const char* text : {"{}", "[]", R"([["JWT"],{}])", R"([["JWT","x"],[]])", R"([["JWT","x"],{}])",
                           R"([["JWT","a.b.c"],{"GPU-0":"a.b.c"}])", R"([["JWT",1],{"GPU-0":"x"}])"})
    EXPECT_FALSE(verify_nras(parse_json(text).value(), {}, kNrasIssuer, kNrasAt)) << text;
}

}  // namespace
}  // namespace cairn::nvidia
