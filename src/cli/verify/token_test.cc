// Tokens of real services, and an NRAS bundle made here (no key of NVIDIA's is at hand to check a real one).
#include "cli/verify/token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "cli/verify/binding.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;

const fs::path kShared = fs::path(CAIRN_SHARED_DATA);

TEST(Binding, FindsTheHash) {
  const Json data = {{"b", 1}, {"a", "x"}};
  const std::string canonical = R"({"a":"x","b":1})";
  for (const auto hash : {crypto::Hash::sha256, crypto::Hash::sha384, crypto::Hash::sha512}) {
    Bytes bound = crypto::digest(hash, as_bytes(canonical));
    bound.resize(64);
    EXPECT_EQ(bound_by(data, bound), hash);
    bound[3] ^= 1;
    EXPECT_FALSE(bound_by(data, bound));
    bound[3] ^= 1;
    if (hash == crypto::Hash::sha256) {
      bound[63] = 1;
      EXPECT_FALSE(bound_by(data, bound)) << "padding is zero";
    }
  }
}

struct Real {
  const char* name;
  Time at;
};
class ServiceToken : public ::testing::TestWithParam<Real> {
 protected:
  void SetUp() override {
    if (!fs::exists(kShared / "trustee/token")) GTEST_SKIP() << "shared data not present";
    folder = kShared / "trustee/token";
    jwt = read_text(folder / (std::string(GetParam().name) + ".jwt"), 1U << 20).value();
    trust = read_token_trust({folder / (std::string(GetParam().name) + ".as-ca.pem")}).value();
  }
  [[nodiscard]] TokenJudgement judge(const tdx::Policy& policy = {}, std::optional<Time> at = {}) const {
    return judge_token(find_token(as_bytes(jwt)).value(), trust, policy, at.value_or(GetParam().at));
  }
  fs::path folder;
  std::string jwt;
  token::Trust trust;
};

TEST_P(ServiceToken, HoldsAndItsClaimsAgree) {
  const TokenJudgement j = judge();
  EXPECT_TRUE(j.affirming()) << j.failure << " " << j.detail;
  EXPECT_THAT(j.checked, Contains("the evidence is bound to the runtime data by sha384"));
  EXPECT_THAT(j.checked, Contains(HasSubstr("85 events replay to RTMR0, RTMR1, RTMR2, RTMR3")));
  EXPECT_THAT(j.signer, HasSubstr("Trustee"));
  EXPECT_FALSE(j.simulated);
}

TEST_P(ServiceToken, Refusals) {
  EXPECT_EQ(judge({}, GetParam().at.plus(3600)).failure, "exp");
  const token::Trust right = trust;
  trust = {};
  EXPECT_EQ(judge().failure, "signer");
  EXPECT_THAT(judge().detail, HasSubstr("--token-root"));
  for (const char* other : {"simple", "ear", "ear_with_additional_device"})
    if (std::string_view(other) != GetParam().name) {
      trust = read_token_trust({folder / (std::string(other) + ".as-ca.pem")}).value();
      EXPECT_EQ(judge().failure, "signer") << other;
    }
  trust = right;
  const std::size_t payload = jwt.find('.') + 200;
  jwt[payload] = jwt[payload] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(judge().failure.empty());
}

TEST_P(ServiceToken, ReferenceValues) {
  const auto facts = judge().facts;
  const auto fact = std::ranges::find(facts, "mr_td", [](const auto& f) { return f.first; });
  ASSERT_NE(fact, facts.end());
  tdx::Policy policy;
  policy.mr_td = {tdx::Register::from(from_hex(fact->second).value()).value()};
  EXPECT_TRUE(judge(policy).affirming());
  policy.mr_td[0][0] ^= 1;
  const TokenJudgement j = judge(policy);
  ASSERT_EQ(j.findings.size(), 1U);
  EXPECT_EQ(j.findings[0].rule, "mr_td");
  policy.mr_td.clear();
  policy.report_data.emplace();
  EXPECT_FALSE(judge(policy).affirming());
}

INSTANTIATE_TEST_SUITE_P(Real, ServiceToken,
                         ::testing::Values(Real{"simple", {1768806068}}, Real{"ear", {1768895708}},
                                           Real{"ear_with_additional_device", {1770207284}}),
                         [](const auto& p) { return std::string(p.param.name); });

// NVIDIA's service with a key of this test's.
struct Nras {
  crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyType::ec_p384).value();
  Time at{1'800'000'000};
  Json overall = {{"sub", "NVIDIA-PLATFORM-ATTESTATION"},
                  {"iss", "https://nras.attestation.nvidia.com"},
                  {"eat_nonce", std::string(64, 'a')},
                  {"x-nvidia-overall-att-result", true},
                  {"iat", at.seconds},
                  {"exp", at.seconds + 3600}};
  Json device = {{"iss", "https://nras.attestation.nvidia.com"},
                 {"eat_nonce", std::string(64, 'a')},
                 {"measres", "success"},
                 {"hwmodel", "GH100"},
                 {"iat", at.seconds},
                 {"exp", at.seconds + 3600}};
  bool digests = true;
  token::Trust trust;

  Nras() { trust.keys.push_back({key.public_key(), "", "k1", {}}); }
  [[nodiscard]] std::string sign(const Json& claims) const {
    return crypto::sign_jws({{"kid", "k1"}}, as_bytes(compact_json(claims)), key, crypto::JwsAlg::es384).value();
  }
  [[nodiscard]] Json bundle() const {
    const std::string jwt = sign(device);
    Json whole = overall;
    whole["submods"] = {{"GPU-0", {"DIGEST", {"SHA-256", hex(crypto::sha256(as_bytes(digests ? jwt : "x")).view())}}}};
    return {{"JWT", sign(whole)}, {{"GPU-0", jwt}}};
  }
  [[nodiscard]] TokenJudgement judge(const tdx::Policy& policy = {}) const {
    const std::string text = compact_json(bundle());
    return judge_token(find_token(as_bytes(text)).value(), trust, policy, at);
  }
  [[nodiscard]] std::string outcome() const {
    const TokenJudgement j = judge();
    return !j.failure.empty() ? j.failure : j.findings.empty() ? "affirming" : j.findings[0].rule;
  }
};

TEST(Nras, EveryPartCounts) {
  EXPECT_EQ(Nras().outcome(), "affirming");
  const auto with = [](auto change) {
    Nras n;
    change(n);
    return n.outcome();
  };
  EXPECT_EQ(with([](Nras& n) { n.overall["x-nvidia-overall-att-result"] = false; }), "overall");
  EXPECT_EQ(with([](Nras& n) { n.overall.erase("x-nvidia-overall-att-result"); }), "overall");
  EXPECT_EQ(with([](Nras& n) { n.overall["iss"] = "https://nras.attestation-stg.nvidia.com"; }), "iss");
  EXPECT_EQ(with([](Nras& n) { n.device["iss"] = "x"; }), "iss");
  EXPECT_EQ(with([](Nras& n) { n.device["eat_nonce"] = std::string(64, 'b'); }), "eat_nonce");
  EXPECT_EQ(with([](Nras& n) { n.overall.erase("eat_nonce"); }), "eat_nonce");
  EXPECT_EQ(with([](Nras& n) { n.device["measres"] = "fail"; }), "measres");
  EXPECT_EQ(with([](Nras& n) { n.device["x-nvidia-error-details"] = Json::object(); }), "device");
  EXPECT_EQ(with([](Nras& n) { n.digests = false; }), "submods");
  EXPECT_EQ(with([](Nras& n) { n.trust.keys[0].kid = "k2"; }), "signer");
  EXPECT_EQ(with([](Nras& n) { n.trust.keys[0].key = Nras().key.public_key(); }), "signature");
  EXPECT_EQ(with([](Nras& n) { n.at = n.at.plus(3661); }), "exp");
  EXPECT_EQ(with([](Nras& n) { n.at = n.at.plus(-61); }), "iat");
  EXPECT_EQ(with([](Nras& n) { n.device["exp"] = 1; }), "exp");
}

TEST(Nras, TheNonceIsTheFirstHalfOfTheReportData) {
  const Nras n;
  tdx::Policy policy;
  policy.report_data.emplace();
  EXPECT_FALSE(n.judge(policy).affirming());
  std::ranges::fill_n(policy.report_data->begin(), 32, std::uint8_t{0xaa});
  EXPECT_TRUE(n.judge(policy).affirming());
}

TEST(Nras, RealBundleNeedsItsKeys) {
  const fs::path file = kShared / "nvidia/attestation-sdk/eat/hopperClaimsv3_detached_eat.json";
  if (!fs::exists(file)) GTEST_SKIP() << "shared data not present";
  const auto token = find_token(read_file(file).value());
  ASSERT_TRUE(token);
  EXPECT_EQ(judge_token(*token, {}, {}, Time{1749601900}).failure, "signer");
}

TEST(FindToken, OthersAreLeftAlone) {
  EXPECT_TRUE(find_token(as_bytes("eyJhIn0.e30.AA\n")));
  EXPECT_TRUE(find_token(as_bytes(R"({"token":"eyJhIn0.e30.AA"})")));
  for (const char* text : {"", "eyJ", "eyJ.a", "eyJ.a.b c", "{}", "[]", R"({"quote":"x"})", R"([["JWT",1],{}])", "["})
    EXPECT_FALSE(find_token(as_bytes(text))) << text;
}

}  // namespace
}  // namespace cairn::cli
