#include "net/sse.h"

#include <gtest/gtest.h>

namespace cairn::net {
namespace {

TEST(Sse, ParsesTheStandardsExamples) {
  SseParser parser;
  const auto events =
      parser
          .feed(
              "\xEF\xBB\xBF: comment\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n"
              "data\n\ndata\ndata\n\nevent: add\r\ndata: 73\r\rretry: 10\rdata: a: b\n\nid: x\n\ndata: cut")
          .value();
  const std::vector<SseEvent> expected = {{"", "first", "1", {}}, {"", "second", "", {}}, {"", " third", "", {}},
                                          {"", "", "", {}},       {"", "\n", "", {}},     {"add", "73", "", {}},
                                          {"", "a: b", "", 10}};
  EXPECT_EQ(events, expected);
}

TEST(Sse, AnySplittingGivesTheSameEvents) {
  const std::string text = "event: e\r\ndata: one\r\ndata: two\r\n\r\ndata: \xC3\xA4\r\r: c\n\ndata: last\n\n";
  const auto whole = SseParser().feed(text).value();
  ASSERT_EQ(whole.size(), 3U);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    SseParser parser;
    auto events = parser.feed(text.substr(0, cut)).value();
    const auto rest = parser.feed(text.substr(cut)).value();
    events.insert(events.end(), rest.begin(), rest.end());
    EXPECT_EQ(events, whole) << cut;
  }
  SseParser bytewise;
  std::vector<SseEvent> events;
  for (const char c : text) {
    const auto more = bytewise.feed({&c, 1}).value();
    events.insert(events.end(), more.begin(), more.end());
  }
  EXPECT_EQ(events, whole);
}

TEST(Sse, WritesWhatItReads) {
  for (const SseEvent& e : {SseEvent{"", "plain", "", {}}, SseEvent{"name", "two\nlines", "7", 1500U},
                            SseEvent{"", "", "", {}}, SseEvent{"", " leading\n\ntrailing\n", "", {}}}) {
    const auto back = SseParser().feed(format_sse(e)).value();
    ASSERT_EQ(back.size(), 1U);
    EXPECT_EQ(back[0], e);
  }
  EXPECT_EQ(format_sse("a\r\nb"), "data: a\ndata: b\n\n");
  EXPECT_EQ(format_sse(SseEvent{"e\ndata: injected", "d", "", {}}), "event: e\ndata: d\n\n");
  EXPECT_TRUE(SseParser().feed(format_sse_comment("x\ndata: y")).value().empty());
}

TEST(Sse, BoundsAnEvent) {
  SseParser fits;
  EXPECT_TRUE(fits.feed("data:" + std::string(limits::kSseEvent - 6, 'x')));
  EXPECT_EQ(fits.feed("\n\n").value_or(std::vector<SseEvent>{}).size(), 0U);  // the line end is one too many
  SseParser exact;
  EXPECT_EQ(exact.feed("data:" + std::string(limits::kSseEvent - 7, 'x') + "\n\n").value().size(), 1U);
  SseParser lines;
  bool refused = false;
  for (int i = 0; i < 200 && !refused; ++i) refused = !lines.feed("data: " + std::string(8192, 'y') + "\n");
  EXPECT_TRUE(refused);
  SseParser many;  // events of any total
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(many.feed("data: " + std::string(16384, 'z') + "\n\n"));
}

}  // namespace
}  // namespace cairn::net
