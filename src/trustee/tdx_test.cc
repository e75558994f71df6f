// TDX evidence from the TD simulator through the whole Trustee: what is released, and how each refusal is named.
#include <fstream>

#include "crypto/hash.h"
#include "kbs_protocol/token/token.h"
#include "trustee/machine_test.h"

namespace cairn::trustee::test {
namespace {

using cairn::device::Scenario;
using cairn::kbs::Profile;
using cairn::kbs::TeeKey;

constexpr const char* kResource = "/api/kbs/v0/resource/default/aliyun/key";

class Tdx : public TrusteeTest, public testing::WithParamInterface<Profile> {
 protected:
  void SetUp() override {
    machine = std::make_unique<Machine>(folder / "td", GetParam());
    config.sample = false;
    config.simulated_roots = {machine->td->root_path()};
    config.bundles = {machine->td->collateral_path()};
    open();
    store("default/aliyun/key", "model key");
    auto run = eventlog::MeasureRun::begin("boot").value();
    machine->measure(run.begin_event());
    machine->measure(run.add(eventlog::Kind::engine, "llama-server", engine).value());
    machine->measure(run.add(eventlog::Kind::model, "smol", model).value());
  }
  // What an administrator registers for this machine.
  Json values() {
    const auto measured = [](eventlog::Kind kind, const char* name, const Digest<48>& digest) {
      return eventlog::Measurement{kind, name, digest};
    };
    Json out = {{"tdx.quote.body.mr_td", {hex(machine->td->mr_td()->view())}}};
    for (unsigned i = 0; i < 3; ++i)
      out["tdx.quote.body.rtmr_" + std::to_string(i)] = {hex(machine->td->read_rtmr(i)->view())};
    for (const auto& m :
         {measured(eventlog::Kind::engine, "llama-server", engine), measured(eventlog::Kind::model, "smol", model)})
      out[m.reference_key()] = {m.content()};
    return out;
  }

  struct Outcome {
    int attest = 0, resource = 0;
    std::string attest_body, resource_body;
    // Where the refusal was given, with its code, cause and words.
    [[nodiscard]] std::string text() const { return attest == 200 ? resource_body : attest_body; }
    [[nodiscard]] bool released() const { return resource == 200; }
  };
  Outcome fetch(const std::function<void(Json&)>& change = {}) {
    const auto session = authenticate(GetParam(), "tdx");
    const auto bound = cairn::kbs::runtime_data(GetParam(), session.challenge, tee.public_jwk(), "").value();
    Json evidence = machine->evidence(crypto::digest(crypto::Hash::sha384, as_bytes(bound)));
    if (change) change(evidence);
    const auto body =
        cairn::kbs::attest_body(GetParam(), session.challenge, tee.public_jwk(), {compact_json(evidence), "", {}})
            .value();
    const auto attested = ask("POST", "/api/kbs/v0/attest", body, session.cookie);
    const auto resource = ask("GET", kResource, {}, session.cookie);
    EXPECT_TRUE(resource.status != 200 || as_text(tee.open(resource.body)->view()) == "model key");
    token = attested.status == 200 ? json_of(attested)["token"].get<std::string>() : "";
    return {attested.status, resource.status, attested.body, resource.body};
  }
  void expect_refused(const Outcome& outcome, std::string_view cause) {
    EXPECT_FALSE(outcome.released());
    EXPECT_NE(outcome.text().find(cause), std::string::npos) << cause << "\n" << outcome.text();
  }

  Digest<48> engine = crypto::sha384(as_bytes("engine")), model = crypto::sha384(as_bytes("model"));
  TeeKey tee = TeeKey::generate(cairn::kbs::default_tee_key(GetParam())).value();
  std::unique_ptr<Machine> machine;
  std::string token;
};

TEST_P(Tdx, ReleasesWhatWasRegistered) {
  expect_refused(fetch(), "mr_td_not_registered");
  register_values(values());
  const auto outcome = fetch();
  ASSERT_TRUE(outcome.released()) << outcome.text();
  const auto verified = token::verify(token, {.roots = {trustee->service().authority().ca()}}, at).value();
  EXPECT_TRUE(verified.simulated);
  EXPECT_EQ(verified.tee, "tdx");
  EXPECT_FALSE(token::satisfies(verified, {.policy_ids = {"default"}})) << "simulated, and not allowed";
  EXPECT_TRUE(token::satisfies(verified, {.policy_ids = {"default"}, .allow_simulated = true}));
}

TEST_P(Tdx, EachRegisterAndMeasurementCounts) {
  const Json all = values();
  register_values(all);
  for (const auto& [name, value] : all.items()) {
    const bool subject = name.starts_with("measurement.");
    ASSERT_EQ(as_admin("DELETE", "/api/rvps/delete/" + name).status, 200);
    register_values({{name, {subject ? "sha384:" + std::string(96, '0') : std::string(96, '0')}}});
    const auto cause = subject                   ? "measurement_not_registered"
                       : name.ends_with("mr_td") ? "mr_td_not_registered"
                                                 : "rtmr_not_registered";
    expect_refused(fetch(), cause);
    register_values({{name, value}});
    EXPECT_TRUE(fetch().released()) << name;
  }
  register_values({{"measurement.ui.page", {"sha384:00"}}});
  expect_refused(fetch(), "measurement_missing");
}

TEST_P(Tdx, EventsMayStandForARegister) {
  Json all = values();
  all.erase("tdx.quote.body.rtmr_1");
  const auto ccel = machine->td->ccel().value();
  const auto log = eventlog::parse_ccel(ccel).value();
  Json digests = Json::array();
  for (const auto& event : log.events)
    if (event.index == 2) digests.push_back(hex(event.digest(eventlog::Algorithm::sha384)));
  ASSERT_FALSE(digests.empty());
  all["tdx.rtmr_1.events"] = digests;
  register_values(all);
  EXPECT_TRUE(fetch().released()) << fetch().text();
  digests.erase(0);
  ASSERT_EQ(as_admin("DELETE", "/api/rvps/delete/tdx.rtmr_1.events").status, 200);
  register_values({{"tdx.rtmr_1.events", digests}});
  expect_refused(fetch(), "rtmr_not_registered");
}

TEST_P(Tdx, LogsMustAccountForEveryRegister) {
  register_values(values());
  const bool text = GetParam() == Profile::p1;
  expect_refused(fetch([&](Json& e) {  // an entry dropped
                   if (text) {
                     auto log = e["aa_eventlog"].get<std::string>();
                     log.erase(log.rfind("measure.cairn.v1"));
                     e["aa_eventlog"] = log;
                   } else {
                     e["cc_eventlog"] = base64(machine->td->ccel().value());
                   }
                 }),
                 "rtmr_mismatch");
  expect_refused(fetch([&](Json& e) {
                   e["cc_eventlog"] = nullptr;
                   e.erase("aa_eventlog");
                 }),
                 "rtmr3_without_log");
  if (text) expect_refused(fetch([](Json& e) { e["aa_eventlog"] = nullptr; }), "rtmr_mismatch");
  machine->extend(crypto::sha384(as_bytes("unlogged")));
  expect_refused(fetch(), "rtmr_mismatch");
}

TEST_P(Tdx, BrokenEvidenceIsNamed) {
  register_values(values());
  expect_refused(fetch([](Json& e) { e["quote"] = "!"; }), "AS.EVIDENCE.INVALID_ENCODING");
  expect_refused(fetch([](Json& e) { e.erase("quote"); }), "AS.EVIDENCE.INVALID_FORMAT");
  expect_refused(fetch([](Json& e) { e["quote"] = base64(Bytes(2000)); }), "AS.EVIDENCE.INVALID_QUOTE");
  expect_refused(fetch([&](Json& e) { e = machine->evidence(Bytes(48)); }), "AS.EVIDENCE.BINDING_MISMATCH");
  expect_refused(fetch([](Json& e) {
                   auto quote = from_base64(e["quote"].get<std::string>()).value();
                   quote[200] ^= 1;
                   e["quote"] = base64(quote);
                 }),
                 "tdx.QuoteSignature");
  expect_refused(fetch([](Json& e) { e["gpu_evidence"] = {{"evidence_list", Json::array()}}; }), "gpu_unverified");
}

TEST_P(Tdx, ScenariosAreNamed) {
  const std::vector<std::pair<Scenario, std::string>> cases = {
      {Scenario::tcb_out_of_date, "tcb_status"},
      {Scenario::tcb_revoked, "tcb_revoked"},
      {Scenario::tcb_sw_hardening, "tcb_status"},
      {Scenario::tcb_unsupported, "tdx.TcbNotSupported"},
      {Scenario::pck_revoked, "tdx.PckRevoked"},
      {Scenario::pck_expired, "tdx.CertExpired"},
      {Scenario::ca_revoked, "tdx.IntermediateRevoked"},
      {Scenario::collateral_expired, "Expired"},
      {Scenario::wrong_fmspc, "tdx.FmspcMismatch"},
      {Scenario::tcb_info_signature, "tdx.TcbInfoSignature"},
      {Scenario::other_root, "tdx.Untrusted"},
      {Scenario::td_debug, "debug"},
      {Scenario::td_sept_ve_clear, "td_attributes"},
      {Scenario::quote_flip, "tdx.QuoteSignature"},
      {Scenario::quote_signature, "tdx.QuoteSignature"},
      {Scenario::qe_report_data, "tdx.QeReportData"},
      {Scenario::quote_replay, "AS.EVIDENCE.BINDING_MISMATCH"},
      {Scenario::quote_truncated, "AS.EVIDENCE.INVALID_QUOTE"}};
  register_values(values());
  for (const auto& [scenario, cause] : cases) {
    ASSERT_TRUE(machine->td->set_scenario(scenario));
    SCOPED_TRACE(device::name(scenario));
    // The bundle is noticed by its time of change, which is coarse on some file systems.
    std::filesystem::last_write_time(machine->td->collateral_path(), std::filesystem::file_time_type::clock::now());
    expect_refused(fetch(), cause);
  }
  ASSERT_TRUE(machine->td->set_scenario(Scenario::none));
  EXPECT_TRUE(fetch().released());
}

TEST_P(Tdx, SimulatorsAreNotTrustedUnasked) {
  register_values(values());
  config.simulated_roots.clear();
  open();
  expect_refused(fetch(), "tdx.Untrusted");
  config.simulated_roots = {machine->td->root_path()};
  config.bundles.clear();
  open();
  expect_refused(fetch(), "AS.DEPENDENCY.UNAVAILABLE");
}

INSTANTIATE_TEST_SUITE_P(Profiles, Tdx, testing::Values(Profile::p1, Profile::p2),
                         [](const auto& profile) { return std::string(profile.param == Profile::p1 ? "p1" : "p2"); });

}  // namespace
}  // namespace cairn::trustee::test
