#include "crypto/hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <cctype>
#include <cstdlib>

#include "crypto/openssl.h"

namespace cairn::crypto {
namespace {

// Fetched once: EVP_sha384() and friends look their provider up at every use.
const EVP_MD* method(Hash hash) {
  static const EVP_MD* const methods[] = {
      EVP_MD_fetch(nullptr, "SHA1", nullptr), EVP_MD_fetch(nullptr, "SHA256", nullptr),
      EVP_MD_fetch(nullptr, "SHA384", nullptr), EVP_MD_fetch(nullptr, "SHA512", nullptr),
      EVP_MD_fetch(nullptr, "SM3", nullptr)};
  return methods[static_cast<std::size_t>(hash)];
}

}  // namespace

std::size_t hash_size(Hash hash) {
  switch (hash) {
    case Hash::sha1: return 20;
    case Hash::sha256:
    case Hash::sm3: return 32;
    case Hash::sha384: return 48;
    case Hash::sha512: return 64;
  }
  return 0;
}

std::string_view hash_name(Hash hash) {
  switch (hash) {
    case Hash::sha1: return "sha1";
    case Hash::sha256: return "sha256";
    case Hash::sha384: return "sha384";
    case Hash::sha512: return "sha512";
    case Hash::sm3: return "sm3";
  }
  return "";
}

std::optional<Hash> hash_by_name(std::string_view name) {
  std::string plain;
  for (const char c : name)
    if (c != '-') plain.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  for (const Hash h : {Hash::sha1, Hash::sha256, Hash::sha384, Hash::sha512, Hash::sm3})
    if (plain == hash_name(h)) return h;
  return std::nullopt;
}

Digest<16> md5(ByteView data) {
  static const EVP_MD* const kMethod = EVP_MD_fetch(nullptr, "MD5", nullptr);
  Digest<16> out{};
  if (EVP_Digest(data.data(), data.size(), out.data(), nullptr, kMethod, nullptr) != 1) std::abort();
  return out;
}

Bytes digest(Hash hash, ByteView data) {
  Bytes out(hash_size(hash));
  if (EVP_Digest(data.data(), data.size(), out.data(), nullptr, method(hash), nullptr) != 1) std::abort();
  return out;
}

Digest<32> sha256(ByteView data) {
  Digest<32> out{};
  SHA256(data.data(), data.size(), out.data());
  return out;
}
Digest<48> sha384(ByteView data) {
  Digest<48> out{};
  SHA384(data.data(), data.size(), out.data());
  return out;
}
Digest<64> sha512(ByteView data) {
  Digest<64> out{};
  SHA512(data.data(), data.size(), out.data());
  return out;
}

struct Hasher::State {
  Hash hash;
  EvpMdCtx context{EVP_MD_CTX_new()};
};

Hasher::Hasher(Hash hash) : state_(new State{.hash = hash}) {
  if (!state_->context || EVP_DigestInit_ex2(state_->context.get(), method(hash), nullptr) != 1) std::abort();
}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;
Hasher& Hasher::update(ByteView data) {
  if (EVP_DigestUpdate(state_->context.get(), data.data(), data.size()) != 1) std::abort();
  return *this;
}
Bytes Hasher::finish() {
  Bytes out(hash_size(state_->hash));
  if (EVP_DigestFinal_ex(state_->context.get(), out.data(), nullptr) != 1 ||
      EVP_DigestInit_ex2(state_->context.get(), method(state_->hash), nullptr) != 1)
    std::abort();
  return out;
}

Bytes hmac(Hash hash, ByteView key, ByteView data) {
  Bytes out(hash_size(hash));
  if (HMAC(method(hash), key.data(), static_cast<int>(key.size()), data.data(), data.size(), out.data(), nullptr) ==
      nullptr)
    std::abort();
  return out;
}

}  // namespace cairn::crypto
