#include "cachefs/objects/s3_client.h"

#include <charconv>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/log.h"
#include "crypto/hash.h"

namespace cairn::cachefs {

using net::Task;

namespace {

constexpr std::string_view kEmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr auto kUploadTimeout = 120'000ms;  // of one part, or of its assembly

net::ClientOptions client_options(std::shared_ptr<const net::TlsContext> tls) {
  net::ClientOptions out;
  out.tls = std::move(tls);
  out.timeout = kStoreTryTimeout;
  out.max_body = kStoreAnswerMax;
  out.idle_per_host = kStoreParallelMax;
  return out;
}

Error refusal(int status, const net::Headers& headers, std::string_view body, const std::string& where) {
  std::string message = "the store answered " + std::to_string(status);
  if (const std::string text = error_text(body); !text.empty()) message += " " + text;
  if (const auto region = headers.get("x-amz-bucket-region"); region && status / 100 == 3)
    message += "; the bucket's region is " + printable(*region, 64);
  const ErrorCode code = status == 401 || status == 403                    ? ErrorCode::permission_denied
                         : status == 404                                   ? ErrorCode::not_found
                         : status == 409 || status == 412 || status == 416 ? ErrorCode::conflict
                         : status == 408 || status == 429 || status >= 500 ? ErrorCode::unavailable
                                                                           : ErrorCode::malformed;
  if (status == 412 || status == 416) message += ": the object was replaced since the volume was opened";
  return {code, where, message};
}

// "bytes 0-17/123" must be what was asked for.
Result<void> check_content_range(const net::Headers& headers, const ObjectRange& range, std::size_t size) {
  const std::string wanted = "bytes " + std::to_string(range.offset) + "-" + std::to_string(range.offset + size - 1) +
                             "/" + std::to_string(range.object_size);
  const auto got = headers.get("Content-Range");
  if (got && *got == wanted) return {};
  return fail(ErrorCode::conflict, printable(range.key), "the store answered with another range than was asked for");
}

std::string etag_in(const net::Headers& headers) { return std::string(headers.get("ETag").value_or("")); }

// Ends that a connection can have, as one cause: worth a retry.
Error broken(Error error) {
  if (error.code == ErrorCode::malformed) error.code = ErrorCode::unavailable;
  return error;
}

}  // namespace

S3Client::S3Client(const StoreTarget& target, std::shared_ptr<const net::TlsContext> tls)
    : target_(target), http_(client_options(std::move(tls))) {}

net::ClientRequest S3Client::request(const Call& call) const {
  net::Url url = target_.bucket_url;
  url.target += encoded_key(call.key);
  const std::string query = canonical_query(call.query), host = url.authority();
  net::ClientRequest out;
  out.method = call.method;
  out.headers = call.headers;
  out.timeout = call.timeout;
  if (call.body) out.body = call.body->bytes;
  const ToSign to_sign{.method = call.method,
                       .path = url.target,
                       .query = query,
                       .host = host,
                       .body_sha256 = call.body ? std::string_view(call.body->sha256) : kEmptySha256,
                       .region = target_.region,
                       .time = now()};
  sign(out.headers, to_sign, target_.credentials);
  if (!query.empty()) url.target += "?" + query;
  out.url = url.text();
  return out;
}

Task<net::HttpClient::Open> S3Client::open(Call call) {
  auto opened = co_await http_.open(request(call));
  if (!opened) co_return fail(broken(std::move(opened).error()));
  const int status = opened->head.status;
  if (status / 100 == 2) co_return std::move(*opened);
  std::string text;
  opened->exchange->set_deadline(call.timeout);
  auto body = co_await opened->exchange->body(kStoreErrorMax);
  if (body) text = std::move(*body);
  const std::string where = call.key.empty() ? target_.text() : call.key;
  co_return fail(refusal(status, opened->head.headers, text, printable(where)));
}

Task<net::Response> S3Client::send(Call call) {
  const net::Milliseconds timeout = call.timeout;
  CAIRN_CO_TRY(auto opened, co_await open(std::move(call)));
  opened.exchange->set_deadline(timeout);
  auto body = co_await opened.exchange->body(kStoreAnswerMax);
  if (!body) co_return fail(broken(std::move(body).error()));
  co_return net::Response{opened.head.status, std::move(opened.head.headers), std::move(*body)};
}

Task<ListPage> S3Client::list(std::string continuation) {
  Call call;
  call.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", target_.prefix}};
  if (!continuation.empty()) call.query.emplace_back("continuation-token", std::move(continuation));
  CAIRN_CO_TRY(const net::Response answer, co_await send(std::move(call)));
  co_return parse_list_page(answer.body);
}

Task<> S3Client::get_range(ObjectRange range, std::span<std::uint8_t> out, net::Milliseconds timeout) {
  Call call;
  call.key = range.key;
  call.timeout = timeout;
  call.headers.set("Range",
                   "bytes=" + std::to_string(range.offset) + "-" + std::to_string(range.offset + out.size() - 1));
  call.headers.set("If-Match", range.etag);
  const std::int64_t until = monotonic_ms() + timeout.count();
  CAIRN_CO_TRY(auto opened, co_await open(std::move(call)));
  const std::string where = printable(range.key);
  if (opened.head.status != 206)
    co_return fail(ErrorCode::unsupported, where, "the store does not answer range requests");
  CAIRN_CO_CHECK(check_content_range(opened.head.headers, range, out.size()));
  if (const std::string etag = etag_in(opened.head.headers); !etag.empty() && etag != range.etag)
    co_return fail(ErrorCode::conflict, where, "the object was replaced since the volume was opened");
  opened.exchange->set_deadline(net::Milliseconds(std::max<std::int64_t>(1, until - monotonic_ms())));
  for (std::size_t done = 0; done < out.size();) {
    auto got = co_await opened.exchange->read_some(out.subspan(done));
    if (!got) co_return fail(broken(std::move(got).error()));
    if (*got == 0) co_return fail(ErrorCode::unavailable, where, "the store's answer ends early");
    done += *got;
  }
  std::array<std::uint8_t, 1> more{};
  auto rest = co_await opened.exchange->read_some(more);
  if (!rest) co_return fail(broken(std::move(rest).error()));
  if (*rest != 0) co_return fail(ErrorCode::malformed, where, "the store's answer is longer than was asked for");
  co_return Result<>{};
}

Task<Bytes> S3Client::get(std::string key, std::size_t limit) {
  Call call;
  call.key = key;
  CAIRN_CO_TRY(auto opened, co_await open(std::move(call)));
  opened.exchange->set_deadline(kStoreTryTimeout);
  auto body = co_await opened.exchange->body(limit);
  if (!body) co_return fail(broken(std::move(body).error()));
  co_return to_bytes(*body);
}

Task<ObjectHead> S3Client::head(std::string key) {
  Call call;
  call.method = "HEAD";
  call.key = key;
  CAIRN_CO_TRY(net::Response answer, co_await send(std::move(call)));
  const auto text = answer.headers.get("Content-Length");
  ObjectHead out;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), out.size).ec != std::errc())
    co_return fail(ErrorCode::malformed, printable(key), "the store does not tell the object's size");
  out.headers = std::move(answer.headers);
  co_return out;
}

Task<std::string> S3Client::put(std::string key, std::shared_ptr<const UploadBody> body, net::Headers headers) {
  Call call;
  call.method = "PUT";
  call.key = std::move(key);
  call.headers = std::move(headers);
  call.body = std::move(body);
  call.timeout = kUploadTimeout;
  CAIRN_CO_TRY(const net::Response answer, co_await send(std::move(call)));
  co_return etag_in(answer.headers);
}

Task<> S3Client::remove(std::string key) {
  Call call;
  call.method = "DELETE";
  call.key = std::move(key);
  auto answer = co_await send(std::move(call));
  if (!answer && answer.error().code != ErrorCode::not_found) co_return fail(std::move(answer).error());
  co_return Result<>{};
}

Task<std::string> S3Client::begin_upload(std::string key, net::Headers headers) {
  Call call;
  call.method = "POST";
  call.key = key;
  call.query = {{"uploads", ""}};
  call.headers = std::move(headers);
  CAIRN_CO_TRY(const net::Response answer, co_await send(std::move(call)));
  CAIRN_CO_TRY(const XmlElement root, parse_xml(answer.body));
  std::string id = root.text_of("UploadId");
  if (id.empty()) co_return fail(ErrorCode::malformed, printable(key), "the store gave the upload no id");
  co_return id;
}

Task<std::string> S3Client::find_upload(std::string key) {
  Call call;
  call.query = {{"uploads", ""}, {"prefix", key}};
  CAIRN_CO_TRY(const net::Response answer, co_await send(std::move(call)));
  CAIRN_CO_TRY(const XmlElement root, parse_xml(answer.body));
  std::string id, newest;
  for (const XmlElement& e : root.children) {
    if (e.name != "Upload" || e.text_of("Key") != key) continue;
    if (std::string begun = e.text_of("Initiated"); id.empty() || begun >= newest) {
      id = e.text_of("UploadId");
      newest = std::move(begun);
    }
  }
  co_return id;
}

Task<PartsPage> S3Client::parts(std::string key, std::string upload, std::string marker) {
  Call call;
  call.key = std::move(key);
  call.query = {{"uploadId", std::move(upload)}};
  if (!marker.empty()) call.query.emplace_back("part-number-marker", std::move(marker));
  CAIRN_CO_TRY(const net::Response answer, co_await send(std::move(call)));
  co_return parse_parts_page(answer.body);
}

Task<std::string> S3Client::put_part(std::string key, std::string upload, unsigned number,
                                     std::shared_ptr<const UploadBody> body) {
  Call call;
  call.method = "PUT";
  call.key = std::move(key);
  call.query = {{"partNumber", std::to_string(number)}, {"uploadId", std::move(upload)}};
  call.body = std::move(body);
  call.timeout = kUploadTimeout;
  CAIRN_CO_TRY(const net::Response answer, co_await send(std::move(call)));
  std::string etag = etag_in(answer.headers);
  if (etag.empty()) co_return fail(ErrorCode::malformed, "upload", "the store gave a part no ETag");
  co_return etag;
}

Task<> S3Client::end_upload(std::string key, std::string upload, std::vector<std::string> etags) {
  auto body = std::make_shared<UploadBody>();
  body->bytes = "<CompleteMultipartUpload>";
  for (std::size_t i = 0; i < etags.size(); ++i)
    body->bytes +=
        "<Part><PartNumber>" + std::to_string(i + 1) + "</PartNumber><ETag>" + xml_escape(etags[i]) + "</ETag></Part>";
  body->bytes += "</CompleteMultipartUpload>";
  body->sha256 = hex(crypto::sha256(as_bytes(body->bytes)));
  Call call;
  call.method = "POST";
  call.key = key;
  call.query = {{"uploadId", std::move(upload)}};
  call.body = std::move(body);
  call.timeout = kUploadTimeout;
  CAIRN_CO_TRY(const net::Response answer, co_await send(std::move(call)));
  // The status went out before the work was done: an error may come in its body.
  CAIRN_CO_TRY(const XmlElement root, parse_xml(answer.body));
  if (root.name == "CompleteMultipartUploadResult") co_return Result<>{};
  const bool again = root.text_of("Code") == "InternalError";
  co_return fail(again ? ErrorCode::unavailable : ErrorCode::malformed, printable(key),
                 "the store did not put the upload together: " + error_text(answer.body));
}

}  // namespace cairn::cachefs
