// sprintf: the verbs, flags and complaints of Go's fmt over the types that OPA gives it, which are int64, *big.Int,
// float64 and, for everything that is not a number, the string of its text.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/encoding.h"
#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

constexpr int most_columns = 1'000'000;  // of a width or precision

// What strconv.IsPrint says, but for code points that no text holds on purpose.
bool printable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  if (c <= 0xA0 || c == 0xAD) return false;
  if ((c >= 0x2000 && c <= 0x200F) || (c >= 0x2028 && c <= 0x202F) || (c >= 0x205F && c <= 0x206F)) return false;
  if (c == 0x1680 || c == 0x3000 || c == 0xFEFF || (c >= 0xFFF0 && c <= 0xFFFB)) return false;
  return (c < 0xD800 || c > 0xF8FF) && (c & 0xFFFE) != 0xFFFE && c < 0xE0000;
}

bool valid(char32_t c) { return c < 0xD800 || (c > 0xDFFF && c <= 0x10FFFF); }

std::string in_hex(std::uint64_t n, int digits, const char* before) {
  std::array<char, 24> room{};
  std::snprintf(room.data(), room.size(), "%s%0*llx", before, digits, static_cast<unsigned long long>(n));
  return room.data();
}

void append_escaped(char32_t c, char32_t quote, bool ascii, std::string& out) {
  static constexpr std::string_view names = "abtnvfr";  // of 7 to 13
  if (c == quote || c == '\\') {
    out += '\\';
    out += static_cast<char>(c);
  } else if (c < 0x80 ? printable(c) : !ascii && printable(c)) {
    append_utf8(out, c);
  } else if (c >= 7 && c <= 13) {
    out += '\\';
    out += names[c - 7];
  } else if (c < 0x20 || c == 0x7F) {
    out += in_hex(c, 2, "\\x");
  } else {
    out += c < 0x10000 ? in_hex(c, 4, "\\u") : in_hex(c, 8, "\\U");
  }
}

std::string quoted(std::string_view s, bool ascii) {
  std::string out = "\"";
  for (const char32_t c : code_points(s)) append_escaped(c, '"', ascii, out);
  return out + "\"";
}

bool can_backquote(std::string_view s) {
  return std::ranges::none_of(code_points(s), [](char32_t c) {
    return (c < 0x20 && c != '\t') || c == '`' || c == 0x7F || c == 0xFEFF || c == 0xFFFD;
  });
}

class Printer {
 public:
  Printer(CallContext& c, std::span<const Value> arguments) : c_(c), all_(arguments) {}

  std::string print(std::u32string_view format) {
    for (at_ = 0; at_ < format.size();) {
      if (format[at_] != '%') {
        append_utf8(out_, format[at_++]);
        continue;
      }
      ++at_;
      if (!one(format)) break;
      if (out_.size() > max_string_bytes) throw Stop{{ErrorCode::too_large, {}, "a string is longer than the limit"}};
    }
    if (!reordered_ && next_ < all_.size()) {
      f_ = {};
      out_ += "%!(EXTRA ";
      for (std::size_t i = next_; i < all_.size(); ++i) {
        if (i > next_) out_ += ", ";
        typed(all_[i]);
      }
      out_ += ')';
    }
    return std::move(out_);
  }

 private:
  struct Flags {
    bool minus = false, plus = false, sharp = false, space = false, zero = false;
    bool plus_v = false, sharp_v = false;  // of %v, where they mean something else
    std::optional<int> width, precision;
  };
  enum class Type : std::uint8_t { text, integer, large, real };

  static Type type_of(const Value& v) {
    if (!v.is(Kind::number)) return Type::text;
    if (v.is_small()) return Type::integer;
    const auto text = v.number_node()->text();
    if (text.find_first_of(".eE") == std::string_view::npos) return to_int(v) ? Type::integer : Type::large;
    return std::isfinite(v.number_node()->approximate) ? Type::real : Type::text;
  }
  static std::string text_of(const Value& v) {
    if (v.is(Kind::string)) return std::string(v.text());
    std::string s;
    write_rego(v, s, max_string_bytes);
    return s;
  }
  static std::string_view name_of(Type t) {
    static constexpr std::string_view names[] = {"string", "int64", "*big.Int", "float64"};
    return names[static_cast<std::size_t>(t)];
  }

  // --- the format

  [[nodiscard]] static std::optional<int> number(std::u32string_view f, std::size_t& at, std::size_t end) {
    std::optional<int> n;
    for (; at < end && f[at] >= '0' && f[at] <= '9'; ++at) {
      if (n.value_or(0) > most_columns) {
        at = end;
        return std::nullopt;
      }
      n = n.value_or(0) * 10 + static_cast<int>(f[at] - '0');
    }
    return n;
  }

  // [n]: the argument to go on with. True where there was one, good or not.
  bool index(std::u32string_view f) {
    if (at_ >= f.size() || f[at_] != '[') return false;
    reordered_ = true;
    const auto close = f.find(U']', at_ + 1);
    if (close == std::u32string_view::npos) {
      ++at_;
      good_ = false;
      return false;
    }
    std::size_t from = at_ + 1;
    const auto n = number(f, from, close);
    const bool digits = n && from == close;
    if (digits && *n >= 1 && static_cast<std::size_t>(*n) <= all_.size())
      next_ = static_cast<std::size_t>(*n) - 1;
    else
      good_ = false;
    at_ = close + 1;
    return digits;
  }

  // *: an argument is the width or precision.
  std::optional<int> star() {
    ++at_;
    if (next_ >= all_.size()) return std::nullopt;
    const Value& v = all_[next_++];
    const auto n = type_of(v) == Type::integer ? to_int(v) : std::nullopt;
    if (!n || *n > most_columns || *n < -most_columns) return std::nullopt;
    return static_cast<int>(*n);
  }

  // What follows a percent sign; false where the format ends with it.
  bool one(std::u32string_view f) {
    f_ = {};
    good_ = true;
    for (bool more = true; more && at_ < f.size();) {
      switch (f[at_]) {
        case '#': f_.sharp = true; break;
        case '0': f_.zero = true; break;
        case '+': f_.plus = true; break;
        case '-': f_.minus = true; break;
        case ' ': f_.space = true; break;
        default: more = false;
      }
      if (more) ++at_;
    }
    bool indexed = index(f);
    if (at_ < f.size() && f[at_] == '*') {
      f_.width = star();
      if (!f_.width) out_ += "%!(BADWIDTH)";
      if (f_.width && *f_.width < 0) {
        f_.width = -*f_.width;
        f_.minus = true;
        f_.zero = false;
      }
      indexed = false;
    } else {
      f_.width = number(f, at_, f.size());
      if (indexed && f_.width) good_ = false;
    }
    if (at_ + 1 < f.size() && f[at_] == '.') {
      ++at_;
      if (indexed) good_ = false;
      indexed = index(f);
      if (at_ < f.size() && f[at_] == '*') {
        f_.precision = star();
        if (f_.precision && *f_.precision < 0) f_.precision.reset();
        if (!f_.precision) out_ += "%!(BADPREC)";
        indexed = false;
      } else {
        f_.precision = number(f, at_, f.size()).value_or(0);
      }
    }
    if (!indexed) (void)index(f);
    if (at_ >= f.size()) {
      out_ += "%!(NOVERB)";
      return false;
    }
    const char32_t verb = f[at_++];
    if (verb == '%') {
      out_ += '%';
    } else if (!good_ || next_ >= all_.size()) {
      out_ += "%!";
      append_utf8(out_, verb);
      out_ += good_ ? "(MISSING)" : "(BADINDEX)";
    } else {
      if (verb == 'v' || verb == 'w') {
        f_.sharp_v = std::exchange(f_.sharp, false);
        f_.plus_v = std::exchange(f_.plus, false);
      }
      argument(all_[next_++], verb);
    }
    return true;
  }

  // --- arguments

  void argument(const Value& v, char32_t verb) {
    c_.charge(1);
    const Type type = type_of(v);
    if (verb == 'T') {
      padded(shortened(std::string(name_of(type))));
      return;
    }
    switch (type) {
      case Type::text: text(v, verb); break;
      case Type::integer: integer(v, verb); break;
      case Type::large: large(v, verb); break;
      case Type::real: real(v, verb); break;
    }
  }
  void typed(const Value& v) {
    out_ += name_of(type_of(v));
    out_ += '=';
    argument(v, 'v');
  }
  void bad(const Value& v, char32_t verb) {
    out_ += "%!";
    append_utf8(out_, verb);
    out_ += '(';
    typed(v);
    out_ += ')';
  }

  void blanks(std::size_t n) { out_.append(n, f_.zero && !f_.minus ? '0' : ' '); }
  void padded(std::string_view s) {
    const std::size_t length = code_points(s).size();
    const std::size_t width = static_cast<std::size_t>(f_.width.value_or(0));
    if (!f_.minus && width > length) blanks(width - length);
    out_ += s;
    if (f_.minus && width > length) blanks(width - length);
  }
  void padded_with_blanks(std::string_view s) {
    const bool zero = std::exchange(f_.zero, false);
    padded(s);
    f_.zero = zero;
  }
  [[nodiscard]] std::string shortened(std::string s) const {
    if (!f_.precision) return s;
    return utf8(std::u32string_view(code_points(s)).substr(0, static_cast<std::size_t>(*f_.precision)));
  }
  [[nodiscard]] char sign(bool negative) const { return negative ? '-' : f_.plus ? '+' : f_.space ? ' ' : '\0'; }

  void text(const Value& v, char32_t verb) {
    std::string s = text_of(v);
    switch (verb) {
      case 'v':
        if (f_.sharp_v)
          quoted_text(std::move(s));
        else
          padded(shortened(std::move(s)));
        break;
      case 's': padded(shortened(std::move(s))); break;
      case 'q': quoted_text(std::move(s)); break;
      case 'x':
      case 'X': bytes(s, verb); break;
      default: bad(v, verb);
    }
  }
  void quoted_text(std::string s) {
    s = shortened(std::move(s));
    padded(f_.sharp && can_backquote(s) ? "`" + s + "`" : quoted(s, f_.plus));
  }
  void bytes(std::string_view s, char32_t verb) {
    if (f_.precision) s = s.substr(0, static_cast<std::size_t>(*f_.precision));
    const char* const prefix = verb == 'x' ? "0x" : "0X";
    std::string out;
    for (std::size_t i = 0; i < s.size(); ++i) {
      if (i > 0 && f_.space) out += ' ';
      if (f_.sharp && (i == 0 || f_.space)) out += prefix;
      std::array<char, 4> room{};
      std::snprintf(room.data(), room.size(), verb == 'x' ? "%02x" : "%02X",
                    static_cast<unsigned>(static_cast<unsigned char>(s[i])));
      out += room.data();
    }
    padded(out);
  }

  void integer(const Value& v, char32_t verb) {
    const std::int64_t n = *to_int(v);
    const char32_t rune = n < 0 || n > 0x10FFFF || !valid(static_cast<char32_t>(n)) ? 0xFFFD : static_cast<char32_t>(n);
    std::string s;
    switch (verb) {
      case 'v':
      case 'd': digits(n, 10, verb); break;
      case 'b': digits(n, 2, verb); break;
      case 'o':
      case 'O': digits(n, 8, verb); break;
      case 'x':
      case 'X': digits(n, 16, verb); break;
      case 'c':
        append_utf8(s, rune);
        padded(s);
        break;
      case 'q':
        append_escaped(rune, '\'', f_.plus, s);
        padded("'" + s + "'");
        break;
      case 'U': code_point(n); break;
      default: bad(v, verb);
    }
  }
  void digits(std::int64_t n, int base, char32_t verb) {
    const auto u = static_cast<std::uint64_t>(n);
    digits(n < 0, n < 0 ? 0 - u : u, base, verb);
  }
  void digits(bool negative, std::uint64_t u, int base, char32_t verb) {
    const char mark = sign(negative);
    std::size_t least = 0;
    if (f_.precision) {
      least = static_cast<std::size_t>(*f_.precision);
      if (least == 0 && u == 0) {
        out_.append(static_cast<std::size_t>(f_.width.value_or(0)), ' ');
        return;
      }
    } else if (f_.zero && !f_.minus && f_.width) {
      least = static_cast<std::size_t>(*f_.width);
      if (mark != '\0' && least > 0) --least;
    }
    std::array<char, 72> room{};
    std::string s(room.data(), std::to_chars(room.data(), room.data() + room.size(), u, base).ptr);
    if (verb == 'X') std::ranges::transform(s, s.begin(), upper);
    if (s.size() < least) s.insert(0, least - s.size(), '0');
    if (f_.sharp && base == 2) s.insert(0, "0b");
    if (f_.sharp && base == 8 && s[0] != '0') s.insert(0, "0");
    if (f_.sharp && base == 16) s.insert(0, verb == 'X' ? "0X" : "0x");
    if (verb == 'O') s.insert(0, "0o");
    if (mark != '\0') s.insert(0, 1, mark);
    padded_with_blanks(s);
  }
  static char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

  void code_point(std::int64_t n) {
    std::string s = in_hex(static_cast<std::uint64_t>(n), 4, "");
    const auto precision = static_cast<std::size_t>(f_.precision.value_or(0));
    if (s.size() < precision) s.insert(0, precision - s.size(), '0');
    std::ranges::transform(s, s.begin(), upper);
    s.insert(0, "U+");
    if (f_.sharp && n >= 0 && n <= 0x10FFFF && printable(static_cast<char32_t>(n))) {
      s += " '";
      append_utf8(s, static_cast<char32_t>(n));
      s += '\'';
    }
    padded_with_blanks(s);
  }

  void large(const Value& v, char32_t verb) {
    int base = 10;
    std::string prefix;
    switch (verb) {
      case 'd':
      case 's':
      case 'v': break;
      case 'b': base = 2; break;
      case 'o':
      case 'O': base = 8; break;
      case 'x':
      case 'X': base = 16; break;
      case 'w': words(v); return;
      default:
        out_ += "%!";
        append_utf8(out_, verb);
        out_ += "(big.Int=" + format_base(v, 10) + ")";
        return;
    }
    std::string s = format_base(v, base);
    const bool negative = s.starts_with('-');
    if (negative) s.erase(0, 1);
    if (verb == 'X') std::ranges::transform(s, s.begin(), upper);
    if (f_.sharp || f_.sharp_v)
      prefix = base == 2 ? "0b" : verb == 'o' ? "0" : verb == 'x' ? "0x" : verb == 'X' ? "0X" : "";
    if (verb == 'O') prefix = "0o";
    if (const char mark = sign(negative); mark != '\0')
      prefix.insert(0, 1, mark);
    else if (f_.plus_v)
      prefix.insert(0, 1, '+');
    const auto precision = static_cast<std::size_t>(f_.precision.value_or(0));
    if (s.size() < precision) s.insert(0, precision - s.size(), '0');
    const auto width = static_cast<std::size_t>(f_.width.value_or(0));
    const std::size_t length = prefix.size() + s.size();
    if (f_.zero && !f_.minus && !f_.precision && length < width) s.insert(0, width - length, '0');
    padded_with_blanks(prefix + s);
  }

  // fmt shows what it takes for an error that is none by its members: a sign and 64-bit words, the lowest first.
  void words(const Value& v) {
    std::string hex = format_base(v, 16);
    const bool negative = hex.starts_with('-');
    if (negative) hex.erase(0, 1);
    out_ += f_.sharp_v ? "%!w(*big.Int=&big.Int{neg:" : f_.plus_v ? "%!w(*big.Int=&{neg:" : "%!w(*big.Int=&{";
    padded(negative ? "true" : "false");
    out_ += f_.sharp_v ? ", abs:big.nat{" : f_.plus_v ? " abs:[" : " [";
    f_.sharp = f_.sharp_v;
    for (std::size_t end = hex.size(); end > 0;) {
      if (end != hex.size()) out_ += f_.sharp_v ? ", " : " ";
      const std::size_t from = end > 16 ? end - 16 : 0;
      std::uint64_t word = 0;
      std::from_chars(hex.data() + from, hex.data() + end, word, 16);
      digits(false, word, f_.sharp_v ? 16 : 10, 'v');
      end = from;
    }
    out_ += f_.sharp_v ? "}})" : "]})";
  }

  // --- floating point

  void real(const Value& v, char32_t verb) {
    const double d = to_double(v);
    switch (verb) {
      case 'v': floating(d, 'g', -1); break;
      case 'b':
      case 'g':
      case 'G':
      case 'x':
      case 'X': floating(d, static_cast<char>(verb), -1); break;
      case 'e':
      case 'E':
      case 'f': floating(d, static_cast<char>(verb), 6); break;
      case 'F': floating(d, 'f', 6); break;
      default: bad(v, verb);
    }
  }

  // Of a number that is not negative; precision -1: as many digits as tell it from its neighbours.
  static std::string plain(double d, char verb, int precision) {
    std::vector<char> room(static_cast<std::size_t>(std::max(precision, 0)) + 400);
    const auto written = [&](std::chars_format format) {
      const auto end = precision < 0 ? std::to_chars(room.data(), room.data() + room.size(), d, format)
                                     : std::to_chars(room.data(), room.data() + room.size(), d, format, precision);
      return std::string(room.data(), end.ptr);
    };
    std::string s;
    switch (verb) {
      case 'e':
      case 'E': s = written(std::chars_format::scientific); break;
      case 'f': s = written(std::chars_format::fixed); break;
      case 'g':
      case 'G':
        if (precision < 0) {
          s = written(std::chars_format::scientific);
          const auto e = s.find('e');
          const int exponent = std::atoi(s.c_str() + e + 1);
          if (exponent >= -4 && exponent < 6) s = written(std::chars_format::fixed);
        } else {
          s = written(std::chars_format::general);
        }
        break;
      case 'b': {
        int exponent = 0;
        const double m = std::frexp(d, &exponent);
        s = std::to_string(static_cast<std::uint64_t>(std::ldexp(m, 53))) + "p";
        exponent = d == 0 ? -1074 : exponent - 53;
        s += (exponent < 0 ? "" : "+") + std::to_string(exponent);
        return s;
      }
      default: {  // x: at least two digits of exponent, as for e
        s = written(std::chars_format::hex);
        if (s[0] == '2') {  // rounded up: one stays before the point
          const auto exponent = s.find('p') + 1;
          const int n = std::atoi(s.c_str() + exponent) + 1;
          s = "1" + s.substr(1, exponent - 1) + (n < 0 ? "" : "+") + std::to_string(n);
        }
        s.insert(0, "0x");
        const auto p = s.find('p');
        if (s.size() - p == 3) s.insert(p + 2, "0");
      }
    }
    if (verb == 'E' || verb == 'G' || verb == 'X') std::ranges::transform(s, s.begin(), upper);
    return s;
  }

  void floating(double d, char verb, int precision) {
    precision = f_.precision.value_or(precision);
    const bool negative = std::signbit(d);
    std::string s = plain(std::fabs(d), verb, precision);
    if (f_.sharp && verb != 'b') keep_point(s, verb, precision);
    const char mark = sign(negative);
    if (mark == '\0') {
      padded(s);
      return;
    }
    const auto width = static_cast<std::size_t>(f_.width.value_or(0));
    if (f_.zero && !f_.minus && width > s.size() + 1) {
      out_ += mark;
      blanks(width - s.size() - 1);
      out_ += s;
      return;
    }
    padded(std::string(1, mark) + s);
  }

  // The sharp flag: always a decimal point, and no trailing zeros taken away.
  static void keep_point(std::string& s, char verb, int precision) {
    int missing = verb == 'g' || verb == 'G' || verb == 'x' ? (precision == -1 ? 6 : precision) : 0;
    const bool hexadecimal = verb == 'x' || verb == 'X';
    const auto tail_at = std::min(s.find_first_of(hexadecimal ? "pP" : "eE"), s.size());
    const std::string tail = s.substr(tail_at);
    s.resize(tail_at);
    bool counts = false;
    for (const char c : s) {
      if (c == '.') continue;
      counts = counts || c != '0';
      if (counts) --missing;
    }
    if (s.find('.') == std::string::npos) {
      if (s == "0") --missing;
      s += '.';
    }
    if (missing > 0) s.append(static_cast<std::size_t>(missing), '0');
    s += tail;
  }

  CallContext& c_;
  std::span<const Value> all_;
  std::string out_;
  Flags f_;
  std::size_t at_ = 0;
  std::size_t next_ = 0;
  bool reordered_ = false;
  bool good_ = true;
};

}  // namespace

Value sprintf(CallContext& c, std::span<const Value> a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  if (!a[1].is(Kind::array)) return c.wrong(2, "array", a[1]);
  const std::u32string format = code_points(a[0].text());
  c.charge(format.size() / 16 + a[1].size());
  return c.arena.string(Printer(c, a[1].items()).print(format));
}

}  // namespace cairn::policy
