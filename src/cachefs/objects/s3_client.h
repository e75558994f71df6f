// The requests to an S3-compatible store: each signed, sent once, its answer checked. Retrying is the caller's.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cachefs/objects/s3_xml.h"
#include "cachefs/objects/sigv4.h"
#include "cachefs/objects/store_target.h"
#include "net/http_client.h"

namespace cairn::cachefs {

struct ObjectRange {
  std::string key;
  std::string etag;               // as listed
  std::uint64_t object_size = 0;  // as listed
  std::uint64_t offset = 0;       // the size is that of the buffer
};
struct ObjectHead {
  std::uint64_t size = 0;
  net::Headers headers;
};
struct UploadBody {
  std::string bytes;
  std::string sha256;  // hexadecimal, of the bytes
};

// Keys are whole: with the target's prefix. Errors: not_found, permission_denied (401, 403), conflict (409, 412, 416:
// the object is no longer what was listed), unavailable (408, 429, 5xx, broken connections, short bodies: worth a
// retry), timed_out, malformed. One loop.
class S3Client {
 public:
  // `target` outlives this.
  S3Client(const StoreTarget& target, std::shared_ptr<const net::TlsContext> tls);

  [[nodiscard]] net::Task<ListPage> list(std::string continuation);  // below the target's prefix
  // Fills `out`. The object must have the listed ETag and size; a body of any other length is refused.
  [[nodiscard]] net::Task<> get_range(ObjectRange range, std::span<std::uint8_t> out, net::Milliseconds timeout);
  [[nodiscard]] net::Task<Bytes> get(std::string key, std::size_t limit);  // a whole small object
  [[nodiscard]] net::Task<ObjectHead> head(std::string key);
  [[nodiscard]] net::Task<std::string> put(std::string key, std::shared_ptr<const UploadBody> body,
                                           net::Headers headers);  // the ETag
  [[nodiscard]] net::Task<> remove(std::string key);

  [[nodiscard]] net::Task<std::string> begin_upload(std::string key, net::Headers headers);  // the upload's id
  // The newest upload of this key that was begun and not ended; "" without one.
  [[nodiscard]] net::Task<std::string> find_upload(std::string key);
  [[nodiscard]] net::Task<PartsPage> parts(std::string key, std::string upload, std::string marker);
  [[nodiscard]] net::Task<std::string> put_part(std::string key, std::string upload, unsigned number,
                                                std::shared_ptr<const UploadBody> body);  // the ETag
  [[nodiscard]] net::Task<> end_upload(std::string key, std::string upload, std::vector<std::string> etags);

 private:
  struct Call {
    std::string method = "GET";
    std::string key;  // "": the bucket
    Query query;
    net::Headers headers;
    std::shared_ptr<const UploadBody> body;
    net::Milliseconds timeout = kStoreTryTimeout;
  };
  [[nodiscard]] net::ClientRequest request(const Call& call) const;
  [[nodiscard]] net::Task<net::HttpClient::Open> open(Call call);  // 2xx, or the error that the answer means
  [[nodiscard]] net::Task<net::Response> send(Call call);

  const StoreTarget& target_;
  net::HttpClient http_;
};

}  // namespace cairn::cachefs
