// Time: nanoseconds since 1970, zones by name, layouts in Go's notation (the reference time Mon Jan 2 15:04:05 MST
// 2006).
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::array<std::string_view, 12> months{"January",   "February", "March",    "April",
                                                  "May",       "June",     "July",     "August",
                                                  "September", "October",  "November", "December"};
constexpr std::array<std::string_view, 7> weekdays{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};

// A moment as a calendar and clock show it.
struct Civil {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0;
  int nano = 0;
  int offset = 0;  // seconds east of UTC
  std::string zone = "UTC";
};

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

std::int64_t days_of(std::int64_t y, int m, int d) {
  y -= m <= 2 ? 1 : 0;
  const std::int64_t era = floor_div(y, 400);
  const std::int64_t yoe = y - era * 400;
  const std::int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void date_of(std::int64_t days, Civil& out) {
  days += 719468;
  const std::int64_t era = floor_div(days, 146097);
  const std::int64_t doe = days - era * 146097;
  const std::int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const std::int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const std::int64_t mp = (5 * doy + 2) / 153;
  out.day = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
  out.month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  out.year = static_cast<int>(yoe + era * 400 + (out.month <= 2 ? 1 : 0));
}

Civil civil(std::int64_t ns, int offset) {
  Civil c;
  c.offset = offset;
  const std::int64_t s = floor_div(ns, kSecond) + offset;
  const auto part = static_cast<int>(ns % kSecond);  // not by subtraction: whole seconds may be less than 64 bits hold
  c.nano = part < 0 ? part + static_cast<int>(kSecond) : part;
  const std::int64_t days = floor_div(s, 86400);
  date_of(days, c);
  const auto rest = static_cast<int>(s - days * 86400);
  c.hour = rest / 3600;
  c.minute = rest / 60 % 60;
  c.second = rest % 60;
  return c;
}

// Nanoseconds; nullopt outside of what 64 bits hold.
std::optional<std::int64_t> nanos(const Civil& c) {
  const std::int64_t s = days_of(c.year, c.month, c.day) * 86400 + c.hour * 3600 + c.minute * 60 + c.second - c.offset;
  // Before 1970 the fraction counts towards zero, so that the earliest moments do not overflow on the way.
  const bool back = s < 0 && c.nano > 0;
  std::int64_t ns = 0;
  if (__builtin_mul_overflow(back ? s + 1 : s, kSecond, &ns) ||
      __builtin_add_overflow(ns, back ? c.nano - kSecond : c.nano, &ns))
    return std::nullopt;
  return ns;
}

int days_in(int month, int year) {
  static constexpr std::array<int, 12> n{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return month == 2 && leap ? 29 : n[static_cast<std::size_t>(month - 1)];
}

struct Moment {
  std::int64_t ns = 0;
  std::string zone;  // UTC where empty
  const TimeZones* zones = nullptr;
  std::string layout;
};

int offset_at(const Moment& m, std::string* abbreviation = nullptr) {
  if (m.zone.empty()) return 0;
  const auto at = (*m.zones)(m.zone, floor_div(m.ns, kSecond));
  if (!at) return 0;  // moment() has seen that there is such a zone
  if (abbreviation != nullptr) *abbreviation = at->abbreviation;
  return at->east;
}

Civil civil(const Moment& m) {
  std::string zone = "UTC";
  Civil c = civil(m.ns, offset_at(m, &zone));
  c.zone = zone;
  return c;
}

// A local time to a moment; in the hour that a clock change repeats, the first one.
std::optional<std::int64_t> nanos_in(Civil c, const Moment& where) {
  c.offset = 0;
  const auto local = nanos(c);
  if (!local || where.zone.empty()) return local;
  Moment guess = where;
  guess.ns = *local;
  const int first = offset_at(guess);
  if (__builtin_sub_overflow(*local, first * kSecond, &guess.ns)) return std::nullopt;
  const int then = offset_at(guess);
  if (then != first && __builtin_sub_overflow(*local, then * kSecond, &guess.ns)) return std::nullopt;
  return guess.ns;
}

bool moment(CallContext& c, const Value& v, Moment& out) {
  const auto refuse = [&](std::string what) {
    (void)c.fail(std::move(what));
    return false;
  };
  const Value* n = &v;
  if (v.is(Kind::array)) {
    if (v.size() == 0) return refuse("operand 1 must be either number (ns) or [number (ns), string (tz)]");
    n = &v.items()[0];
    if (v.size() > 1) {
      if (!v.items()[1].is(Kind::string)) return refuse("operand 1 must be string");
      const auto name = v.items()[1].text();
      if (name != "" && name != "UTC" && name != "Local") {
        if (!c.options.zones)
          throw Stop{
              {ErrorCode::invalid_argument, {}, "the host gives policies no time zones but UTC: " + std::string(name)}};
        if (name.find('\0') != std::string_view::npos || !c.options.zones(name, 0))
          return refuse("unknown time zone " + std::string(name));
        out.zone = name;
        out.zones = &c.options.zones;
      }
    }
    if (v.size() > 2) {
      if (!v.items()[2].is(Kind::string)) return refuse("operand 1 must be string");
      out.layout = std::string(v.items()[2].text());
    }
  }
  if (!n->is(Kind::number)) return refuse("operand 1 must be either number (ns) or [number (ns), string (tz)]");
  const auto i = to_int(*n);
  if (!i) return refuse("timestamp too big");
  out.ns = *i;
  return true;
}

Value integers(CallContext& c, std::initializer_list<std::int64_t> all) {
  std::vector<Value> out;
  for (const auto i : all) out.push_back(Value::integer(i));
  return c.arena.array(out);
}

Value now(CallContext& c, Args) { return Value::integer(c.options.now_ns); }

Value date(CallContext& c, Args a) {
  Moment m;
  if (!moment(c, a[0], m)) return {};
  const Civil t = civil(m);
  return integers(c, {t.year, t.month, t.day});
}
Value clock(CallContext& c, Args a) {
  Moment m;
  if (!moment(c, a[0], m)) return {};
  const Civil t = civil(m);
  return integers(c, {t.hour, t.minute, t.second});
}
int weekday_of(const Civil& t) { return static_cast<int>((days_of(t.year, t.month, t.day) % 7 + 11) % 7); }
Value weekday(CallContext& c, Args a) {
  Moment m;
  if (!moment(c, a[0], m)) return {};
  return c.arena.string(weekdays[static_cast<std::size_t>(weekday_of(civil(m)))]);
}

Value add_date(CallContext& c, Args a) {
  Moment m;
  if (!moment(c, a[0], m)) return {};
  std::int64_t by[3];
  for (std::size_t i = 0; i < 3; ++i) {
    const auto n = a[i + 1].is(Kind::number) ? to_int(a[i + 1]) : std::nullopt;
    if (!n || *n > 1'000'000'000 || *n < -1'000'000'000)
      return c.fail("operand " + std::to_string(i + 2) + " must be integer number");
    by[i] = *n;
  }
  Civil t = civil(m);
  const std::int64_t month = t.month - 1 + by[1];
  const std::int64_t year = t.year + by[0] + floor_div(month, 12);
  if (year > 3000 || year < 0) return c.fail("time outside of valid range");
  const std::int64_t days =
      days_of(year, static_cast<int>(month - floor_div(month, 12) * 12) + 1, 1) + t.day - 1 + by[2];
  if (days > 400'000 || days < -400'000) return c.fail("time outside of valid range");
  date_of(days, t);
  const auto ns = nanos_in(t, m);
  return ns ? Value::integer(*ns) : c.fail("time outside of valid range");
}

Value diff(CallContext& c, Args a) {
  Moment x, y;
  if (!moment(c, a[0], x) || !moment(c, a[1], y)) return {};
  y.zone = x.zone;
  y.zones = x.zones;
  if (x.ns > y.ns) std::swap(x.ns, y.ns);
  const Civil p = civil(x);
  const Civil q = civil(y);
  int year = q.year - p.year, month = q.month - p.month, day = q.day - p.day;
  int hour = q.hour - p.hour, minute = q.minute - p.minute, sec = q.second - p.second;
  if (sec < 0) {
    sec += 60;
    --minute;
  }
  if (minute < 0) {
    minute += 60;
    --hour;
  }
  if (hour < 0) {
    hour += 24;
    --day;
  }
  if (day < 0) {
    day += days_in(p.month, p.year);
    --month;
  }
  if (month < 0) {
    month += 12;
    --year;
  }
  return integers(c, {year, month, day, hour, minute, sec});
}

// --- layouts

enum class Part : std::uint8_t {
  text,
  year4,
  year2,
  month_long,
  month_short,
  month2,
  month1,
  day2,
  day1,
  day_of_year_space,
  day_space,
  day_of_year,
  weekday_long,
  weekday_short,
  hour24,
  hour12_2,
  hour12_1,
  minute2,
  minute1,
  second2,
  second1,
  pm,
  pm_lower,
  zone_name,
  zone_z,
  zone_z_colon,
  zone,
  zone_colon,
  zone_hour,
  zone_z_hour,
  fraction,
  fraction_trimmed
};
struct Piece {
  Part part;
  std::string text;  // of text and fractions (".000", ",999")
};

constexpr std::pair<std::string_view, Part> tokens[] = {{"January", Part::month_long},
                                                        {"Jan", Part::month_short},
                                                        {"Monday", Part::weekday_long},
                                                        {"Mon", Part::weekday_short},
                                                        {"MST", Part::zone_name},
                                                        {"2006", Part::year4},
                                                        {"002", Part::day_of_year},
                                                        {"__2", Part::day_of_year_space},
                                                        {"01", Part::month2},
                                                        {"02", Part::day2},
                                                        {"03", Part::hour12_2},
                                                        {"04", Part::minute2},
                                                        {"05", Part::second2},
                                                        {"06", Part::year2},
                                                        {"15", Part::hour24},
                                                        {"PM", Part::pm},
                                                        {"pm", Part::pm_lower},
                                                        {"-07:00", Part::zone_colon},
                                                        {"-0700", Part::zone},
                                                        {"-07", Part::zone_hour},
                                                        {"Z07:00", Part::zone_z_colon},
                                                        {"Z0700", Part::zone_z},
                                                        {"Z07", Part::zone_z_hour},
                                                        {"_2006", Part::year4},
                                                        {"_2", Part::day_space},
                                                        {"1", Part::month1},
                                                        {"2", Part::day1},
                                                        {"3", Part::hour12_1},
                                                        {"4", Part::minute1},
                                                        {"5", Part::second1}};

std::vector<Piece> pieces(std::string_view layout) {
  std::vector<Piece> out;
  const auto text = [&](std::string_view s) {
    if (!out.empty() && out.back().part == Part::text)
      out.back().text += s;
    else
      out.push_back({Part::text, std::string(s)});
  };
  while (!layout.empty()) {
    if ((layout[0] == '.' || layout[0] == ',') && layout.size() > 1 && (layout[1] == '0' || layout[1] == '9')) {
      std::size_t n = 1;
      while (n < layout.size() && layout[n] == layout[1]) ++n;
      if (n >= layout.size() || layout[n] < '0' || layout[n] > '9') {
        out.push_back({layout[1] == '0' ? Part::fraction : Part::fraction_trimmed, std::string(layout.substr(0, n))});
        layout.remove_prefix(n);
        continue;
      }
    }
    bool hit = false;
    for (const auto& [token, part] : tokens) {
      if (!layout.starts_with(token)) continue;
      if (token == "Jan" && layout.size() > 3 && layout[3] >= 'a' && layout[3] <= 'z') continue;
      if (token == "Mon" && layout.size() > 3 && layout[3] >= 'a' && layout[3] <= 'z') continue;
      if (token == "_2006") text("_");
      out.push_back({part, {}});
      layout.remove_prefix(token.size());
      hit = true;
      break;
    }
    if (hit) continue;
    text(layout.substr(0, 1));
    layout.remove_prefix(1);
  }
  return out;
}

std::string_view named_layout(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> all[] = {
      {"ANSIC", "Mon Jan _2 15:04:05 2006"},          {"UnixDate", "Mon Jan _2 15:04:05 MST 2006"},
      {"RubyDate", "Mon Jan 02 15:04:05 -0700 2006"}, {"RFC822", "02 Jan 06 15:04 MST"},
      {"RFC822Z", "02 Jan 06 15:04 -0700"},           {"RFC850", "Monday, 02-Jan-06 15:04:05 MST"},
      {"RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"},   {"RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"},
      {"RFC3339", "2006-01-02T15:04:05Z07:00"},       {"RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"}};
  for (const auto& [n, layout] : all)
    if (n == name) return layout;
  return name;
}

std::string padded(int n, int width, char fill = '0') {
  std::string s = std::to_string(std::abs(n));
  if (static_cast<int>(s.size()) < width) s.insert(0, static_cast<std::size_t>(width) - s.size(), fill);
  return (n < 0 ? "-" : "") + s;
}

std::string offset_text(int offset, Part p) {
  const bool z = p == Part::zone_z || p == Part::zone_z_colon || p == Part::zone_z_hour;
  if (z && offset == 0) return "Z";
  const int minutes = std::abs(offset) / 60;
  std::string out = (offset < 0 ? "-" : "+") + padded(minutes / 60, 2);
  if (p == Part::zone_hour || p == Part::zone_z_hour) return out;
  if (p == Part::zone_colon || p == Part::zone_z_colon) out += ":";
  return out + padded(minutes % 60, 2);
}

std::string formatted(const Civil& t, std::string_view layout) {
  std::string out;
  const auto name = [](std::string_view s, std::size_t n) { return std::string(s.substr(0, n)); };
  for (const auto& p : pieces(layout)) {
    const int hour12 = t.hour % 12 == 0 ? 12 : t.hour % 12;
    switch (p.part) {
      case Part::text: out += p.text; break;
      case Part::year4: out += padded(t.year, 4); break;
      case Part::year2: out += padded(t.year % 100, 2); break;
      case Part::month_long: out += months[static_cast<std::size_t>(t.month - 1)]; break;
      case Part::month_short: out += name(months[static_cast<std::size_t>(t.month - 1)], 3); break;
      case Part::month2: out += padded(t.month, 2); break;
      case Part::month1: out += std::to_string(t.month); break;
      case Part::day2: out += padded(t.day, 2); break;
      case Part::day1: out += std::to_string(t.day); break;
      case Part::day_space: out += padded(t.day, 2, ' '); break;
      case Part::day_of_year:
        out += padded(static_cast<int>(days_of(t.year, t.month, t.day) - days_of(t.year, 1, 1)) + 1, 3);
        break;
      case Part::day_of_year_space:
        out += padded(static_cast<int>(days_of(t.year, t.month, t.day) - days_of(t.year, 1, 1)) + 1, 3, ' ');
        break;
      case Part::weekday_long: out += weekdays[static_cast<std::size_t>(weekday_of(t))]; break;
      case Part::weekday_short: out += name(weekdays[static_cast<std::size_t>(weekday_of(t))], 3); break;
      case Part::hour24: out += padded(t.hour, 2); break;
      case Part::hour12_2: out += padded(hour12, 2); break;
      case Part::hour12_1: out += std::to_string(hour12); break;
      case Part::minute2: out += padded(t.minute, 2); break;
      case Part::minute1: out += std::to_string(t.minute); break;
      case Part::second2: out += padded(t.second, 2); break;
      case Part::second1: out += std::to_string(t.second); break;
      case Part::pm: out += t.hour >= 12 ? "PM" : "AM"; break;
      case Part::pm_lower: out += t.hour >= 12 ? "pm" : "am"; break;
      case Part::zone_name: out += t.zone; break;
      case Part::fraction:
      case Part::fraction_trimmed: {
        std::string digits = padded(t.nano, 9).substr(0, std::min<std::size_t>(p.text.size() - 1, 9));
        if (p.part == Part::fraction_trimmed) digits.erase(digits.find_last_not_of('0') + 1);
        if (!digits.empty()) out += p.text[0] + digits;
        break;
      }
      default: out += offset_text(t.offset, p.part);
    }
  }
  return out;
}

Value format(CallContext& c, Args a) {
  Moment m;
  if (!moment(c, a[0], m)) return {};
  return c.arena.string(formatted(civil(m), m.layout.empty() ? named_layout("RFC3339Nano") : named_layout(m.layout)));
}

class TimeParser {
 public:
  TimeParser(std::string_view layout, std::string_view text) : layout_(layout), s_(text) {}

  std::optional<Civil> parse() {
    const auto all = pieces(layout_);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool fraction_next =
          i + 1 < all.size() && (all[i + 1].part == Part::fraction || all[i + 1].part == Part::fraction_trimmed);
      if (!one(all[i], fraction_next)) return std::nullopt;
    }
    if (!s_.empty()) return std::nullopt;
    if (pm_ && t_.hour < 12) t_.hour += 12;
    if (am_ && t_.hour == 12) t_.hour = 0;
    if (day_of_year_ > 0) {
      const int most = 337 + days_in(2, t_.year);
      if (day_of_year_ > most) return std::nullopt;
      Civil d;
      date_of(days_of(t_.year, 1, 1) + day_of_year_ - 1, d);
      t_.month = d.month;
      t_.day = d.day;
    }
    if (t_.month < 1 || t_.month > 12 || t_.day < 1 || t_.day > days_in(t_.month, t_.year)) return std::nullopt;
    if (t_.hour > 23 || t_.minute > 59 || t_.second > 59) return std::nullopt;
    return t_;
  }

 private:
  bool number(std::size_t least, std::size_t most, int& out) {
    std::size_t n = 0;
    while (n < s_.size() && n < most && s_[n] >= '0' && s_[n] <= '9') ++n;
    if (n < least) return false;
    std::from_chars(s_.data(), s_.data() + n, out);
    s_.remove_prefix(n);
    return true;
  }
  template <std::size_t N>
  bool word(const std::array<std::string_view, N>& names, bool shortened, int& out) {
    for (std::size_t i = 0; i < N; ++i) {
      const auto w = shortened ? names[i].substr(0, 3) : names[i];
      if (s_.size() < w.size()) continue;
      const bool same = std::equal(w.begin(), w.end(), s_.begin(), [](char x, char y) { return (x | 32) == (y | 32); });
      if (!same) continue;
      out = static_cast<int>(i);
      s_.remove_prefix(w.size());
      return true;
    }
    return false;
  }
  bool fraction(std::size_t exactly) {
    if (s_.empty() || (s_[0] != '.' && s_[0] != ',')) return exactly == 0;
    std::size_t n = 1;
    while (n < s_.size() && s_[n] >= '0' && s_[n] <= '9') ++n;
    if (n == 1 || (exactly != 0 && n != exactly)) return n == 1 && exactly == 0;
    std::string digits(s_.substr(1, std::min<std::size_t>(n - 1, 9)));
    digits.resize(9, '0');
    std::from_chars(digits.data(), digits.data() + 9, t_.nano);
    s_.remove_prefix(n);
    return true;
  }
  bool offset(Part p) {
    const bool z = p == Part::zone_z || p == Part::zone_z_colon || p == Part::zone_z_hour;
    if (z && s_.starts_with('Z')) {
      s_.remove_prefix(1);
      t_.offset = 0;
      return true;
    }
    if (s_.empty() || (s_[0] != '+' && s_[0] != '-')) return false;
    const int sign = s_[0] == '-' ? -1 : 1;
    s_.remove_prefix(1);
    int hours = 0, minutes = 0;
    if (!number(2, 2, hours)) return false;
    if (p != Part::zone_hour && p != Part::zone_z_hour) {
      if (p == Part::zone_colon || p == Part::zone_z_colon) {
        if (!s_.starts_with(':')) return false;
        s_.remove_prefix(1);
      }
      if (!number(2, 2, minutes)) return false;
    }
    if (hours > 24 || minutes > 60) return false;
    t_.offset = sign * (hours * 3600 + minutes * 60);
    return true;
  }
  bool one(const Piece& p, bool fraction_next) {
    int n = 0;
    switch (p.part) {
      case Part::text: {
        std::string_view want = p.text;
        while (!want.empty()) {  // white space matches any amount of it
          if (want[0] == ' ') {
            if (!s_.empty() && s_[0] != ' ') return false;
            while (want.starts_with(' ')) want.remove_prefix(1);
            while (s_.starts_with(' ')) s_.remove_prefix(1);
            continue;
          }
          if (s_.empty() || s_[0] != want[0]) return false;
          want.remove_prefix(1);
          s_.remove_prefix(1);
        }
        return true;
      }
      case Part::year4: return number(4, 4, t_.year);
      case Part::year2:
        if (!number(2, 2, n)) return false;
        t_.year = n >= 69 ? 1900 + n : 2000 + n;
        return true;
      case Part::month_long:
      case Part::month_short:
        if (!word(months, p.part == Part::month_short, n)) return false;
        t_.month = n + 1;
        return true;
      case Part::month2: return number(2, 2, t_.month);
      case Part::month1: return number(1, 2, t_.month);
      case Part::weekday_long: return word(weekdays, false, n);
      case Part::weekday_short: return word(weekdays, true, n);
      case Part::day2: return number(2, 2, t_.day);
      case Part::day_space:
        if (s_.starts_with(' ')) s_.remove_prefix(1);
        return number(1, 2, t_.day);
      case Part::day1: return number(1, 2, t_.day);
      case Part::day_of_year: return number(3, 3, day_of_year_) && day_of_year_ > 0;
      case Part::day_of_year_space:
        for (int i = 0; i < 2 && s_.starts_with(' '); ++i) s_.remove_prefix(1);
        return number(1, 3, day_of_year_) && day_of_year_ > 0;
      case Part::hour24: return number(1, 2, t_.hour);
      case Part::hour12_2: return number(2, 2, t_.hour) && t_.hour <= 12;
      case Part::hour12_1: return number(1, 2, t_.hour) && t_.hour <= 12;
      case Part::minute2: return number(2, 2, t_.minute);
      case Part::minute1: return number(1, 2, t_.minute);
      case Part::second2:
      case Part::second1:
        if (!number(p.part == Part::second2 ? 2 : 1, 2, t_.second)) return false;
        // A fraction may follow the seconds even where the layout has none.
        if (!fraction_next && s_.size() > 1 && (s_[0] == '.' || s_[0] == ',') && s_[1] >= '0' && s_[1] <= '9')
          return fraction(0);
        return true;
      case Part::pm:
      case Part::pm_lower: {
        const bool upper = p.part == Part::pm;
        if (s_.starts_with(upper ? "PM" : "pm"))
          pm_ = true;
        else if (s_.starts_with(upper ? "AM" : "am"))
          am_ = true;
        else
          return false;
        s_.remove_prefix(2);
        return true;
      }
      case Part::zone_name: {
        std::size_t k = 0;
        while (k < s_.size() && s_[k] >= 'A' && s_[k] <= 'Z') ++k;
        if (k < 3 || k > 5) return false;
        s_.remove_prefix(k);
        return true;
      }
      case Part::fraction: return fraction(p.text.size());
      case Part::fraction_trimmed: return fraction(0);
      default: return offset(p.part);
    }
  }

  std::string_view layout_;
  std::string_view s_;
  Civil t_{.year = 0};
  int day_of_year_ = 0;
  bool pm_ = false;
  bool am_ = false;
};

Value parsed(CallContext& c, std::string_view layout, std::string_view s) {
  const auto t = TimeParser(layout, s).parse();
  if (!t) return c.fail("parsing time \"" + std::string(s) + "\" as \"" + std::string(layout) + "\" failed");
  const auto ns = nanos(*t);
  return ns ? Value::integer(*ns) : c.fail("time outside of valid range");
}

Value parse_ns(CallContext& c, Args a) {
  for (int i = 0; i < 2; ++i)
    if (!a[static_cast<std::size_t>(i)].is(Kind::string))
      return c.wrong(i + 1, "string", a[static_cast<std::size_t>(i)]);
  return parsed(c, named_layout(a[0].text()), a[1].text());
}
Value parse_rfc3339(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  return parsed(c, named_layout("RFC3339"), a[0].text());
}

Value parse_duration(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  std::string_view s = a[0].text();
  const auto refuse = [&] { return c.fail("time: invalid duration \"" + std::string(a[0].text()) + "\""); };
  bool negative = false;
  if (s.starts_with('-') || s.starts_with('+')) {
    negative = s[0] == '-';
    s.remove_prefix(1);
  }
  if (s == "0") return Value::integer(0);
  if (s.empty()) return refuse();
  static constexpr std::pair<std::string_view, long double> units[] = {
      {"ns", 1.0L}, {"us", 1e3L},   {"\xC2\xB5s", 1e3L}, {"\xCE\xBCs", 1e3L}, {"ms", 1e6L},     {"s", 1e9L},
      {"m", 6e10L}, {"h", 3.6e12L}, {"d", 8.64e13L},     {"w", 6.048e14L},    {"y", 3.1536e16L}};
  std::int64_t total = 0;
  while (!s.empty()) {
    std::size_t n = 0;
    std::size_t dots = 0;
    std::size_t figures = 0;
    while (n < s.size() && ((s[n] >= '0' && s[n] <= '9') || s[n] == '.')) {
      (s[n] == '.' ? dots : figures) += 1;
      ++n;
    }
    if (dots > 1 || figures == 0 || n > 40) return refuse();
    const auto number = s.substr(0, n);
    s.remove_prefix(n);
    std::size_t u = 0;
    while (u < s.size() && s[u] != '.' && (s[u] < '0' || s[u] > '9')) ++u;
    const auto unit = s.substr(0, u);
    s.remove_prefix(u);
    const auto* found = std::ranges::find(units, unit, &std::pair<std::string_view, long double>::first);
    if (found == std::end(units)) return refuse();
    const auto dot = number.find('.');
    std::int64_t value = 0;
    const auto whole = number.substr(0, dot);
    if (!whole.empty() && std::from_chars(whole.data(), whole.data() + whole.size(), value).ec != std::errc{})
      return refuse();
    if (__builtin_mul_overflow(value, static_cast<std::int64_t>(found->second), &value)) return refuse();
    if (dot != std::string_view::npos) {
      long double f = 0, place = 0.1L;
      for (const char ch : number.substr(dot + 1)) {
        f += static_cast<long double>(ch - '0') * place;
        place /= 10;
      }
      if (__builtin_add_overflow(value, static_cast<std::int64_t>(f * found->second + 1e-6L), &value)) return refuse();
    }
    if (__builtin_add_overflow(total, value, &total)) return refuse();
  }
  return Value::integer(negative ? -total : total);
}

}  // namespace

std::span<const Entry> time_builtins() {
  static constexpr Entry all[] = {
      {"time.now_ns", now},
      {"time.date", date},
      {"time.clock", clock},
      {"time.weekday", weekday},
      {"time.add_date", add_date},
      {"time.diff", diff},
      {"time.format", format},
      {"time.parse_ns", parse_ns},
      {"time.parse_rfc3339_ns", parse_rfc3339},
      {"time.parse_duration_ns", parse_duration},
  };
  return all;
}

}  // namespace cairn::policy
