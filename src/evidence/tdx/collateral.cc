#include "evidence/tdx/collateral.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"

namespace cairn::tdx {
namespace {

constexpr std::string_view kCrlBegin = "-----BEGIN X509 CRL-----", kCrlEnd = "-----END X509 CRL-----";

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string without_space(std::string_view text) {
  std::string out;
  std::ranges::copy_if(text, std::back_inserter(out), [](char c) { return c != '\n' && c != '\r' && c != ' '; });
  return out;
}

bool all_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return std::string_view("0123456789abcdefABCDEF").contains(c); });
}

Result<Bytes> bounded(Result<Bytes> der) {
  if (der && (der->empty() || der->front() != 0x30)) return fail(ErrorCode::malformed, "not a CRL");
  return der;
}

// A text member of at most `limit` bytes.
std::string text_member(Fields& f, std::string_view key, std::size_t limit, bool required) {
  std::string out = required ? f.required<std::string>(key) : f.value_or<std::string>(key, {});
  if (out.size() > limit) f.problem(key, "more than " + std::to_string(limit) + " bytes");
  return out;
}

// base64 of DER, or any spelling of crl_to_der that is text.
Bytes crl_member(Fields& f, std::string_view key) {
  const std::string text = text_member(f, key, 2 * kMaxCrl, true);
  Result<Bytes> der = from_base64(text);
  if (!der || der->empty() || der->front() != 0x30) der = crl_to_der(as_bytes(text));
  if (!der || der->size() > kMaxCrl) {
    f.problem(key, "not a CRL in base64, hex or PEM");
    return {};
  }
  return *std::move(der);
}

}  // namespace

Result<Bytes> crl_to_der(ByteView body) {
  if (body.size() > 2 * kMaxCrl)
    return fail(ErrorCode::too_large, "a CRL of " + std::to_string(body.size()) + " bytes");
  if (!body.empty() && body[0] == 0x30 && !all_hex(trim(as_text(body)))) return to_bytes(body);
  std::string_view text = trim(as_text(body));
  if (text.starts_with(kCrlBegin) && text.ends_with(kCrlEnd)) {
    text.remove_prefix(kCrlBegin.size());
    text.remove_suffix(kCrlEnd.size());
    return bounded(from_base64(without_space(text)));
  }
  if (!text.empty() && all_hex(text)) return bounded(from_hex(text));
  return fail(ErrorCode::malformed, "a CRL is neither DER nor PEM nor hex");
}

Result<Collateral> parse_collateral(std::string_view json) {
  CAIRN_TRY(const Json document, parse_json(json, {.bytes = kMaxBundle, .depth = 4}));
  Problems problems;
  Fields f(document, "$", problems);
  if (f.required<std::uint32_t>("version") != 1) f.problem("version", "only version 1 is known");
  Collateral out;
  out.tcb_info = text_member(f, "tcb_info", kMaxSignedJson, true);
  out.tcb_signing_chain = text_member(f, "tcb_signing_chain", kMaxChain, true);
  out.qe_identity = text_member(f, "qe_identity", kMaxSignedJson, true);
  out.qe_signing_chain = text_member(f, "qe_signing_chain", kMaxChain, true);
  out.root_crl = crl_member(f, "root_crl");
  out.pck_crl = crl_member(f, "pck_crl");
  out.pck_crl_issuer_chain = text_member(f, "pck_crl_issuer_chain", kMaxChain, true);
  out.pck_chain = text_member(f, "pck_chain", kMaxChain, false);
  f.done();
  CAIRN_CHECK(problems.result());
  return out;
}

std::string serialise(const Collateral& c) {
  Json out{{"version", 1},
           {"tcb_info", c.tcb_info},
           {"tcb_signing_chain", c.tcb_signing_chain},
           {"qe_identity", c.qe_identity},
           {"qe_signing_chain", c.qe_signing_chain},
           {"root_crl", base64(c.root_crl)},
           {"pck_crl", base64(c.pck_crl)},
           {"pck_crl_issuer_chain", c.pck_crl_issuer_chain}};
  if (!c.pck_chain.empty()) out["pck_chain"] = c.pck_chain;
  return compact_json(out);
}

}  // namespace cairn::tdx
