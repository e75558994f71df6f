// Any request line and body at the façade: a response of a known status, always.
#include <cstdlib>

#include "base/log.h"
#include "guest/rest/facade.h"

namespace {

using namespace cairn;  // NOLINT

struct NoBackend final : rest::Backend {
  static std::unexpected<Error> none() { return fail(ErrorCode::unavailable, "none"); }
  net::Task<std::string> tee_type() override { co_return none(); }
  net::Task<std::vector<std::string>> additional_tees() override { co_return none(); }
  net::Task<std::string> evidence(Bytes) override { co_return none(); }
  net::Task<std::string> additional_evidence(Bytes) override { co_return none(); }
  net::Task<Secret> token(std::string) override { co_return none(); }
  net::Task<> extend(std::string, std::string, std::string, std::optional<std::uint64_t>) override { co_return none(); }
  net::Task<Secret> resource(std::string) override { co_return none(); }
  net::Task<cdh::api::PrepareInjectionResponse> prepare_injection(cdh::api::PrepareInjectionRequest) override {
    co_return none();
  }
  net::Task<> commit_injection(cdh::api::CommitInjectionRequest) override { co_return none(); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  spdlog::set_level(spdlog::level::off);
  std::string_view rest = as_text({data + 1, size - 1});
  const auto next = [&rest] {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return std::string(line);
  };
  rest::Request request{.method = (data[0] & 1) != 0 ? "POST" : "GET",
                        .path = "/" + next(),
                        .query = next(),
                        .body = {},
                        .loopback = (data[0] & 2) != 0};
  request.body = rest;
  const rest::Rules rules{.profile = (data[0] & 4) != 0 ? kbs::Profile::p2 : kbs::Profile::p1, .aa = true, .cdh = true};
  NoBackend backend;
  const auto response = net::run_to_end<net::Response>(
      [&](net::Runtime&) -> net::Task<net::Response> { co_return co_await rest::answer(request, rules, backend); });
  if (!response || response->status < 200 || response->status > 599) std::abort();
  return 0;
}
