#include "guest/aa/event_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/encoding.h"
#include "crypto/hash.h"
#include "guest/aa/test_tee.h"

namespace cairn::aa {
namespace {

using eventlog::AaelEvent;
namespace fs = std::filesystem;

class EventLogTest : public testing::TestWithParam<LogForm> {
 protected:
  EventLogTest() {
    static int number = 0;
    dir_ = fs::temp_directory_path() /
           ("cairn_event_log_test." + std::to_string(::getpid()) + "." + std::to_string(++number));
    fs::create_directories(dir_);
  }
  ~EventLogTest() override { fs::remove_all(dir_); }

  [[nodiscard]] EventLogOptions options(const std::string& sub = "log") const {
    return {.path = dir_ / sub / "eventlog", .form = GetParam()};
  }
  // The register a verifier would compute from the file.
  static Digest<48> replayed(const EventLogOptions& o, FakeTee& tee) {
    const Bytes bytes = *read_file(o.path);
    if (o.form == LogForm::text)
      return *Digest<48>::from(*eventlog::replay_text_log(*eventlog::parse_text_log(as_text(bytes))));
    const std::size_t header = tee.has_ccel ? 0 : eventlog::synthetic_header().size();
    const Bytes whole =
        *eventlog::evidence_log(tee.has_ccel ? tee.ccel_bytes() : Bytes{}, ByteView(bytes).subspan(header));
    return (*eventlog::replay_rtmrs(*eventlog::parse_ccel(whole)))[3];
  }
  fs::path dir_;
};
INSTANTIATE_TEST_SUITE_P(Forms, EventLogTest, testing::Values(LogForm::text, LogForm::tcg2),
                         [](const auto& tested) { return tested.param == LogForm::text ? "P1" : "P2"; });

TEST_P(EventLogTest, LogAndRegisterAgreeAcrossRestarts) {
  for (const bool ccel : {false, true}) {
    FakeTee tee;
    tee.has_ccel = ccel;
    const auto o = options(ccel ? "with" : "without");
    for (int run = 0; run < 3; ++run) {
      auto log = EventLog::open(o, tee);
      ASSERT_TRUE(log) << log.error().text();
      EXPECT_EQ((*log)->defect(), "");
      ASSERT_TRUE((*log)->extend({"domain", "event", "run" + std::to_string(run)}, {}));
      ASSERT_TRUE((*log)->extend({"domain", "event2", "x"}, 16));
      EXPECT_EQ(replayed(o, tee), tee.rtmr[3]);
    }
  }
}

TEST_P(EventLogTest, TextBytesAreThoseOfTheSpecification) {
  if (GetParam() != LogForm::text) return;  // the records' bytes are tested with evidence/eventlog
  FakeTee tee;
  auto log = *EventLog::open(options(), tee);
  ASSERT_TRUE(log->extend({"domain", "event", "operation"}, {}));
  ASSERT_TRUE(log->extend({"domain", "event2", "operation"}, 17));
  EXPECT_EQ(*read_text(options().path),
            "INIT sha384/" + std::string(96, '0') + "\ndomain event operation\ndomain event2 operation\n");
  // spec/guest.md §7.1
  EXPECT_EQ(hex(tee.rtmr[3].view()),
            "5a6dd3b3c7eb3f0912d134aa30fab05893e91c78650af4fbce23411bc4b1d40011a2a530c1149a5bff6c5eb106b5a012");
}

TEST_P(EventLogTest, EmptyFileIsANewLogAndAMissingLastLineFeedIsMended) {
  FakeTee tee;
  const auto o = options();
  fs::create_directories(o.path.parent_path());
  ASSERT_TRUE(write_text(o.path, ""));
  {
    auto log = *EventLog::open(o, tee);
    ASSERT_TRUE(log->extend({"d", "o", "c"}, {}));
  }
  if (GetParam() == LogForm::text) {
    fs::resize_file(o.path, fs::file_size(o.path) - 1);
    auto log = *EventLog::open(o, tee);
    EXPECT_EQ(log->defect(), "");
    ASSERT_TRUE(log->extend({"d", "o", "c2"}, {}));
  }
  EXPECT_EQ(replayed(o, tee), tee.rtmr[3]);
}

// Stops the world at the moment between append and extension, and, from there, at every length the append may have
// reached; the next start must end with both sides equal and the event either whole or absent.
TEST_P(EventLogTest, CrashBetweenAppendAndExtension) {
  FakeTee tee;
  const auto o = options();
  const fs::path crash = dir_ / "crash";
  FakeTee at_crash;
  {
    auto log = *EventLog::open(o, tee);
    ASSERT_TRUE(log->extend({"d", "first", "c"}, {}));
    const std::size_t before = fs::file_size(o.path);
    tee.on_extend = [&] {
      fs::copy(o.path.parent_path(), crash, fs::copy_options::recursive);
      at_crash.rtmr = tee.rtmr;
    };
    ASSERT_TRUE(log->extend({"d", "second", "c"}, {}));
    tee.on_extend = {};
    const std::size_t after = fs::file_size(crash / "eventlog");
    ASSERT_GT(after, before);
    for (std::size_t size = before; size <= after; ++size) {
      const fs::path torn = dir_ / "torn";
      fs::remove_all(torn);
      fs::copy(crash, torn, fs::copy_options::recursive);
      fs::resize_file(torn / "eventlog", size);
      FakeTee machine;
      machine.rtmr = at_crash.rtmr;
      auto again = EventLog::open({.path = torn / "eventlog", .form = GetParam()}, machine);
      ASSERT_TRUE(again);
      EXPECT_EQ((*again)->defect(), "") << size;
      EXPECT_EQ(machine.rtmr[3], tee.rtmr[3]) << size;
      EXPECT_FALSE(fs::exists(torn / ".wal_event_entry"));
      ASSERT_TRUE((*again)->extend({"d", "third", "c"}, {}));
      EXPECT_EQ(replayed({.path = torn / "eventlog", .form = GetParam()}, machine), machine.rtmr[3]) << size;
    }
  }
}

TEST_P(EventLogTest, CrashAfterExtensionBeforeTheEntryIsRemoved) {
  FakeTee tee;
  const auto o = options();
  const fs::path crash = dir_ / "crash";
  {
    auto log = *EventLog::open(o, tee);
    tee.on_extend = [&] { fs::copy(o.path.parent_path(), crash, fs::copy_options::recursive); };
    ASSERT_TRUE(log->extend({"d", "o", "c"}, {}));
    tee.on_extend = {};
  }
  const auto expected = tee.rtmr[3];
  auto again = *EventLog::open({.path = crash / "eventlog", .form = GetParam()}, tee);
  EXPECT_EQ(again->defect(), "");
  EXPECT_EQ(tee.rtmr[3], expected);  // not extended twice
}

TEST_P(EventLogTest, AnUnexplainedRegisterInvalidatesTheLog) {
  FakeTee tee;
  const auto o = options();
  {
    auto log = *EventLog::open(o, tee);
    ASSERT_TRUE(log->extend({"d", "o", "c"}, {}));
  }
  ASSERT_TRUE(tee.extend_rtmr(3, crypto::sha384(as_bytes("behind our back"))));
  auto log = *EventLog::open(o, tee);
  EXPECT_NE(log->defect(), "");
  const auto before = tee.rtmr;
  EXPECT_EQ(log->extend({"d", "o", "c"}, {}).error().code, ErrorCode::conflict);
  EXPECT_EQ(tee.rtmr, before);
  const auto evidence = log->consistent([&] { return tee.quote({}); });  // still served
  ASSERT_TRUE(evidence);
  EXPECT_FALSE(evidence->log.empty());
}

TEST_P(EventLogTest, ADroppedEntryInvalidatesTheLog) {
  FakeTee tee;
  const auto o = options();
  std::size_t keep = 0;
  {
    auto log = *EventLog::open(o, tee);
    ASSERT_TRUE(log->extend({"d", "a", "c"}, {}));
    keep = fs::file_size(o.path);
    ASSERT_TRUE(log->extend({"d", "b", "c"}, {}));
    ASSERT_TRUE(log->extend({"d", "e", "c"}, {}));
  }
  fs::resize_file(o.path, keep);
  EXPECT_NE((*EventLog::open(o, tee))->defect(), "");
  ASSERT_TRUE(write_text(o.path, "not a log"));
  EXPECT_NE((*EventLog::open(o, tee))->defect(), "");
}

TEST_P(EventLogTest, AFailedExtensionIsTakenBack) {
  FakeTee tee;
  const auto o = options();
  auto log = *EventLog::open(o, tee);
  ASSERT_TRUE(log->extend({"d", "a", "c"}, {}));
  const Bytes before = *read_file(o.path);
  tee.fail_extend = true;
  EXPECT_FALSE(log->extend({"d", "b", "c"}, {}));
  EXPECT_EQ(*read_file(o.path), before);
  tee.fail_extend = false;
  ASSERT_TRUE(log->extend({"d", "b", "c"}, {}));
  EXPECT_EQ(replayed(o, tee), tee.rtmr[3]);
}

TEST_P(EventLogTest, OnlyEventsThatVerifiersAccept) {
  FakeTee tee;
  auto log = *EventLog::open(options(), tee);
  const auto before = tee.rtmr;
  for (const AaelEvent& bad : std::vector<AaelEvent>{{"d", "o", "a b"},
                                                     {"d", "o", "a\nb"},
                                                     {"d", "o", ""},
                                                     {"", "o", "c"},
                                                     {"d d", "o", "c"},
                                                     {"d", "", "c"},
                                                     {"d", "o\t", "c"},
                                                     {"d", "o", "c "},
                                                     {"d\n", "o", "c"}})
    EXPECT_EQ(log->extend(bad, {}).error().code, ErrorCode::invalid_argument) << bad.text();
  EXPECT_EQ(log->extend({"d", "o", std::string(8193, 'x')}, {}).error().code, ErrorCode::too_large);
  EXPECT_TRUE(log->extend({"d", "o", std::string(8192, 'x')}, {}));
  EXPECT_FALSE(log->extend({"d", "o", "c"}, 1));
  EXPECT_FALSE(log->extend({"d", "o", "c"}, 4));
  EXPECT_EQ(log->extend({"d", "o", "c"}, 8).has_value(), GetParam() == LogForm::tcg2);  // RTMR2
  EXPECT_EQ(tee.rtmr[0], before[0]);
  auto loose_options = options("loose");
  loose_options.rule = eventlog::ContentRule::line_feed_only;
  FakeTee other;
  auto loose = *EventLog::open(loose_options, other);
  EXPECT_TRUE(loose->extend({"d", "o", "a b"}, {}));
  EXPECT_FALSE(loose->extend({"d", "o", "a\nb"}, {}));
}

TEST_P(EventLogTest, OneWriter) {
  FakeTee tee;
  auto log = *EventLog::open(options(), tee);
  EXPECT_EQ(EventLog::open(options(), tee).error().code, ErrorCode::conflict);
}

// Quotes carry the registers of the moment they are made: the log handed out with one must replay to it.
TEST_P(EventLogTest, EvidenceAndEventsAtTheSameTime) {
  FakeTee tee;
  tee.slow_quotes = true;
  auto log = *EventLog::open(options(), tee);
  std::atomic<bool> stop = false;
  std::jthread writer([&] {
    for (int i = 0; i < 60 && !stop; ++i) {
      EXPECT_TRUE(log->extend({"d", "o", std::to_string(i)}, {}));
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  for (int i = 0; i < 20; ++i) {
    const auto state = log->consistent([&] { return tee.quote({}); });
    ASSERT_TRUE(state);
    ASSERT_TRUE(write_file(dir_ / "copy", state->log));
    EXPECT_EQ(hex(replayed({.path = dir_ / "copy", .form = GetParam()}, tee).view()),
              hex(ByteView(state->quote).last(48)));
  }
  stop = true;
}

}  // namespace
}  // namespace cairn::aa
