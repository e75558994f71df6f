#include "device/simulator/quoting.h"

#include "base/secret.h"
#include "crypto/hash.h"
#include "device/simulator/collateral_maker.h"

namespace cairn::device::simulator {
namespace {

constexpr std::uint64_t kXfam = 0x602E7;  // what most real TDs have
constexpr std::size_t kMac = tdx::kHardwareReportMacOffset;

Digest<48> label(std::string_view text) { return crypto::sha384(as_bytes(text)); }

Digest<32> report_mac(ByteView report, const Keys& keys) {
  const Bytes mac = crypto::hmac(crypto::Hash::sha256, keys.mac.view(), report.first(kMac));
  Digest<32> out;
  std::ranges::copy(mac, out.begin());
  return out;
}

tdx::TdReport td_report(const TdState& td, const ReportData& report_data, Scenario scenario) {
  tdx::TdReport out;
  out.tee_tcb_svn = kTeeTcbSvn;
  out.mr_seam = label("simulated TDX module");
  if (scenario == Scenario::module_mismatch) out.mr_signer_seam = label("another module signer");
  if (scenario == Scenario::td_debug) out.td_attributes |= tdx::td_attribute::kDebug;
  if (scenario == Scenario::td_sept_ve_clear) out.td_attributes &= ~tdx::td_attribute::kSeptVeDisable;
  out.xfam = kXfam;
  out.mr_td = td.mr_td;
  out.mr_config_id = td.mr_config_id;
  out.rtmr = td.rtmr;
  out.report_data = report_data;
  out.td15 = tdx::Td15{.tee_tcb_svn_2 = kTeeTcbSvn, .mr_service_td = {}};
  if (scenario == Scenario::td_service) out.td15->mr_service_td = label("a service TD");
  return out;
}

template <class Fixed>
Result<Fixed> sign(const crypto::PrivateKey& key, ByteView message) {
  CAIRN_TRY(const auto raw, key.sign(crypto::Signature::ecdsa_raw, crypto::Hash::sha256, message));
  return Fixed::from(raw);
}

Result<tdx::EcPoint> point_of(const crypto::PublicKey& key) {
  CAIRN_TRY(const auto point, key.ec_point());
  Bytes both = point.x;
  append(both, point.y);
  return tdx::EcPoint::from(both);
}

// The quoting enclave's own report, which binds the attestation key and the authentication data.
sgx::Report qe_report(const tdx::EcPoint& attestation_key, ByteView auth_data, Scenario scenario) {
  sgx::Report out;
  out.cpu_svn = components(scenario);
  out.attributes = {0x15, 0, 0, 0, 0, 0, 0, 0, 0xE7, 0, 0, 0, 0, 0, 0, 0};
  out.mr_enclave = crypto::sha256(as_bytes("simulated TD quoting enclave"));
  out.mr_signer = scenario == Scenario::qe_identity_mismatch ? crypto::sha256(as_bytes("another signer")) : qe_signer();
  out.isv_prod_id = kQeProductId;
  out.isv_svn = kQeSvn;
  Bytes bound = to_bytes(attestation_key.view());
  append(bound, auth_data);
  if (scenario == Scenario::qe_report_data) bound[0] ^= 1;
  std::ranges::copy(crypto::sha256(bound), out.report_data.begin());
  return out;
}

Result<void> sign_quote(tdx::Quote& quote, const Keys& keys, Scenario scenario) {
  CAIRN_TRY(quote.attestation_key, point_of(keys.attestation.public_key()));
  quote.qe_report = qe_report(quote.attestation_key, quote.qe_auth_data, scenario);
  Writer report;
  sgx::write(quote.qe_report, report);
  CAIRN_TRY(quote.qe_report_signature, sign<tdx::Signature>(keys.pck, report.view()));
  const Bytes signed_part = tdx::encode_signed_part(quote.header, quote.body);
  CAIRN_TRY(quote.signature, sign<tdx::Signature>(keys.attestation, signed_part));
  if (scenario == Scenario::quote_signature) quote.signature.back() ^= 1;
  if (scenario == Scenario::qe_report_signature) quote.qe_report_signature.back() ^= 1;
  if (scenario == Scenario::quote_flip) std::get<tdx::TdReport>(quote.body).mr_td[0] ^= 1;
  return {};
}

}  // namespace

Bytes make_hardware_report(const TdState& td, const ReportData& report_data, const Keys& keys, Scenario scenario) {
  tdx::HardwareReport report;
  report.version = td.quote_v5 || scenario == Scenario::td_service ? 1 : 0;
  report.cpu_svn = components(scenario);
  report.td = td_report(td, report_data, scenario);
  const Bytes unsealed = tdx::encode(report);
  report.mac = report_mac(unsealed, keys);
  return tdx::encode(report);
}

Result<Bytes> make_quote(ByteView hardware_report, const Keys& keys, const Platform& platform,
                         std::string_view pck_chain, Scenario scenario) {
  CAIRN_TRY(const auto report, tdx::parse_hardware_report(hardware_report));
  if (!constant_time_equal(report.mac.view(), report_mac(hardware_report, keys).view()))
    return fail(ErrorCode::crypto_failed, "the TD report was not made on this simulated platform");
  CAIRN_TRY(auto shape, tdx::quote_shape(report));
  tdx::Quote quote;
  quote.header.version = shape.version;
  std::ranges::copy(platform.qe_id, quote.header.user_data.begin());
  quote.body = shape.body;
  for (std::uint8_t i = 0; i < 32; ++i) quote.qe_auth_data.push_back(i);
  quote.cert.type = tdx::CertDataType::pck_chain;
  quote.cert.data = to_bytes(pck_chain);
  quote.cert.data.push_back(0);
  CAIRN_CHECK(sign_quote(quote, keys, scenario));
  CAIRN_TRY(auto bytes, tdx::encode(quote));
  if (scenario == Scenario::quote_truncated) bytes.resize(bytes.size() - 100);
  return bytes;
}

}  // namespace cairn::device::simulator
