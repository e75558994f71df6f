#include "device/collateral/collateral_client.h"

#include "base/encoding.h"
#include "net/retry.h"

namespace cairn::device {
namespace {

using net::Response;
using net::Task;
using net::Url;

constexpr std::string_view kPath = "/sgx/certification/v4/";
constexpr std::string_view kIntelHost = "api.trustedservices.intel.com";
// Where the root CRL of Intel's own service stands; caching services have it under rootcacrl. Never taken from a
// certificate.
constexpr std::string_view kIntelRootCrl = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

Result<Url> base_url(const std::string& text) {
  CAIRN_TRY(Url url, Url::parse(text));
  if (!url.target.contains("/sgx/certification/")) url = url.under(kPath);
  if (!url.target.ends_with('/')) url.target += '/';
  return url;
}

// The same service's path for TDX.
Url for_tee(Url base, tdx::TeeType tee) {
  if (tee != tdx::TeeType::tdx) return base;
  const std::size_t at = base.target.find("/sgx/");
  if (at != std::string::npos) base.target.replace(at, 5, "/tdx/");
  return base;
}

std::string with(const Url& base, std::string_view suffix) {
  Url out = base;
  out.target += suffix;
  return out.text();
}

Result<Response> check_status(Response r, const std::string& url) {
  if (r.status == 200) return r;
  std::string message = "status " + std::to_string(r.status);
  if (const auto text = r.headers.get("Error-Message")) message += ": " + std::string(text->substr(0, 200));
  const bool busy = r.status == 429 || r.status >= 500;
  return fail(r.status == 404 ? ErrorCode::not_found
              : busy          ? ErrorCode::unavailable
                              : ErrorCode::malformed,
              url, message);
}

// An issuer chain out of the first of these headers that is there.
Result<std::string> chain(const Response& r, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    if (const auto value = r.headers.get(name)) {
      CAIRN_TRY(std::string pem, percent_decode(*value));
      if (pem.size() > tdx::kMaxChain)
        return fail(ErrorCode::too_large, std::string(name), "an issuer chain too large");
      return pem;
    }
  return fail(ErrorCode::malformed, std::string(*names.begin()), "the answer lacks its issuer chain");
}

Result<std::string> signed_body(Response r) {
  if (r.body.size() > tdx::kMaxSignedJson) return fail(ErrorCode::too_large, "a signed body too large");
  return std::move(r.body);
}

net::TlsOptions tls_options(const CollateralSource& source) {
  net::TlsOptions out;
  out.extra_roots_pem = source.extra_roots_pem;
  if (!source.check_certificate) {
    out.trust = net::TlsTrust::verifier;
    out.verifier = [](const net::TlsInfo&) -> Task<> { co_return Result<>{}; };
  }
  return out;
}

}  // namespace

CollateralSource CollateralSource::from(const QcnlConfig& config) {
  CollateralSource out;
  out.urls = {config.collateral_url()};
  out.update = config.tcb_update_type;
  out.check_certificate = config.use_secure_cert;
  out.retries = config.retry_times;
  out.retry_delay_seconds = config.retry_delay;
  return out;
}

CollateralClient::CollateralClient(CollateralSource source, std::vector<Url> bases, net::ClientOptions options)
    : source_(std::move(source)), bases_(std::move(bases)), http_(std::move(options)) {}

Result<std::unique_ptr<CollateralClient>> CollateralClient::make(CollateralSource source) {
  std::vector<Url> bases;
  for (const std::string& text : source.urls) {
    CAIRN_TRY(Url url, base_url(text));
    bases.push_back(std::move(url));
  }
  if (bases.empty()) return fail(ErrorCode::invalid_argument, "no collateral service is configured");
  net::ClientOptions options;
  CAIRN_TRY(options.tls, net::TlsContext::client(tls_options(source)));
  options.timeout = source.timeout;
  options.connect_timeout = std::min(source.timeout, options.connect_timeout);
  options.max_body = 2 * tdx::kMaxCrl;
  return std::unique_ptr<CollateralClient>(
      new CollateralClient(std::move(source), std::move(bases), std::move(options)));
}

Task<Response> CollateralClient::get(std::string url) const {
  net::RetryPolicy policy{.attempts = source_.retries + 1,
                          .first = net::Milliseconds(1000),
                          .factor = 2,
                          .most = net::Milliseconds(30'000),
                          .jitter = 0.2};
  if (source_.retry_delay_seconds) {
    policy.first = policy.most = std::chrono::seconds(*source_.retry_delay_seconds);
    policy.factor = 1;
  }
  co_return co_await net::retry<Response>(policy, [this, &url]() -> Task<Response> {
    CAIRN_CO_TRY(Response r, co_await http_.get(url));
    co_return check_status(std::move(r), url);
  });
}

Task<tdx::Collateral> CollateralClient::fetch_from(const Url& base, const tdx::CollateralKey& key) const {
  const Url tee = for_tee(base, key.tee);
  const std::string which = source_.eval_num ? "tcbEvaluationDataNumber=" + std::to_string(*source_.eval_num)
                            : source_.update == TcbUpdate::early ? "update=early"
                                                                 : "update=standard";
  const std::string ca = key.ca == tdx::PckCa::platform ? "platform" : "processor";
  tdx::Collateral out;

  CAIRN_CO_TRY(Response tcb, co_await get(with(tee, "tcb?fmspc=" + hex(key.fmspc) + "&" + which)));
  CAIRN_CO_TRY(out.tcb_signing_chain, chain(tcb, {"TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"}));
  CAIRN_CO_TRY(out.tcb_info, signed_body(std::move(tcb)));

  CAIRN_CO_TRY(Response qe, co_await get(with(tee, "qe/identity?" + which)));
  CAIRN_CO_TRY(out.qe_signing_chain, chain(qe, {"SGX-Enclave-Identity-Issuer-Chain"}));
  CAIRN_CO_TRY(out.qe_identity, signed_body(std::move(qe)));

  CAIRN_CO_TRY(const Response crl, co_await get(with(base, "pckcrl?ca=" + ca + "&encoding=der")));
  CAIRN_CO_TRY(out.pck_crl_issuer_chain, chain(crl, {"SGX-PCK-CRL-Issuer-Chain"}));
  CAIRN_CO_TRY(out.pck_crl, tdx::crl_to_der(as_bytes(crl.body)));

  const bool intel = base.host == kIntelHost;
  CAIRN_CO_TRY(const Response root, co_await get(intel ? std::string(kIntelRootCrl) : with(base, "rootcacrl")));
  CAIRN_CO_TRY(out.root_crl, tdx::crl_to_der(as_bytes(root.body)));
  co_return out;
}

Task<tdx::Collateral> CollateralClient::fetch(tdx::CollateralKey key) const {
  Result<tdx::Collateral> last = fail(ErrorCode::unavailable, "no collateral service is configured");
  for (const Url& base : bases_) {
    last = co_await fetch_from(base, key);
    if (last || last.error().code == ErrorCode::cancelled) break;
  }
  co_return last;
}

}  // namespace cairn::device
