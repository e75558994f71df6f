#include "policy/value.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <new>

#include "policy/number.h"

namespace cairn::policy {
namespace {

constexpr std::size_t first_chunk = 16U << 10;
constexpr std::size_t largest_chunk = 1U << 20;
constexpr std::size_t indexed_from = 12;  // smaller collections are searched one by one or by bisection

std::uint64_t mix(std::uint64_t h) {
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdULL;
  h ^= h >> 29;
  h *= 0xc4ceb9fe1a85ec53ULL;
  return h ^ (h >> 32);
}

std::uint32_t string_hash(std::string_view s) {
  std::uint64_t h = 0xcbf29ce484222325ULL ^ s.size();
  std::size_t i = 0;
  for (; i + 8 <= s.size(); i += 8) {
    std::uint64_t w;
    std::memcpy(&w, s.data() + i, 8);
    h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
    h ^= h >> 32;
  }
  std::uint64_t tail = 0;
  if (i < s.size()) std::memcpy(&tail, s.data() + i, s.size() - i);
  return static_cast<std::uint32_t>(mix(h ^ tail));
}

[[noreturn]] void too_large(std::string message) { throw Stop{{ErrorCode::too_large, {}, std::move(message)}}; }

const std::uint32_t* index_of(const ItemsNode* n, Kind kind) {
  return reinterpret_cast<const std::uint32_t*>(n->items() + (kind == Kind::object ? 2 : 1) * std::size_t{n->size});
}

}  // namespace

void Arena::grow(std::size_t bytes) {
  std::size_t size = chunks_.empty() ? first_chunk : std::min(largest_chunk, chunks_.back().size * 2);
  size = std::max(size, bytes);
  if (size > limit_ - std::min(limit_, used_)) {
    size = bytes;
    if (size > limit_ - std::min(limit_, used_)) too_large("the evaluation needs more memory than its limit");
  }
  chunks_.push_back({std::unique_ptr<char, Free>(static_cast<char*>(::operator new(size))), size});
  next_ = chunks_.back().data.get();
  end_ = next_ + size;
  used_ += size;
}

void Arena::reset(std::size_t limit) {
  limit_ = limit;
  std::erase_if(chunks_, [](const Chunk& c) { return c.size > largest_chunk; });
  if (chunks_.size() > 1) {
    auto keep = std::ranges::max_element(chunks_, {}, &Chunk::size);
    std::swap(*keep, chunks_.front());
    chunks_.erase(chunks_.begin() + 1, chunks_.end());
  }
  next_ = end_ = nullptr;
  used_ = 0;
  if (chunks_.empty()) return;
  used_ = std::min(chunks_.front().size, limit_) & ~std::size_t{15};  // not more of it than the new limit allows
  next_ = chunks_.front().data.get();
  end_ = next_ + used_;
}

Value Arena::string(std::string_view text) {
  if (text.size() > max_json_bytes) too_large("a string is longer than the limit");
  const std::size_t words = (text.size() + 7) / 8;
  auto* node = new (allocate(sizeof(StringNode) + words * 8))
      StringNode{static_cast<std::uint32_t>(text.size()), string_hash(text)};
  auto* to = reinterpret_cast<char*>(node + 1);
  if (words != 0) {
    std::memset(to + 8 * (words - 1), 0, 8);  // same_text compares whole words
    std::memcpy(to, text.data(), text.size());
  }
  return Value(node);
}

Value Arena::number(std::string_view text) {
  if (text.size() <= 20) {
    std::int64_t i = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), i);
    const bool canonical = error == std::errc{} && end == text.data() + text.size() &&
                           (text.size() == 1 || (text[0] != '0' && !text.starts_with("-0")));
    if (canonical) return Value::integer(i);
  }
  if (text.size() > max_number_digits) too_large("a number has more digits than the limit");
  double d = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), d);
  if (parsed.ec == std::errc::result_out_of_range) {
    const auto e = text.find_first_of("eE");
    const bool tiny = e != std::string_view::npos && e + 1 < text.size() && text[e + 1] == '-';
    d = tiny ? 0.0 : (text.starts_with('-') ? -HUGE_VAL : HUGE_VAL);
  }
  auto* node = new (allocate(sizeof(NumberNode) + text.size())) NumberNode{d, static_cast<std::uint32_t>(text.size())};
  std::memcpy(node + 1, text.data(), text.size());
  return Value(node);
}

Value Arena::number(double d) { return from_long_double(static_cast<long double>(d), *this); }

Value Arena::collection(Kind kind, std::span<const Value> items, std::size_t size) {
  std::uint64_t nodes = 1;
  std::uint32_t depth = 0;
  for (const Value& v : items) {
    nodes += v.nodes();
    depth = std::max(depth, v.depth());
  }
  if (depth >= max_value_depth) too_large("a value is nested deeper than the limit");
  if (nodes > max_value_nodes) too_large("a value has more parts than the limit");
  const std::size_t slots = kind != Kind::array && size >= indexed_from ? std::bit_ceil(size * 2) : 0;
  auto* node = new (allocate(sizeof(ItemsNode) + items.size() * sizeof(Value) + slots * sizeof(std::uint32_t)))
      ItemsNode{static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(nodes), depth + 1,
                static_cast<std::uint32_t>(slots)};
  auto* to = reinterpret_cast<Value*>(node + 1);
  std::uninitialized_copy(items.begin(), items.end(), to);
  if (slots != 0) {
    auto* index = reinterpret_cast<std::uint32_t*>(to + items.size());
    std::fill_n(index, slots, std::uint32_t{0});
    const std::size_t stride = kind == Kind::object ? 2 : 1;
    for (std::size_t i = 0; i < size; ++i) {
      std::size_t at = hash(items[i * stride]) & (slots - 1);
      while (index[at] != 0) at = (at + 1) & (slots - 1);
      index[at] = static_cast<std::uint32_t>(i + 1);
    }
  }
  return {kind, node};
}

Value Arena::array(std::span<const Value> items) { return collection(Kind::array, items, items.size()); }

Value Arena::set(std::span<Value> items) {
  if (!std::is_sorted(items.begin(), items.end(), less)) std::sort(items.begin(), items.end(), less);
  const auto last = std::unique(items.begin(), items.end(), equal);
  const auto size = static_cast<std::size_t>(last - items.begin());
  return collection(Kind::set, items.first(size), size);
}

Value Arena::object(std::span<Pair> pairs) {
  const auto by_key = [](const Pair& a, const Pair& b) { return less(a.first, b.first); };
  if (!std::is_sorted(pairs.begin(), pairs.end(), by_key)) std::stable_sort(pairs.begin(), pairs.end(), by_key);
  std::size_t size = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (size > 0 && equal(pairs[size - 1].first, pairs[i].first))
      pairs[size - 1].second = pairs[i].second;
    else
      pairs[size++] = pairs[i];
  }
  static_assert(sizeof(Pair) == 2 * sizeof(Value));
  const auto items = size == 0 ? std::span<const Value>{} : std::span<const Value>(&pairs.front().first, 2 * size);
  return collection(Kind::object, items, size);
}

bool Arena::unique_object(std::span<Pair> pairs, Value& out) {
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return less(a.first, b.first); });
  for (std::size_t i = 1; i < pairs.size(); ++i)
    if (equal(pairs[i - 1].first, pairs[i].first) && !equal(pairs[i - 1].second, pairs[i].second)) return false;
  out = object(pairs);
  return true;
}

Value Arena::copy(const Value& v) {
  switch (v.kind()) {
    case Kind::string: return string(v.text());
    case Kind::number: return v.is_small() ? v : number(v.number_node()->text());
    case Kind::array:
    case Kind::object:
    case Kind::set: {
      std::vector<Value> items(v.items().size());
      for (std::size_t i = 0; i < items.size(); ++i) items[i] = copy(v.items()[i]);  // depth is bounded
      return collection(v.kind(), items, v.size());
    }
    default: return v;
  }
}

int compare(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return a.kind() < b.kind() ? -1 : 1;
  if (a.same(b)) return 0;
  switch (a.kind()) {
    case Kind::boolean: return static_cast<int>(a.boolean()) - static_cast<int>(b.boolean());
    case Kind::number: return compare_numbers(a, b);
    case Kind::string: {
      const int c = a.text().compare(b.text());
      return c < 0 ? -1 : (c > 0 ? 1 : 0);
    }
    case Kind::array:
    case Kind::object:
    case Kind::set: {
      const auto x = a.items();
      const auto y = b.items();
      for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i)
        if (const int c = compare(x[i], y[i]); c != 0) return c;
      return x.size() == y.size() ? 0 : (x.size() < y.size() ? -1 : 1);
    }
    default: return 0;
  }
}

namespace {

// Of two strings; their hashes tell most apart.
inline bool same_text(const Value& a, const Value& b) {
  const auto* x = static_cast<const StringNode*>(a.address());
  const auto* y = static_cast<const StringNode*>(b.address());
  if (x->hash != y->hash || x->size != y->size) return false;
  const auto* p = reinterpret_cast<const char*>(x + 1);
  const auto* q = reinterpret_cast<const char*>(y + 1);
  const std::size_t bytes = (std::size_t{x->size} + 7) & ~std::size_t{7};
  if (bytes > 64) return std::memcmp(p, q, bytes) == 0;
  for (std::size_t i = 0; i < bytes; i += 8) {
    std::uint64_t v = 0;
    std::uint64_t w = 0;
    std::memcpy(&v, p + i, 8);
    std::memcpy(&w, q + i, 8);
    if (v != w) return false;
  }
  return true;
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  if (a.same(b)) return true;
  switch (a.kind()) {
    case Kind::boolean: return a.boolean() == b.boolean();
    case Kind::number: return !(a.is_small() && b.is_small()) && compare_numbers(a, b) == 0;
    case Kind::string: return same_text(a, b);
    case Kind::array:
    case Kind::object:
    case Kind::set: {
      if (a.size() != b.size()) return false;
      const auto x = a.items();
      const auto y = b.items();
      for (std::size_t i = 0; i < x.size(); ++i)
        if (!equal(x[i], y[i])) return false;
      return true;
    }
    default: return true;
  }
}

std::uint64_t hash(const Value& v) {
  switch (v.kind()) {
    case Kind::boolean: return v.boolean() ? 0x51ULL : 0x52ULL;
    case Kind::number: {
      const double d = v.is_small() ? static_cast<double>(v.integer()) : v.number_node()->approximate;
      return mix(std::bit_cast<std::uint64_t>(d == 0 ? 0.0 : d));
    }
    case Kind::string: {
      const auto* node = reinterpret_cast<const StringNode*>(v.address());
      return node->hash;
    }
    case Kind::array:
    case Kind::object:
    case Kind::set: {
      std::uint64_t h = static_cast<std::uint64_t>(v.kind()) * 0x9e3779b97f4a7c15ULL + v.size();
      for (const Value& item : v.items()) h = mix(h * 31 + hash(item));
      return h;
    }
    default: return static_cast<std::uint64_t>(v.kind());
  }
}

namespace {

// Position of `key` in an object or set; size() where absent.
std::size_t position(const Value& c, const Value& key) {
  const std::size_t stride = c.is(Kind::object) ? 2 : 1;
  const auto items = c.items();
  const auto* node = static_cast<const ItemsNode*>(c.address());
  if (node->slots != 0) {
    const auto* index = index_of(node, c.kind());
    for (std::size_t at = hash(key) & (node->slots - 1); index[at] != 0; at = (at + 1) & (node->slots - 1))
      if (equal(items[(index[at] - 1) * stride], key)) return index[at] - 1;
    return c.size();
  }
  if (key.is(Kind::string)) {
    for (std::size_t i = 0; i < c.size(); ++i)
      if (const Value& k = items[i * stride]; k.is(Kind::string) && (k.same(key) || same_text(k, key))) return i;
    return c.size();
  }
  std::size_t low = 0;
  std::size_t high = c.size();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    const int order = compare(items[middle * stride], key);
    if (order == 0) return middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return c.size();
}

}  // namespace

const Value* find(const Value& c, const Value& key) {
  switch (c.kind()) {
    case Kind::array: {
      if (!key.is(Kind::number)) return nullptr;
      const auto i = to_int(key);
      return i && *i >= 0 && static_cast<std::size_t>(*i) < c.size() ? &c.items()[static_cast<std::size_t>(*i)]
                                                                     : nullptr;
    }
    case Kind::object: {
      const std::size_t at = position(c, key);
      return at == c.size() ? nullptr : &c.value(at);
    }
    case Kind::set: {
      const std::size_t at = position(c, key);
      return at == c.size() ? nullptr : &c.items()[at];
    }
    default: return nullptr;
  }
}

const Value* find(const Value& c, const Value& key, std::uint8_t& hint) {
  if (!c.is(Kind::object)) return find(c, key);
  if (hint < c.size() && c.key(hint).is(Kind::string) && same_text(c.key(hint), key)) return &c.value(hint);
  const std::size_t at = position(c, key);
  if (at == c.size()) return nullptr;
  if (at <= UINT8_MAX) hint = static_cast<std::uint8_t>(at);
  return &c.value(at);
}

const Value* find(const Value& object, std::string_view key) {
  if (!object.is(Kind::object)) return nullptr;
  std::size_t low = 0;
  std::size_t high = object.size();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    const Value& k = object.key(middle);
    const int order = k.kind() != Kind::string ? (k.kind() < Kind::string ? -1 : 1) : k.text().compare(key);
    if (order == 0) return &object.value(middle);
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return nullptr;
}

std::string_view type_name(Kind kind) {
  switch (kind) {
    case Kind::null: return "null";
    case Kind::boolean: return "boolean";
    case Kind::number: return "number";
    case Kind::string: return "string";
    case Kind::array: return "array";
    case Kind::object: return "object";
    case Kind::set: return "set";
    default: return "undefined";
  }
}

}  // namespace cairn::policy
