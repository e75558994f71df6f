#include "evidence/tdx/trust_root.h"

#include "crypto/hash.h"
#include "evidence/pki/certificate.h"

namespace cairn::tdx {
namespace {

// Intel SGX Root CA, valid 2018-05-21 to 2049-12-31; SHA-256 of its DER form is
// 44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3 (checked by a test).
constexpr std::string_view kIntelRoot = R"(
-----BEGIN CERTIFICATE-----
MIICjzCCAjSgAwIBAgIUImUM1lqdNInzg7SVUr9QGzknBqwwCgYIKoZIzj0EAwIw
aDEaMBgGA1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNVBAoMEUludGVsIENv
cnBvcmF0aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJ
BgNVBAYTAlVTMB4XDTE4MDUyMTEwNDUxMFoXDTQ5MTIzMTIzNTk1OVowaDEaMBgG
A1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNVBAoMEUludGVsIENvcnBvcmF0
aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJBgNVBAYT
AlVTMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEC6nEwMDIYZOj/iPWsCzaEKi7
1OiOSLRFhWGjbnBVJfVnkY4u3IjkDYYL0MxO4mqsyYjlBalTVYxFP2sJBK5zlKOB
uzCBuDAfBgNVHSMEGDAWgBQiZQzWWp00ifODtJVSv1AbOScGrDBSBgNVHR8ESzBJ
MEegRaBDhkFodHRwczovL2NlcnRpZmljYXRlcy50cnVzdGVkc2VydmljZXMuaW50
ZWwuY29tL0ludGVsU0dYUm9vdENBLmRlcjAdBgNVHQ4EFgQUImUM1lqdNInzg7SV
Ur9QGzknBqwwDgYDVR0PAQH/BAQDAgEGMBIGA1UdEwEB/wQIMAYBAf8CAQEwCgYI
KoZIzj0EAwIDSQAwRgIhAOW/5QkR+S9CiSDcNoowLuPRLsWGf/Yi7GSX94BgwTwg
AiEA4J0lrHoMs+Xo5o/sX6O9QWxHRAvZUGOdRQ7cvqRXaqI=
-----END CERTIFICATE-----
)";

// DER of a PEM or DER certificate.
Result<Bytes> to_der(ByteView certificate) {
  if (!certificate.empty() && certificate[0] == 0x30) return to_bytes(certificate);
  CAIRN_TRY(std::vector<Bytes> blocks, pki::parse_pem_chain(as_text(certificate)));
  if (blocks.size() != 1) return fail(ErrorCode::invalid_argument, "a trust root is exactly one certificate");
  return std::move(blocks.front());
}

Result<void> check_root(const pki::Certificate& c) {
  CAIRN_TRY(const pki::P256Key key, pki::P256Key::from_point(c.public_key));
  if (!equal(c.issuer, c.subject) || !c.signed_by(key))
    return fail(ErrorCode::invalid_argument, "a trust root must be self-signed");
  const std::uint16_t usage = pki::kKeyCertSign | pki::kCrlSign;
  if (!c.ca || !c.key_usage || (*c.key_usage & usage) != usage)
    return fail(ErrorCode::invalid_argument, "a trust root must be a CA that may sign certificates and CRLs");
  return {};
}

}  // namespace

Digest<48> TrustRoot::key_id() const { return crypto::sha384(point); }

const TrustRoot& intel_root() {
  static const TrustRoot root = [] {
    Bytes der = pki::parse_pem_chain(kIntelRoot).value().front();
    TrustRoot out{.name = "intel", .point = {4}, .certificate = {}, .simulated = false};
    std::ranges::copy(pki::parse_certificate(der).value().public_key, out.point.begin() + 1);
    out.certificate = std::move(der);
    return out;
  }();
  return root;
}

Result<TrustRoot> trust_root(std::string name, ByteView certificate) {
  CAIRN_TRY(Bytes der, to_der(certificate));
  CAIRN_TRY(const pki::Certificate c, pki::parse_certificate(der));
  CAIRN_CHECK(check_root(c));
  if (equal(c.public_key, ByteView(intel_root().point).subspan(1))) return intel_root();
  TrustRoot out{.name = std::move(name), .point = {4}, .certificate = {}, .simulated = true};
  std::ranges::copy(c.public_key, out.point.begin() + 1);
  out.certificate = std::move(der);
  return out;
}

}  // namespace cairn::tdx
