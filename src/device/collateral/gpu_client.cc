#include "device/collateral/gpu_client.h"

#include "base/encoding.h"
#include "base/file.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "device/collateral/limits.h"
#include "evidence/nvidia/limits.h"
#include "net/retry.h"

namespace cairn::device {
namespace {

using net::Task;

constexpr std::size_t kMaxAbsent = 256;
constexpr std::size_t kMaxAnswer = 2 * nvidia::kMaxRim;  // base64 and JSON around it

// A kept document: {"fetched": seconds, "document": base64} in a file named by the digest of its id.
std::filesystem::path kept_file(const std::filesystem::path& folder, std::string_view id) {
  return folder / ("gpu-" + hex(crypto::sha256(as_bytes(id))) + ".json");
}
struct Kept {
  Time fetched;
  Bytes document;
};
std::optional<Kept> read_kept(const std::filesystem::path& folder, std::string_view id) {
  if (folder.empty()) return std::nullopt;
  const auto text = read_text(kept_file(folder, id), kMaxAnswer);
  const auto json = text.and_then([](const std::string& t) { return parse_json(t); });
  if (!json || !json->is_object()) return std::nullopt;
  const Json fetched = json->value("fetched", Json()), document = json->value("document", Json());
  if (!fetched.is_number_integer() || !document.is_string()) return std::nullopt;
  auto bytes = from_base64(document.get_ref<const std::string&>());
  if (!bytes) return std::nullopt;
  return Kept{{fetched.get<std::int64_t>()}, *std::move(bytes)};
}
// What cannot be kept is fetched again; that is no failure of the verdict.
void keep(const std::filesystem::path& folder, std::string_view id, ByteView document, Time now) {
  if (folder.empty()) return;
  const Json json{{"fetched", now.seconds}, {"document", base64(document)}};
  (void)write_text(kept_file(folder, id), compact_json(json));
}

Result<net::Response> checked(net::Response r, const std::string& url) {
  if (r.status == 200) return r;
  const bool again = r.status == 408 || r.status == 429 || r.status >= 500;
  return fail(r.status == 404 ? ErrorCode::not_found
              : again         ? ErrorCode::unavailable
                              : ErrorCode::malformed,
              url, "status " + std::to_string(r.status));
}

// {"id", "rim"} of the service; the id must be the one asked for.
Result<Bytes> rim_of(std::string_view body, const std::string& id) {
  CAIRN_TRY(const Json json, parse_json(body, {.bytes = kMaxAnswer, .depth = 8}));
  if (!json.is_object() || json.value("id", Json()) != id || !json.value("rim", Json()).is_string())
    return fail(ErrorCode::malformed, id, "the RIM service's answer is not of this RIM");
  return from_base64(json["rim"].get<std::string>());
}

}  // namespace

GpuClient::GpuClient(GpuSource source, net::ClientOptions options)
    : source_(std::move(source)), http_(std::move(options)) {}

Result<std::unique_ptr<GpuClient>> GpuClient::make(GpuSource source) {
  for (std::string* url : {&source.rim_url, &source.ocsp_url}) {
    if (url->empty()) continue;
    CAIRN_CHECK(net::Url::parse(*url).transform([](const net::Url&) {}));
    if (!url->ends_with('/')) *url += '/';
  }
  if (!source.folder.empty()) CAIRN_CHECK(make_dirs(source.folder, 0700));
  net::ClientOptions options;
  options.extra_roots_pem = source.extra_roots_pem;
  options.connect_timeout = net::Milliseconds(5000);
  options.timeout = net::Milliseconds(30'000);
  options.max_body = kMaxAnswer;
  return std::unique_ptr<GpuClient>(new GpuClient(std::move(source), std::move(options)));
}

Task<net::Response> GpuClient::send(net::ClientRequest request) {
  const net::RetryPolicy policy{.attempts = source_.attempts,
                                .first = source_.first_retry,
                                .factor = 2,
                                .most = net::Milliseconds(30'000),
                                .jitter = 1};
  co_return co_await net::retry<net::Response>(policy, [this, &request]() -> Task<net::Response> {
    net::ClientRequest once = request;
    CAIRN_CO_TRY(net::Response r, co_await http_.send(std::move(once)));
    CAIRN_CO_TRY(net::Response good, checked(std::move(r), request.url));
    if (request.method == "POST") {
      CAIRN_CO_TRY(const bool again, nvidia::ocsp_may_retry(as_bytes(good.body)));
      if (again) co_return fail(ErrorCode::unavailable, request.url, "the responder asks to try later");
    }
    co_return good;
  });
}

Task<GpuClient::Rim> GpuClient::rim(std::string id, const nvidia::TrustRoots& roots, Time now, bool fresh) {
  const auto kept = read_kept(source_.folder, id);
  const bool young = kept && kept->fetched <= now && now < kept->fetched.plus(source_.rim_seconds);
  if (!fresh && young && nvidia::verify_rim(kept->document, roots.rim)) co_return Rim{kept->document, kept->fetched};
  const auto missing = absent_.find(id);
  if (!fresh && missing != absent_.end() && now < missing->second.plus(kGpuAbsent))
    co_return fail(ErrorCode::not_found, id, "the RIM service did not have it a moment ago");
  if (source_.rim_url.empty()) co_return fail(ErrorCode::not_found, id, "no RIM service is asked");
  net::ClientRequest request;
  request.url = source_.rim_url + id;
  request.headers.set("Accept", "application/json");
  if (!source_.authorization.empty()) request.headers.set("Authorization", source_.authorization);
  const Result<net::Response> answer = co_await send(std::move(request));
  if (!answer && answer.error().code == ErrorCode::not_found) {
    if (absent_.size() == kMaxAbsent) absent_.clear();
    absent_[id] = now;
  }
  if (!answer) co_return fail(answer.error());
  CAIRN_CO_TRY(Bytes document, rim_of(answer->body, id));
  if (nvidia::verify_rim(document, roots.rim)) keep(source_.folder, id, document, now);
  co_return Rim{std::move(document), now};
}

Task<nvidia::OcspDocument> GpuClient::answer(std::string id, nvidia::Wanted::Ocsp about, Time now, bool fresh) {
  const auto kept = read_kept(source_.folder, id);
  if (!fresh && kept) {
    const auto known = nvidia::read_ocsp(kept->document, about.certificate, about.issuer);
    if (known && now < known->expires() && nvidia::check_fresh(*known, now))
      co_return nvidia::OcspDocument{kept->document, {}};
  }
  if (source_.ocsp_url.empty()) co_return fail(ErrorCode::not_found, id, "no OCSP responder is asked");
  nvidia::OcspDocument out;
  out.nonce = crypto::random_bytes(32);
  CAIRN_CO_TRY(const Bytes question, nvidia::ocsp_request(about.certificate, about.issuer, out.nonce));
  net::ClientRequest request;
  request.method = "POST";
  request.url = source_.ocsp_url;
  request.headers.set("Content-Type", "application/ocsp-request");
  request.body = std::string(as_text(question));
  request.timeout = net::Milliseconds(10'000);
  request.max_body = nvidia::kMaxOcsp;
  CAIRN_CO_TRY(const net::Response response, co_await send(std::move(request)));
  out.response = to_bytes(response.body);
  const auto read = nvidia::read_ocsp(out.response, about.certificate, about.issuer);
  if (read && equal(read->nonce, out.nonce)) keep(source_.folder, id, out.response, now);
  co_return out;
}

Task<nvidia::Collateral> GpuClient::fetch(const nvidia::Evidence& evidence, nvidia::Verifier& verifier,
                                          const nvidia::TrustRoots& roots, Time now, nvidia::Collateral have,
                                          bool fresh) {
  nvidia::Collateral out = std::move(have);
  const nvidia::Wanted manifests = verifier.wanted(evidence, out);
  for (const std::string& id : manifests.rims) {
    if (out.rims.contains(id)) continue;
    Result<Rim> got = co_await rim(id, roots, now, fresh);
    if (got)
      out.rims.emplace(id, std::move(got->document));
    else if (got.error().code != ErrorCode::not_found)
      co_return fail(std::move(got).error());
  }
  // With the RIMs at hand their signers' certificates are known too.
  const nvidia::Wanted wanted = verifier.wanted(evidence, out);
  for (const auto& [id, about] : wanted.ocsp) {
    if (out.ocsp.contains(id)) continue;
    Result<nvidia::OcspDocument> document = co_await answer(id, about, now, fresh);
    if (document)
      out.ocsp.emplace(id, *std::move(document));
    else if (document.error().code != ErrorCode::not_found)
      co_return fail(std::move(document).error());
  }
  co_return out;
}

}  // namespace cairn::device
