// ttrpc messages, and a server fed with arbitrary frames.
#include <cstdint>
#include <cstdlib>

#include "net/ttrpc.h"

namespace {
void check(bool ok) {
  if (!ok) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  using namespace cairn::net;
  const ByteView bytes{data, size};
  if (const auto request = ttrpc::decode_request(bytes)) {
    const auto again = ttrpc::decode_request(ttrpc::encode(*request));
    check(again && again->service == request->service && again->payload == request->payload &&
          again->metadata == request->metadata);
  }
  if (const auto response = ttrpc::decode_response(bytes)) {
    const auto again = ttrpc::decode_response(ttrpc::encode(*response));
    check(again && again->payload == response->payload && again->status.code == response->status.code);
  }
  (void)run_task([&](Runtime& runtime) -> Task<> {
    TtrpcServer server(runtime);
    server.add("s", "m", [](TtrpcCall call) -> asio::awaitable<RpcReply> { co_return std::move(call.payload); });
    auto [a, b] = memory_pair(co_await this_loop());
    CAIRN_CO_CHECK(co_await a->write(bytes.first(std::min(size, limits::kMemoryPipe))));
    CAIRN_CO_CHECK(co_await a->shutdown_write());
    (void)co_await server.serve(std::move(b));
    co_return Result<>{};
  });
  return 0;
}
