#include "cli/verify/fetch.h"

#include <cstdlib>

#include "base/file.h"
#include "device/collateral/collateral_cache.h"
#include "device/collateral/collateral_client.h"
#include "device/collateral/gpu_client.h"
#include "device/collateral/nras_client.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
using device::CollateralClient;
using device::CollateralSource;

// Null and empty alike are unset.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

Result<CollateralSource> source(const FetchOptions& o) {
  CollateralSource out;
  fs::path file = o.qcnl;
  if (file.empty()) file = variable("QCNL_CONF_PATH");
  if (file.empty() && fs::exists("/etc/sgx_default_qcnl.conf")) file = "/etc/sgx_default_qcnl.conf";
  if (o.services.empty() && !file.empty()) {
    CAIRN_TRY(const std::string text, read_text(file, kSmallFileMax));
    auto config = device::parse_qcnl(text);
    if (!config) return fail(std::move(config.error()).in(file.string()));
    out = CollateralSource::from(*config);
  }
  if (!o.services.empty()) out.urls = o.services;
  if (o.early) out.update = device::TcbUpdate::early;
  return out;
}

std::string lines(const std::vector<std::string>& urls) {
  std::string out;
  for (const std::string& url : urls) out += url + "\n";
  return out;
}

}  // namespace

fs::path collateral_folder() {
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) return fs::path(cache) / "cairn/collateral";
  const std::string home = variable("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".cache/cairn/collateral";
}

Result<tdx::Collateral> fetch_collateral(ByteView quote, const std::vector<tdx::TrustRoot>& roots,
                                         const FetchOptions& o, Time now) {
  CAIRN_TRY(const tdx::CollateralKey key, tdx::collateral_key(quote, roots));
  CAIRN_TRY(CollateralSource from, source(o));
  const std::string name = lines(from.urls) + (from.update == device::TcbUpdate::early ? "early" : "standard");
  return net::run_to_end<tdx::Collateral>([&](net::Runtime& runtime) -> net::Task<tdx::Collateral> {
    // Its connections live on this loop and must not outlive it.
    CAIRN_CO_TRY(const std::unique_ptr<CollateralClient> client, CollateralClient::make(std::move(from)));
    device::CollateralCacheOptions options{.fetch = {}, .source = name, .folder = collateral_folder(), .roots = roots};
    if (!o.offline) options.fetch = [&](tdx::CollateralKey k) { return client->fetch(k); };
    device::CollateralCache cache(runtime.loop(0), std::move(options));
    const Result<device::CollateralPtr> got = co_await cache.get(key, now);
    (void)co_await cache.stop();
    if (!got) co_return fail(got.error());
    co_return **got;
  });
}

Result<nvidia::Collateral> fetch_gpu_collateral(const nvidia::Evidence& evidence, nvidia::Verifier& verifier,
                                                const nvidia::TrustRoots& roots, nvidia::Collateral have,
                                                const FetchOptions& o, Time now, bool fresh) {
  device::GpuSource from;
  if (!o.rim_service.empty()) from.rim_url = o.rim_service;
  if (!o.ocsp.empty()) from.ocsp_url = o.ocsp;
  if (o.offline) from.rim_url = from.ocsp_url = "";
  from.folder = collateral_folder();
  return net::run_to_end<nvidia::Collateral>([&](net::Runtime&) -> net::Task<nvidia::Collateral> {
    CAIRN_CO_TRY(const std::unique_ptr<device::GpuClient> client, device::GpuClient::make(std::move(from)));
    Result<nvidia::Collateral> out = co_await client->fetch(evidence, verifier, roots, now, std::move(have), fresh);
    co_return out;
  });
}

Result<nvidia::Remote> ask_nras(std::vector<nvidia::NrasRequest> requests, const FetchOptions& o, Time now) {
  return net::run_to_end<nvidia::Remote>([&](net::Runtime&) -> net::Task<nvidia::Remote> {
    device::NrasSource from;
    from.url = o.nras;
    CAIRN_CO_TRY(const std::unique_ptr<device::NrasClient> client, device::NrasClient::make(std::move(from)));
    Result<nvidia::Remote> out = co_await client->attest(std::move(requests), now);
    co_return out;
  });
}

}  // namespace cairn::cli
