#include "trustee/as/collateral_store.h"

#include <spdlog/spdlog.h>

#include "base/encoding.h"
#include "base/file.h"
#include "net/http.h"
#include "trustee/limits.h"

namespace cairn::trustee::as {
namespace {

using device::CollateralCache;
using tdx::CollateralKey;

std::string fmspc_of(const tdx::Collateral& collateral) {
  const auto json = parse_json(collateral.tcb_info);
  if (!json || !json->is_object() || !json->contains("tcbInfo")) return {};
  const Json& info = (*json)["tcbInfo"];
  const Json fmspc = info.is_object() ? info.value("fmspc", Json()) : Json();
  return fmspc.is_string() ? fmspc.get<std::string>() : std::string();
}

net::Task<> fetch(std::shared_ptr<CollateralCache> cache, CollateralKey key, Time now) {
  const auto got = co_await net::with_timeout(cache->get(key, now), limits::kCollateralWait);
  co_return got ? Result<>{} : fail(got.error());
}

std::string name_of(const device::CollateralSource& source) {
  std::string out = source.update == device::TcbUpdate::early ? "early" : "standard";
  for (const auto& url : source.urls) out += "\n" + url;
  return out;
}

std::string_view name(CollateralCache::Status::State state) {
  using enum CollateralCache::Status::State;
  return state == ready ? "ready" : state == refresh_due ? "refresh_due" : "refresh_failed";
}

}  // namespace

Result<std::shared_ptr<CollateralStore>> CollateralStore::open(CollateralOptions options,
                                                               std::optional<net::Executor> loop) {
  auto out = std::shared_ptr<CollateralStore>(new CollateralStore(std::move(options)));
  const CollateralOptions& o = out->options_;
  for (const auto& path : o.bundles) out->files_.push_back({path, {}, nullptr, {}});
  if (!o.source) return out;
  if (!loop) return fail(ErrorCode::invalid_argument, "a collateral service needs a loop to be asked on");
  CAIRN_TRY(out->client_, device::CollateralClient::make(*o.source));
  device::CollateralCacheOptions cache{
      .fetch = [client = out->client_](CollateralKey key) { return client->fetch(key); },
      .source = name_of(*o.source),
      .folder = o.folder,
      .roots = o.roots,
      .refresh_after = o.refresh_after,
      .expire_after = o.expire_after,
      .min_tcb_eval_num = o.min_tcb_eval_num};
  out->cache_ = std::make_shared<CollateralCache>(*std::move(loop), std::move(cache));
  return out;
}

Result<void> CollateralStore::refresh(File& file) {
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(file.path, error);
  if (error) return fail(ErrorCode::unavailable, file.path, "the collateral file cannot be read: " + error.message());
  if (file.collateral && changed == file.changed) return {};
  CAIRN_TRY(const std::string text, read_text(file.path, tdx::kMaxBundle));
  CAIRN_TRY(tdx::Collateral collateral, tdx::parse_collateral(text));
  file.fmspc = fmspc_of(collateral);
  file.collateral = std::make_shared<const tdx::Collateral>(std::move(collateral));
  file.changed = changed;
  return {};
}

CollateralPtr CollateralStore::from_files(const Result<CollateralKey>& key) {
  const std::scoped_lock lock(files_mutex_);
  CollateralPtr any;
  for (auto& file : files_) {
    if (auto read = refresh(file); !read) {
      spdlog::error("TDX collateral: {}", read.error().text());
      if (!file.collateral) continue;  // what was read before still carries its own dates
    }
    if (key && net::equal_ignoring_case(file.fmspc, hex(key->fmspc))) return file.collateral;
    if (!any) any = file.collateral;
  }
  return cache_ ? nullptr : any;
}

Result<CollateralPtr> CollateralStore::find(ByteView quote, Time now, Pending* pending) {
  const auto key = tdx::collateral_key(quote);  // not verified: enough to look something up, not to fetch it
  if (auto kept = from_files(key)) return kept;
  if (!cache_)
    return fail(ErrorCode::unavailable,
                "no collateral is at hand to judge TDX quotes with: set verifier.tdx.bundles or verifier.tdx.pccs_url");
  if (!key) return fail(key.error());
  if (auto known = cache_->find(*key, now)) return *std::move(known);
  CAIRN_TRY(const CollateralKey proven, tdx::collateral_key(quote, options_.roots));
  if (pending) pending->add([cache = cache_, proven, now] { return fetch(cache, proven, now); });
  return fail(ErrorCode::unavailable, "the collateral of this platform is being fetched; ask again");
}

Json CollateralStore::status(Time now) const {
  Json platforms = Json::array();
  if (cache_)
    for (const auto& s : cache_->status(now))
      platforms.push_back({{"platform", device::text(s.key)},
                           {"state", name(s.state)},
                           {"fetched", rfc3339(s.fetched)},
                           {"expires", rfc3339(s.expires)},
                           {"tcb_eval_num", s.tcb_eval_num},
                           {"last_error", s.last_error}});
  return {{"files", options_.bundles.size()},
          {"services", options_.source ? Json(options_.source->urls) : Json::array()},
          {"platforms", std::move(platforms)}};
}

device::CollateralCounts CollateralStore::counts(Time now) const {
  return cache_ ? cache_->counts(now) : device::CollateralCounts{};
}

net::Task<> CollateralStore::stop() {
  if (cache_) co_return co_await cache_->stop();
  co_return Result<>{};
}

}  // namespace cairn::trustee::as
