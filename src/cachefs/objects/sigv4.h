// AWS Signature Version 4 for S3, in the Authorization header. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "cachefs/objects/store_target.h"
#include "net/http.h"

namespace cairn::cachefs {

using Query = std::vector<std::pair<std::string, std::string>>;

// '/' stays, everything else but unreserved characters is escaped.
[[nodiscard]] std::string encoded_key(std::string_view key);
// Sorted, escaped, "a=1&b=": as it is signed and as it is sent.
[[nodiscard]] std::string canonical_query(Query query);

struct ToSign {
  std::string_view method;
  std::string_view path;         // escaped, as it is sent
  std::string_view query;        // canonical
  std::string_view host;         // as the Host field has it
  std::string_view body_sha256;  // hexadecimal
  std::string_view region;
  Time time;
};
// Adds x-amz-date, x-amz-content-sha256, x-amz-security-token and Authorization to the fields, all of which are signed;
// only the digest for anonymous credentials.
void sign(net::Headers& headers, const ToSign& request, const Credentials& credentials);

}  // namespace cairn::cachefs
