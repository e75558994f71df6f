// JSON as data: a strict loader, canonical text, and a reader of objects that leaves nothing unread.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/limits.h"

namespace cairn {

using Json = nlohmann::json;  // objects sorted by key bytes

struct JsonLimits {
  std::size_t bytes = kJsonMax;
  std::size_t depth = kJsonDepth;
};

// RFC 8259 text, one value, UTF-8. Refused: duplicate members, depth or size past the limits, trailing text, a
// byte-order mark, invalid UTF-8. `where` of an error is "byte N" or the JSON pointer of the duplicate.
[[nodiscard]] Result<Json> parse_json(std::string_view text, JsonLimits limits = {});

// RFC 8785 (JCS): the one text of a value. Fails on numbers that are not finite.
[[nodiscard]] Result<std::string> canonical_json(const Json& value);
// Sorted by key bytes, compact, minimal escapes, UTF-8 kept: what serde_json with sorted maps writes.
[[nodiscard]] std::string compact_json(const Json& value);

// TOML and YAML texts as JSON values, for configuration files. Same limits; YAML anchors and tags are refused.
[[nodiscard]] Result<Json> parse_toml(std::string_view text, std::string_view file_name);
[[nodiscard]] Result<Json> parse_yaml(std::string_view text, std::string_view file_name);

// Reads the members of one object and collects every problem of a document instead of stopping at the first:
//
//   Problems problems;
//   Fields f(json, "$", problems);
//   config.port = f.required<std::uint16_t>("port");
//   Fields tls = f.object("tls");
//   f.done();                       // names each member nobody asked for, with the nearest known name
//   CAIRN_CHECK(problems.result());
class Problems {
 public:
  void add(std::string where, std::string message);
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] const std::vector<Error>& all() const { return all_; }
  // One Error that lists them all, a line each.
  [[nodiscard]] Result<void> result() const;

 private:
  std::vector<Error> all_;
};

class Fields {
 public:
  // `value` must outlive this. Not an object: a problem is noted and every member reads as absent.
  Fields(const Json& value, std::string path, Problems& problems);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool has(std::string_view key);  // counts as asked for
  // The raw member, or nullptr where absent.
  [[nodiscard]] const Json* raw(std::string_view key);
  // Present and of another type, or out of range: a problem, and nullopt/default is returned.
  // T: bool, std::string, integers, double, std::vector<std::string>.
  template <class T>
  [[nodiscard]] std::optional<T> optional(std::string_view key);
  template <class T>
  [[nodiscard]] T required(std::string_view key);
  template <class T>
  [[nodiscard]] T value_or(std::string_view key, T fallback) {
    return optional<T>(key).value_or(std::move(fallback));
  }
  // The member as an object (an empty one where absent).
  [[nodiscard]] Fields object(std::string_view key);
  // Calls `each` with a Fields per element of an array of objects; absent is an empty array.
  void objects(std::string_view key, const std::function<void(Fields&)>& each);
  void problem(std::string_view key, std::string message);
  // Notes a problem for every member never asked for.
  void done();

 private:
  const Json* value_;
  std::string path_;
  Problems* problems_;
  std::vector<std::string> asked_;
};

// The candidate closest to `word` by edit distance, or "" when none is close.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace cairn
