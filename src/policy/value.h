// Values of the policy language: immutable, 16 bytes, living in an Arena that is freed as a whole.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "policy/limits.h"

namespace cairn::policy {

// In the order in which Rego sorts values of different types.
enum class Kind : std::uint8_t { undefined, null, boolean, number, string, array, object, set, node };

// What ends an evaluation at once: a limit, a conflict, an error of the host. Never leaves this area.
struct Stop {
  Error error;
};

class Value;
struct StringNode;
struct NumberNode;
struct ItemsNode;
struct DocNode;  // a place in the tree of rules and data; never seen by policies (eval.h)

class Value {
 public:
  Value() = default;  // undefined
  static Value null() { return Value(Kind::null); }
  static Value boolean(bool b) {
    Value v(Kind::boolean);
    v.as_.boolean = b;
    return v;
  }
  static Value integer(std::int64_t i) {
    Value v(Kind::number);
    v.small_ = true;
    v.as_.integer = i;
    return v;
  }
  explicit Value(const StringNode* s) : kind_(Kind::string) { as_.string = s; }
  explicit Value(const NumberNode* n) : kind_(Kind::number) { as_.number = n; }
  explicit Value(const DocNode* n) : kind_(Kind::node) { as_.node = n; }
  Value(Kind kind, const ItemsNode* n) : kind_(kind) { as_.items = n; }

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool defined() const { return kind_ != Kind::undefined; }
  [[nodiscard]] bool is(Kind k) const { return kind_ == k; }
  [[nodiscard]] bool is_false() const { return kind_ == Kind::boolean && !as_.boolean; }
  [[nodiscard]] bool is_collection() const { return kind_ >= Kind::array && kind_ <= Kind::set; }
  [[nodiscard]] bool boolean() const { return as_.boolean; }
  // Numbers are either small (canonical 64-bit integers) or text.
  [[nodiscard]] bool is_small() const { return small_; }
  [[nodiscard]] std::int64_t integer() const { return as_.integer; }
  [[nodiscard]] const NumberNode* number_node() const { return as_.number; }
  [[nodiscard]] const DocNode* doc_node() const { return as_.node; }
  [[nodiscard]] inline std::string_view text() const;  // of a string
  // Collections: elements of an array or set; 2 × size() for objects, keys and values in turn, sorted by key.
  [[nodiscard]] inline std::size_t size() const;
  [[nodiscard]] inline std::span<const Value> items() const;
  [[nodiscard]] const Value& key(std::size_t i) const { return items()[2 * i]; }
  [[nodiscard]] const Value& value(std::size_t i) const { return items()[2 * i + 1]; }
  [[nodiscard]] inline std::uint32_t depth() const;  // 0 for scalars
  [[nodiscard]] inline std::uint32_t nodes() const;  // values inside, itself included
  // The same object in memory (or the same scalar)?
  [[nodiscard]] bool same(const Value& o) const {
    return kind_ == o.kind_ && small_ == o.small_ && as_.integer == o.as_.integer;
  }
  [[nodiscard]] const void* address() const { return as_.items; }

 private:
  explicit Value(Kind k) : kind_(k) {}
  Kind kind_ = Kind::undefined;
  bool small_ = false;
  union As {
    std::int64_t integer;
    bool boolean;
    const StringNode* string;
    const NumberNode* number;
    const ItemsNode* items;
    const DocNode* node;
  } as_{.integer = 0};
};

// The text follows, with zeroes up to a multiple of eight bytes.
struct StringNode {
  std::uint32_t size;
  std::uint32_t hash;
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(this + 1), size}; }
};
// A number that is not a small integer, as it was written ("1.50", "1e9", 30 digits).
struct NumberNode {
  double approximate;
  std::uint32_t size;
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(this + 1), size}; }
};
struct ItemsNode {
  std::uint32_t size;
  std::uint32_t nodes;
  std::uint32_t depth;
  std::uint32_t slots;  // of the hash index behind the items; a power of two or 0
  [[nodiscard]] const Value* items() const { return reinterpret_cast<const Value*>(this + 1); }
};

std::string_view Value::text() const { return as_.string->text(); }
std::size_t Value::size() const { return as_.items->size; }
std::span<const Value> Value::items() const {
  return {as_.items->items(), kind_ == Kind::object ? 2 * std::size_t{as_.items->size} : as_.items->size};
}
std::uint32_t Value::depth() const { return is_collection() ? as_.items->depth : 0; }
std::uint32_t Value::nodes() const { return is_collection() ? as_.items->nodes : 1; }

using Pair = std::pair<Value, Value>;

// Owns the memory of values. Making a value past a limit (memory, depth, nodes) throws Stop.
class Arena {
 public:
  explicit Arena(std::size_t limit = SIZE_MAX) : limit_(limit) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  Arena(Arena&&) = default;
  Arena& operator=(Arena&&) = default;

  [[nodiscard]] void* allocate(std::size_t bytes) {
    bytes = (bytes + 15) & ~std::size_t{15};
    if (bytes > static_cast<std::size_t>(end_ - next_)) grow(bytes);
    char* p = next_;
    next_ += bytes;
    return p;
  }
  [[nodiscard]] Value string(std::string_view text);
  // `text` must be a number in JSON's or Rego's grammar. Digits are kept; malformed (Stop) past the digit limit.
  [[nodiscard]] Value number(std::string_view text);
  [[nodiscard]] Value number(double d);  // shortest text; must be finite
  [[nodiscard]] Value array(std::span<const Value> items);
  // Sorts and removes duplicates; the span is scratch afterwards.
  [[nodiscard]] Value set(std::span<Value> items);
  // Sorts; of equal keys the last wins. The span is scratch afterwards.
  [[nodiscard]] Value object(std::span<Pair> pairs);
  // The same with a verdict on equal keys: false where two have different values.
  [[nodiscard]] bool unique_object(std::span<Pair> pairs, Value& out);
  // A deep copy of what does not live here.
  [[nodiscard]] Value copy(const Value& v);
  [[nodiscard]] std::size_t used() const { return used_ - static_cast<std::size_t>(end_ - next_); }
  // Forgets everything but keeps one chunk for the next evaluation.
  void reset(std::size_t limit);

 private:
  void grow(std::size_t bytes);
  [[nodiscard]] Value collection(Kind kind, std::span<const Value> items, std::size_t size);
  struct Free {
    void operator()(char* p) const { ::operator delete(p); }
  };
  struct Chunk {
    std::unique_ptr<char, Free> data;
    std::size_t size;
  };
  std::vector<Chunk> chunks_;
  char* next_ = nullptr;
  char* end_ = nullptr;
  std::size_t used_ = 0;
  std::size_t limit_;
};

// Rego's total order; numbers by value, strings by bytes.
[[nodiscard]] int compare(const Value& a, const Value& b);
[[nodiscard]] bool equal(const Value& a, const Value& b);
[[nodiscard]] inline bool less(const Value& a, const Value& b) { return compare(a, b) < 0; }
// Equal values have equal hashes.
[[nodiscard]] std::uint64_t hash(const Value& v);

// Member of a collection: object value, array element, set element; nullptr where there is none.
[[nodiscard]] const Value* find(const Value& collection, const Value& key);
[[nodiscard]] const Value* find(const Value& object, std::string_view key);
// The same for a string as key, looking first where `hint` says; the hint becomes where it was found.
[[nodiscard]] const Value* find(const Value& collection, const Value& key, std::uint8_t& hint);

struct DocumentData {
  Arena arena;
  Value root = Value::null();
};

// The Rego name of a type: "null", "boolean", …
[[nodiscard]] std::string_view type_name(Kind kind);

// Text. Both stop past `limit` bytes (Stop).
void write_json(const Value& v, std::string& out, std::size_t limit, bool html_escapes = false);
void write_rego(const Value& v, std::string& out, std::size_t limit);
void write_quoted(std::string_view s, std::string& out, bool html_escapes);

// JSON text to a value. On failure returns undefined and says why in `problem`.
[[nodiscard]] Value read_json(std::string_view text, Arena& arena, std::string& problem);

}  // namespace cairn::policy
