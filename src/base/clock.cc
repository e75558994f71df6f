#include "base/clock.h"

#include <chrono>
#include <cstdio>

namespace cairn {
namespace chr = std::chrono;

Time now() { return {chr::duration_cast<chr::seconds>(chr::system_clock::now().time_since_epoch()).count()}; }

std::int64_t monotonic_ms() {
  return chr::duration_cast<chr::milliseconds>(chr::steady_clock::now().time_since_epoch()).count();
}

Time from_civil(int year, int month, int day, int hour, int minute, int second) {
  const chr::sys_days days{chr::year{year} / month / day};
  return {chr::duration_cast<chr::seconds>(days.time_since_epoch()).count() + hour * 3600LL + minute * 60LL + second};
}

std::string rfc3339(Time t) {
  const chr::sys_seconds point{chr::seconds{t.seconds}};
  const auto days = chr::floor<chr::days>(point);
  const chr::year_month_day date{days};
  const chr::hh_mm_ss clock{point - days};
  char out[40];
  std::snprintf(out, sizeof out, "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return out;
}

Result<Time> parse_rfc3339(std::string_view text) {
  const auto bad = [&] {
    return fail(ErrorCode::malformed, "not an RFC 3339 time: " + std::string(text.substr(0, 40)));
  };
  std::size_t at = 0;
  const auto digits = [&](std::size_t n) -> int {
    if (text.size() - at < n) return -1;
    int v = 0;
    for (std::size_t i = 0; i < n; ++i, ++at) {
      if (text[at] < '0' || text[at] > '9') return -1;
      v = v * 10 + (text[at] - '0');
    }
    return v;
  };
  const auto is = [&](std::string_view any) {
    if (at >= text.size() || any.find(text[at]) == std::string_view::npos) return false;
    ++at;
    return true;
  };
  const int year = digits(4);
  if (year < 1 || !is("-")) return bad();
  const int month = digits(2);
  if (month < 1 || !is("-")) return bad();
  const int day = digits(2);
  if (day < 1 || !is("Tt ")) return bad();
  const int hour = digits(2);
  if (hour < 0 || hour > 23 || !is(":")) return bad();
  const int minute = digits(2);
  if (minute < 0 || minute > 59 || !is(":")) return bad();
  const int second = digits(2);
  if (second < 0 || second > 60) return bad();
  if (!(chr::year{year} / month / day).ok()) return bad();
  if (is(".")) {
    const std::size_t start = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    if (at == start) return bad();
  }
  std::int64_t offset = 0;
  if (!is("Zz")) {
    if (at >= text.size()) return bad();
    const bool minus = text[at] == '-';
    if (!is("+-")) return bad();
    const int oh = digits(2);
    if (oh < 0 || oh > 23 || !is(":")) return bad();
    const int om = digits(2);
    if (om < 0 || om > 59) return bad();
    offset = (minus ? -1 : 1) * (oh * 3600LL + om * 60LL);
  }
  if (at != text.size()) return bad();
  return from_civil(year, month, day, hour, minute, second).plus(-offset);
}

}  // namespace cairn
