// The vectors by others: every case of data/tdx must give the verdict, dates, numbers and advisories it names.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "evidence/tdx/verify.h"

namespace cairn::tdx {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(CAIRN_SHARED_DATA) / "tdx";

struct Case {
  Json json;
  [[nodiscard]] std::string text(const char* member) const { return json.at(member).get<std::string>(); }
  [[nodiscard]] std::string id() const { return text("id"); }
};

std::vector<Case> load_cases() {
  std::vector<Case> out;
  for (const char* file : {"cases-real.json", "cases-synthetic.json"}) {
    const Result<std::string> text = read_text(kFolder / file);
    if (!text) return {};
    const Json document = parse_json(*text).value();
    for (const Json& c : document.at("cases")) out.push_back({c});
  }
  return out;
}

Bytes file(const Case& c, const char* member) { return read_file(kFolder / c.text(member)).value(); }
std::string chars(const Case& c, const char* member) { return std::string(as_text(file(c, member))); }

Collateral collateral(const Case& c) {
  return {.tcb_info = chars(c, "tcb_info"),
          .tcb_signing_chain = chars(c, "tcb_signing_chain"),
          .qe_identity = chars(c, "qe_identity"),
          .qe_signing_chain = chars(c, "qe_signing_chain"),
          .root_crl = file(c, "root_crl"),
          .pck_crl = file(c, "pck_crl"),
          .pck_crl_issuer_chain = chars(c, "pck_crl_issuer_chain"),
          .pck_chain = {}};
}

std::vector<std::string> acceptable(const Case& c) {
  std::vector<std::string> out = c.json.value("also_ok", std::vector<std::string>{});
  out.push_back(c.text("required"));
  return out;
}

void expect_level(const Json& want, const TcbLevel& got, const std::string& id) {
  EXPECT_EQ(rfc3339(got.date), want.at("tcb_date").get<std::string>()) << id;
  EXPECT_EQ(got.advisory_ids, want.at("advisories").get<std::vector<std::string>>()) << id;
}

void expect_case(const Case& c, Verifier& verifier) {
  const Options options{.time = {c.json.at("unix_time").get<std::int64_t>()}};
  const Verdict v = verifier.verify(file(c, "quote"), collateral(c), options);
  const std::vector<std::string> wanted = acceptable(c);
  EXPECT_TRUE(std::ranges::contains(wanted, v.outcome()))
      << c.id() << " (" << c.text("note") << "): wanted " << wanted.back() << ", got " << v.outcome() << ": "
      << v.detail;
  if (!v.authentic()) return;
  EXPECT_EQ(v.collateral->tcb_eval_num, c.json.at("tcb_eval_num").get<std::uint32_t>()) << c.id();
  expect_level(c.json, *v.tcb, c.id());
  const Json* current = c.json.contains("current") ? &c.json.at("current") : nullptr;
  expect_level(current != nullptr ? *current : c.json, *v.current, c.id());
  if (current != nullptr) {
    EXPECT_EQ(name(v.current->status), current->at("tcb_status").get<std::string>()) << c.id();
  }
  EXPECT_EQ(v.simulated, c.text("root") != "real/chain/intel-sgx-root-ca.pem") << c.id();
}

class Cases : public ::testing::Test {
 protected:
  void SetUp() override {
    cases = load_cases();
    if (cases.empty()) GTEST_SKIP() << "shared data not present";
  }
  [[nodiscard]] static TrustRoot root(const Case& c) { return trust_root("named", file(c, "root")).value(); }
  std::vector<Case> cases;
};

TEST_F(Cases, GiveTheRequiredVerdictWithoutCaches) {
  for (const Case& c : cases) {
    Verifier verifier({root(c)}, {.collaterals = 0, .chains = 0, .bindings = 0});
    expect_case(c, verifier);
  }
}

TEST_F(Cases, GiveTheSameVerdictFromWarmCaches) {
  Verifier intel({intel_root()});
  std::optional<Verifier> synthetic;
  for (int round = 0; round < 2; ++round)
    for (const Case& c : cases) {
      const TrustRoot named = root(c);
      if (!named.simulated) {
        expect_case(c, intel);
      } else {
        if (!synthetic) synthetic.emplace(std::vector{intel_root(), named});
        expect_case(c, *synthetic);
      }
    }
  EXPECT_GT(intel.cache_use().bindings, 0U);
}

// n01: expired collateral is reported, not refused, when the caller asks for that.
TEST_F(Cases, ExpiryMayBeFlagged) {
  std::size_t found = 0;
  for (const Case& c : cases) {
    if (c.id() != "n01") continue;
    ++found;
    Verifier verifier({root(c)});
    const Options options{.time = {c.json.at("unix_time").get<std::int64_t>()}, .expiry = Expiry::flag};
    const Verdict v = verifier.verify(file(c, "quote"), collateral(c), options);
    ASSERT_TRUE(v.authentic()) << v.detail;
    EXPECT_TRUE(v.collateral->expired);
    EXPECT_EQ(rfc3339(v.tcb->date), c.text("tcb_date"));
    EXPECT_EQ(verifier.verify(file(c, "quote"), collateral(c), {.time = options.time}).failure, Failure::crl_expired);
  }
  EXPECT_EQ(found, 1U);
}

}  // namespace
}  // namespace cairn::tdx
