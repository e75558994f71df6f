#include "cachefs/objects/sigv4.h"

#include <algorithm>

#include "base/encoding.h"
#include "crypto/hash.h"

namespace cairn::cachefs {
namespace {

// "20260131T120000Z"
std::string compact_time(Time t) {
  std::string out = rfc3339(t);
  std::erase_if(out, [](char c) { return c == '-' || c == ':'; });
  return out;
}

Bytes keyed(ByteView key, std::string_view text) { return crypto::hmac(crypto::Hash::sha256, key, as_bytes(text)); }

std::string signature(const Credentials& credentials, std::string_view day, std::string_view region,
                      std::string_view text) {
  Secret first(4 + credentials.secret_access_key.size());
  std::ranges::copy(as_bytes("AWS4"), first.mutable_view().begin());
  std::ranges::copy(credentials.secret_access_key.view(), first.mutable_view().begin() + 4);
  Bytes key = keyed(first.view(), day);
  for (const std::string_view step : {region, std::string_view("s3"), std::string_view("aws4_request")}) {
    Bytes next = keyed(key, step);
    wipe(key.data(), key.size());
    key = std::move(next);
  }
  const std::string out = hex(keyed(key, text));
  wipe(key.data(), key.size());
  return out;
}

}  // namespace

std::string encoded_key(std::string_view key) {
  std::string out;
  while (!key.empty()) {
    const std::size_t slash = std::min(key.find('/'), key.size());
    out += percent_encode(key.substr(0, slash));
    if (slash < key.size()) out += '/';
    key.remove_prefix(std::min(key.size(), slash + 1));
  }
  return out;
}

std::string canonical_query(Query query) {
  for (auto& [name, value] : query) {
    name = percent_encode(name);
    value = percent_encode(value);
  }
  std::ranges::sort(query);
  std::string out;
  for (const auto& [name, value] : query) out += (out.empty() ? "" : "&") + name + "=" + value;
  return out;
}

void sign(net::Headers& headers, const ToSign& r, const Credentials& credentials) {
  headers.set("x-amz-content-sha256", std::string(r.body_sha256));
  if (credentials.access_key_id.empty()) return;
  const std::string time = compact_time(r.time), day = time.substr(0, 8);
  headers.set("x-amz-date", time);
  if (!credentials.session_token.empty())
    headers.set("x-amz-security-token", std::string(as_text(credentials.session_token.view())));

  std::vector<std::pair<std::string, std::string>> fields{{"host", std::string(r.host)}};
  for (const auto& f : headers) fields.emplace_back(net::lowered(f.name), f.value);
  std::ranges::sort(fields);
  std::string lines, names;
  for (const auto& [name, value] : fields) {
    lines += name + ":" + value + "\n";
    names += (names.empty() ? "" : ";") + name;
  }
  std::string canonical;
  for (const std::string_view part : {r.method, r.path, r.query, std::string_view(lines), std::string_view(names)})
    canonical.append(part).append("\n");
  canonical.append(r.body_sha256);

  const std::string scope = day + "/" + std::string(r.region) + "/s3/aws4_request";
  const std::string text = "AWS4-HMAC-SHA256\n" + time + "\n" + scope + "\n" + hex(crypto::sha256(as_bytes(canonical)));
  headers.set("Authorization", "AWS4-HMAC-SHA256 Credential=" + credentials.access_key_id + "/" + scope +
                                   ",SignedHeaders=" + names +
                                   ",Signature=" + signature(credentials, day, r.region, text));
}

}  // namespace cairn::cachefs
