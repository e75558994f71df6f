#include "evidence/eventlog/eventlog.h"

#include "evidence/eventlog/limits.h"
#include "evidence/eventlog/test_support.h"

namespace cairn::eventlog {
namespace {

std::string extended(ByteView digest) {
  Bytes state(48);
  append(state, digest);
  return hex(crypto::sha384(state).view());
}

TEST(EventLog, ReplaysASmallLog) {
  const Bytes bytes = small_log();
  const auto log = parse_ccel(bytes);
  ASSERT_TRUE(log) << log.error().text();
  EXPECT_TRUE(log->spec_id_signature);
  ASSERT_EQ(log->events.size(), 3U);
  EXPECT_EQ(log->end_offset, bytes.size());
  const auto rtmr = replay_rtmrs(*log);
  ASSERT_TRUE(rtmr);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(hex((*rtmr)[i].view()), extended(log->events[i].digests[0].bytes));
  EXPECT_EQ(hex((*rtmr)[3].view()), std::string(96, '0'));
}

TEST(EventLog, TextIsAuthenticatedOnlyWhenItHashesToTheDigest) {
  Bytes bytes = small_log();
  auto log = parse_ccel(bytes).value();
  EXPECT_TRUE(digest_matches_event(log.events[0]));
  EXPECT_FALSE(authenticated_text(log.events[0]));
  EXPECT_EQ(authenticated_text(log.events[1]), "Exit Boot Services Invocation");
  EXPECT_FALSE(digest_matches_event(log.events[2]));
  EXPECT_EQ(authenticated_text(log.events[2]), "linux /vmlinuz");
  bytes[bytes.size() - 4] ^= 1;  // inside the command
  EXPECT_FALSE(authenticated_text(parse_ccel(bytes).value().events[2]));
}

TEST(EventLog, BothGrubFlavours) {
  const auto text_of = [](std::string_view hashed, std::string_view data) {
    const Bytes log = joined({spec_id_record(0, {Algorithm::sha384}),
                              event_record(3, type::ipl, crypto::sha384(as_bytes(hashed)), as_bytes(data))});
    return authenticated_text(parse_ccel(log).value().events[0]);
  };
  EXPECT_EQ(text_of("set x=1", "grub_cmd: set x=1"), "set x=1");
  EXPECT_EQ(text_of("ro quiet", std::string_view("kernel_cmdline: ro quiet\0", 25)), "ro quiet");
  EXPECT_EQ(text_of("ro quiet", "grub_kernel_cmdline ro quiet"), "ro quiet");
  EXPECT_FALSE(text_of("set x=1", "grub_cmd set x=1"));  // this flavour hashes the NUL too
  EXPECT_FALSE(text_of("kernel", "grub_linuxefi Kernel"));
}

TEST(EventLog, EveryTruncationIsAnErrorOrALegalEnd) {
  const Bytes bytes = small_log();
  const auto whole = parse_ccel(bytes).value();
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto log = parse_ccel(ByteView(bytes).first(n));
    if (!log) continue;
    ASSERT_LT(log->events.size(), whole.events.size()) << n;  // cut within seven bytes after a record
    EXPECT_LT(n - log->end_offset, 8U) << n;
  }
}

TEST(EventLog, EndsAndPadding) {
  for (const auto pad : {std::uint8_t{0x00}, std::uint8_t{0xFF}}) {
    Bytes bytes = small_log();
    const std::size_t end = bytes.size();
    bytes.insert(bytes.end(), 8, pad);
    append(bytes, as_bytes("whatever stands here is not read"));
    const auto log = parse_ccel(bytes);
    ASSERT_TRUE(log);
    EXPECT_EQ(log->end_offset, end);
  }
}

TEST(EventLog, RefusesWhatDoesNotFit) {
  EXPECT_FALSE(parse_ccel({}));
  EXPECT_FALSE(parse_ccel(Bytes(4096, 0)));
  EXPECT_FALSE(parse_ccel(Bytes(4096, 0xFF)));
  const Bytes header = spec_id_record(1, {Algorithm::sha384});
  Bytes bad_size = header;
  bad_size[28] ^= 1;  // record size no longer equals its content
  EXPECT_FALSE(parse_ccel(bad_size));
  EXPECT_FALSE(parse_ccel(spec_id_record(1, {Algorithm::sha384, Algorithm::sha384})));
  EXPECT_FALSE(parse_ccel(spec_id_record(1, std::vector(9, Algorithm::sha384))));
  // A digest whose algorithm is not listed, or not known at all.
  const Bytes sha256_only = joined({spec_id_record(1, {Algorithm::sha256}), whole_event(1, 4, "x")});
  EXPECT_EQ(parse_ccel(sha256_only).error().code, ErrorCode::malformed);
  Bytes unknown = joined({header, whole_event(1, 4, "x")});
  unknown[header.size() + 12] = 0x77;
  EXPECT_EQ(parse_ccel(unknown).error().code, ErrorCode::unsupported);
  Bytes many = header;
  many.resize(limits::ccel_bytes + 1);
  EXPECT_EQ(parse_ccel(many).error().code, ErrorCode::too_large);
  many.pop_back();
  EXPECT_TRUE(parse_ccel(many));
}

TEST(EventLog, BoundsTheNumberOfEvents) {
  Bytes bytes = spec_id_record(1, {Algorithm::sha384});
  const Bytes one = event_record(1, type::separator, {}, {});
  for (std::size_t i = 0; i < limits::ccel_events; ++i) append(bytes, one);
  EXPECT_TRUE(parse_ccel(bytes));
  append(bytes, one);
  EXPECT_EQ(parse_ccel(bytes).error().code, ErrorCode::too_large);
}

TEST(EventLog, StrictReplayRefusesOtherRegisters) {
  const Bytes header = spec_id_record(1, {Algorithm::sha384});
  for (const std::uint32_t index : {0U, 5U, 17U}) {
    const Bytes bytes = joined({header, whole_event(index, type::separator, "x")});
    const auto log = parse_ccel(bytes).value();
    EXPECT_EQ(replay_rtmrs(log).error().code, ErrorCode::evidence_rejected);
    EXPECT_EQ(replay(log, Algorithm::sha384)->ignored, 1U);
  }
  const Bytes note = joined({header, whole_event(0, type::no_action, "x")});
  EXPECT_TRUE(replay_rtmrs(parse_ccel(note).value()));
}

TEST(EventLog, ReplayNeedsTheBank) {
  const Bytes bytes = small_log();
  EXPECT_FALSE(replay(parse_ccel(bytes).value(), Algorithm::sha256));
}

TEST(EventLog, SharedLogsReplay) {
  NEEDS_SHARED_DATA();
  const auto vectors = shared_json("guest/ccel/expected-replay.json");
  for (const auto& [file, expected] : vectors.items()) {
    const Bytes bytes = shared_bytes("guest/ccel/" + file);
    const auto log = parse_ccel(bytes);
    ASSERT_TRUE(log) << file << ": " << log.error().text();
    EXPECT_EQ(log->events.size(), expected["events_after_header"].get<std::size_t>()) << file;
    EXPECT_EQ(log->end_offset, expected["end_offset"].get<std::size_t>()) << file;
    for (const auto& [key, value] : expected["registers"].items()) {
      const auto bank = algorithm_named(key.substr(0, key.find('/')));
      ASSERT_TRUE(bank) << key;
      const auto replayed = replay(*log, *bank);
      ASSERT_TRUE(replayed) << file;
      EXPECT_EQ(hex(replayed->mr.at(key.back() - '1')), value.get<std::string>()) << file << " " << key;
    }
  }
}

TEST(EventLog, SharedLogMatchesItsQuote) {
  NEEDS_SHARED_DATA();
  const auto vectors = shared_json("tdx/eventlogs.json");
  const auto& expected = vectors["logs"][0];
  const Bytes bytes = shared_bytes("tdx/" + expected["file"].get<std::string>());
  const auto log = parse_ccel(bytes).value();
  const Bytes quote = shared_bytes("tdx/" + expected["quote"].get<std::string>());
  const auto rtmr = replay_rtmrs(log).value();
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(hex(rtmr[i].view()), expected["rtmr"][i].get<std::string>());
    EXPECT_TRUE(equal(rtmr[i].view(), ByteView(quote).subspan(48 + 328 + 48 * i, 48)));
  }
  ASSERT_EQ(log.events.size(), expected["events"].size());
  for (std::size_t i = 0; i < log.events.size(); ++i) {
    const auto& e = expected["events"][i];
    EXPECT_EQ(log.events[i].index, e["mr"].get<unsigned>());
    EXPECT_TRUE(type_name(log.events[i].type).ends_with(e["name"].get<std::string>())) << i;
    EXPECT_EQ(digest_matches_event(log.events[i]), e["digest_is_sha384_of_event"].get<bool>()) << i;
  }
}

TEST(EventLog, AlibabaGrubTextsAreAuthenticated) {
  NEEDS_SHARED_DATA();
  const Bytes bytes = shared_bytes("guest/ccel/CCEL_AAEL_alibabacloud");
  const auto log = parse_ccel(bytes).value();
  std::size_t commands = 0, proven = 0;
  for (const auto& event : log.events) {
    if (event.type != type::ipl || !as_text(event.data).starts_with("grub_")) continue;
    if (as_text(event.data).starts_with("grub_linuxefi")) continue;
    ++commands;
    proven += authenticated_text(event).has_value();
  }
  EXPECT_GT(commands, 40U);
  EXPECT_EQ(proven, commands);
}

TEST(EventLog, SharedTruncationsNeverPass) {
  NEEDS_SHARED_DATA();
  const Bytes bytes = shared_bytes("guest/ccel/CCEL_unpadded.data.bin");
  const auto whole = parse_ccel(bytes).value();
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto log = parse_ccel(ByteView(bytes).first(n));
    EXPECT_TRUE(!log || log->events.size() < whole.events.size()) << n;
  }
}

TEST(CcelTable, BothWays) {
  const CcelTable table{.cc_type = 2, .cc_subtype = 0, .length = 0x10000, .address = 0x7f000000};
  const Bytes bytes = ccel_table_bytes(table);
  std::uint8_t sum = 0;
  for (const auto b : bytes) sum = static_cast<std::uint8_t>(sum + b);
  EXPECT_EQ(sum, 0);
  const auto again = parse_ccel_table(bytes);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->length, table.length);
  EXPECT_EQ(again->address, table.address);
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(parse_ccel_table(ByteView(bytes).first(n)));
}

TEST(CcelTable, SharedTable) {
  NEEDS_SHARED_DATA();
  const auto table = parse_ccel_table(shared_bytes("guest/ccel/cos-113-intel-tdx.table.bin")).value();
  EXPECT_EQ(table.length, 0x40000U);
  EXPECT_EQ(table.address, 0xbedbf000U);
}

}  // namespace
}  // namespace cairn::eventlog
