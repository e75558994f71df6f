// The Attestation Agent's event log: text form (P1) and TCG2 form (P2). spec/guest.md §7, spec/trustee.md §9.3.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "evidence/eventlog/eventlog.h"

namespace cairn::eventlog {

struct AaelEvent {
  std::string domain;
  std::string operation;
  std::string content;
  bool operator==(const AaelEvent&) const = default;
  // "<domain> <operation> <content>": the text of both forms.
  [[nodiscard]] std::string text() const { return domain + ' ' + operation + ' ' + content; }
};

// What a writer may log. `strict` is what every verifier of either generation accepts: domain and operation printable
// ASCII without spaces, content printable UTF-8 without white space; nothing empty. `line_feed_only` (a compatibility
// switch) refuses only line feeds and what would shift the fields. invalid_argument names the field.
enum class ContentRule { strict, line_feed_only };
[[nodiscard]] Result<void> check_event(const AaelEvent& event, ContentRule rule = ContentRule::strict);
// Splits at the first two spaces; trailing white space is not removed. malformed with fewer than three fields.
[[nodiscard]] Result<AaelEvent> split_event(std::string_view text);

// --- P1: text ---

struct TextLog {
  Algorithm algorithm = Algorithm::sha384;
  Bytes initial;  // register when the log was created
  std::vector<AaelEvent> events;
  std::vector<std::string> lines;  // INIT line and events, without LF, exactly as hashed
};
// The whole file. A missing last LF is accepted. As the P1 verifier does, trailing white space of a line is cut before
// hashing and each event must be exactly three tokens; anything else is malformed with "line N" as `where`.
[[nodiscard]] Result<TextLog> parse_text_log(std::string_view text);
// Register after the INIT line and every event (or only the first `events` of them).
[[nodiscard]] Result<Bytes> replay_text_log(const TextLog& log, std::size_t events = SIZE_MAX);

// "INIT sha384/<96 hex>" without LF, and the digest to extend for it or for any other line.
[[nodiscard]] std::string init_line(const Digest<48>& initial);
[[nodiscard]] Digest<48> text_line_digest(std::string_view line);

// --- P2: TCG2 records ---

inline constexpr std::uint32_t aael_tag = 0x4141454C;  // "LEAA" on disk
inline constexpr std::uint32_t rtmr3_index = 4;

// Data field of the EV_EVENT_TAG record: tag, length, text. Its SHA-384 is what the register is extended with.
[[nodiscard]] Bytes tagged_event(const AaelEvent& event);
[[nodiscard]] Digest<48> tagged_event_digest(const AaelEvent& event);
// The whole record for an MR index (4 = RTMR3).
[[nodiscard]] Bytes tagged_event_record(const AaelEvent& event, std::uint32_t mr_index = rtmr3_index);
// The header that starts a P2 log on a platform without CCEL (73 bytes, three algorithms).
[[nodiscard]] Bytes synthetic_header();
// P2 cc_eventlog: `ccel` cut at its end (or the synthetic header where it is empty), the records, eight bytes FF.
[[nodiscard]] Result<Bytes> evidence_log(ByteView ccel, ByteView aael_records);

// The AAEL events of a log, in order, each with its digest recomputed from its text; evidence_rejected where a digest
// does not match, malformed where the text does not split. Also evidence_rejected: an AAEL event in another register
// than `mr_index` (its order against the others could not be told), and any other extended event in that register
// (readers of AAEL events would not see it).
[[nodiscard]] Result<std::vector<AaelEvent>> aael_events(const Log& log, std::uint32_t mr_index = rtmr3_index);

}  // namespace cairn::eventlog
