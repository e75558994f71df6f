// TCG2 crypto-agile event logs as TDX guests keep them (CCEL), and what they prove.
//
// A log is a list of digests that replays to RTMR0-3. Only that list is authenticated, by equality with a verified
// quote; the text beside a digest is a claim of the log's producer until the digest was recomputed from the text
// (authenticated_text). Pure: bytes in, data out. spec/guest.md §6.4-6.5, spec/tdx-dcap.md §4.4.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace cairn::eventlog {

// TCG algorithm identifiers.
enum class Algorithm : std::uint16_t { sha1 = 0x04, sha256 = 0x0B, sha384 = 0x0C, sha512 = 0x0D, sm3 = 0x12 };
// Digest length in bytes; "SHA-384" and so on; the algorithm of such a name in either spelling ("sha384", "SHA-384").
[[nodiscard]] std::size_t digest_size(Algorithm algorithm);
[[nodiscard]] std::string_view name(Algorithm algorithm);
[[nodiscard]] std::optional<Algorithm> algorithm_named(std::string_view name);
[[nodiscard]] Bytes hash(Algorithm algorithm, ByteView data);

// Event types that have a meaning here (TCG PC Client Platform Firmware Profile).
namespace type {
inline constexpr std::uint32_t post_code = 0x1, no_action = 0x3, separator = 0x4, action = 0x5, event_tag = 0x6,
                               platform_config_flags = 0xA, compact_hash = 0xC, ipl = 0xD,
                               omit_boot_device_events = 0x12, efi_variable_driver_config = 0x8000'0001,
                               efi_variable_boot = 0x8000'0002, efi_boot_services_application = 0x8000'0003,
                               efi_gpt_event = 0x8000'0006, efi_action = 0x8000'0007,
                               efi_platform_firmware_blob2 = 0x8000'000A, efi_handoff_tables2 = 0x8000'000B,
                               efi_variable_boot2 = 0x8000'000C, efi_variable_authority = 0x8000'00E0;
}
// "EV_SEPARATOR" and so on; empty where the type has no TCG name.
[[nodiscard]] std::string_view type_name(std::uint32_t type);

struct EventDigest {
  Algorithm algorithm;
  ByteView bytes;
};

// One TCG_PCR_EVENT2. Views point into the bytes that were parsed.
struct Event {
  std::uint32_t index = 0;  // MR index: 1..4 are RTMR0..3
  std::uint32_t type = 0;
  std::vector<EventDigest> digests;
  ByteView data;
  std::size_t offset = 0;  // of the record in the log

  // The digest in one bank, or an empty view.
  [[nodiscard]] ByteView digest(Algorithm algorithm) const;
};

struct Log {
  bool spec_id_signature = false;     // the first record says "Spec ID Event03" (AA's synthetic header does not)
  std::vector<Algorithm> algorithms;  // of the Spec ID record, in its order
  std::vector<Event> events;          // without the Spec ID record
  std::size_t end_offset = 0;         // just past the last record: padding and terminators begin here
};

// A CCEL area or a P2 cc_eventlog: Spec ID record, then records up to eight bytes of 00 or FF, fewer than eight bytes
// left, or the end. The log views `bytes`, which must outlive it. Errors: malformed (truncated record, an algorithm
// that the Spec ID record does not list, or one of another size), unsupported (unknown algorithm), too_large.
[[nodiscard]] Result<Log> parse_ccel(ByteView bytes);
// Bare records without a Spec ID record, as in AA's P2 file on a machine that has a CCEL. Same end and errors.
[[nodiscard]] Result<Log> parse_records(ByteView bytes);

// Registers after a replay from zeros: mr[0..3] are RTMR0-3 in the length of the bank.
struct Replay {
  std::array<Bytes, 4> mr;
  // Extended events with an index outside 1..4 (MRTD, or a PCR number): they took no part.
  std::size_t ignored = 0;
};
// state = H(state || digest) per record in order, EV_NO_ACTION skipped. malformed where an event lacks the bank.
[[nodiscard]] Result<Replay> replay(const Log& log, Algorithm bank);

using Rtmrs = std::array<Digest<48>, 4>;
// The strict form for TDX: SHA-384, and evidence_rejected where an extended event has an index outside 1..4.
[[nodiscard]] Result<Rtmrs> replay_rtmrs(const Log& log);

// Every digest is the hash of the raw event bytes: the claim `digest_matches_event` of spec/trustee.md §9.2.1.
[[nodiscard]] bool digest_matches_event(const Event& event);

// The part of an event's text that a rule of spec/guest.md §6.5 proves: it hashes to every digest of the event. EFI
// actions whole, GRUB commands and command lines (three GRUB flavours) without their prefix, which no digest covers,
// AAEL text without its tag. nullopt: nothing is proven; show the digest, not the text.
[[nodiscard]] std::optional<std::string> authenticated_text(const Event& event);

// Writes records: the simulator's CCEL and AA's P2 file.
[[nodiscard]] Bytes spec_id_record(std::uint32_t index, const std::vector<Algorithm>& algorithms);
[[nodiscard]] Bytes event_record(std::uint32_t index, std::uint32_t type, const Digest<48>& sha384, ByteView data);

// The 56-byte ACPI table "CCEL".
struct CcelTable {
  std::uint8_t cc_type = 0;  // 2 is TDX
  std::uint8_t cc_subtype = 0;
  std::uint64_t length = 0;   // LAML
  std::uint64_t address = 0;  // LASA
};
[[nodiscard]] Result<CcelTable> parse_ccel_table(ByteView bytes);
[[nodiscard]] Bytes ccel_table_bytes(const CcelTable& table);

}  // namespace cairn::eventlog
