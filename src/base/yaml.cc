#include "base/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/encoding.h"

namespace cairn {
namespace {

std::string yaml_text(const yaml_char_t* s) { return s == nullptr ? "" : reinterpret_cast<const char*>(s); }

class YamlBuilder {
 public:
  YamlBuilder(std::string_view text, const YamlLimits& limits) : text_(text), limits_(limits) {
    ready_ = yaml_parser_initialize(&parser_) != 0;
    if (!ready_) return;
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~YamlBuilder() {
    if (ready_) yaml_parser_delete(&parser_);
  }
  YamlBuilder(const YamlBuilder&) = delete;
  YamlBuilder& operator=(const YamlBuilder&) = delete;

  Result<YamlStream> run() {
    for (bool done = !ready_; !done;) {
      yaml_event_t event;
      if (yaml_parser_parse(&parser_, &event) == 0) return malformed(parser_.problem_mark, yaml_problem());
      done = event.type == YAML_STREAM_END_EVENT;
      auto taken = take(event);
      yaml_event_delete(&event);
      CAIRN_CHECK(std::move(taken));
    }
    if (!ready_) return fail(ErrorCode::too_large, "no memory to read YAML");
    return std::move(out_);
  }

 private:
  static std::unexpected<Error> stop(ErrorCode code, const yaml_mark_t& at, std::string why) {
    return fail(code, "line " + std::to_string(at.line + 1), std::move(why));
  }
  static std::unexpected<Error> malformed(const yaml_mark_t& at, std::string why) {
    return stop(ErrorCode::malformed, at, std::move(why));
  }
  [[nodiscard]] std::string yaml_problem() const {
    return parser_.problem == nullptr ? "the text cannot be read" : parser_.problem;
  }

  Result<void> take(const yaml_event_t& event) {
    const auto& data = event.data;
    switch (event.type) {
      case YAML_DOCUMENT_START_EVENT: {
        const auto* version = data.document_start.version_directive;
        if (version != nullptr && (version->major != 1 || version->minor != 1 || padded_version(event)))
          return malformed(event.start_mark, "found incompatible YAML document");
        return {};
      }
      case YAML_ALIAS_EVENT: {
        YamlNode node{.kind = YamlNode::Kind::alias, .tag = {}, .value = yaml_text(data.alias.anchor), .children = {}};
        const auto anchor = anchors_.find(node.value);
        if (anchor == anchors_.end())
          return malformed(event.start_mark, "unknown anchor '" + node.value + "' referenced");
        node.children = {anchor->second};
        return add(event, std::move(node), nullptr, nullptr);
      }
      case YAML_SCALAR_EVENT: {
        YamlNode node{.plain = data.scalar.style == YAML_PLAIN_SCALAR_STYLE, .tag = {}, .value = {}, .children = {}};
        node.value.assign(reinterpret_cast<const char*>(data.scalar.value), data.scalar.length);
        if (node.plain && !open_.empty() && open_.back().flow && node.value.contains('?'))
          return malformed(event.start_mark, "did not find expected ',' or the end of the flow collection");
        if (data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE && node.value.contains('/') && escapes_slash(event))
          return malformed(event.start_mark, "found unknown escape character");
        if (data.scalar.tag != nullptr && node.plain && node.value.empty() &&
            text_.substr(byte_of(event.end_mark.index)).starts_with(','))
          return malformed(event.start_mark, "did not find expected whitespace or line break");
        return add(event, std::move(node), data.scalar.anchor, data.scalar.tag);
      }
      case YAML_SEQUENCE_START_EVENT:
        return open(event, YamlNode::Kind::sequence, data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE,
                    data.sequence_start.anchor, data.sequence_start.tag);
      case YAML_MAPPING_START_EVENT:
        return open(event, YamlNode::Kind::mapping, data.mapping_start.style == YAML_FLOW_MAPPING_STYLE,
                    data.mapping_start.anchor, data.mapping_start.tag);
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT: open_.pop_back(); return {};
      default: return {};
    }
  }

  // A node where the next one belongs.
  Result<void> add(const yaml_event_t& event, YamlNode node, const yaml_char_t* anchor, const yaml_char_t* tag) {
    if (out_.nodes.size() >= limits_.nodes)
      return stop(ErrorCode::too_large, event.start_mark, "more nodes than the limit");
    const auto index = static_cast<std::uint32_t>(out_.nodes.size());
    if (anchor != nullptr) {
      out_.anchors = true;
      anchors_[yaml_text(anchor)] = index;
    }
    node.tag = yaml_text(tag);
    if (node.tag == "!") node.tag.clear();
    tag_bytes_ += node.tag.size();  // a long prefix is said once and stands in every tag
    if (tag_bytes_ > limits_.bytes) return stop(ErrorCode::too_large, event.start_mark, "tags longer than the limit");
    (open_.empty() ? out_.documents : out_.nodes[open_.back().node].children).push_back(index);
    out_.nodes.push_back(std::move(node));
    return {};
  }

  Result<void> open(const yaml_event_t& event, YamlNode::Kind kind, bool flow, const yaml_char_t* anchor,
                    const yaml_char_t* tag) {
    if (open_.size() >= limits_.depth)
      return stop(ErrorCode::too_large, event.start_mark, "nested deeper than the limit");
    CAIRN_CHECK(add(event, {.kind = kind, .tag = {}, .value = {}, .children = {}}, anchor, tag));
    open_.push_back({static_cast<std::uint32_t>(out_.nodes.size() - 1), flow});
    return {};
  }

  // Marks count characters; they only grow from event to event.
  std::size_t byte_of(std::size_t index) {
    for (; index_ < index && byte_ < text_.size(); ++index_) {
      ++byte_;
      while (byte_ < text_.size() && (static_cast<unsigned char>(text_[byte_]) & 0xC0) == 0x80) ++byte_;
    }
    return byte_;
  }
  // The text of an event with the properties of its node.
  std::string_view source_of(const yaml_event_t& event) {
    const std::size_t from = byte_of(event.start_mark.index);
    return text_.substr(from, byte_of(event.end_mark.index) - from);
  }
  bool escapes_slash(const yaml_event_t& event) {
    const std::string_view source = source_of(event);
    for (std::size_t i = 0; i + 1 < source.size(); ++i) {
      if (source[i] != '\\') continue;
      ++i;
      if (source[i] == '/') return true;
    }
    return false;
  }
  // More than two digits.
  bool padded_version(const yaml_event_t& event) {
    const std::string_view source = source_of(event);
    const std::string_view line = source.substr(std::min(source.find("%YAML"), source.size()));
    return line.substr(0, line.find_first_of("\r\n#")).contains("001");
  }

  struct Open {
    std::uint32_t node;
    bool flow;
  };
  std::string_view text_;
  YamlLimits limits_;
  yaml_parser_t parser_{};
  bool ready_ = false;
  YamlStream out_;
  std::vector<Open> open_;
  std::unordered_map<std::string, std::uint32_t> anchors_;
  std::size_t tag_bytes_ = 0, index_ = 0, byte_ = 0;
};

// The first character that a YAML text may not hold, by its line.
Result<void> check_yaml_characters(std::string_view text) {
  if (!is_utf8(text)) return fail(ErrorCode::malformed, "not UTF-8");
  std::size_t line = 1;
  bool fresh = true;  // at the beginning of a line
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[i + k]); };
    const unsigned char c = byte(0);
    if (c == '\n') ++line;
    const bool control = (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F ||
                         (c == 0xC2 && byte(1) < 0xA0 && byte(1) != 0x85) ||
                         (c == 0xEF && byte(1) == 0xBF && byte(2) >= 0xBE);
    if (control)
      return fail(ErrorCode::malformed, "line " + std::to_string(line), "control characters are not allowed");
    // libyaml skips it there, go-yaml takes it as text or loses the first character of every line.
    if (fresh && text.substr(i).starts_with("\xEF\xBB\xBF"))
      return fail(ErrorCode::malformed, "line " + std::to_string(line), "a byte-order mark begins a line");
    fresh = c == '\n' || c == '\r' || text.substr(0, i + 1).ends_with("\xC2\x85") ||
            text.substr(0, i + 1).ends_with("\xE2\x80\xA8") || text.substr(0, i + 1).ends_with("\xE2\x80\xA9");
  }
  return {};
}

}  // namespace

Result<YamlStream> read_yaml(std::string_view text, const YamlLimits& limits) {
  if (text.size() > limits.bytes) return fail(ErrorCode::too_large, "YAML text longer than the limit");
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  CAIRN_CHECK(check_yaml_characters(text));
  return YamlBuilder(text, limits).run();
}

}  // namespace cairn
