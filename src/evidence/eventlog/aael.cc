#include "evidence/eventlog/aael.h"

#include <algorithm>

#include "base/cursor.h"
#include "base/encoding.h"
#include "crypto/hash.h"
#include "evidence/eventlog/limits.h"

namespace cairn::eventlog {
namespace {

constexpr std::string_view kInit = "INIT ";

bool space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }
bool printable_ascii(char c) { return c > ' ' && c < 0x7F; }

std::unexpected<Error> refuse(std::string_view field, std::string_view why) {
  return fail(ErrorCode::invalid_argument, std::string(field),
              "the event's " + std::string(field) + " " + std::string(why));
}

Result<void> check_token(std::string_view field, std::string_view value) {
  if (value.empty()) return refuse(field, "is empty");
  if (!std::ranges::all_of(value, printable_ascii))
    return refuse(field, "may only hold printable ASCII without spaces");
  return {};
}

std::unexpected<Error> bad_line(std::size_t number, std::string_view why) {
  return fail(ErrorCode::malformed, "line " + std::to_string(number), std::string(why));
}

Result<void> read_init(std::string_view line, TextLog& log) {
  const auto slash = line.find('/');
  if (!line.starts_with(kInit) || slash == line.npos)
    return bad_line(1, "an AAEL starts with INIT <algorithm>/<register in hex>");
  const auto algorithm = algorithm_named(line.substr(kInit.size(), slash - kInit.size()));
  auto initial = from_hex(line.substr(slash + 1));
  if (!algorithm || !initial || initial->size() != digest_size(*algorithm))
    return bad_line(1, "the INIT line names no known algorithm, or a register of another length");
  log.algorithm = *algorithm;
  log.initial = std::move(*initial);
  return {};
}

// The next line without its LF and trailing white space.
std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  while (!line.empty() && space(line.back())) line.remove_suffix(1);
  return line;
}

}  // namespace

Result<void> check_event(const AaelEvent& event, ContentRule rule) {
  CAIRN_CHECK(check_token("domain", event.domain));
  CAIRN_CHECK(check_token("operation", event.operation));
  const std::string_view content = event.content;
  if (content.empty()) return refuse("content", "is empty");
  if (content.find('\n') != content.npos) return refuse("content", "may not hold a line feed");
  if (rule == ContentRule::strict) {
    if (!is_utf8(content)) return refuse("content", "must be UTF-8");
    if (std::ranges::any_of(content, [](char c) { return space(c) || control(c); }))
      return refuse("content", "may not hold white space or control characters: verifiers would refuse the whole log");
  }
  if (event.text().size() > limits::aael_line)
    return fail(ErrorCode::too_large, "content", "an event may have " + std::to_string(limits::aael_line) + " bytes");
  return {};
}

Result<AaelEvent> split_event(std::string_view text) {
  const auto first = text.find(' ');
  const auto second = first == text.npos ? text.npos : text.find(' ', first + 1);
  if (second == text.npos || first == 0 || second == first + 1 || second + 1 == text.size())
    return fail(ErrorCode::malformed, "an AAEL event is <domain> <operation> <content>");
  return AaelEvent{std::string(text.substr(0, first)), std::string(text.substr(first + 1, second - first - 1)),
                   std::string(text.substr(second + 1))};
}

Result<TextLog> parse_text_log(std::string_view text) {
  if (text.size() > limits::aael_bytes)
    return fail(ErrorCode::too_large, "an AAEL may have " + std::to_string(limits::aael_bytes) + " bytes");
  if (!is_utf8(text)) return fail(ErrorCode::malformed, "an AAEL is UTF-8 text");
  TextLog log;
  log.lines.emplace_back(take_line(text));
  CAIRN_CHECK(read_init(log.lines[0], log));
  while (!text.empty()) {
    const std::size_t number = log.lines.size() + 1;
    if (log.events.size() == limits::aael_events) return bad_line(number, "too many events");
    const std::string_view line = take_line(text);
    if (line.size() > limits::aael_line) return bad_line(number, "the line is too long");
    auto event = split_event(line);
    if (!event || event->content.find(' ') != std::string::npos)
      return bad_line(number, "an event is exactly three tokens separated by single spaces");
    log.events.push_back(std::move(*event));
    log.lines.emplace_back(line);
  }
  return log;
}

Result<Bytes> replay_text_log(const TextLog& log, std::size_t events) {
  if (log.lines.empty() || log.initial.size() != digest_size(log.algorithm))
    return fail(ErrorCode::invalid_argument, "the log has no INIT line");
  Bytes state = log.initial;
  const std::size_t lines = std::min(log.lines.size() - 1, events) + 1;
  for (std::size_t i = 0; i < lines; ++i) {
    append(state, hash(log.algorithm, as_bytes(log.lines[i])));
    state = hash(log.algorithm, state);
  }
  return state;
}

std::string init_line(const Digest<48>& initial) { return std::string(kInit) + "sha384/" + hex(initial.view()); }
Digest<48> text_line_digest(std::string_view line) { return crypto::sha384(as_bytes(line)); }

Bytes tagged_event(const AaelEvent& event) {
  const std::string text = event.text();
  Writer out;
  out.u32le(aael_tag).u32le(static_cast<std::uint32_t>(text.size())).text(text);
  return std::move(out).take();
}

Digest<48> tagged_event_digest(const AaelEvent& event) { return crypto::sha384(tagged_event(event)); }

Bytes tagged_event_record(const AaelEvent& event, std::uint32_t mr_index) {
  const Bytes data = tagged_event(event);
  return event_record(mr_index, type::event_tag, crypto::sha384(data), data);
}

Bytes synthetic_header() {
  Writer out;
  out.u32le(0).u32le(type::no_action).zeros(20).u32le(0x29).zeros(24).u32le(3);
  for (const auto a : {Algorithm::sha384, Algorithm::sm3, Algorithm::sha256})
    out.u16le(std::to_underlying(a)).u16le(static_cast<std::uint16_t>(digest_size(a)));
  return std::move(out.u8(0)).take();
}

Result<Bytes> evidence_log(ByteView ccel, ByteView aael_records) {
  Bytes out;
  if (ccel.empty()) {
    out = synthetic_header();
  } else {
    CAIRN_TRY(const auto log, parse_ccel(ccel));
    append(out, ccel.first(log.end_offset));
  }
  append(out, aael_records);
  out.insert(out.end(), 8, 0xFF);
  return out;
}

namespace {

Result<AaelEvent> read_tagged(const Event& event, std::uint32_t mr_index) {
  const std::string place = "offset " + std::to_string(event.offset);
  if (event.index != mr_index)
    return fail(
        ErrorCode::evidence_rejected, place,
        "an AAEL event in register index " + std::to_string(event.index) + " instead of " + std::to_string(mr_index));
  if (!digest_matches_event(event))
    return fail(ErrorCode::evidence_rejected, place, "an AAEL event's digest is not that of its text");
  Reader in(event.data);
  CAIRN_CHECK(in.skip(4));
  CAIRN_TRY(const auto size, in.u32le());
  CAIRN_TRY(const auto text, in.text(size));
  CAIRN_CHECK(in.end());
  if (!is_utf8(text)) return fail(ErrorCode::malformed, place, "an AAEL event is UTF-8 text");
  auto split = split_event(text);
  if (!split) split.error().where = place;
  return split;
}

std::unexpected<Error> stranger(const Event& event) {
  return fail(ErrorCode::evidence_rejected, "offset " + std::to_string(event.offset),
              "an event in the agent's register that is not the agent's: nothing tells what was measured");
}

}  // namespace

Result<std::vector<AaelEvent>> aael_events(const Log& log, std::uint32_t mr_index) {
  std::vector<AaelEvent> out;
  for (const auto& event : log.events) {
    if (event.type == type::no_action) continue;
    const auto tag = Reader(event.data).u32le();
    if (event.type != type::event_tag || !tag || *tag != aael_tag) {
      if (event.index == mr_index) return stranger(event);
      continue;
    }
    if (out.size() == limits::aael_events) return fail(ErrorCode::too_large, "too many AAEL events");
    CAIRN_TRY(auto one, read_tagged(event, mr_index));
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace cairn::eventlog
