// A simulated TD and simulated GPUs together through the whole Trustee: GPU reports beside the quote (protocol 0.1.0),
// and as additional evidence (0.4.0).
#include "crypto/hash.h"
#include "device/simulator/gpu/gpu_simulator.h"
#include "evidence/eventlog/measure.h"
#include "evidence/nvidia/claims.h"
#include "kbs_protocol/token/token.h"
#include "trustee/machine_test.h"

namespace cairn::trustee::test {
namespace {

using cairn::device::GpuMachine;
using cairn::device::GpuScenario;
using cairn::device::GpuSimulator;
using cairn::kbs::Profile;
using cairn::kbs::TeeKey;

constexpr const char* kGuardedKey = "/api/kbs/v0/resource/default/gpu/key";

class Composite : public TrusteeTest, public testing::WithParamInterface<Profile> {
 protected:
  void SetUp() override {
    td = std::make_unique<Machine>(folder / "td", GetParam());
    config.sample = false;
    config.simulated_roots = {td->td->root_path()};
    config.bundles = {td->td->collateral_path()};
    plug({});
    store("default/gpu/key", "model key");
    Json values = {{"tdx.quote.body.mr_td", {hex(td->td->mr_td()->view())}}};
    for (unsigned i = 0; i < 3; ++i)
      values["tdx.quote.body.rtmr_" + std::to_string(i)] = {hex(td->td->read_rtmr(i)->view())};
    register_values(values);
  }
  // These GPUs, in a Trustee that knows their roots and documents.
  void plug(const GpuMachine& machine) {
    gpus.emplace(GpuSimulator::make(machine, at).value());
    const auto file = [&](const char* name, std::string_view text) {
      EXPECT_TRUE(write_text(folder / name, text));
      return folder / name;
    };
    config.gpu_device_roots = {file("device.pem", gpus->roots().device[0].certificate.pem())};
    config.gpu_rim_roots = {file("rim.pem", gpus->roots().rim[0].certificate.pem())};
    config.gpu_bundles = {file("gpu.json", compact_json(nvidia::to_json(gpus->collateral(at).value())))};
    open();
  }

  struct Attempt {
    int attest = 0, resource = 0;
    std::string attest_body, resource_body, token;
    [[nodiscard]] bool released() const { return resource == 200; }
    [[nodiscard]] std::string text() const { return attest == 200 ? resource_body : attest_body; }
  };
  // One session: attest with the quote and what the GPUs answer to it, then ask for the key.
  Attempt attempt(const std::function<void(nvidia::Evidence&)>& change = {}) {
    const bool beside = plugged && GetParam() == Profile::p1;
    const auto session = authenticate(GetParam(), "tdx");
    cairn::kbs::Attestation attestation;
    if (plugged && !beside) {
      const auto device = cairn::kbs::device_runtime_data(session.challenge, tee.public_jwk()).value();
      attestation.additional_evidence =
          compact_json({{"nvidia", {{"device_evidence_list", reports(sha384(device), change)}}}});
    }
    const auto bound =
        cairn::kbs::runtime_data(GetParam(), session.challenge, tee.public_jwk(), attestation.additional_evidence)
            .value();
    Json evidence = td->evidence(sha384(bound));
    if (beside) evidence["gpu_evidence"] = {{"evidence_list", reports(sha384(bound), change)}};
    attestation.evidence = compact_json(evidence);
    const auto body = cairn::kbs::attest_body(GetParam(), session.challenge, tee.public_jwk(), attestation).value();
    const auto attested = ask("POST", "/api/kbs/v0/attest", body, session.cookie);
    const auto resource = ask("GET", kGuardedKey, {}, session.cookie);
    return {attested.status, resource.status, attested.body, resource.body,
            attested.status == 200 ? json_of(attested)["token"].get<std::string>() : ""};
  }
  static Bytes sha384(std::string_view text) { return crypto::digest(crypto::Hash::sha384, as_bytes(text)); }
  Json reports(ByteView report_data, const std::function<void(nvidia::Evidence&)>& change) const {
    auto evidence = gpus->evidence(nvidia::nonce_of_report_data(report_data).value()).value();
    if (change) change(evidence);
    Json out = Json::array();
    for (const auto& d : evidence.devices)
      out.push_back({{"arch", d.arch},
                     {"uuid", d.uuid},
                     {GetParam() == Profile::p1 ? "attestation_report" : "evidence", base64(d.report)},
                     {"certificate", base64(as_bytes(d.certificate))}});
    return out;
  }
  void expect_refused(const Attempt& tried, std::string_view cause) {
    EXPECT_FALSE(tried.released()) << cause;
    EXPECT_TRUE(tried.text().contains(cause)) << cause << "\n" << tried.text();
  }

  std::unique_ptr<Machine> td;
  std::optional<GpuSimulator> gpus;
  bool plugged = true;  // false: the machine shows no GPUs
  TeeKey tee = TeeKey::generate(cairn::kbs::default_tee_key(GetParam())).value();
};

TEST_P(Composite, SoundMachinesGetTheKey) {
  for (const GpuMachine& machine : {GpuMachine{}, GpuMachine{.ppcie = true}}) {
    plug(machine);
    const Attempt tried = attempt();
    ASSERT_TRUE(tried.released()) << tried.text();
    const auto token = token::verify(tried.token, {.roots = {trustee->service().authority().ca()}}, at).value();
    EXPECT_TRUE(token.simulated);
    EXPECT_TRUE(token::satisfies(token, {.policy_ids = {"default"}, .allow_simulated = true}));
    const Json all = GetParam() == Profile::p1
                         ? parse_json(token.claims.at("tcb-status").get<std::string>()).value()
                         : token.claims.at("submods").at("gpu0").at("ear.veraison.annotated-evidence").at("nvidia");
    EXPECT_EQ(all.at(GetParam() == Profile::p1 ? "tdx.gpu.gpu_verified_count" : "gpu_verified_count"),
              machine.ppcie ? 8 : 1);
    EXPECT_EQ(all.at(GetParam() == Profile::p1 ? "tdx.gpu.ppcie" : "ppcie"), machine.ppcie);
  }
}

TEST_P(Composite, EachDefectOfAGpuIsRefused) {
  // What is not authentic is rejected where it is evidence of its own; the rest is a bad verdict.
  const std::vector<std::pair<GpuScenario, const char*>> cases = {
      {GpuScenario::report_flip, "nvidia.ReportSignature"},
      {GpuScenario::report_replay, "nvidia.NonceMismatch"},
      {GpuScenario::chain_other_device, "nvidia.ReportSignature"},
      {GpuScenario::chain_other_root, "nvidia.ChainUntrusted"},
      {GpuScenario::fwid_other, "nvidia.FwidMismatch"},
      {GpuScenario::leaf_expired, "nvidia.ChainExpired"},
      {GpuScenario::arch_claimed, "nvidia.ArchMismatch"},
      {GpuScenario::vbios_changed, "gpu_unverified"},
      {GpuScenario::driver_changed, "gpu_unverified"},
      {GpuScenario::rim_missing, "gpu_unverified"},
      {GpuScenario::rim_tampered, "gpu_unverified"},
      {GpuScenario::rim_forged, "gpu_unverified"},
      {GpuScenario::ocsp_missing, "gpu_unverified"},
      {GpuScenario::device_revoked, "gpu_unverified"},
      {GpuScenario::rim_revoked, "gpu_unverified"},
      {GpuScenario::multi_tenant, "gpu_unverified"},
      {GpuScenario::no_device, "gpu_unverified"},
      {GpuScenario::device_twice, "gpu_unverified"},
      {GpuScenario::ppcie_lock, "gpu_unverified"}};
  for (const auto& [scenario, cause] : cases) {
    SCOPED_TRACE(device::name(scenario));
    plug({.gpus = scenario == GpuScenario::device_twice ? 2U : 1U,
          .ppcie = scenario == GpuScenario::ppcie_lock,
          .scenario = scenario});
    expect_refused(attempt(), GetParam() == Profile::p1 ? "gpu_unverified" : cause);
  }
  plug({});
  EXPECT_TRUE(attempt().released());
}

// The GPUs of another session, or of another machine's, do not stand beside this quote.
TEST_P(Composite, ReportsOfAnotherSessionAreRefused) {
  std::optional<nvidia::Evidence> earlier;
  EXPECT_TRUE(attempt([&](nvidia::Evidence& e) { earlier = e; }).released());
  expect_refused(attempt([&](nvidia::Evidence& e) { e = *earlier; }),
                 GetParam() == Profile::p1 ? "gpu_unverified" : "nvidia.NonceMismatch");
  EXPECT_FALSE(attempt([](nvidia::Evidence& e) { e.devices[0].report.clear(); }).released());
}

TEST_P(Composite, SimulatedGpusAreNotTrustedUnasked) {
  config.gpu_device_roots.clear();
  open();
  expect_refused(attempt(), GetParam() == Profile::p1 ? "gpu_unverified" : "nvidia.ChainUntrusted");
  plug({});
  config.gpu_rim_roots.clear();
  open();
  expect_refused(attempt(), "gpu_unverified");
  plug({});
  config.gpu_bundles.clear();
  open();
  expect_refused(attempt(), "gpu_unverified");
}

// The policy of deploy/policies; the one a new Trustee has asks for no GPUs.
TEST_P(Composite, GpusMayBeRequired) {
  plugged = false;
  ASSERT_TRUE(attempt().released());
  std::string text = read_text("deploy/policies/require-gpus.rego").value();
  const auto set = [&] {
    const Json body = {{"policy", base64url(as_bytes(text))}};
    ASSERT_EQ(as_admin("POST", "/api/kbs/v0/resource-policy", compact_json(body)).status, 200);
  };
  set();
  expect_refused(attempt(), "fewer than 1 verified GPUs");
  plugged = true;
  EXPECT_TRUE(attempt().released());
  plug({.gpus = 2});
  EXPECT_TRUE(attempt().released());
  plug({.gpus = 1, .scenario = GpuScenario::vbios_changed});
  expect_refused(attempt(), "gpu_unverified");
  text.replace(text.find("gpus := 1"), 9, "gpus := 2");
  set();
  plug({.gpus = 1});
  expect_refused(attempt(), "fewer than 2 verified GPUs");
  plug({.gpus = 2});
  EXPECT_TRUE(attempt().released());
}

// What the agent recorded at boot must be what stands beside the quote; p2's quote knows nothing of the devices.
TEST_P(Composite, RecordedGpusAreCompared) {
  const auto record = [&](const Digest<48>& devices) {
    const eventlog::Measurement m{eventlog::Kind::gpu, std::string(eventlog::gpu_inventory), devices};
    td->measure(eventlog::to_event(m));
  };
  nvidia::Policy policy;
  policy.allow_simulated = true;
  const auto verdict = nvidia::Verifier(gpus->roots())
                           .verify(gpus->evidence({}).value(), gpus->collateral(at).value(),
                                   {.time = at, .nonce = nvidia::Nonce{}}, policy);
  record(nvidia::inventory(verdict).value());
  EXPECT_TRUE(attempt().released()) << "an inventory that nobody registered only has to be true";
  plug({.seed = 2});
  if (GetParam() == Profile::p1) expect_refused(attempt(), "gpu_inventory");
  plug({});
  register_values({{"measurement.gpu.inventory", {"sha384:" + std::string(96, '0')}}});
  expect_refused(attempt(), "measurement_not_registered");
  register_values({{"measurement.gpu.inventory", {"sha384:" + hex(nvidia::inventory(verdict).value())}}});
  EXPECT_TRUE(attempt().released());
}

INSTANTIATE_TEST_SUITE_P(Profiles, Composite, testing::Values(Profile::p1, Profile::p2),
                         [](const auto& profile) { return std::string(profile.param == Profile::p1 ? "p1" : "p2"); });

}  // namespace
}  // namespace cairn::trustee::test
