#include "trustee/as/authority.h"

#include <spdlog/spdlog.h>

#include "base/file.h"

namespace cairn::trustee::as {
namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::int64_t kCaLife = 3650 * kDay, kLeafLife = 365 * kDay, kRenewBefore = 30 * kDay;
constexpr int kRsaBits = 2048;

Result<crypto::Certificate> load_certificate(const std::filesystem::path& file) {
  CAIRN_TRY(const std::string pem, read_text(file));
  CAIRN_TRY(const auto all, crypto::Certificate::from_pem(pem));
  if (all.empty()) return fail(ErrorCode::malformed, file, "the file holds no certificate");
  return all.front();
}

Result<void> belongs(const crypto::Certificate& certificate, const crypto::PrivateKey& key,
                     const std::filesystem::path& file) {
  CAIRN_TRY(const auto certified, certificate.public_key());
  if (certified == key.public_key()) return {};
  return fail(ErrorCode::conflict, file,
              "the certificate is not for the key beside it; restore the pair or remove both files");
}

}  // namespace

Result<crypto::PrivateKey> load_or_make_key(const std::filesystem::path& file, crypto::KeyType type) {
  if (std::filesystem::exists(file)) {
    CAIRN_TRY(const Secret pem, read_secret(file));
    CAIRN_TRY(auto key, crypto::PrivateKey::from_pem(as_text(pem.view())));
    if (key.type() != type) return fail(ErrorCode::conflict, file, "the file holds a key of another type");
    return key;
  }
  CAIRN_TRY(auto key, crypto::PrivateKey::generate(type, kRsaBits));
  CAIRN_CHECK(write_file(file, key.pkcs8_pem().view(), 0600));
  return key;
}

Result<std::unique_ptr<Authority>> Authority::open(std::filesystem::path folder, Time now, crypto::X5cForm x5c) {
  CAIRN_CHECK(make_dirs(folder, 0700));
  auto out = std::unique_ptr<Authority>(new Authority(std::move(folder), x5c));
  CAIRN_CHECK(out->load_ca(now));
  for (Slot* slot : {&out->simple_, &out->ear_}) {
    CAIRN_TRY(slot->signer, out->load_signer(*slot, now));
  }
  return out;
}

Result<void> Authority::load_ca(Time now) {
  CAIRN_TRY(ca_key_, load_or_make_key(folder_ / "ca.key", crypto::KeyType::ec_p256));
  const auto file = folder_ / "ca.pem";
  if (!std::filesystem::exists(file)) {
    crypto::CertificateTemplate what;
    what.subject = what.issuer = {{"O", "Cairn Trustee CA"}};
    what.not_before = now.plus(-3600);
    what.not_after = now.plus(kCaLife);
    what.ca = true;
    what.key_usage = crypto::kKeyCertSign | crypto::kCrlSign;
    CAIRN_TRY(const auto certificate, crypto::issue(what, ca_key_.public_key(), ca_key_));
    CAIRN_CHECK(write_text(file, certificate.pem()));
    spdlog::info("made a certificate authority for attestation tokens: {}", file.string());
  }
  CAIRN_TRY(ca_, load_certificate(file));
  return belongs(ca_, ca_key_, file);
}

Result<std::shared_ptr<const Signer>> Authority::load_signer(const Slot& slot, Time now) {
  const auto type = slot.alg == crypto::JwsAlg::rs384 ? crypto::KeyType::rsa : crypto::KeyType::ec_p256;
  CAIRN_TRY(auto key, load_or_make_key(folder_ / (slot.name + ".key"), type));
  const auto file = folder_ / (slot.name + ".pem");
  auto leaf = std::filesystem::exists(file) ? load_certificate(file) : fail(ErrorCode::not_found, "no certificate yet");
  if (leaf) {
    CAIRN_CHECK(belongs(*leaf, key, file));
    CAIRN_TRY(const auto ca_public, ca_.public_key());
    if (leaf->not_after() < now.plus(kRenewBefore) || !leaf->signed_by(ca_public))
      leaf = fail(ErrorCode::not_found, "renew");
  } else if (leaf.error().code != ErrorCode::not_found) {
    return fail(std::move(leaf.error()).in(file.string()));
  }
  if (!leaf) {
    crypto::CertificateTemplate what;  // as plain as the ones met in the field: a subject key identifier and no usages
    what.subject = {{"CN", "Trustee"}, {"O", "Cairn Trustee CA"}};
    what.issuer = {{"O", "Cairn Trustee CA"}};
    what.not_before = now.plus(-3600);
    what.not_after = std::min(now.plus(kLeafLife), ca_.not_after());
    what.authority_key_id = false;
    leaf = crypto::issue(what, key.public_key(), ca_key_);
    if (!leaf) return fail(std::move(leaf.error()));
    CAIRN_CHECK(write_text(file, leaf->pem() + ca_.pem()));
  }
  std::vector<crypto::Certificate> chain{*leaf, ca_};
  Json jwk = crypto::emit_jwk(key.public_key(), crypto::jws_alg_name(slot.alg), chain, x5c_);
  return std::make_shared<const Signer>(Signer{std::move(key), slot.alg, std::move(chain), std::move(jwk)});
}

std::shared_ptr<const Signer> Authority::current(Slot& slot, Time now) {
  const std::scoped_lock lock(mutex_);
  if (slot.signer->chain.front().not_after() < now.plus(kRenewBefore)) {
    if (auto renewed = load_signer(slot, now))
      slot.signer = *std::move(renewed);
    else
      spdlog::error("the token signer's certificate could not be renewed: {}", renewed.error().text());
  }
  return slot.signer;
}

std::shared_ptr<const Signer> Authority::simple(Time now) { return current(simple_, now); }
std::shared_ptr<const Signer> Authority::ear(Time now) { return current(ear_, now); }

}  // namespace cairn::trustee::as
