#include "evidence/eventlog/eventlog.h"

#include <algorithm>

#include "base/cursor.h"
#include "base/encoding.h"
#include "crypto/hash.h"
#include "evidence/eventlog/aael.h"
#include "evidence/eventlog/limits.h"

namespace cairn::eventlog {
namespace {

struct AlgorithmFacts {
  Algorithm algorithm;
  std::size_t size;
  std::string_view name;
  crypto::Hash hash;
};
constexpr AlgorithmFacts kAlgorithms[] = {
    {Algorithm::sha1, 20, "SHA-1", crypto::Hash::sha1},       {Algorithm::sha256, 32, "SHA-256", crypto::Hash::sha256},
    {Algorithm::sha384, 48, "SHA-384", crypto::Hash::sha384}, {Algorithm::sha512, 64, "SHA-512", crypto::Hash::sha512},
    {Algorithm::sm3, 32, "SM3", crypto::Hash::sm3},
};

const AlgorithmFacts& facts(Algorithm algorithm) {
  return *std::ranges::find(kAlgorithms, algorithm, &AlgorithmFacts::algorithm);
}

Result<Algorithm> known_algorithm(std::uint16_t id, const std::string& place) {
  for (const auto& f : kAlgorithms)
    if (std::to_underlying(f.algorithm) == id) return f.algorithm;
  return fail(ErrorCode::unsupported, place, "digest algorithm " + std::to_string(id) + " is not known");
}

// The Spec ID record: legacy layout, its data holds the table of algorithms at offset 24.
Result<void> read_spec_id(Reader& in, Log& log) {
  const std::string place = in.place();
  CAIRN_CHECK(in.skip(4));  // MR index: 0 or 1 by firmware, without meaning
  CAIRN_TRY(const auto type, in.u32le());
  if (type != type::no_action)
    return fail(ErrorCode::malformed, place, "an event log starts with a Spec ID record (EV_NO_ACTION)");
  CAIRN_CHECK(in.skip(20));
  CAIRN_TRY(const auto size, in.u32le());
  CAIRN_TRY(auto data, in.sub(size));
  CAIRN_TRY(const auto signature, data.bytes(16));
  log.spec_id_signature = as_text(signature) == std::string_view("Spec ID Event03\0", 16);
  CAIRN_CHECK(data.skip(8));
  CAIRN_TRY(const auto count, data.u32le());
  if (count == 0 || count > limits::algorithms)
    return fail(ErrorCode::malformed, data.place(),
                "the Spec ID record lists " + std::to_string(count) + " algorithms");
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string at = data.place();
    CAIRN_TRY(const auto id, data.u16le());
    CAIRN_TRY(const auto length, data.u16le());
    CAIRN_TRY(const auto algorithm, known_algorithm(id, at));
    if (length != digest_size(algorithm))
      return fail(ErrorCode::malformed, at,
                  "the Spec ID record gives " + std::string(name(algorithm)) + " digests of " + std::to_string(length) +
                      " bytes");
    if (std::ranges::contains(log.algorithms, algorithm))
      return fail(ErrorCode::malformed, at, "the Spec ID record lists an algorithm twice");
    log.algorithms.push_back(algorithm);
  }
  CAIRN_TRY(const auto vendor, data.u8());
  CAIRN_CHECK(data.skip(vendor));
  return data.end();
}

bool at_end(const Reader& in) {
  if (in.remaining() < 8) return true;
  const auto next = in.rest().first(8);
  return (next[0] == 0 || next[0] == 0xFF) && std::ranges::all_of(next, [&](auto b) { return b == next[0]; });
}

Result<Event> read_event(Reader& in, const std::vector<Algorithm>* listed) {
  Event event;
  event.offset = in.offset();
  CAIRN_TRY(event.index, in.u32le());
  CAIRN_TRY(event.type, in.u32le());
  const std::string count_place = in.place();
  CAIRN_TRY(const auto count, in.u32le());
  if (count > limits::digests_per_event)
    return fail(ErrorCode::too_large, count_place, std::to_string(count) + " digests in one event");
  event.digests.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string place = in.place();
    CAIRN_TRY(const auto id, in.u16le());
    CAIRN_TRY(const auto algorithm, known_algorithm(id, place));
    if (listed != nullptr && !std::ranges::contains(*listed, algorithm))
      return fail(ErrorCode::malformed, place, std::string(name(algorithm)) + " is not listed in the Spec ID record");
    if (!event.digest(algorithm).empty()) return fail(ErrorCode::malformed, place, "two digests of one algorithm");
    CAIRN_TRY(const auto bytes, in.bytes(digest_size(algorithm)));
    event.digests.push_back({algorithm, bytes});
  }
  CAIRN_TRY(const auto size, in.u32le());
  CAIRN_TRY(event.data, in.bytes(size));
  return event;
}

Result<void> read_events(Reader& in, const std::vector<Algorithm>* listed, Log& log) {
  while (!at_end(in)) {
    if (log.events.size() == limits::ccel_events)
      return fail(ErrorCode::too_large, in.place(),
                  "an event log may hold " + std::to_string(limits::ccel_events) + " events");
    CAIRN_TRY(auto event, read_event(in, listed));
    log.events.push_back(std::move(event));
  }
  log.end_offset = in.offset();
  return {};
}

Result<void> check_size(ByteView bytes) {
  if (bytes.size() <= limits::ccel_bytes) return {};
  return fail(ErrorCode::too_large, "an event log may have " + std::to_string(limits::ccel_bytes) +
                                        " bytes, this has " + std::to_string(bytes.size()));
}

}  // namespace

std::size_t digest_size(Algorithm algorithm) { return facts(algorithm).size; }
std::string_view name(Algorithm algorithm) { return facts(algorithm).name; }
std::optional<Algorithm> algorithm_named(std::string_view text) {
  const auto hash = crypto::hash_by_name(text);
  if (!hash) return std::nullopt;
  return std::ranges::find(kAlgorithms, *hash, &AlgorithmFacts::hash)->algorithm;
}
Bytes hash(Algorithm algorithm, ByteView data) { return crypto::digest(facts(algorithm).hash, data); }

std::string_view type_name(std::uint32_t type) {
  static constexpr std::string_view kLow[] = {"EV_PREBOOT_CERT",
                                              "EV_POST_CODE",
                                              "EV_UNUSED",
                                              "EV_NO_ACTION",
                                              "EV_SEPARATOR",
                                              "EV_ACTION",
                                              "EV_EVENT_TAG",
                                              "EV_S_CRTM_CONTENTS",
                                              "EV_S_CRTM_VERSION",
                                              "EV_CPU_MICROCODE",
                                              "EV_PLATFORM_CONFIG_FLAGS",
                                              "EV_TABLE_OF_DEVICES",
                                              "EV_COMPACT_HASH",
                                              "EV_IPL",
                                              "EV_IPL_PARTITION_DATA",
                                              "EV_NONHOST_CODE",
                                              "EV_NONHOST_CONFIG",
                                              "EV_NONHOST_INFO",
                                              "EV_OMIT_BOOT_DEVICE_EVENTS"};
  static constexpr std::string_view kEfi[] = {"EV_EFI_EVENT_BASE",
                                              "EV_EFI_VARIABLE_DRIVER_CONFIG",
                                              "EV_EFI_VARIABLE_BOOT",
                                              "EV_EFI_BOOT_SERVICES_APPLICATION",
                                              "EV_EFI_BOOT_SERVICES_DRIVER",
                                              "EV_EFI_RUNTIME_SERVICES_DRIVER",
                                              "EV_EFI_GPT_EVENT",
                                              "EV_EFI_ACTION",
                                              "EV_EFI_PLATFORM_FIRMWARE_BLOB",
                                              "EV_EFI_HANDOFF_TABLES",
                                              "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
                                              "EV_EFI_HANDOFF_TABLES2",
                                              "EV_EFI_VARIABLE_BOOT2"};
  if (type < std::size(kLow)) return kLow[type];
  const std::uint32_t efi = type - 0x8000'0000U;
  if (type >= 0x8000'0000U && efi < std::size(kEfi)) return kEfi[efi];
  switch (type) {
    case 0x8000'0010: return "EV_EFI_HCRTM_EVENT";
    case 0x8000'00E0: return "EV_EFI_VARIABLE_AUTHORITY";
    case 0x8000'00E1: return "EV_EFI_SPDM_FIRMWARE_BLOB";
    case 0x8000'00E2: return "EV_EFI_SPDM_FIRMWARE_CONFIG";
    default: return {};
  }
}

ByteView Event::digest(Algorithm algorithm) const {
  const auto found = std::ranges::find(digests, algorithm, &EventDigest::algorithm);
  return found == digests.end() ? ByteView{} : found->bytes;
}

Result<Log> parse_ccel(ByteView bytes) {
  CAIRN_CHECK(check_size(bytes));
  Log log;
  Reader in(bytes);
  CAIRN_CHECK(read_spec_id(in, log));
  CAIRN_CHECK(read_events(in, &log.algorithms, log));
  return log;
}

Result<Log> parse_records(ByteView bytes) {
  CAIRN_CHECK(check_size(bytes));
  Log log;
  Reader in(bytes);
  CAIRN_CHECK(read_events(in, nullptr, log));
  return log;
}

Result<Replay> replay(const Log& log, Algorithm bank) {
  Replay out;
  out.mr.fill(Bytes(digest_size(bank)));
  crypto::Hasher hasher(facts(bank).hash);
  for (const auto& event : log.events) {
    if (event.type == type::no_action) continue;
    if (event.index < 1 || event.index > 4) {
      ++out.ignored;
      continue;
    }
    const auto digest = event.digest(bank);
    if (digest.empty())
      return fail(ErrorCode::malformed, "offset " + std::to_string(event.offset),
                  "the event has no " + std::string(name(bank)) + " digest");
    Bytes& mr = out.mr[event.index - 1];
    mr = hasher.update(mr).update(digest).finish();
  }
  return out;
}

Result<Rtmrs> replay_rtmrs(const Log& log) {
  CAIRN_TRY(const auto replayed, replay(log, Algorithm::sha384));
  if (replayed.ignored != 0) {
    const auto stray = std::ranges::find_if(
        log.events, [](const Event& e) { return e.type != type::no_action && (e.index < 1 || e.index > 4); });
    return fail(ErrorCode::evidence_rejected, "offset " + std::to_string(stray->offset),
                "an event names register index " + std::to_string(stray->index) + "; TDX has 1 to 4 (RTMR0 to RTMR3)");
  }
  Rtmrs out;
  for (std::size_t i = 0; i < out.size(); ++i) std::ranges::copy(replayed.mr[i], out[i].begin());
  return out;
}

namespace {

bool every_digest_is_of(const Event& event, ByteView data) {
  return !event.digests.empty() && std::ranges::all_of(event.digests, [&](const EventDigest& d) {
    return equal(hash(d.algorithm, data), d.bytes);
  });
}

std::optional<std::string> text_if(bool matches, std::string_view text) {
  if (!matches || !is_utf8(text)) return std::nullopt;
  return std::string(text);
}

// GRUB's EV_IPL strings: what follows the prefix is hashed, by one flavour together with a NUL for commands.
std::optional<std::string> grub_text(const Event& event) {
  std::string_view text = as_text(event.data);
  text = text.substr(0, text.find('\0'));
  for (const std::string_view prefix : {"grub_cmd: ", "kernel_cmdline: ", "grub_kernel_cmdline "})
    if (text.starts_with(prefix)) {
      text.remove_prefix(prefix.size());
      return text_if(every_digest_is_of(event, as_bytes(text)), text);
    }
  if (constexpr std::string_view prefix = "grub_cmd "; text.starts_with(prefix)) {
    text.remove_prefix(prefix.size());
    Bytes hashed = to_bytes(text);
    hashed.push_back(0);
    return text_if(every_digest_is_of(event, hashed), text);
  }
  return std::nullopt;
}

}  // namespace

bool digest_matches_event(const Event& event) { return every_digest_is_of(event, event.data); }

std::optional<std::string> authenticated_text(const Event& event) {
  switch (event.type) {
    case type::efi_action: return text_if(digest_matches_event(event), as_text(event.data));
    case type::ipl: return grub_text(event);
    case type::event_tag: {
      Reader in(event.data);
      const auto tag = in.u32le();
      const auto size = in.u32le();
      if (!tag || !size || *tag != aael_tag || *size != in.remaining()) return std::nullopt;
      return text_if(digest_matches_event(event), as_text(in.rest()));
    }
    default: return std::nullopt;
  }
}

Bytes spec_id_record(std::uint32_t index, const std::vector<Algorithm>& algorithms) {
  Writer out;
  out.u32le(index).u32le(type::no_action).zeros(20);
  out.u32le(static_cast<std::uint32_t>(16 + 8 + 4 + 4 * algorithms.size() + 1));
  out.text(std::string_view("Spec ID Event03\0", 16)).u32le(0).u8(0).u8(2).u8(0).u8(2);
  out.u32le(static_cast<std::uint32_t>(algorithms.size()));
  for (const auto a : algorithms) out.u16le(std::to_underlying(a)).u16le(static_cast<std::uint16_t>(digest_size(a)));
  return std::move(out.u8(0)).take();
}

Bytes event_record(std::uint32_t index, std::uint32_t type, const Digest<48>& sha384, ByteView data) {
  Writer out;
  out.u32le(index).u32le(type).u32le(1).u16le(std::to_underlying(Algorithm::sha384)).bytes(sha384.view());
  out.u32le(static_cast<std::uint32_t>(data.size())).bytes(data);
  return std::move(out).take();
}

Result<CcelTable> parse_ccel_table(ByteView bytes) {
  Reader in(bytes);
  CAIRN_TRY(const auto signature, in.text(4));
  CAIRN_TRY(const auto length, in.u32le());
  if (signature != "CCEL" || length != 56)
    return fail(ErrorCode::malformed, "offset 0", "not an ACPI CCEL table of 56 bytes");
  CAIRN_CHECK(in.skip(28));
  CcelTable table;
  CAIRN_TRY(table.cc_type, in.u8());
  CAIRN_TRY(table.cc_subtype, in.u8());
  CAIRN_CHECK(in.skip(2));
  CAIRN_TRY(table.length, in.u64le());
  CAIRN_TRY(table.address, in.u64le());
  CAIRN_CHECK(in.end());
  return table;
}

Bytes ccel_table_bytes(const CcelTable& table) {
  Writer out;
  out.text("CCEL").u32le(56).u8(1).u8(0).text("CAIRN ").text("CAIRNTD ").u32le(1).text("CRN ").u32le(1);
  out.u8(table.cc_type).u8(table.cc_subtype).u16le(0).u64le(table.length).u64le(table.address);
  Bytes bytes = std::move(out).take();
  std::uint8_t sum = 0;
  for (const auto b : bytes) sum = static_cast<std::uint8_t>(sum + b);
  bytes[9] = static_cast<std::uint8_t>(-sum);
  return bytes;
}

}  // namespace cairn::eventlog
