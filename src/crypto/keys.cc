#include "crypto/keys.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <array>

#include "crypto/openssl.h"

namespace cairn::crypto {
namespace {

using ParamBuilder = Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>;
using Params = Owned<OSSL_PARAM, OSSL_PARAM_free>;

constexpr int kMinRsaBits = 2048, kMaxRsaBits = 8192;

struct Curve {
  KeyType type;
  const char* group;
  std::size_t field;
};
constexpr std::array<Curve, 3> kCurves = {
    {{KeyType::ec_p256, "prime256v1", 32}, {KeyType::ec_p384, "secp384r1", 48}, {KeyType::ec_p521, "secp521r1", 66}}};
const Curve* curve_of(KeyType type) {
  for (const auto& c : kCurves)
    if (c.type == type) return &c;
  return nullptr;
}

std::shared_ptr<evp_pkey_st> share(EVP_PKEY* key) { return {key, EVP_PKEY_free}; }

Result<KeyType> type_of(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "RSA")) {
    const int bits = EVP_PKEY_get_bits(key);
    if (bits < kMinRsaBits || bits > kMaxRsaBits)
      return fail(ErrorCode::unsupported, "RSA keys have 2048 to 8192 bits, this one " + std::to_string(bits));
    return KeyType::rsa;
  }
  if (EVP_PKEY_is_a(key, "ED25519")) return KeyType::ed25519;
  if (EVP_PKEY_is_a(key, "X25519")) return KeyType::x25519;
  if (EVP_PKEY_is_a(key, "EC")) {
    char name[64] = {};
    EVP_PKEY_get_group_name(key, name, sizeof name, nullptr);
    for (const auto& c : kCurves)
      if (std::string_view(name) == c.group) return c.type;
    return fail(ErrorCode::unsupported, "elliptic curve " + std::string(name) + " is not accepted");
  }
  return fail(ErrorCode::unsupported, "a key of this kind is not accepted");
}

Bytes number(const EVP_PKEY* key, const char* name, std::size_t pad) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return {};
  const BnPtr value(raw);
  const std::size_t size = std::max<std::size_t>(pad, static_cast<std::size_t>(BN_num_bytes(raw)));
  Bytes out(size);
  BN_bn2binpad(raw, out.data(), static_cast<int>(size));
  return out;
}

Result<EvpPkey> from_params(const char* algorithm, int selection, const OSSL_PARAM* parameters) {
  const EvpPkeyCtx context(EVP_PKEY_CTX_new_from_name(nullptr, algorithm, nullptr));
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, selection, const_cast<OSSL_PARAM*>(parameters)) != 1)
    return openssl_error("the key's numbers do not form a key");
  return EvpPkey(key);
}

// r || s of field length <-> DER.
Result<Bytes> raw_to_der(ByteView raw, std::size_t field) {
  if (raw.size() != 2 * field) return fail(ErrorCode::crypto_failed, "signature of the wrong length");
  const EcdsaSigPtr signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(raw.data(), static_cast<int>(field), nullptr);
  BIGNUM* s = BN_bin2bn(raw.data() + field, static_cast<int>(field), nullptr);
  if (!signature || r == nullptr || s == nullptr || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return openssl_error("signature numbers");
  }
  std::uint8_t* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return openssl_error("signature encoding");
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}
Result<Bytes> der_to_raw(ByteView der, std::size_t field) {
  const auto* at = der.data();
  const EcdsaSigPtr signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!signature) return openssl_error("signature encoding");
  Bytes out(2 * field);
  if (BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out.data(), static_cast<int>(field)) < 0 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out.data() + field, static_cast<int>(field)) < 0)
    return openssl_error("signature numbers");
  return out;
}

Result<EvpMdCtx> signing_context(Signature kind, Hash hash, EVP_PKEY* key, KeyType type, bool sign) {
  const bool ec = kind == Signature::ecdsa_der || kind == Signature::ecdsa_raw;
  const bool rsa = kind == Signature::rsa_pkcs1 || kind == Signature::rsa_pss;
  if ((ec && curve_of(type) == nullptr) || (rsa && type != KeyType::rsa) ||
      (kind == Signature::eddsa && type != KeyType::ed25519))
    return fail(ErrorCode::crypto_failed, "the key does not fit the signature algorithm");
  EvpMdCtx context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* inner = nullptr;
  const std::string name(hash_name(hash));
  const char* digest = kind == Signature::eddsa ? nullptr : name.c_str();
  const int ok = sign ? EVP_DigestSignInit_ex(context.get(), &inner, digest, nullptr, nullptr, key, nullptr)
                      : EVP_DigestVerifyInit_ex(context.get(), &inner, digest, nullptr, nullptr, key, nullptr);
  if (ok != 1) return openssl_error("signature set-up failed");
  if (kind == Signature::rsa_pss && (EVP_PKEY_CTX_set_rsa_padding(inner, RSA_PKCS1_PSS_PADDING) != 1 ||
                                     EVP_PKEY_CTX_set_rsa_pss_saltlen(inner, RSA_PSS_SALTLEN_DIGEST) != 1))
    return openssl_error("signature set-up failed");
  return context;
}

Result<EvpPkeyCtx> rsa_context(EVP_PKEY* key, KeyType type, RsaPadding padding, bool encrypt) {
  if (type != KeyType::rsa) return fail(ErrorCode::crypto_failed, "not an RSA key");
  EvpPkeyCtx context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  const bool oaep = padding != RsaPadding::pkcs1_v15;
  const EVP_MD* md = padding == RsaPadding::oaep_sha256 ? EVP_sha256() : EVP_sha1();
  if (!context || (encrypt ? EVP_PKEY_encrypt_init(context.get()) : EVP_PKEY_decrypt_init(context.get())) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING) != 1 ||
      (oaep &&
       (EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), md) != 1 || EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), md) != 1)))
    return openssl_error("RSA set-up failed");
  return context;
}

Secret drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  Secret out(ByteView(reinterpret_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)));
  wipe(data, static_cast<std::size_t>(size));
  return out;
}

}  // namespace

std::string_view key_type_name(KeyType type) {
  switch (type) {
    case KeyType::ec_p256: return "P-256";
    case KeyType::ec_p384: return "P-384";
    case KeyType::ec_p521: return "P-521";
    case KeyType::rsa: return "RSA";
    case KeyType::ed25519: return "Ed25519";
    case KeyType::x25519: return "X25519";
  }
  return "";
}

Result<PublicKey> PublicKey::adopt(evp_pkey_st* key) {
  EvpPkey owned(key);
  CAIRN_TRY(const KeyType type, type_of(key));
  PublicKey out;
  out.key_ = share(owned.release());
  out.type_ = type;
  return out;
}

Result<PublicKey> PublicKey::from_spki_der(ByteView der) {
  const auto* at = der.data();
  EvpPkey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  if (!key) return openssl_error("not a public key (SubjectPublicKeyInfo)");
  if (at != der.data() + der.size()) return fail(ErrorCode::malformed, "bytes after the public key");
  return adopt(key.release());
}
Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  EvpPkey key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
  if (!key) return openssl_error("not a PEM public key");
  return adopt(key.release());
}
Result<PublicKey> PublicKey::from_ec_point(KeyType type, ByteView x, ByteView y) {
  const Curve* curve = curve_of(type);
  if (curve == nullptr || x.size() != curve->field || y.size() != curve->field)
    return fail(ErrorCode::malformed, "coordinates do not have the curve's field length");
  Bytes point{4};
  append(point, x);
  append(point, y);
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  const Params parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  CAIRN_TRY(auto key, from_params("EC", EVP_PKEY_PUBLIC_KEY, parameters.get()));
  return adopt(key.release());
}
Result<PublicKey> PublicKey::from_rsa(ByteView modulus, ByteView exponent) {
  if (modulus.size() > kMaxRsaBits / 8 + 1 || exponent.size() > 8)
    return fail(ErrorCode::too_large, "RSA numbers too large");
  const BnPtr n(BN_bin2bn(modulus.data(), static_cast<int>(modulus.size()), nullptr));
  const BnPtr e(BN_bin2bn(exponent.data(), static_cast<int>(exponent.size()), nullptr));
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  const Params parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  CAIRN_TRY(auto key, from_params("RSA", EVP_PKEY_PUBLIC_KEY, parameters.get()));
  return adopt(key.release());
}
Result<PublicKey> PublicKey::from_ed25519(ByteView raw32) {
  EvpPkey key(EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, raw32.data(), raw32.size()));
  if (!key) return openssl_error("not an Ed25519 public key");
  return adopt(key.release());
}

int PublicKey::bits() const { return EVP_PKEY_get_bits(key_.get()); }

Bytes PublicKey::spki_der() const {
  std::uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  Bytes out(der, der + std::max(size, 0));
  OPENSSL_free(der);
  return out;
}
std::string PublicKey::pem() const {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PUBKEY(bio.get(), key_.get());
  const Secret text = drain(bio.get());
  return std::string(as_text(text.view()));
}
Result<PublicKey::EcPoint> PublicKey::ec_point() const {
  const Curve* curve = curve_of(type_);
  if (curve == nullptr) return fail(ErrorCode::invalid_argument, "not an elliptic-curve key");
  return EcPoint{number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, curve->field),
                 number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, curve->field)};
}
Result<PublicKey::RsaNumbers> PublicKey::rsa_numbers() const {
  if (type_ != KeyType::rsa) return fail(ErrorCode::invalid_argument, "not an RSA key");
  return RsaNumbers{number(key_.get(), OSSL_PKEY_PARAM_RSA_N, 0), number(key_.get(), OSSL_PKEY_PARAM_RSA_E, 0)};
}
Result<Bytes> PublicKey::raw() const {
  Bytes out(32);
  std::size_t size = out.size();
  if (EVP_PKEY_get_raw_public_key(key_.get(), out.data(), &size) != 1)
    return fail(ErrorCode::invalid_argument, "this kind of key has no raw form");
  out.resize(size);
  return out;
}

Result<void> PublicKey::verify(Signature kind, Hash hash, ByteView message, ByteView signature) const {
  CAIRN_TRY(const auto context, signing_context(kind, hash, key_.get(), type_, false));
  Bytes der;
  if (kind == Signature::ecdsa_raw) {
    CAIRN_TRY(der, raw_to_der(signature, curve_of(type_)->field));
    signature = der;
  }
  if (EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) != 1)
    return openssl_error("the signature does not verify");
  return {};
}

Result<Bytes> PublicKey::rsa_encrypt(RsaPadding padding, ByteView plaintext) const {
  CAIRN_TRY(const auto context, rsa_context(key_.get(), type_, padding, true));
  Bytes out(static_cast<std::size_t>(EVP_PKEY_get_size(key_.get())));
  std::size_t size = out.size();
  if (EVP_PKEY_encrypt(context.get(), out.data(), &size, plaintext.data(), plaintext.size()) != 1)
    return openssl_error("RSA encryption failed");
  out.resize(size);
  return out;
}

bool PublicKey::operator==(const PublicKey& other) const { return EVP_PKEY_eq(key_.get(), other.key_.get()) == 1; }

Result<PrivateKey> PrivateKey::generate(KeyType type, int rsa_bits) {
  EvpPkey key;
  if (const Curve* curve = curve_of(type)) {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve->group));
  } else if (type == KeyType::rsa) {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(rsa_bits)));
  } else {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, type == KeyType::ed25519 ? "ED25519" : "X25519"));
  }
  if (!key) return openssl_error("key generation failed");
  PrivateKey out;
  CAIRN_TRY(out.public_, PublicKey::adopt(key.release()));
  return out;
}
Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // The callback keeps an encrypted key from asking the terminal.
  const auto refuse = [](char*, int, int, void*) { return -1; };
  EvpPkey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse, nullptr));
  if (!key) return openssl_error("not an unencrypted PEM private key");
  PrivateKey out;
  CAIRN_TRY(out.public_, PublicKey::adopt(key.release()));
  return out;
}
Result<PrivateKey> PrivateKey::from_ec_scalar(KeyType type, ByteView scalar) {
  const Curve* curve = curve_of(type);
  if (curve == nullptr || scalar.size() != curve->field)
    return fail(ErrorCode::invalid_argument, "scalar of the wrong size");
  const Owned<EC_GROUP, EC_GROUP_free> group(EC_GROUP_new_by_curve_name(OBJ_sn2nid(curve->group)));
  const BnPtr d(BN_bin2bn(scalar.data(), static_cast<int>(scalar.size()), nullptr));
  if (BN_is_zero(d.get()) || BN_cmp(d.get(), EC_GROUP_get0_order(group.get())) >= 0)
    return fail(ErrorCode::invalid_argument, "scalar out of range");
  BN_set_flags(d.get(), BN_FLG_CONSTTIME);
  const Owned<EC_POINT, EC_POINT_free> point(EC_POINT_new(group.get()));
  Bytes encoded(1 + 2 * curve->field);
  if (EC_POINT_mul(group.get(), point.get(), d.get(), nullptr, nullptr, nullptr) != 1 ||
      EC_POINT_point2oct(group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED, encoded.data(), encoded.size(),
                         nullptr) != encoded.size())
    return openssl_error("scalar multiplication failed");
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, encoded.data(), encoded.size());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, d.get());
  const Params parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  CAIRN_TRY(auto key, from_params("EC", EVP_PKEY_KEYPAIR, parameters.get()));
  PrivateKey out;
  CAIRN_TRY(out.public_, PublicKey::adopt(key.release()));
  return out;
}

Secret PrivateKey::pkcs8_pem() const {
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), native(), nullptr, nullptr, 0, nullptr, nullptr);
  return drain(bio.get());
}
Secret PrivateKey::traditional_pem() const {
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  PEM_write_bio_PrivateKey_traditional(bio.get(), native(), nullptr, nullptr, 0, nullptr, nullptr);
  return drain(bio.get());
}

Result<Bytes> PrivateKey::sign(Signature kind, Hash hash, ByteView message) const {
  CAIRN_TRY(const auto context, signing_context(kind, hash, native(), type(), true));
  Bytes out(static_cast<std::size_t>(EVP_PKEY_get_size(native())));
  std::size_t size = out.size();
  if (EVP_DigestSign(context.get(), out.data(), &size, message.data(), message.size()) != 1)
    return openssl_error("signing failed");
  out.resize(size);
  if (kind == Signature::ecdsa_raw) return der_to_raw(out, curve_of(type())->field);
  return out;
}

Result<Secret> PrivateKey::ecdh(const PublicKey& peer) const {
  if (peer.type() != type() || (curve_of(type()) == nullptr && type() != KeyType::x25519))
    return fail(ErrorCode::crypto_failed, "the two keys cannot agree on a secret");
  const EvpPkeyCtx context(EVP_PKEY_CTX_new_from_pkey(nullptr, native(), nullptr));
  std::size_t size = 0;
  if (!context || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), peer.native()) != 1 ||
      EVP_PKEY_derive(context.get(), nullptr, &size) != 1)
    return openssl_error("key agreement failed");
  Secret out(size);
  if (EVP_PKEY_derive(context.get(), out.mutable_view().data(), &size) != 1 || size != out.size())
    return openssl_error("key agreement failed");
  return out;
}

Result<Secret> PrivateKey::rsa_decrypt(RsaPadding padding, ByteView ciphertext) const {
  CAIRN_TRY(const auto context, rsa_context(native(), type(), padding, false));
  Secret room(static_cast<std::size_t>(EVP_PKEY_get_size(native())));
  std::size_t size = room.size();
  if (EVP_PKEY_decrypt(context.get(), room.mutable_view().data(), &size, ciphertext.data(), ciphertext.size()) != 1)
    return openssl_error("RSA decryption failed");
  return Secret(room.view().first(size));
}

}  // namespace cairn::crypto
