// A strict pull scanner for signed JSON: values are taken where they stand, so that the bytes verified are the bytes
// parsed. RFC 8259, UTF-8, integers only where asked, no member twice in an object, no escape in a member's name,
// bounded depth. tdx-dcap §2.6.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "evidence/tdx/limits.h"

namespace cairn::tdx {

class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : text_(text) {}

  // Reads an object; each(name) must take the member's value and returns Result<void>.
  template <class F>
  [[nodiscard]] Result<void> object(F each) {
    CAIRN_CHECK(open('{'));
    const std::size_t first = names_.size();  // names of this object; those of outer objects stand before
    if (!close_if('}')) {
      do {
        CAIRN_TRY(const std::string_view name, member_name());
        for (std::size_t i = first; i < names_.size(); ++i)
          if (names_[i] == name) return bad("a member stands twice in an object");
        if (names_.size() - first == kMaxJsonMembers) return bad("too many members in an object");
        names_.push_back(name);
        CAIRN_CHECK(each(name));
      } while (more());
      CAIRN_CHECK(close('}'));
    }
    names_.resize(first);
    return {};
  }
  // Reads an array; each() must take one element.
  template <class F>
  [[nodiscard]] Result<void> array(F each) {
    CAIRN_CHECK(open('['));
    if (!close_if(']')) {
      do {
        CAIRN_CHECK(each());
      } while (more());
      CAIRN_CHECK(close(']'));
    }
    return {};
  }
  // A string without escapes, as it stands.
  [[nodiscard]] Result<std::string_view> string();
  // A number of digits alone, at most `max`.
  [[nodiscard]] Result<std::uint64_t> integer(std::uint64_t max);
  // Any value, checked like the rest; gives its text.
  [[nodiscard]] Result<std::string_view> skip();
  // malformed unless only white space follows.
  [[nodiscard]] Result<void> end();

  [[nodiscard]] std::size_t offset() const { return at_; }
  [[nodiscard]] std::unexpected<Error> bad(const char* what) const {
    return fail(ErrorCode::malformed, "byte " + std::to_string(at_), what);
  }
  // The text from `start`, an earlier offset(), to here.
  [[nodiscard]] std::string_view since(std::size_t start) const { return text_.substr(start, at_ - start); }
  // Moves past white space: where the next token begins.
  void space();

 private:
  [[nodiscard]] Result<void> open(char bracket);
  [[nodiscard]] Result<void> close(char bracket);
  [[nodiscard]] bool close_if(char bracket);
  [[nodiscard]] bool more();
  [[nodiscard]] Result<std::string_view> member_name();
  [[nodiscard]] Result<std::string_view> quoted(bool escapes);
  [[nodiscard]] Result<void> escape();
  [[nodiscard]] Result<unsigned> utf16_unit();
  [[nodiscard]] Result<void> number();
  [[nodiscard]] Result<void> scalar();
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::vector<std::string_view> names_;
};

}  // namespace cairn::tdx
