#include "evidence/eventlog/aael.h"

#include "evidence/eventlog/limits.h"
#include "evidence/eventlog/test_support.h"

namespace cairn::eventlog {
namespace {

const AaelEvent kEvent{"domain", "operation", "content"};

// Constants of spec/guest.md §7.1 and §7.5.
TEST(Aael, KnownDigests) {
  EXPECT_EQ(hex(tagged_event_digest(kEvent).view()),
            "dad5f0e226318ffa9839b75a472c6aa7fdb5834949d0a0a22990cf04d5692440fb00f3aa0609db7e49cd8d793f670d02");
  const std::string digest = hex(text_line_digest(kEvent.text()).view());
  EXPECT_EQ(digest.substr(0, 8), "26d944cb");
  EXPECT_EQ(digest.substr(92), "bfe1");
  const auto log = parse_text_log(init_line({}) + "\ndomain event operation\ndomain event2 operation");
  ASSERT_TRUE(log) << log.error().text();
  EXPECT_EQ(hex(replay_text_log(*log).value()),
            "5a6dd3b3c7eb3f0912d134aa30fab05893e91c78650af4fbce23411bc4b1d40011a2a530c1149a5bff6c5eb106b5a012");
  const auto sha256 =
      parse_text_log("INIT sha256/" + std::string(64, '0') + "\ndomain event operation\ndomain event2 operation\n");
  EXPECT_EQ(hex(replay_text_log(*sha256).value()), "e3f24e31c29b371c521ead351f6fed0865695cf512cfcb0df658090217f6f678");
}

TEST(Aael, TextLogGrammar) {
  const std::string init = init_line({}) + "\n";
  EXPECT_TRUE(parse_text_log(init));
  EXPECT_TRUE(parse_text_log(init + "a b c  \n"));  // trailing white space is not part of the event
  for (const std::string bad : {"", "a b c\n"}) EXPECT_FALSE(parse_text_log(bad));
  for (const std::string line : {"a b", "a b ", "a b c d", "a  b c", " a b c", "", "a b \xff"})
    EXPECT_FALSE(parse_text_log(init + line + "\n")) << line;
  EXPECT_EQ(parse_text_log(init + "a b c\nx y\n").error().where, "line 3");
  EXPECT_FALSE(parse_text_log("INIT sha384/" + std::string(98, '0') + "\n"));
  EXPECT_FALSE(parse_text_log("INIT md5/" + std::string(32, '0') + "\n"));
  EXPECT_FALSE(parse_text_log(std::string(limits::aael_bytes + 1, 'a')));
  EXPECT_FALSE(parse_text_log(init + "a b " + std::string(limits::aael_line, 'c')));
  EXPECT_TRUE(parse_text_log(init + "a b " + std::string(limits::aael_line - 4, 'c')));
}

TEST(Aael, EveryTruncationOfATextLogIsAnErrorOrAnotherRegister) {
  const std::string text = init_line({}) + "\na b c\nd e f1";
  const Bytes whole = replay_text_log(parse_text_log(text).value()).value();
  for (std::size_t n = 0; n < text.size(); ++n)
    if (const auto log = parse_text_log(std::string_view(text).substr(0, n)); log) {
      EXPECT_NE(hex(replay_text_log(*log).value()), hex(whole)) << n;
    }
}

TEST(Aael, ReplayWithoutTheLastEvent) {
  const auto log = parse_text_log(init_line({}) + "\na b c\nd e f\n").value();
  const auto shorter = parse_text_log(init_line({}) + "\na b c\n").value();
  EXPECT_EQ(replay_text_log(log, 1).value(), replay_text_log(shorter).value());
  EXPECT_NE(replay_text_log(log, 1).value(), replay_text_log(log).value());
}

TEST(Aael, WhatMayBeWritten) {
  EXPECT_TRUE(check_event(kEvent));
  EXPECT_TRUE(check_event({"d", "o", "{\"a\":\"b\"}"}));
  for (const AaelEvent& bad : {AaelEvent{"", "o", "c"},
                               {"d", "", "c"},
                               {"d", "o", ""},
                               {"d d", "o", "c"},
                               {"d", "o o", "c"},
                               {"d", "o", "c c"},
                               {"d", "o", "c\t"},
                               {"d", "o", "c\nx y z"},
                               {"d\n", "o", "c"},
                               {"d", "o", "\xff"}})
    EXPECT_FALSE(check_event(bad)) << bad.text();
  EXPECT_TRUE(check_event({"d", "o", "c c"}, ContentRule::line_feed_only));
  EXPECT_FALSE(check_event({"d", "o", "c\nc"}, ContentRule::line_feed_only));
  EXPECT_TRUE(check_event({"d", "o", std::string(limits::aael_line - 4, 'c')}));
  EXPECT_FALSE(check_event({"d", "o", std::string(limits::aael_line - 3, 'c')}));
}

TEST(Aael, EvidenceLogHasBothParts) {
  const Bytes record = tagged_event_record(kEvent);
  for (const bool firmware : {true, false}) {
    Bytes ccel = firmware ? small_log() : Bytes{};
    if (firmware) ccel.resize(ccel.size() + 4096);
    const auto bytes = evidence_log(ccel, record);
    ASSERT_TRUE(bytes);
    const auto log = parse_ccel(*bytes);
    ASSERT_TRUE(log) << log.error().text();
    EXPECT_EQ(log->end_offset + 8, bytes->size());
    EXPECT_EQ(aael_events(*log).value(), std::vector{kEvent});
    EXPECT_NE(hex(replay_rtmrs(*log).value()[3].view()), std::string(96, '0'));
  }
  EXPECT_EQ(synthetic_header().size(), 73U);
}

TEST(Aael, TaggedEventsAreCheckedAgainstTheirDigest) {
  const Bytes header = synthetic_header();
  Bytes bytes = joined({header, tagged_event_record(kEvent)});
  bytes.back() ^= 1;
  EXPECT_EQ(aael_events(parse_ccel(bytes).value()).error().code, ErrorCode::evidence_rejected);
  const Bytes elsewhere = joined({header, tagged_event_record(kEvent, 17)});
  EXPECT_EQ(aael_events(parse_ccel(elsewhere).value()).error().code, ErrorCode::evidence_rejected);
  const Bytes hidden = joined({header, tagged_event_record(kEvent), whole_event(4, type::action, "something else")});
  EXPECT_EQ(aael_events(parse_ccel(hidden).value()).error().code, ErrorCode::evidence_rejected);
  const Bytes other_register =
      joined({header, tagged_event_record(kEvent), whole_event(3, type::event_tag, "12345678")});
  EXPECT_EQ(aael_events(parse_ccel(other_register).value())->size(), 1U);
  const Bytes odd = joined({header, tagged_event_record({"a", "b", ""})});
  EXPECT_EQ(aael_events(parse_ccel(odd).value()).error().code, ErrorCode::malformed);
}

TEST(Aael, EveryTruncationOfATaggedLog) {
  const Bytes bytes = joined({synthetic_header(), tagged_event_record(kEvent)});
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto log = parse_ccel(ByteView(bytes).first(n));
    if (log) {
      EXPECT_TRUE(aael_events(*log).value().empty()) << n;
    }
  }
}

TEST(Aael, SharedTextLogs) {
  NEEDS_SHARED_DATA();
  const auto rtmr3 = [](std::string_view file) {
    return hex(replay_text_log(parse_text_log(read_text(shared(file)).value()).value()).value());
  };
  const Bytes quote = shared_bytes("guest/aael/AAEL_quote_tdx");
  const std::string in_quote = hex(ByteView(quote).subspan(48 + 472, 48));
  EXPECT_EQ(rtmr3("guest/aael/AAEL_data_1"), in_quote);
  EXPECT_EQ(rtmr3("guest/aael/AAEL_data_2").substr(0, 8), "31fa1788");
  EXPECT_EQ(rtmr3("guest/aael/AAEL_data_3").substr(0, 8), "0de62b45");
  EXPECT_NE(rtmr3("guest/aael/AAEL_data_2"), in_quote);
  const auto composed = shared_json("guest/aael/composed.json");
  std::string text;
  for (const auto& step : composed["text_sha384"]) {
    text += step["line"].get<std::string>() + "\n";
    const auto log = parse_text_log(text).value();
    EXPECT_EQ(hex(text_line_digest(log.lines.back()).view()), step["digest"].get<std::string>());
    EXPECT_EQ(hex(replay_text_log(log).value()), step["register"].get<std::string>());
  }
}

TEST(Aael, SharedStaleRegisterIsRefused) {
  NEEDS_SHARED_DATA();
  const Bytes bytes = shared_bytes("guest/aael/aael-stale-mr.bin");
  const auto log = parse_records(bytes);
  ASSERT_TRUE(log) << log.error().text();
  EXPECT_EQ(log->events.size(), 2U);
  EXPECT_EQ(aael_events(*log).error().code, ErrorCode::evidence_rejected);
  EXPECT_EQ(aael_events(*log, 17).value().size(), 2U);
}

}  // namespace
}  // namespace cairn::eventlog
