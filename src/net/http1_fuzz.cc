// Heads of both kinds and bodies in every framing. What is accepted must survive being written and read again.
#include <array>
#include <cstdint>
#include <cstdlib>

#include "net/http1.h"

namespace {

using namespace cairn;
using namespace cairn::net;

void check(bool ok) {
  if (!ok) std::abort();
}

void heads(std::string_view text) {
  http1::HeadScanner whole, piecewise;
  const auto size = whole.scan(text);
  Result<std::size_t> same = 0U;
  for (std::size_t n = 1; n <= text.size() && same && *same == 0; n += 1 + n / 8)
    same = piecewise.scan(text.substr(0, n));
  if (same && *same == 0) same = piecewise.scan(text);
  check(size.has_value() == same.has_value() && (!size || *size == *same || !same));
  if (!size || *size == 0) return;
  const std::string_view head = text.substr(0, *size);
  if (const auto request = http1::parse_request(head); request && request->head.version == HttpVersion::http1_1) {
    const auto again = http1::format_request(request->head, {});
    check(again.has_value());
    const auto back = http1::parse_request(*again);
    check(back && back->head.headers == request->head.headers && back->head.target == request->head.target &&
          back->framing == request->framing);
  }
  for (const char* method : {"GET", "HEAD", "CONNECT"}) (void)http1::parse_response(head, method);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = as_text({data, size});
  heads(text);
  (void)run_task([&](Runtime&) -> Task<> {
    auto [a, b] = memory_pair(co_await this_loop());
    CAIRN_CO_CHECK(co_await a->write(text.substr(0, limits::kMemoryPipe)));
    a->close();
    http1::Input input(*b);
    input.begin_body(http1::Framing::chunked, 0);
    std::array<std::uint8_t, 100> buffer;
    for (std::size_t total = 0;;) {
      CAIRN_CO_TRY(const std::size_t n, co_await input.read_some(buffer));
      total += n;
      check(total <= size);
      if (n == 0) break;
    }
    co_return (co_await input.head(limits::kHeadBytes)).transform([](auto) {});
  });
  return 0;
}
