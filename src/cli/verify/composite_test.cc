// Simulated GPUs beside a simulated TD's quote, as `cairn verify` finds them in files; and GPU documents from services.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <sstream>

#include "base/file.h"
#include "cli/verify/verify.h"
#include "crypto/hash.h"
#include "device/collateral/test_gpu_service.h"
#include "device/simulator/gpu/test_shapes.h"
#include "device/simulator/simulator.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CompositeFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("cairn-composite-test-" + std::to_string(::getpid()));
    fs::create_directories(folder);
    ::setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
    td = device::Simulator::open(folder / "td", true).value();
  }
  void TearDown() override { fs::remove_all(folder); }

  fs::path write(const char* name, std::string_view content) {
    EXPECT_TRUE(write_file(folder / name, as_bytes(content), 0600));
    return folder / name;
  }
  void plug(const device::GpuMachine& machine) {
    gpus.emplace(device::GpuSimulator::make(machine, at).value());
    options.gpu.collateral = {write("gpu.json", compact_json(nvidia::to_json(gpus->collateral(at).value())))};
    options.gpu.device_roots = {write("device.pem", gpus->roots().device[0].certificate.pem())};
    options.gpu.rim_roots = {write("rim.pem", gpus->roots().rim[0].certificate.pem())};
    options.roots = {td->root_path()};
    options.collateral = td->collateral_path();
    options.at = rfc3339(at);
  }
  [[nodiscard]] Json devices(ByteView report_data) const {
    return device::trustee_shape(gpus->evidence(nvidia::nonce_of_report_data(report_data).value()).value());
  }
  static Bytes hash(const Json& json) {
    return crypto::digest(crypto::Hash::sha384, as_bytes(canonical_json(json).value()));
  }
  [[nodiscard]] Json quote(ByteView bound) const {
    ReportData data{};
    std::ranges::copy(bound, data.begin());
    return {{"quote", base64(td->quote(data).value())}, {"cc_eventlog", base64(td->ccel().value())}};
  }
  // An attest body of protocol 0.4.0; `answered` is what the devices answer.
  [[nodiscard]] Json body(const Json& answered, const char* tee = "nvidia") const {
    const std::string additional = compact_json({{tee, devices(hash(answered))}});
    Json bound = runtime;
    bound["additional-evidence"] = additional;
    return {{"runtime-data", runtime},
            {"tee-evidence", {{"primary_evidence", quote(hash(bound))}, {"additional_evidence", additional}}}};
  }
  int run(const Json& evidence) {
    options.files = {write("evidence.json", compact_json(evidence))};
    std::ostringstream out, err;
    const int code = run_verify(options, out, err);
    text = out.str() + err.str();
    return code;
  }

  fs::path folder;
  std::unique_ptr<device::Simulator> td;
  std::optional<device::GpuSimulator> gpus;
  const Time at = now();
  const Json runtime = {{"nonce", "bm9uY2U="}, {"tee-pubkey", {{"kty", "EC"}}}};
  VerifyOptions options;
  std::string text;
};

TEST_F(CompositeFiles, DevicesBesideTheQuoteAreJudged) {
  plug({.gpus = 2});
  EXPECT_EQ(run(body(runtime)), kAffirming) << text;
  EXPECT_THAT(text, HasSubstr("GPU-1         verified"));
  EXPECT_THAT(text, HasSubstr("runtime data by sha384"));
  options.json = true;
  EXPECT_EQ(run(body(runtime)), kAffirming);
  EXPECT_EQ(parse_json(text).value().at(0).at("gpu").at("gpu_verified_count"), 2);
}

TEST_F(CompositeFiles, EachDefectIsRefused) {
  using device::GpuScenario;
  for (const auto& [scenario, cause] :
       std::initializer_list<std::pair<GpuScenario, const char*>>{{GpuScenario::report_flip, "ReportSignature"},
                                                                  {GpuScenario::vbios_changed, "Measurement"},
                                                                  {GpuScenario::device_revoked, "CertificateRevoked"},
                                                                  {GpuScenario::no_device, "NoDevice"}}) {
    plug({.scenario = scenario});
    EXPECT_EQ(run(body(runtime)), kNotAffirming) << cause;
    EXPECT_THAT(text, HasSubstr(cause));
  }
  plug({});
  EXPECT_EQ(run(body({{"nonce", "another"}})), kNotAffirming);
  EXPECT_THAT(text, HasSubstr("NonceMismatch"));
  EXPECT_EQ(run(body(runtime, "gaudi")), kNotAffirming);
  EXPECT_THAT(text, HasSubstr("evidence of \"gaudi\" is not judged here"));
}

TEST_F(CompositeFiles, DevicesMustBeBoundToTheSession) {
  plug({});
  Json broken = body(runtime);
  broken["runtime-data"]["nonce"] = "other";  // neither quote nor devices answer it
  EXPECT_EQ(run(broken), kNotAffirming);
  EXPECT_THAT(text, HasSubstr("runtime_data"));
  EXPECT_THAT(text, HasSubstr("additional_evidence"));
  // Without the session's data the caller may say what they answer.
  const Json alone = body(runtime).at("tee-evidence");
  EXPECT_EQ(run(alone), kNotAffirming);
  EXPECT_THAT(text, HasSubstr("--nonce"));
  options.gpu.nonce = hex(ByteView(hash(runtime)).first(32));
  EXPECT_EQ(run(alone), kAffirming) << text;
  options.gpu.nonce = std::string(64, '0');
  EXPECT_EQ(run(alone), kNotAffirming);
  EXPECT_EQ(run(body(runtime)), kAffirming) << "what the quote is bound to wins over --nonce: " << text;
  // Two places at once.
  Json both = body(runtime);
  Json& primary = both["tee-evidence"]["primary_evidence"];
  primary["gpu_evidence"] = devices(hash(runtime));
  EXPECT_EQ(run(both), kNotAffirming);
}

TEST_F(CompositeFiles, GpuDocumentsAreFetchedWhereNoneAreGiven) {
  device::GpuService service;
  nvidia::Nonce nonce{};
  nonce.fill(4);
  const Json file = device::trustee_shape(service.simulator.evidence(nonce).value());
  options.at = rfc3339(device::kGpuNow);
  options.gpu.nonce = hex(nonce);
  options.gpu.device_roots = {write("device.pem", service.simulator.roots().device[0].certificate.pem())};
  options.gpu.rim_roots = {write("rim.pem", service.simulator.roots().rim[0].certificate.pem())};
  {
    const device::Served served(service.handler());
    options.fetch.rim_service = served.url + "/v1/rim";
    options.fetch.ocsp = served.url;
    options.fetch.offline = true;
    EXPECT_EQ(run(file), kNotAffirming);
    EXPECT_THAT(text, HasSubstr("RimAbsent"));
    options.fetch.offline = false;
    EXPECT_EQ(run(file), kAffirming) << text;
  }
  EXPECT_EQ(service.rims_asked, 2U);
  EXPECT_EQ(service.ocsp_asked, 6U);
  // The service is away: what was kept serves, offline too; without it there is no verdict.
  EXPECT_EQ(run(file), kAffirming) << text;
  options.fetch.offline = true;
  EXPECT_EQ(run(file), kAffirming) << text;
  options.fetch.offline = false;
  fs::remove_all(folder / "cache");
  EXPECT_EQ(run(file), kUnreadable) << text;
  EXPECT_THAT(text, HasSubstr("--gpu-collateral"));
  options.gpu.nonce = std::string(64, '0');
  EXPECT_EQ(run(file), kNotAffirming) << "nothing is asked for what is not authentic";
}

TEST_F(CompositeFiles, TheRemoteServiceMayJudge) {
  device::GpuService service;
  nvidia::Nonce nonce{};
  nonce.fill(4);
  const Json file = device::trustee_shape(service.simulator.evidence(nonce).value());
  options.at = rfc3339(device::kGpuNow);
  options.gpu.nonce = hex(nonce);
  options.gpu.device_roots = {write("device.pem", service.simulator.roots().device[0].certificate.pem())};
  {
    const device::Served served(service.handler());
    service.nras.issuer = served.url;
    options.fetch.nras = served.url + "/v4/attest";
    EXPECT_EQ(run(file), kAffirming) << text;
    EXPECT_THAT(text, HasSubstr("as golden, says the remote service"));
    service.nras.change_device = [](Json& claims) { claims["measres"] = "fail"; };
    EXPECT_EQ(run(file), kNotAffirming);
    EXPECT_THAT(text, HasSubstr("RemoteRefused"));
    service.nras.issuer = "https://nras.attestation-stg.nvidia.com";
    EXPECT_NE(run(file), kAffirming);
    EXPECT_THAT(text, HasSubstr("the remote service gave no verdict"));
    options.gpu.nonce = std::string(64, '0');
    EXPECT_EQ(run(file), kNotAffirming);
    EXPECT_THAT(text, HasSubstr("NonceMismatch"));
  }
  EXPECT_EQ(service.nras_asked, 3U);
  options.gpu.policy = write("policy.json", R"({"ocsp_grace": 60})");
  EXPECT_EQ(run(file), kUnreadable);
  EXPECT_THAT(text, HasSubstr("ocsp_grace")) << "what the service does not hear of is not ignored";
  options.gpu.policy.clear();
  options.fetch.offline = true;
  EXPECT_EQ(run(file), kUnreadable);
}

TEST_F(CompositeFiles, GivenDocumentsAreCompletedOnlyFromNamedServices) {
  device::GpuService service;
  const Json file = device::trustee_shape(service.simulator.evidence({}).value());
  nvidia::Collateral some;
  some.rims = service.simulator.rims().value();
  options.at = rfc3339(device::kGpuNow);
  options.gpu.nonce = std::string(64, '0');
  options.gpu.collateral = {write("some.json", compact_json(nvidia::to_json(some)))};
  options.gpu.device_roots = {write("device.pem", service.simulator.roots().device[0].certificate.pem())};
  options.gpu.rim_roots = {write("rim.pem", service.simulator.roots().rim[0].certificate.pem())};
  EXPECT_EQ(run(file), kNotAffirming);
  EXPECT_THAT(text, HasSubstr("OcspAbsent"));
  {
    const device::Served served(service.handler());
    options.fetch.ocsp = options.fetch.rim_service = served.url;
    EXPECT_EQ(run(file), kAffirming) << text;
  }
  EXPECT_EQ(service.rims_asked, 0U);
}

}  // namespace
}  // namespace cairn::cli
