#include "device/simulator/pki.h"

#include <sys/stat.h>

#include "base/file.h"
#include "crypto/random.h"

namespace cairn::device::simulator {
namespace {

constexpr std::int64_t kYear = 365 * kDay;
constexpr std::string_view kHost = "https://pcs.simulator.invalid/";  // RFC 2606: never resolves
constexpr int kReasonKeyCompromise = 1;

crypto::Name subject(std::string_view common_name) {
  return {
      {"CN", std::string(common_name)}, {"O", "Intel Corporation"}, {"L", "Santa Clara"}, {"ST", "CA"}, {"C", "US"}};
}

// Keys that others may read are not keys any more.
Result<void> check_private(const std::filesystem::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return fail(errno_error(errno, path.string(), "reading its permissions"));
  if ((info.st_mode & 077) != 0)
    return fail(ErrorCode::permission_denied, path.string(),
                "the simulator's keys must not be readable by others; remove the folder or chmod 600");
  return {};
}

std::unexpected<Error> missing(const std::filesystem::path& path) {
  return fail(ErrorCode::not_found, path.string(),
              "the simulator's key is gone; remove the whole folder to begin anew");
}

Result<crypto::PrivateKey> open_key(const std::filesystem::path& path, bool make) {
  if (std::filesystem::exists(path)) {
    CAIRN_CHECK(check_private(path));
    CAIRN_TRY(const auto pem, read_secret(path));
    return crypto::PrivateKey::from_pem(as_text(pem.view()));
  }
  if (!make) return missing(path);
  CAIRN_TRY(auto key, crypto::PrivateKey::generate(crypto::KeyType::ec_p256));
  const Secret pem = key.pkcs8_pem();
  CAIRN_CHECK(write_file(path, pem.view(), 0600));
  return key;
}

Result<Secret> open_mac_key(const std::filesystem::path& path, bool make) {
  if (std::filesystem::exists(path)) {
    CAIRN_CHECK(check_private(path));
    return read_secret(path);
  }
  if (!make) return missing(path);
  Secret key = crypto::random_secret(32);
  CAIRN_CHECK(write_file(path, key.view(), 0600));
  return key;
}

// Serial numbers of CAs and the TCB signer are their key's SHA-1, as Intel's are.
Bytes key_serial(const crypto::PublicKey& key) {
  const auto point = key.ec_point();
  Bytes bits{4};
  if (point) {
    append(bits, point->x);
    append(bits, point->y);
  }
  return crypto::digest(crypto::Hash::sha1, bits);
}

Bytes pck_extension(const Platform& platform, Scenario scenario) {
  sgx::PckExtension out;
  out.ppid = platform.ppid;
  out.components = out.cpu_svn = components(scenario);
  out.pce_svn = kPceSvn;
  out.fmspc = kFmspc;
  out.type = sgx::PlatformType::scalable;
  out.platform_instance_id = platform.instance_id;
  out.dynamic_platform = true;
  out.cached_keys = false;
  out.smt_enabled = true;
  out.has_configuration = true;
  return sgx::encode(out);
}

Result<crypto::Certificate> make_pck(const Keys& keys, const Platform& platform, Scenario scenario, Time at) {
  const bool expired = scenario == Scenario::pck_expired;
  crypto::CertificateTemplate what{
      .subject = subject("Intel SGX PCK Certificate"),
      .issuer = subject("Intel SGX PCK Platform CA"),
      .serial = platform.pck_serial,
      .not_before = at.plus(expired ? -kYear : -kDay),
      .not_after = at.plus(expired ? -kDay / 24 : 7 * kYear),
      .ca = false,
      .path_length = {},
      .key_usage = crypto::kDigitalSignature | crypto::kNonRepudiation,
      .extended_key_usage = {},
      .crl_url = std::string(kHost) + "pckcrl",
      .dns_names = {},
      .ip_addresses = {},
      .extra = {{std::string(sgx::kPckExtensionOid), false, pck_extension(platform, scenario)}}};
  return crypto::issue(what, keys.pck.public_key(), keys.platform_ca);
}

}  // namespace

Result<Keys> Keys::open(const std::filesystem::path& dir, bool make) {
  CAIRN_TRY(auto root, open_key(dir / "root.pem", make));
  CAIRN_TRY(auto other, open_key(dir / "other-root.pem", make));
  CAIRN_TRY(auto ca, open_key(dir / "platform-ca.pem", make));
  CAIRN_TRY(auto tcb, open_key(dir / "tcb-signing.pem", make));
  CAIRN_TRY(auto pck, open_key(dir / "pck.pem", make));
  CAIRN_TRY(auto attestation, open_key(dir / "attestation.pem", make));
  CAIRN_TRY(auto mac, open_mac_key(dir / "report-mac.bin", make));
  return Keys{std::move(root), std::move(other),       std::move(ca), std::move(tcb),
              std::move(pck),  std::move(attestation), std::move(mac)};
}

std::array<std::uint8_t, 16> components(Scenario scenario) {
  std::uint8_t first = 9;
  switch (scenario) {
    case Scenario::tcb_sw_hardening: first = 8; break;
    case Scenario::tcb_configuration: first = 7; break;
    case Scenario::tcb_out_of_date: first = 5; break;
    case Scenario::tcb_revoked: first = 3; break;
    case Scenario::tcb_unsupported: first = 2; break;
    default: break;
  }
  return {first, first, 2, 2, 4, 1, 0, 5};
}

Result<crypto::Certificate> make_root(const crypto::PrivateKey& key, Time at) {
  const crypto::CertificateTemplate what{.subject = subject("Intel SGX Root CA"),
                                         .issuer = {},
                                         .serial = key_serial(key.public_key()),
                                         .not_before = at.plus(-kDay),
                                         .not_after = from_civil(2049, 12, 31, 23, 59, 59),
                                         .ca = true,
                                         .path_length = 1,
                                         .key_usage = crypto::kKeyCertSign | crypto::kCrlSign,
                                         .extended_key_usage = {},
                                         .crl_url = std::string(kHost) + "rootcacrl",
                                         .dns_names = {},
                                         .ip_addresses = {},
                                         .extra = {}};
  return crypto::issue(what, key.public_key(), key);
}

Result<Certificates> make_certificates(const Keys& keys, const Platform& platform, const crypto::Certificate& root,
                                       Scenario scenario, Time at) {
  const auto& root_key = keys.signing_root(scenario);
  crypto::CertificateTemplate what{.subject = subject("Intel SGX PCK Platform CA"),
                                   .issuer = subject("Intel SGX Root CA"),
                                   .serial = key_serial(keys.platform_ca.public_key()),
                                   .not_before = at.plus(-kDay),
                                   .not_after = at.plus(15 * kYear),
                                   .ca = true,
                                   .path_length = 0,
                                   .key_usage = crypto::kKeyCertSign | crypto::kCrlSign,
                                   .extended_key_usage = {},
                                   .crl_url = std::string(kHost) + "rootcacrl",
                                   .dns_names = {},
                                   .ip_addresses = {},
                                   .extra = {}};
  CAIRN_TRY(auto ca, crypto::issue(what, keys.platform_ca.public_key(), root_key));
  what.subject = subject("Intel SGX TCB Signing");
  what.serial = key_serial(keys.tcb_signing.public_key());
  what.not_after = at.plus(7 * kYear);
  what.ca = false;
  what.path_length = {};
  what.key_usage = crypto::kDigitalSignature | crypto::kNonRepudiation;
  CAIRN_TRY(auto tcb, crypto::issue(what, keys.tcb_signing.public_key(), root_key));
  CAIRN_TRY(auto pck, make_pck(keys, platform, scenario, at));
  return Certificates{root, std::move(ca), std::move(tcb), std::move(pck)};
}

Result<crypto::Crl> make_root_crl(const Keys& keys, const Certificates& certificates, Scenario scenario, Time at) {
  crypto::CrlTemplate what{.issuer = subject("Intel SGX Root CA"),
                           .this_update = at.plus(-kDay),
                           .next_update = at.plus(kYear),
                           .number = static_cast<std::uint64_t>(at.seconds),
                           .revoked = {}};
  if (scenario == Scenario::ca_revoked)
    what.revoked.push_back({certificates.platform_ca.serial(), at.plus(-kDay), kReasonKeyCompromise});
  if (scenario == Scenario::tcb_signing_revoked)
    what.revoked.push_back({certificates.tcb_signing.serial(), at.plus(-kDay), kReasonKeyCompromise});
  return crypto::issue_crl(what, keys.signing_root(scenario));
}

Result<crypto::Crl> make_pck_crl(const Keys& keys, const Certificates& certificates, Scenario scenario, Time at) {
  const bool expired = scenario == Scenario::crl_expired;
  crypto::CrlTemplate what{.issuer = subject("Intel SGX PCK Platform CA"),
                           .this_update = at.plus(expired ? -60 * kDay : -kDay),
                           .next_update = at.plus(expired ? -kDay : 30 * kDay),
                           .number = static_cast<std::uint64_t>(at.seconds),
                           .revoked = {}};
  if (scenario == Scenario::pck_revoked)
    what.revoked.push_back({certificates.pck.serial(), at.plus(-kDay), kReasonKeyCompromise});
  return crypto::issue_crl(what, keys.platform_ca);
}

}  // namespace cairn::device::simulator
