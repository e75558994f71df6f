#include "trustee/as/sample_verifier.h"

#include "base/encoding.h"

namespace cairn::trustee::as {
namespace {

// The claims every profile knows: A's svn and report_data, C's constants. "simulated" because nothing is behind them.
class Sample : public TeeVerifier {
 public:
  [[nodiscard]] std::string_view tee() const override { return "sample"; }
  [[nodiscard]] Outcome<Json> verify(const Json& evidence, const Binding& binding, Time, Pending*) const override {
    auto claims = bound(evidence, binding);
    if (!claims) return claims;
    (*claims)["launch_digest"] = "abcde";
    (*claims)["platform_version"] = {{"major", 1}, {"minor", 4}};
    (*claims)["debug"] = false;
    (*claims)["simulated"] = true;
    if (!binding.init_data) return claims;
    return check_init_data(evidence, *binding.init_data, *std::move(claims));
  }

 protected:
  static Outcome<Json> bound(const Json& evidence, const Binding& binding) {
    if (!evidence.is_object() || !evidence.value("svn", Json()).is_string() ||
        !evidence.value("report_data", Json()).is_string())
      return reject(Code::invalid_format, "sample", "sample evidence has the texts \"svn\" and \"report_data\"",
                    "evidence");
    const auto& text = evidence["report_data"].get_ref<const std::string&>();
    const auto report_data = from_base64(text);
    if (!report_data) return reject(Code::invalid_encoding, "sample", "report_data is not base64", "evidence");
    if (binding.report_data && *binding.report_data != *report_data)
      return reject(Code::binding_mismatch, "report_data",
                    "the evidence answers another nonce or key: its report data is not the hash of this runtime data");
    return Json{{"svn", evidence["svn"]}, {"report_data", text}};
  }

 private:
  static Outcome<Json> check_init_data(const Json& evidence, const Bytes& expected, Json claims) {
    const Json given = evidence.value("init_data", Json());
    const auto bytes = given.is_string() ? from_base64(given.get_ref<const std::string&>()) : Result<Bytes>(Bytes{});
    if (!bytes || *bytes != expected)
      return reject(Code::binding_mismatch, "init_data", "the evidence was launched with other init data");
    claims["init_data"] = given;
    return claims;
  }
};

class SampleDevice final : public Sample {
 public:
  [[nodiscard]] std::string_view tee() const override { return "sampledevice"; }
  [[nodiscard]] DeviceClass device() const override { return DeviceClass::gpu; }
  [[nodiscard]] Outcome<Json> verify(const Json& evidence, const Binding& binding, Time, Pending*) const override {
    auto claims = bound(evidence, binding);
    if (claims) (*claims)["simulated"] = true;
    return claims;
  }
};

}  // namespace

std::unique_ptr<TeeVerifier> sample_verifier() { return std::make_unique<Sample>(); }
std::unique_ptr<TeeVerifier> sample_device_verifier() { return std::make_unique<SampleDevice>(); }

}  // namespace cairn::trustee::as
