// JSON, YAML, base64, hex and URL encodings.
#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"
#include "policy/builtins.h"
#include "policy/scratch.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

Value text(CallContext& c, const std::string& s) {
  if (s.size() > max_string_bytes) throw Stop{{ErrorCode::too_large, {}, "a string is longer than the limit"}};
  return c.arena.string(s);
}

Value json_marshal(CallContext& c, Args a) {
  std::string out;
  c.charge(a[0].nodes() / 8);
  write_json(a[0], out, max_string_bytes, true);
  return text(c, out);
}

// Indents compact JSON text.
std::string pretty(const std::string& s, std::string_view prefix, std::string_view indent) {
  std::string out(prefix);
  int depth = 0;
  const auto line = [&] {
    out += "\n";
    out += prefix;
    for (int i = 0; i < depth; ++i) out += indent;
  };
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char ch = s[i];
    if (ch == '"') {
      const std::size_t from = i++;
      while (s[i] != '"') i += s[i] == '\\' ? 2 : 1;
      out += s.substr(from, i - from + 1);
    } else if (ch == '{' || ch == '[') {
      out += ch;
      if (s[i + 1] == '}' || s[i + 1] == ']') {
        out += s[++i];
        continue;
      }
      ++depth;
      line();
    } else if (ch == '}' || ch == ']') {
      --depth;
      line();
      out += ch;
    } else if (ch == ',') {
      out += ch;
      line();
    } else if (ch == ':') {
      out += ": ";
    } else {
      out += ch;
    }
    if (out.size() > max_string_bytes) break;
  }
  return out;
}

Value json_marshal_with(CallContext& c, Args a) {
  if (!a[1].is(Kind::object)) return c.wrong(2, "object", a[1]);
  bool is_pretty = false;
  bool asked = false;
  std::string prefix;
  std::string indent = "\t";
  for (std::size_t i = 0; i < a[1].size(); ++i) {
    const Value& k = a[1].key(i);
    const Value& v = a[1].value(i);
    const auto name = k.is(Kind::string) ? k.text() : std::string_view();
    if (name == "pretty") {
      if (!v.is(Kind::boolean)) return c.fail("operand 2 key 'pretty' must be a boolean");
      is_pretty = v.boolean();
      asked = true;
    } else if (name == "prefix" || name == "indent") {
      if (!v.is(Kind::string)) return c.fail("operand 2 key '" + std::string(name) + "' must be a string");
      (name == "prefix" ? prefix : indent) = std::string(v.text());
      if (!asked) is_pretty = true;
    } else {
      return c.fail("operand 2 object contained unknown key");
    }
  }
  std::string out;
  write_json(a[0], out, max_string_bytes, true);
  return text(c, is_pretty ? pretty(out, prefix, indent) : out);
}

Value json_unmarshal(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  c.charge(a[0].text().size() / 16);
  return read_json(a[0].text(), c.arena, c.problem);
}

Value json_is_valid(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return Value::boolean(false);
  c.charge(a[0].text().size() / 16);
  std::string problem;
  return Value::boolean(read_json(a[0].text(), c.arena, problem).defined());
}

// --- base64 and hex

bool one_string(CallContext& c, Args a) {
  if (a[0].is(Kind::string)) {
    c.charge(a[0].text().size() / 16);
    return true;
  }
  (void)c.wrong(1, "string", a[0]);
  return false;
}

Value base64_encode(CallContext& c, Args a) {
  return one_string(c, a) ? text(c, base64(as_bytes(a[0].text()))) : Value();
}
Value base64url_encode_no_pad(CallContext& c, Args a) {
  return one_string(c, a) ? text(c, base64url(as_bytes(a[0].text()))) : Value();
}
Value base64url_encode(CallContext& c, Args a) {
  if (!one_string(c, a)) return {};
  std::string s = base64url(as_bytes(a[0].text()));
  s.append((4 - s.size() % 4) % 4, '=');
  return text(c, s);
}

}  // namespace

// Go's decoder skips line ends and does not look at spare bits.
bool decode_base64(std::string_view in, bool url, std::string& out) {
  std::string s;
  for (const char ch : in)
    if (ch != '\n' && ch != '\r') s += ch;
  std::uint32_t bits = 0;
  int count = 0;
  std::size_t i = 0;
  for (; i < s.size() && s[i] != '='; ++i) {
    const char ch = s[i];
    int v = -1;
    if (ch >= 'A' && ch <= 'Z')
      v = ch - 'A';
    else if (ch >= 'a' && ch <= 'z')
      v = ch - 'a' + 26;
    else if (ch >= '0' && ch <= '9')
      v = ch - '0' + 52;
    else if (ch == (url ? '-' : '+'))
      v = 62;
    else if (ch == (url ? '_' : '/'))
      v = 63;
    if (v < 0) return false;
    bits = (bits << 6) | static_cast<std::uint32_t>(v);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>((bits >> count) & 0xFF);
    }
  }
  const std::size_t padding = s.size() - i;
  if (s.find_first_not_of('=', i) != std::string::npos) return false;
  if (i % 4 == 1) return false;
  if (padding == 0) return url || i % 4 == 0;
  return padding == (4 - i % 4) % 4;
}

namespace {

Value base64_decode(CallContext& c, Args a) {
  if (!one_string(c, a)) return {};
  std::string out;
  return decode_base64(a[0].text(), false, out) ? text(c, out) : c.fail("illegal base64 data");
}
Value base64_is_valid(CallContext& c, Args a) {
  if (!one_string(c, a)) return {};
  std::string out;
  return Value::boolean(decode_base64(a[0].text(), false, out));
}
Value base64url_decode(CallContext& c, Args a) {
  if (!one_string(c, a)) return {};
  std::string out;
  return decode_base64(a[0].text(), true, out) ? text(c, out) : c.fail("illegal base64url data");
}
Value hex_encode(CallContext& c, Args a) { return one_string(c, a) ? text(c, hex(as_bytes(a[0].text()))) : Value(); }
Value hex_decode(CallContext& c, Args a) {
  if (!one_string(c, a)) return {};
  const auto bytes = from_hex(a[0].text());
  return bytes ? text(c, std::string(as_text(*bytes))) : c.fail("encoding/hex: invalid text");
}

// --- URLs

std::string query_escape(std::string_view s) {
  std::string out;
  for (const char ch : s) {
    const bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '-' ||
                       ch == '_' || ch == '.' || ch == '~';
    if (plain) {
      out += ch;
    } else if (ch == ' ') {
      out += '+';
    } else {
      out += '%';
      out += "0123456789ABCDEF"[static_cast<unsigned char>(ch) >> 4];
      out += "0123456789ABCDEF"[static_cast<unsigned char>(ch) & 15];
    }
  }
  return out;
}

bool query_unescape(std::string_view s, std::string& out) {
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '+') {
      out += ' ';
    } else if (s[i] == '%') {
      const auto byte = i + 2 < s.size() ? from_hex(s.substr(i + 1, 2)) : Result<Bytes>(fail(ErrorCode::malformed, ""));
      if (!byte) return false;
      out += static_cast<char>((*byte)[0]);
      i += 2;
    } else {
      out += s[i];
    }
  }
  return true;
}

Value urlquery_encode(CallContext& c, Args a) {
  return one_string(c, a) ? text(c, query_escape(a[0].text())) : Value();
}
Value urlquery_decode(CallContext& c, Args a) {
  if (!one_string(c, a)) return {};
  std::string out;
  return query_unescape(a[0].text(), out) ? text(c, out) : c.fail("invalid URL escape");
}

Value urlquery_encode_object(CallContext& c, Args a) {
  if (!a[0].is(Kind::object)) return c.wrong(1, "object", a[0]);
  std::string out;
  const auto add = [&](std::string_view k, std::string_view v) {
    out += (out.empty() ? "" : "&") + query_escape(k) + "=" + query_escape(v);
  };
  for (std::size_t i = 0; i < a[0].size(); ++i) {
    const Value& k = a[0].key(i);
    const Value& v = a[0].value(i);
    if (!k.is(Kind::string)) return c.fail("keys must be strings");
    if (v.is(Kind::string)) {
      add(k.text(), v.text());
    } else if (v.is(Kind::array) || v.is(Kind::set)) {
      for (const Value& x : v.items()) {
        if (!x.is(Kind::string)) return c.fail("values must be strings, or arrays or sets of strings");
        add(k.text(), x.text());
      }
    } else {
      return c.fail("values must be strings, or arrays or sets of strings");
    }
  }
  return text(c, out);
}

Value urlquery_decode_object(CallContext& c, Args a) {
  if (!one_string(c, a)) return {};
  std::vector<std::pair<std::string, std::vector<Value>>> all;
  std::string_view s = a[0].text();
  while (!s.empty()) {
    const auto amp = s.find('&');
    const auto part = s.substr(0, amp);
    s = amp == std::string_view::npos ? std::string_view() : s.substr(amp + 1);
    if (part.empty()) continue;
    if (part.find(';') != std::string_view::npos) return c.fail("invalid semicolon separator in query");
    const auto eq = part.find('=');
    std::string k, v;
    if (!query_unescape(part.substr(0, eq), k) ||
        (eq != std::string_view::npos && !query_unescape(part.substr(eq + 1), v)))
      return c.fail("invalid URL escape");
    auto it = std::ranges::find(all, k, &std::pair<std::string, std::vector<Value>>::first);
    if (it == all.end()) it = all.insert(all.end(), {k, {}});
    it->second.push_back(c.arena.string(v));
    c.charge(all.size());
  }
  std::vector<Pair> pairs;
  for (const auto& [k, v] : all) pairs.emplace_back(c.arena.string(k), c.arena.array(v));
  return c.arena.object(pairs);
}

}  // namespace

std::span<const Entry> encoding_builtins() {
  static constexpr Entry all[] = {
      {"json.marshal", json_marshal},
      {"json.marshal_with_options", json_marshal_with},
      {"json.unmarshal", json_unmarshal},
      {"json.is_valid", json_is_valid},
      {"yaml.marshal", yaml_marshal},
      {"yaml.unmarshal", yaml_unmarshal},
      {"yaml.is_valid", yaml_is_valid},
      {"base64.encode", base64_encode},
      {"base64.decode", base64_decode},
      {"base64.is_valid", base64_is_valid},
      {"base64url.encode", base64url_encode},
      {"base64url.encode_no_pad", base64url_encode_no_pad},
      {"base64url.decode", base64url_decode},
      {"hex.encode", hex_encode},
      {"hex.decode", hex_decode},
      {"urlquery.encode", urlquery_encode},
      {"urlquery.decode", urlquery_decode},
      {"urlquery.encode_object", urlquery_encode_object},
      {"urlquery.decode_object", urlquery_decode_object},
  };
  return all;
}

}  // namespace cairn::policy
