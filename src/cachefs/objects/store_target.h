// Which object store, which volume in it, as whom: from a URL, options and the environment.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/secret.h"
#include "cachefs/objects/limits.h"
#include "net/http.h"

namespace CLI {
class App;
}

namespace cairn::cachefs {

struct StoreOptions {
  std::string endpoint;               // "https://host[:port]"; "": AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or AWS's
  std::string region;                 // "": AWS_REGION, AWS_DEFAULT_REGION, or the endpoint's
  std::string style;                  // "path", "virtual"; "": virtual where the endpoint has a name
  std::filesystem::path credentials;  // a file that only its owner may read; "": the environment
  bool anonymous = false;             // requests are not signed
  std::filesystem::path ca;           // PEM roots trusted in addition to the system's
  std::filesystem::path cache;        // folder for ciphertext; "": none
  std::uint64_t cache_mib = kStoreCacheMibDefault;
  std::uint64_t memory_mib = kStoreMemoryMibDefault;
  unsigned parallel = kStoreParallelDefault;
  unsigned timeout_s = kStoreTimeoutDefault;  // until a read fails
};
// invalid_argument; the message names the option.
[[nodiscard]] Result<void> check_store_options(const StoreOptions& options);
// --store-endpoint, --store-region, ... ; `caching`: those that only a mount has, too.
void add_store_options(CLI::App& app, StoreOptions& options, bool caching);

// Does this name an object store ("s3://...") instead of a folder?
[[nodiscard]] bool is_store_url(std::string_view text);

struct Credentials {
  std::string access_key_id;  // "": anonymous
  Secret secret_access_key;
  Secret session_token;  // may be empty
};
// AWS's shared file: "name = value" lines of the [default] section or of none. aws_access_key_id,
// aws_secret_access_key, aws_session_token. The errors quote nothing of the text.
[[nodiscard]] Result<Credentials> parse_credentials(std::string_view text);

struct StoreTarget {
  net::Url bucket_url;  // scheme, host and port; target "/" or "/bucket/"
  std::string bucket;
  std::string prefix;  // "" or "a/b/": before every key
  std::string region;
  Credentials credentials;
  std::string extra_roots_pem;

  [[nodiscard]] std::string text() const { return "s3://" + bucket + "/" + prefix; }
};
// Reads the credentials; permission_denied where others may read their file.
[[nodiscard]] Result<StoreTarget> resolve_store(std::string_view url, const StoreOptions& options);

}  // namespace cairn::cachefs
