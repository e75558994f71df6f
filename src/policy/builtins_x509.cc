// crypto.x509: what a text holds, and chains as Go verifies them.
#include <openssl/asn1t.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <optional>

#include "base/encoding.h"
#include "policy/limits.h"
#include "policy/x509_values.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

// PEM, or base64 of PEM or of DER certificates one after another.
bool certificates(CallContext& c, std::string_view text, std::vector<crypto::Certificate>& out) {
  std::string pem(text);
  const auto trimmed = [](std::string_view s) {  // indented PEM, as raw strings have it
    std::string lines;
    while (!s.empty()) {
      const auto end = s.find('\n');
      auto line = s.substr(0, end);
      while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
      while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
      if (!line.empty()) lines += std::string(line) + "\n";
      s = end == std::string_view::npos ? std::string_view() : s.substr(end + 1);
    }
    return lines;
  };
  if (!trimmed(pem).starts_with("-----BEGIN")) {
    const auto der = from_base64(text);
    if (!der) return (void)c.fail("illegal base64 data"), false;
    if (as_text(*der).starts_with("-----BEGIN")) {
      pem = std::string(as_text(*der));
    } else {
      ByteView rest(*der);
      while (!rest.empty() && out.size() < max_certificates) {
        const unsigned char* at = rest.data();
        const Owned<X509, X509_free> x(d2i_X509(nullptr, &at, static_cast<long>(rest.size())));
        if (x == nullptr) return (void)c.fail("x509: malformed certificate"), false;
        const auto size = static_cast<std::size_t>(at - rest.data());
        auto one = crypto::Certificate::from_der(rest.first(size));
        if (!one) return (void)c.fail("x509: malformed certificate"), false;
        out.push_back(std::move(*one));
        rest = rest.subspan(size);
      }
      if (!rest.empty()) return (void)c.fail("x509: more certificates than the limit"), false;
      return true;
    }
  }
  auto all = crypto::Certificate::from_pem(trimmed(pem), max_certificates);
  if (!all) return (void)c.fail("x509: malformed certificate"), false;
  out = std::move(*all);
  return true;
}

Value parse_certificates(CallContext& c, Args a) {
  if (!all_strings(c, a, 1)) return {};
  std::vector<crypto::Certificate> all;
  if (!certificates(c, a[0].text(), all)) return {};
  std::vector<Value> out;
  for (const auto& x : all) {
    out.push_back(certificate_value(c, x));
    if (!out.back().defined()) return c.fail("x509: malformed certificate");
  }
  return c.arena.array(out);
}

// --- chains

struct VerifyOptions {
  std::int64_t at_s = 0;
  std::string dns_name;
  std::vector<std::int64_t> usages = {1};  // serverAuth
};

// Is one of the usages allowed by every certificate of the chain that restricts them?
bool usages_suit(const std::vector<crypto::Certificate>& chain, std::vector<std::int64_t> wanted) {
  if (std::ranges::find(wanted, 0) != wanted.end()) return true;
  for (const auto& cert : chain) {
    std::vector<std::int64_t> has;
    for (const auto& id : cert.extended_key_usage()) has.push_back(extended_usage(id));
    if (has.empty() || std::ranges::find(has, 0) != has.end()) continue;
    std::erase_if(wanted, [&](std::int64_t u) { return std::ranges::find(has, u) == has.end(); });
  }
  return !wanted.empty();
}

// The first certificate is trusted, the last is the leaf. Empty where there is no chain between them.
std::vector<crypto::Certificate> verified(const std::vector<crypto::Certificate>& all, const VerifyOptions& options) {
  if (all.size() < 2) return {};
  const crypto::Certificate& leaf = all.back();
  const Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  const Owned<X509_STORE_CTX, X509_STORE_CTX_free> ctx(X509_STORE_CTX_new());
  const Owned<STACK_OF(X509), [](STACK_OF(X509) * p) { sk_X509_free(p); }> between(sk_X509_new_null());
  if (store == nullptr || ctx == nullptr || between == nullptr) throw std::bad_alloc();
  for (std::size_t i = 1; i + 1 < all.size(); ++i) sk_X509_push(between.get(), all[i].native());
  X509_STORE_add_cert(store.get(), all.front().native());
  if (X509_STORE_CTX_init(ctx.get(), store.get(), leaf.native(), between.get()) != 1) return {};
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_time(param, static_cast<time_t>(options.at_s));
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_auth_level(param, 1);  // neither MD5 nor SHA-1, nor RSA below 1024 bits
  if (!options.dns_name.empty()) {
    std::string name = options.dns_name;
    const bool bracketed = name.starts_with('[') && name.ends_with(']');
    if (bracketed) name = name.substr(1, name.size() - 2);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str()) != 1 &&
        (bracketed || X509_VERIFY_PARAM_set1_host(param, name.data(), name.size()) != 1))
      return {};
  }
  if (X509_verify_cert(ctx.get()) != 1) return {};
  std::vector<crypto::Certificate> chain;
  const STACK_OF(X509)* found = X509_STORE_CTX_get0_chain(ctx.get());
  for (int i = 0; i < sk_X509_num(found); ++i)
    for (const auto& cert : all)
      if (X509_cmp(cert.native(), sk_X509_value(found, i)) == 0) {
        chain.push_back(cert);
        break;
      }
  if (!usages_suit(chain, options.usages)) return {};
  return chain;
}

// [true, chain from the leaf up] where it verifies, otherwise [false, []].
Value verdict(CallContext& c, std::string_view text, const VerifyOptions& options, bool texts) {
  std::vector<crypto::Certificate> all;
  std::vector<Value> chain;
  if (certificates(c, text, all)) {
    const bool readable =
        std::ranges::all_of(all, [&](const auto& x) { return certificate_value(c, x, texts).defined(); });
    if (readable)
      for (const auto& x : verified(all, options)) chain.push_back(certificate_value(c, x, texts));
  }
  c.problem.clear();
  const Value pair[2] = {Value::boolean(!chain.empty()), c.arena.array(chain)};
  return c.arena.array(pair);
}

Value parse_and_verify(CallContext& c, Args a) {
  if (!all_strings(c, a, 1)) return {};
  return verdict(c, a[0].text(), {.at_s = c.options.now_ns / 1'000'000'000}, true);
}

std::optional<std::int64_t> named_usage(std::string_view name) {
  static constexpr std::string_view all[] = {"Any",
                                             "ServerAuth",
                                             "ClientAuth",
                                             "CodeSigning",
                                             "EmailProtection",
                                             "IPSECEndSystem",
                                             "IPSECTunnel",
                                             "IPSECUser",
                                             "TimeStamping",
                                             "OCSPSigning",
                                             "MicrosoftServerGatedCrypto",
                                             "NetscapeServerGatedCrypto",
                                             "MicrosoftCommercialCodeSigning",
                                             "MicrosoftKernelCodeSigning"};
  constexpr std::string_view prefix = "KeyUsage";
  if (!name.starts_with(prefix)) return std::nullopt;
  const auto* const at = std::ranges::find(all, name.substr(prefix.size()));
  return at == std::end(all) ? std::nullopt : std::optional<std::int64_t>(at - std::begin(all));
}

Value parse_and_verify_with_options(CallContext& c, Args a) {
  if (!all_strings(c, a, 1)) return {};
  if (!a[1].is(Kind::object)) return c.wrong(2, "object", a[1]);
  VerifyOptions options{.at_s = c.options.now_ns / 1'000'000'000};
  for (std::size_t i = 0; i < a[1].size(); ++i) {
    if (!a[1].key(i).is(Kind::string)) continue;
    const auto key = a[1].key(i).text();
    const Value& v = a[1].value(i);
    if (key == "DNSName") {
      if (!v.is(Kind::string)) return c.fail("'DNSName' should be a string");
      options.dns_name = std::string(v.text());
    } else if (key == "CurrentTime") {
      if (!v.is_small()) return c.fail("'CurrentTime' should be a valid int64 number");
      options.at_s = v.integer() / 1'000'000'000;
    } else if (key == "MaxConstraintComparisons") {  // OpenSSL has a bound of its own
      if (!v.is_small()) return c.fail("'MaxConstraintComparisons' should be a valid number");
    } else if (key == "KeyUsages") {
      if (!is_list(v)) return c.fail("'KeyUsages' should be an Array or Set");
      std::vector<std::int64_t> usages;
      for (const Value& u : v.items()) {
        if (!u.is(Kind::string)) continue;
        const auto n = named_usage(u.text());
        if (!n) return c.fail("invalid entries for 'KeyUsages' found: [" + std::string(u.text()) + "]");
        usages.push_back(*n);
      }
      if (!usages.empty()) options.usages = std::move(usages);
    } else {
      return c.fail("invalid key option");
    }
  }
  return verdict(c, a[0].text(), options, false);
}

// --- requests

Value parse_certificate_request(CallContext& c, Args a) {
  if (!all_strings(c, a, 1)) return {};
  constexpr std::string_view begin = "-----BEGIN CERTIFICATE REQUEST-----";
  Bytes der(as_bytes(a[0].text()).begin(), as_bytes(a[0].text()).end());
  if (!a[0].text().starts_with(begin)) {
    auto decoded = from_base64(a[0].text());
    if (!decoded) return c.fail("illegal base64 data");
    der = std::move(*decoded);
  }
  const Owned<BIO, BIO_free> in(BIO_new_mem_buf(der.data(), static_cast<int>(der.size())));
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (as_text(der).find("-----BEGIN") != std::string_view::npos &&
      PEM_read_bio(in.get(), &name, &header, &data, &size) == 1) {
    const bool right = std::string_view(name) == PEM_STRING_X509_REQ;
    der.assign(data, data + size);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    if (!right) return c.fail("invalid PEM-encoded certificate signing request");
  }
  const unsigned char* at = der.data();
  const Owned<X509_REQ, X509_REQ_free> request(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  const bool whole = request != nullptr && at == der.data() + der.size();
  const Value out = whole ? request_value(c, request.get(), der) : Value();
  return out.defined() ? out : c.fail("x509: malformed certificate request");
}

}  // namespace

std::span<const Entry> x509_builtins() {
  static constexpr Entry all[] = {
      {"crypto.x509.parse_certificates", parse_certificates},
      {"crypto.x509.parse_and_verify_certificates", parse_and_verify},
      {"crypto.x509.parse_and_verify_certificates_with_options", parse_and_verify_with_options},
      {"crypto.x509.parse_certificate_request", parse_certificate_request},
  };
  return all;
}

}  // namespace cairn::policy
