// JSON Web Tokens: decoding and verification.
#include <openssl/crypto.h>

#include <algorithm>
#include <optional>

#include "base/encoding.h"
#include "base/json.h"
#include "crypto/hash.h"
#include "crypto/jose.h"
#include "crypto/keys.h"
#include "crypto/x509.h"
#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

struct Token {
  std::string signing_input;
  std::string payload;
  std::string signature;
  Value header;
};

std::optional<std::string> decode(std::string_view s) {
  std::string out;
  if (!decode_base64(s, true, out)) return std::nullopt;
  return out;
}

bool parse(CallContext& c, std::string_view text, Token& t) {
  const auto refuse = [&](std::string what) {
    (void)c.fail(std::move(what));
    return false;
  };
  const auto n = std::ranges::count(text, '.');
  if (n == 4) return refuse("JWT is a JWE object, which is not supported");
  if (n != 2) return refuse("encoded JWT must have 3 sections, found " + std::to_string(n + 1));
  const auto first = text.find('.');
  const auto second = text.find('.', first + 1);
  const auto header = decode(text.substr(0, first));
  if (!header) return refuse("JWT header had invalid encoding");
  std::string problem;
  t.header = read_json(*header, c.arena, problem);
  if (!t.header.is(Kind::object)) return refuse("invalid JWT header");
  if (find(t.header, std::string_view("enc")) != nullptr) return refuse("JWT is a JWE object, which is not supported");
  const auto payload = decode(text.substr(first + 1, second - first - 1));
  if (!payload) return refuse("JWT payload had invalid encoding");
  const auto signature = decode(text.substr(second + 1));
  if (!signature) return refuse("JWT signature had invalid encoding");
  t.signing_input = std::string(text.substr(0, second));
  t.payload = *payload;
  t.signature = *signature;
  c.charge(text.size() / 16);
  return true;
}

std::string_view text_member(const Value& object, std::string_view name) {
  const Value* v = find(object, name);
  return v != nullptr && v->is(Kind::string) ? v->text() : std::string_view();
}

bool same_letters(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return (x | 32) == (y | 32); });
}

Value jwt_decode(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  std::string text(a[0].text());
  for (int nested = 0; nested < 8; ++nested) {
    Token t;
    if (!parse(c, text, t)) return {};
    if (text_member(t.header, "cty") == "JWT") {
      text = t.payload;
      while (!text.empty() && (text.front() == '"' || text.front() == '\'')) text.erase(0, 1);
      while (!text.empty() && (text.back() == '"' || text.back() == '\'')) text.pop_back();
      continue;
    }
    const Value payload = read_json(t.payload, c.arena, c.problem);
    if (!payload.is(Kind::object)) return c.fail("the JWT payload is not a JSON object");
    const Value out[3] = {t.header, payload, c.arena.string(hex(as_bytes(t.signature)))};
    return c.arena.array(out);
  }
  return c.fail("JWTs are nested too deeply");
}

// --- keys

struct Key {
  crypto::PublicKey key;
  std::string alg;
  std::string kid;
};

bool keys_of(CallContext& c, std::string_view text, std::vector<Key>& out) {
  c.charge(256);
  std::string pem;
  for (std::size_t i = 0; i < text.size(); ++i) {  // drop indentation
    if ((text[i] == ' ' || text[i] == '\t') && (pem.empty() || pem.back() == '\n')) continue;
    pem += text[i];
  }
  if (pem.find("-----BEGIN CERTIFICATE") != std::string::npos) {
    const auto all = crypto::Certificate::from_pem(pem);
    const auto key =
        all && all->size() == 1 ? (*all)[0].public_key() : Result<crypto::PublicKey>(fail(ErrorCode::malformed, ""));
    if (!key)
      return (void)c.fail(all && all->size() > 1 ? "extra data after a PEM certificate block"
                                                 : "failed to parse a PEM certificate"),
             false;
    out.push_back({*key, "", ""});
    return true;
  }
  if (pem.find("-----BEGIN PUBLIC KEY") != std::string::npos) {
    const auto key = crypto::PublicKey::from_pem(pem);
    if (!key) return (void)c.fail("failed to parse a PEM key: " + key.error().message), false;
    out.push_back({*key, "", ""});
    return true;
  }
  const auto json = parse_json(text);
  if (!json || !json->is_object()) return (void)c.fail("failed to parse a JWK key (set)"), false;
  if (json->contains("keys")) {
    const auto set = crypto::parse_jwk_set(*json);
    if (!set) return (void)c.fail(set.error().message), false;
    for (const auto& k : *set) out.push_back({k.key, k.alg, k.kid});
    return true;
  }
  const auto one = crypto::parse_jwk(*json);
  if (!one) return (void)c.fail(one.error().message), false;
  out.push_back({one->key, one->alg, one->kid});
  return true;
}

bool signed_with(const crypto::PublicKey& key, crypto::JwsAlg alg, std::string_view input, std::string_view signature) {
  using crypto::Hash;
  using crypto::JwsAlg;
  using crypto::Signature;
  if (!crypto::key_fits(key.type(), alg)) return false;
  Signature kind = Signature::rsa_pkcs1;
  if (alg >= JwsAlg::ps256 && alg <= JwsAlg::ps512) kind = Signature::rsa_pss;
  if (alg >= JwsAlg::es256 && alg <= JwsAlg::es512) kind = Signature::ecdsa_raw;
  if (alg == JwsAlg::eddsa) kind = Signature::eddsa;
  const int step = alg == JwsAlg::eddsa ? 0 : static_cast<int>(alg) % 3;
  const Hash hash = step == 0 ? Hash::sha256 : step == 1 ? Hash::sha384 : Hash::sha512;
  return key.verify(kind, hash, as_bytes(input), as_bytes(signature)).has_value();
}

bool mac_matches(std::string_view alg, std::string_view secret, std::string_view input, std::string_view signature) {
  const auto hash = alg == "HS256"   ? crypto::Hash::sha256
                    : alg == "HS384" ? crypto::Hash::sha384
                                     : crypto::Hash::sha512;
  const Bytes want = crypto::hmac(hash, as_bytes(secret), as_bytes(input));
  return want.size() == signature.size() && CRYPTO_memcmp(want.data(), signature.data(), want.size()) == 0;
}

bool any_key(const std::vector<Key>& keys, std::string_view kid, std::string_view alg_name, const Token& t) {
  const auto alg = crypto::jws_alg_by_name(alg_name);
  if (!alg) return false;
  if (!kid.empty())
    for (const auto& k : keys)
      if (k.kid == kid) return signed_with(k.key, *alg, t.signing_input, t.signature);
  return std::ranges::any_of(keys, [&](const Key& k) {
    return (k.alg.empty() || k.alg == alg_name) && signed_with(k.key, *alg, t.signing_input, t.signature);
  });
}

Value verify_key(CallContext& c, Args a, std::string_view alg) {
  for (int i = 0; i < 2; ++i)
    if (!a[static_cast<std::size_t>(i)].is(Kind::string))
      return c.wrong(i + 1, "string", a[static_cast<std::size_t>(i)]);
  Token t;
  std::vector<Key> keys;
  if (!parse(c, a[0].text(), t) || !keys_of(c, a[1].text(), keys)) return {};
  c.charge(20'000);
  return Value::boolean(any_key(keys, text_member(t.header, "kid"), alg, t));
}
Value verify_mac(CallContext& c, Args a, std::string_view alg) {
  for (int i = 0; i < 2; ++i)
    if (!a[static_cast<std::size_t>(i)].is(Kind::string))
      return c.wrong(i + 1, "string", a[static_cast<std::size_t>(i)]);
  Token t;
  if (!parse(c, a[0].text(), t)) return {};
  return Value::boolean(mac_matches(alg, a[1].text(), t.signing_input, t.signature));
}

Value rs256(CallContext& c, Args a) { return verify_key(c, a, "RS256"); }
Value rs384(CallContext& c, Args a) { return verify_key(c, a, "RS384"); }
Value rs512(CallContext& c, Args a) { return verify_key(c, a, "RS512"); }
Value ps256(CallContext& c, Args a) { return verify_key(c, a, "PS256"); }
Value ps384(CallContext& c, Args a) { return verify_key(c, a, "PS384"); }
Value ps512(CallContext& c, Args a) { return verify_key(c, a, "PS512"); }
Value es256(CallContext& c, Args a) { return verify_key(c, a, "ES256"); }
Value es384(CallContext& c, Args a) { return verify_key(c, a, "ES384"); }
Value es512(CallContext& c, Args a) { return verify_key(c, a, "ES512"); }
Value eddsa(CallContext& c, Args a) { return verify_key(c, a, "EdDSA"); }
Value hs256(CallContext& c, Args a) { return verify_mac(c, a, "HS256"); }
Value hs384(CallContext& c, Args a) { return verify_mac(c, a, "HS384"); }
Value hs512(CallContext& c, Args a) { return verify_mac(c, a, "HS512"); }

// --- decode_verify

struct Constraints {
  std::vector<Key> keys;
  std::string_view secret, alg, iss, aud;
  bool has_keys = false;
  long double now = 0;  // nanoseconds
};

bool constraints_of(CallContext& c, const Value& v, Constraints& out) {
  if (!v.is(Kind::object)) return (void)c.wrong(2, "object", v), false;
  out.now = static_cast<long double>(c.options.now_ns);
  for (std::size_t i = 0; i < v.size(); ++i) {
    const auto name = v.key(i).is(Kind::string) ? v.key(i).text() : std::string_view();
    const Value& x = v.value(i);
    if (name == "time") {
      if (!x.is(Kind::number)) return (void)c.fail("token time constraint: must be a number"), false;
      out.now = to_long_double(x);
      if (out.now < 0) return (void)c.fail("token time constraint: must not be negative"), false;
      continue;
    }
    if (name != "cert" && name != "secret" && name != "alg" && name != "iss" && name != "aud")
      return (void)c.fail("unknown token validation constraint: " + std::string(name)), false;
    if (!x.is(Kind::string)) return (void)c.fail(std::string(name) + " constraint: must be a string"), false;
    if (name == "cert") {
      out.has_keys = true;
      if (!keys_of(c, x.text(), out.keys)) return false;
    }
    if (name == "secret") out.secret = x.text();
    if (name == "alg") out.alg = x.text();
    if (name == "iss") out.iss = x.text();
    if (name == "aud") out.aud = x.text();
  }
  if (out.has_keys == !out.secret.empty())
    return (void)c.fail(out.has_keys ? "duplicate key constraints" : "no key constraint"), false;
  return true;
}

Value decode_verify(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  Constraints want;
  if (!constraints_of(c, a[1], want)) return {};
  const auto verdict = [&](bool ok, const Value& header, const Value& payload) {
    const Value out[3] = {Value::boolean(ok), header, payload};
    return c.arena.array(out);
  };
  const auto refused = [&] { return verdict(false, c.arena.object({}), c.arena.object({})); };
  std::string text(a[0].text());
  Token t;
  for (int nested = 0;; ++nested) {
    if (nested == 8) return c.fail("JWTs are nested too deeply");
    if (!parse(c, text, t)) return {};
    c.charge(20'000);
    const auto alg = text_member(t.header, "alg");
    if (alg.empty() || find(t.header, std::string_view("crit")) != nullptr) return refused();
    if (!want.alg.empty() && want.alg != alg) return refused();
    const bool mac = alg == "HS256" || alg == "HS384" || alg == "HS512";
    if (!mac && !crypto::jws_alg_by_name(alg)) return c.fail("unknown JWS algorithm: " + std::string(alg));
    const bool good = want.has_keys ? !mac && any_key(want.keys, text_member(t.header, "kid"), alg, t)
                                    : mac && mac_matches(alg, want.secret, t.signing_input, t.signature);
    if (!good) return refused();
    if (!same_letters(text_member(t.header, "cty"), "JWT")) break;
    text = t.payload;
  }
  const Value payload = read_json(t.payload, c.arena, c.problem);
  if (!payload.is(Kind::object)) return c.fail("the JWT payload is not a JSON object");
  if (!want.iss.empty() && text_member(payload, "iss") != want.iss) return refused();
  if (const Value* aud = find(payload, std::string_view("aud")); aud != nullptr) {
    const auto is = [&](const Value& v) { return v.is(Kind::string) && v.text() == want.aud; };
    if (!is(*aud) && !(aud->is(Kind::array) && std::ranges::any_of(aud->items(), is))) return refused();
  } else if (!want.aud.empty()) {
    return refused();
  }
  const Value now = from_long_double(want.now / 1e9L, c.arena);
  for (const std::string_view name : {"exp", "nbf"}) {
    const Value* v = find(payload, name);
    if (v == nullptr) continue;
    if (!v->is(Kind::number)) return c.fail(std::string(name) + " value must be a number");
    const int order = compare(now, *v);
    if (name == "exp" ? order >= 0 : order < 0) return refused();
  }
  return verdict(true, t.header, payload);
}

}  // namespace

std::span<const Entry> jwt_builtins() {
  static constexpr Entry all[] = {
      {"io.jwt.decode", jwt_decode},  {"io.jwt.decode_verify", decode_verify}, {"io.jwt.verify_rs256", rs256},
      {"io.jwt.verify_rs384", rs384}, {"io.jwt.verify_rs512", rs512},          {"io.jwt.verify_ps256", ps256},
      {"io.jwt.verify_ps384", ps384}, {"io.jwt.verify_ps512", ps512},          {"io.jwt.verify_es256", es256},
      {"io.jwt.verify_es384", es384}, {"io.jwt.verify_es512", es512},          {"io.jwt.verify_eddsa", eddsa},
      {"io.jwt.verify_hs256", hs256}, {"io.jwt.verify_hs384", hs384},          {"io.jwt.verify_hs512", hs512},
  };
  return all;
}

}  // namespace cairn::policy
