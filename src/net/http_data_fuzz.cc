// URLs, paths, queries, authorities, dates, endpoints, cookies and event streams.
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"
#include "net/http.h"
#include "net/sse.h"
#include "net/stream.h"

namespace {
void check(bool ok) {
  if (!ok) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  using namespace cairn::net;
  const std::string_view text = as_text({data, size});
  if (const auto url = Url::parse(text)) {
    const auto again = Url::parse(url->text());
    check(again && *again == *url);
    CookieJar jar;
    jar.store(*url, {{"Set-Cookie", std::string(text)}}, Time{0});
    (void)jar.header(*url, Time{0});
  }
  if (const auto path = normalised_path(text)) {
    check(path->starts_with('/') && path->find("/../") == std::string::npos && !path->ends_with("/.."));
  }
  (void)parse_query(text);
  (void)parse_authority(text, 80);
  if (const auto date = parse_http_date(text)) check(http_date(*date) == text);
  if (const auto endpoint = Endpoint::parse(text)) check(Endpoint::parse(endpoint->text()).value() == *endpoint);
  CookieJar jar;
  jar.store(Url{"http", "a", 80, "/x/y"}, {{"Set-Cookie", std::string(text)}}, Time{0});
  SseParser whole, bytewise;
  const auto events = whole.feed(text).value();
  std::vector<SseEvent> again;
  for (const char c : text) {
    const auto more = bytewise.feed({&c, 1}).value();
    again.insert(again.end(), more.begin(), more.end());
  }
  check(events == again);
  for (const SseEvent& e : events) check(SseParser().feed(format_sse(e)).value().size() == 1);
  return 0;
}
