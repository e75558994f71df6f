// Asymmetric keys: made, read, written, used.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/secret.h"
#include "crypto/hash.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace cairn::crypto {

enum class KeyType { ec_p256, ec_p384, ec_p521, rsa, ed25519, x25519 };
[[nodiscard]] std::string_view key_type_name(KeyType type);

// How a signature is made and written.
enum class Signature {
  ecdsa_der,  // ASN.1 SEQUENCE { r, s }
  ecdsa_raw,  // r || s, each of field length (JOSE, SGX, SPDM)
  rsa_pkcs1,  // RSASSA-PKCS1-v1_5
  rsa_pss,    // RSASSA-PSS, MGF1 with the same hash, salt of hash length
  eddsa,      // Ed25519; the hash argument is ignored
};
enum class RsaPadding { pkcs1_v15, oaep_sha1, oaep_sha256 };

// Immutable and cheap to copy.
class PublicKey {
 public:
  [[nodiscard]] static Result<PublicKey> from_spki_der(ByteView der);
  [[nodiscard]] static Result<PublicKey> from_pem(std::string_view pem);
  // Uncompressed affine coordinates, each of field length; refused unless on the curve.
  [[nodiscard]] static Result<PublicKey> from_ec_point(KeyType curve, ByteView x, ByteView y);
  [[nodiscard]] static Result<PublicKey> from_rsa(ByteView modulus,
                                                  ByteView exponent);  // big-endian; 2048 to 8192 bits
  [[nodiscard]] static Result<PublicKey> from_ed25519(ByteView raw32);

  [[nodiscard]] KeyType type() const { return type_; }
  [[nodiscard]] int bits() const;
  [[nodiscard]] Bytes spki_der() const;
  [[nodiscard]] std::string pem() const;
  struct EcPoint {
    Bytes x, y;  // field length: 32, 48 or 66 bytes
  };
  [[nodiscard]] Result<EcPoint> ec_point() const;
  struct RsaNumbers {
    Bytes modulus, exponent;  // big-endian, no leading zeros
  };
  [[nodiscard]] Result<RsaNumbers> rsa_numbers() const;
  [[nodiscard]] Result<Bytes> raw() const;  // Ed25519, X25519: 32 bytes

  // crypto_failed when the signature does not match, whatever the reason.
  [[nodiscard]] Result<void> verify(Signature kind, Hash hash, ByteView message, ByteView signature) const;
  [[nodiscard]] Result<Bytes> rsa_encrypt(RsaPadding padding, ByteView plaintext) const;

  [[nodiscard]] bool operator==(const PublicKey& other) const;
  [[nodiscard]] evp_pkey_st* native() const { return key_.get(); }  // for TLS contexts; owned by this
  [[nodiscard]] static Result<PublicKey> adopt(evp_pkey_st* key);   // takes ownership

 private:
  friend class PrivateKey;
  std::shared_ptr<evp_pkey_st> key_;
  KeyType type_ = KeyType::ec_p256;
};

// Cheap to copy (shared); the key bytes are wiped with the last owner.
class PrivateKey {
 public:
  [[nodiscard]] static Result<PrivateKey> generate(KeyType type, int rsa_bits = 3072);
  // PKCS#8, SEC1 or PKCS#1, not encrypted.
  [[nodiscard]] static Result<PrivateKey> from_pem(std::string_view pem);
  // A scalar in [1, n-1], big-endian, of field length: for keys derived from a seed.
  [[nodiscard]] static Result<PrivateKey> from_ec_scalar(KeyType curve, ByteView scalar);

  [[nodiscard]] KeyType type() const { return public_.type(); }
  [[nodiscard]] const PublicKey& public_key() const { return public_; }
  [[nodiscard]] Secret pkcs8_pem() const;
  [[nodiscard]] Secret traditional_pem() const;  // RSA: PKCS#1; EC: SEC1

  [[nodiscard]] Result<Bytes> sign(Signature kind, Hash hash, ByteView message) const;
  // The shared x coordinate (EC) or 32 bytes (X25519).
  [[nodiscard]] Result<Secret> ecdh(const PublicKey& peer) const;
  // PKCS#1 v1.5 uses implicit rejection: a wrong padding yields random bytes rather than an error.
  [[nodiscard]] Result<Secret> rsa_decrypt(RsaPadding padding, ByteView ciphertext) const;

  [[nodiscard]] evp_pkey_st* native() const { return public_.native(); }

 private:
  PublicKey public_;  // holds the pair
};

}  // namespace cairn::crypto
