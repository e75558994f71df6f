#include "cachefs/objects/store_target.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

namespace cairn::cachefs {
namespace {

constexpr std::string_view kScheme = "s3://";
constexpr std::size_t kCredentialMax = 4096;  // bytes of one value

std::string from_environment(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  return {};
}

std::string_view trimmed_view(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_visible(std::string_view text) {
  return !text.empty() && text.size() <= kCredentialMax &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

Result<void> check_bucket(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const bool good = name.size() >= 3 && name.size() <= 63 && plain(name.front()) && plain(name.back()) &&
                    std::ranges::all_of(name, [&](char c) { return plain(c) || c == '-' || c == '.'; }) &&
                    !name.contains("..");
  if (good) return {};
  return fail(ErrorCode::invalid_argument, printable(name), "not a bucket's name: s3://BUCKET/PREFIX");
}

Result<std::string> check_prefix(std::string_view text) {
  while (text.starts_with('/')) text.remove_prefix(1);
  while (text.ends_with('/')) text.remove_suffix(1);
  if (text.empty()) return std::string();
  const std::string out = std::string(text) + "/";
  const bool good =
      out.size() <= kStoreKeyMax && !out.contains("//") && !("/" + out).contains("/./") &&
      !("/" + out).contains("/../") &&
      std::ranges::all_of(out, [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != '\x7f'; });
  if (good) return out;
  return fail(ErrorCode::invalid_argument, printable(text), "not a prefix that folders can have");
}

bool is_address(std::string_view host) {
  return host.contains(':') || host.find_first_not_of("0123456789.") == std::string_view::npos || !host.contains('.');
}

// "oss-cn-hangzhou" of s3.oss-cn-hangzhou-internal.aliyuncs.com, "eu-west-1" of s3.eu-west-1.amazonaws.com.
std::string region_of(std::string_view host) {
  for (std::string_view rest = host; !rest.empty();) {
    std::string_view label = rest.substr(0, rest.find('.'));
    rest.remove_prefix(std::min(rest.size(), label.size() + 1));
    if (label.starts_with("oss-")) {
      if (label.ends_with("-internal")) label.remove_suffix(std::string_view("-internal").size());
      return std::string(label);
    }
    if (label == "s3" && rest.contains(".amazonaws.")) return std::string(rest.substr(0, rest.find('.')));
  }
  return "us-east-1";
}

Result<Credentials> credentials_of(const StoreOptions& options) {
  if (options.anonymous) return Credentials{};
  if (!options.credentials.empty()) {
    struct stat status{};
    const std::string where = options.credentials.string();
    const Fd fd(::open(where.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd || ::fstat(fd.get(), &status) != 0) return fail(errno_error(errno, where, "cannot read the credentials"));
    if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0)
      return fail(ErrorCode::permission_denied, where,
                  "others may read the credentials: it must be a file with mode 0600");
    CAIRN_TRY(const Secret text, read_secret(options.credentials));
    auto out = parse_credentials(as_text(text.view()));
    if (!out) return fail(out.error().code, where, out.error().message);
    return out;
  }
  Credentials out;
  out.access_key_id = from_environment({"AWS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_ID"});
  out.secret_access_key = Secret::take(from_environment({"AWS_SECRET_ACCESS_KEY", "OSS_ACCESS_KEY_SECRET"}));
  out.session_token = Secret::take(from_environment({"AWS_SESSION_TOKEN", "OSS_SESSION_TOKEN"}));
  if (out.access_key_id.empty() || out.secret_access_key.empty())
    return fail(ErrorCode::invalid_argument, "credentials",
                "give --store-credentials FILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --store-anonymous");
  if (!is_visible(out.access_key_id) || !is_visible(as_text(out.secret_access_key.view())) ||
      (!out.session_token.empty() && !is_visible(as_text(out.session_token.view()))))
    return fail(ErrorCode::malformed, "credentials", "the environment's are not visible characters");
  return out;
}

}  // namespace

bool is_store_url(std::string_view text) { return text.starts_with(kScheme); }

Result<Credentials> parse_credentials(std::string_view text) {
  Credentials out;
  bool ours = true;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed_view(text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end + 1));
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      ours = line == "[default]";
      continue;
    }
    if (!ours) continue;
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) return fail(ErrorCode::malformed, "a line is not \"name = value\"");
    const std::string_view name = trimmed_view(line.substr(0, equals)), value = trimmed_view(line.substr(equals + 1));
    const bool wanted = name == "aws_access_key_id" || name == "aws_secret_access_key" || name == "aws_session_token";
    if (!wanted) continue;
    if (!is_visible(value)) return fail(ErrorCode::malformed, "the value of " + std::string(name) + " is not one");
    if (name == "aws_access_key_id") out.access_key_id = value;
    if (name == "aws_secret_access_key") out.secret_access_key = Secret(as_bytes(value));
    if (name == "aws_session_token") out.session_token = Secret(as_bytes(value));
  }
  if (out.access_key_id.empty() || out.secret_access_key.empty())
    return fail(ErrorCode::malformed, "aws_access_key_id and aws_secret_access_key are needed");
  return out;
}

Result<void> check_store_options(const StoreOptions& o) {
  Problems problems;
  if (!o.style.empty() && o.style != "path" && o.style != "virtual") problems.add("store_style", "path or virtual");
  if (o.memory_mib < kStoreMemoryMibMin || o.memory_mib > kStoreMemoryMibMax)
    problems.add("store_memory", "at least " + std::to_string(kStoreMemoryMibMin) + " MiB");
  if (o.cache_mib == 0 || o.cache_mib > kStoreCacheMibMax)
    problems.add("store_cache_size", "1 to " + std::to_string(kStoreCacheMibMax));
  if (o.parallel == 0 || o.parallel > kStoreParallelMax)
    problems.add("store_parallel", "1 to " + std::to_string(kStoreParallelMax));
  if (o.timeout_s == 0 || o.timeout_s > kStoreTimeoutMax)
    problems.add("store_timeout", "1 to " + std::to_string(kStoreTimeoutMax) + " seconds");
  if (o.anonymous && !o.credentials.empty()) problems.add("store_anonymous", "excludes store_credentials");
  return problems.result();
}

void add_store_options(CLI::App& app, StoreOptions& o, bool caching) {
  app.add_option("--store-endpoint", o.endpoint,
                 "for s3://BUCKET/PREFIX: https://HOST[:PORT] of the store; default AWS_ENDPOINT_URL, else AWS's");
  app.add_option("--store-region", o.region, "the region in signatures; default AWS_REGION, else the endpoint's");
  app.add_option("--store-style", o.style, "path or virtual: where the bucket's name goes");
  app.add_option("--store-credentials", o.credentials, "file as of AWS's tools, mode 0600; default: the environment");
  app.add_flag("--store-anonymous", o.anonymous, "do not sign requests: for public buckets");
  app.add_option("--store-ca", o.ca, "PEM file of certificates to trust beside the system's");
  app.add_option("--store-parallel", o.parallel, "requests under way at most");
  app.add_option("--store-timeout", o.timeout_s, "seconds until a read fails, its retries included");
  if (!caching) return;
  app.add_option("--store-memory", o.memory_mib, "MiB of ciphertext in memory, fetched ahead");
  app.add_option("--store-cache", o.cache, "folder that keeps ciphertext over restarts");
  app.add_option("--store-cache-size", o.cache_mib, "MiB in that folder at most");
}

Result<StoreTarget> resolve_store(std::string_view url, const StoreOptions& options) {
  CAIRN_CHECK(check_store_options(options));
  if (!url.starts_with(kScheme)) return fail(ErrorCode::invalid_argument, printable(url), "must be s3://BUCKET/PREFIX");
  url.remove_prefix(kScheme.size());
  StoreTarget out;
  out.bucket = url.substr(0, url.find('/'));
  CAIRN_CHECK(check_bucket(out.bucket));
  CAIRN_TRY(out.prefix, check_prefix(url.substr(std::min(url.size(), out.bucket.size()))));

  std::string endpoint = options.endpoint;
  if (endpoint.empty()) endpoint = from_environment({"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"});
  out.region = options.region.empty() ? from_environment({"AWS_REGION", "AWS_DEFAULT_REGION"}) : options.region;
  if (endpoint.empty() && out.region.empty())
    return fail(ErrorCode::invalid_argument, "store", "give --store-endpoint, or --store-region for AWS's");
  if (endpoint.empty()) endpoint = "https://s3." + out.region + ".amazonaws.com";
  CAIRN_TRY(out.bucket_url, net::Url::parse(endpoint));
  if (out.bucket_url.scheme != "http" && out.bucket_url.scheme != "https")
    return fail(ErrorCode::unsupported, "store_endpoint", "must be an http or https URL");
  if (out.bucket_url.target != "/")
    return fail(ErrorCode::invalid_argument, "store_endpoint", "has no path: the bucket is in the s3:// URL");
  if (out.region.empty()) out.region = region_of(out.bucket_url.host);
  if (!is_visible(out.region) || out.region.contains('/'))
    return fail(ErrorCode::invalid_argument, "store_region", "is not a region's name");
  const bool by_path = options.style.empty() ? is_address(out.bucket_url.host) : options.style == "path";
  if (by_path)
    out.bucket_url.target = "/" + out.bucket + "/";
  else
    out.bucket_url.host = out.bucket + "." + out.bucket_url.host;
  CAIRN_TRY(out.credentials, credentials_of(options));
  if (!options.ca.empty()) {
    CAIRN_TRY(out.extra_roots_pem, read_text(options.ca));
  }
  return out;
}

}  // namespace cairn::cachefs
