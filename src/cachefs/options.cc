#include "cachefs/options.h"

#include "base/encoding.h"
#include "base/json.h"
#include "net/stream.h"

namespace cairn::cachefs {
namespace {

constexpr std::size_t kConfigTextMax = 64U << 10;

template <class T, class Parse>
void named(Fields& f, std::string_view key, T& into, Parse parse) {
  const auto text = f.optional<std::string>(key);
  if (!text) return;
  if (auto value = parse(*text))
    into = *value;
  else
    f.problem(key, value.error().message);
}

bool is_measured_form(std::string_view text) {
  if (!text.starts_with("sha384:")) return false;
  const auto bytes = from_hex(text.substr(7));
  return bytes && bytes->size() == 48;
}

}  // namespace

Result<Verify> verify_by_name(std::string_view name) {
  if (name == "none") return Verify::none;
  if (name == "full") return Verify::full;
  if (name == "seal") return Verify::seal;
  return fail(ErrorCode::invalid_argument, "verify", "must be seal, full or none");
}

Result<Mode> mode_by_name(std::string_view name) {
  if (name == "auto") return Mode::automatic;
  if (name == "streaming") return Mode::streaming;
  if (name == "resident") return Mode::resident;
  if (name == "bounded") return Mode::bounded;
  return fail(ErrorCode::invalid_argument, "mode", "must be auto, streaming, resident or bounded");
}

Result<Serve> serve_by_name(std::string_view name) {
  if (name == "auto") return Serve::automatic;
  if (name == "fuse") return Serve::fuse;
  if (name == "memory") return Serve::memory;
  return fail(ErrorCode::invalid_argument, "serve", "must be auto, fuse or memory");
}

Result<MountOptions> parse_mount_options(std::string_view json) {
  CAIRN_TRY(const Json document, parse_json(json, {.bytes = kConfigTextMax, .depth = 8}));
  Problems problems;
  Fields f(document, "$", problems);
  MountOptions out;
  out.source = f.required<std::string>("source");
  out.mountpoint = f.required<std::string>("mountpoint");
  out.config = f.value_or("config", std::string());
  out.passfile = f.value_or("passfile", std::string());
  out.wipe_passfile = f.value_or("wipe_passfile", out.wipe_passfile);
  out.read_write = f.value_or("read_write", out.read_write);
  out.allow_other = f.value_or("allow_other", out.allow_other);
  out.nonempty = f.value_or("nonempty", out.nonempty);
  out.all_features = f.value_or("allow_features", out.all_features);
  if (f.value_or("allow_holes", false)) out.holes = gocryptfs::Holes::allow;
  named(f, "verify", out.verify, verify_by_name);
  named(f, "mode", out.mode, mode_by_name);
  named(f, "serve", out.serve, serve_by_name);
  out.expect_root = f.value_or("expect_root", std::string());
  out.fail_closed = f.value_or("fail_closed", out.fail_closed);
  out.memory_mib = f.value_or("memory_mib", out.memory_mib);
  out.cache_mib = f.value_or("cache_mib", out.cache_mib);
  out.preload = f.value_or("preload", out.preload);
  out.threads = f.value_or("threads", out.threads);
  out.read_ahead_kb = f.value_or("read_ahead_kb", out.read_ahead_kb);
  out.type = f.value_or("type", out.type);
  out.name = f.value_or("name", out.name);
  out.status = f.value_or("status", std::string());
  out.ready_file = f.value_or("ready_file", std::string());
  StoreOptions& store = out.store;
  store.endpoint = f.value_or("store_endpoint", store.endpoint);
  store.region = f.value_or("store_region", store.region);
  store.style = f.value_or("store_style", store.style);
  store.credentials = f.value_or("store_credentials", std::string());
  store.anonymous = f.value_or("store_anonymous", store.anonymous);
  store.ca = f.value_or("store_ca", std::string());
  store.cache = f.value_or("store_cache", std::string());
  store.cache_mib = f.value_or("store_cache_size", store.cache_mib);
  store.memory_mib = f.value_or("store_memory", store.memory_mib);
  store.parallel = f.value_or("store_parallel", store.parallel);
  store.timeout_s = f.value_or("store_timeout", store.timeout_s);
  f.done();
  CAIRN_CHECK(problems.result());
  return out;
}

Result<void> check_mount_options(const MountOptions& o) {
  Problems problems;
  if (o.source.empty()) problems.add("source", "missing");
  if (o.mountpoint.empty()) problems.add("mountpoint", "missing");
  if (o.passfile.empty()) problems.add("passfile", "missing: the file with the password, or - for standard input");
  if (o.wipe_passfile && o.passfile == "-") problems.add("wipe_passfile", "needs a file");
  if (o.preload > 100) problems.add("preload", "at most 100 percent");
  if (o.serve == Serve::memory && (o.mode != Mode::resident || o.preload != 100))
    problems.add("serve", "memory needs mode resident and preload 100");
  if (o.read_write &&
      (o.verify != Verify::none || o.mode != Mode::automatic || o.preload != 0 || o.fail_closed || !o.status.empty()))
    problems.add("read_write", "excludes verify, mode, preload, fail_closed and status: what changes is not a model");
  if (const auto good = check_store_options(o.store); !good) problems.add("store", good.error().message);
  if (!o.store.cache.empty() && o.holes == gocryptfs::Holes::allow)
    problems.add("store_cache", "excludes allow_holes: what the format does not authenticate cannot be kept on disk");
  if (is_store_url(o.source.string()) && o.read_write)
    problems.add("read_write", "object stores are read only here; change a folder and push it");
  if (o.cache_mib == 0 || o.cache_mib > kCacheMibMax) problems.add("cache_mib", "1 to " + std::to_string(kCacheMibMax));
  if (!o.status.empty())
    if (const auto endpoint = net::Endpoint::parse(o.status); !endpoint)
      problems.add("status", "must be unix:/path or host:port");
  if (o.threads > kServeThreadsMax) problems.add("threads", "at most " + std::to_string(kServeThreadsMax));
  if (o.read_ahead_kb > kReadAheadKbMax) problems.add("read_ahead_kb", "at most " + std::to_string(kReadAheadKbMax));
  if (!o.expect_root.empty() && !is_measured_form(o.expect_root))
    problems.add("expect_root", "must be sha384: and 96 hexadecimal digits");
  if (!o.expect_root.empty() && o.verify == Verify::none)
    problems.add("expect_root", "needs verify=seal or full: without them the contents are not compared");
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789-";
  if (o.type.empty() || o.type.size() > 32 || o.type.find_first_not_of(kLetters) != std::string::npos)
    problems.add("type", "1 to 32 of a-z, 0-9 and -");
  return problems.result();
}

}  // namespace cairn::cachefs
