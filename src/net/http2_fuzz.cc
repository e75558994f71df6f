// Frames after a good preface and SETTINGS, to a server that echoes.
#include <array>
#include <cstdint>

#include "net/http2.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  using namespace cairn::net;
  (void)run_task([&](Runtime&) -> Task<> {
    auto [a, b] = memory_pair(co_await this_loop());
    std::string input(http2_preface());
    input.append("\0\0\0\x04\0\0\0\0\0", 9).append(as_text({data, std::min<std::size_t>(size, 100'000)}));
    CAIRN_CO_CHECK(co_await a->write(input));
    CAIRN_CO_CHECK(co_await a->shutdown_write());
    const auto session = Http2Session::server(std::move(b), [](Http2StreamPtr stream) -> Task<> {
      CAIRN_CO_CHECK(co_await stream->respond({200, {}}));
      std::array<std::uint8_t, 100> buffer;
      for (;;) {
        CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(buffer));
        if (n == 0) co_return co_await stream->shutdown_write();
        CAIRN_CO_CHECK(co_await stream->write(ByteView(buffer).first(n)));
      }
    });
    co_return co_await session->run();
  });
  return 0;
}
