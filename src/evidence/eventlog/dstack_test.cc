#include "evidence/eventlog/dstack.h"

#include "evidence/eventlog/test_support.h"

namespace cairn::eventlog {
namespace {

const std::string kZero(96, '0');

std::string entry(std::string_view imr, std::string_view type, std::string_view digest, std::string_view event,
                  std::string_view payload) {
  return "{\"imr\":" + std::string(imr) + ",\"event_type\":" + std::string(type) + ",\"digest\":\"" +
         std::string(digest) + "\",\"event\":\"" + std::string(event) + "\",\"event_payload\":\"" +
         std::string(payload) + "\"}";
}

TEST(Dstack, RuntimeDigestsAreRecomputed) {
  const Bytes covered = to_bytes(as_bytes(std::string("\x01\x00\x00\x08:app-id:\xab\xcd", 14)));
  const std::string digest = hex(crypto::sha384(covered).view());
  for (const auto& given : {std::string(), digest}) {
    const auto log = parse_dstack_log("[" + entry("3", "134217729", given, "app-id", "abcd") + "]");
    ASSERT_TRUE(log) << log.error().text();
    EXPECT_EQ(hex((*log)[0].digest.view()), digest);
    EXPECT_TRUE((*log)[0].authenticated);
  }
  EXPECT_EQ(parse_dstack_log("[" + entry("3", "134217729", kZero, "app-id", "abcd") + "]").error().code,
            ErrorCode::evidence_rejected);
}

TEST(Dstack, RefusesWhatDoesNotFit) {
  EXPECT_TRUE(parse_dstack_log("[" + entry("0", "4", kZero, "", "") + "]"));
  for (const auto& bad :
       {entry("4", "4", kZero, "", ""), entry("0", "4", "", "", ""), entry("0", "4", "00", "", ""),
        entry("0", "4", kZero, "", "zz"), entry("-1", "4", kZero, "", ""), std::string("{}"), std::string("1")})
    EXPECT_FALSE(parse_dstack_log("[" + bad + "]")) << bad;
  EXPECT_FALSE(parse_dstack_log("{}"));
  const std::string whole = "[" + entry("0", "4", kZero, "", "") + "]";
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(parse_dstack_log(whole.substr(0, n)));
}

TEST(Dstack, SharedLogsMatchTheirQuotes) {
  NEEDS_SHARED_DATA();
  int compared = 0;
  const auto vectors = shared_json("tdx/eventlogs.json");
  for (const auto& expected : vectors["logs"]) {
    const std::string file = "tdx/" + expected["file"].get<std::string>();
    Rtmrs rtmr;
    if (file.ends_with(".json")) {
      const auto log = parse_dstack_log(shared_json(file)["event_log"].get<std::string>());
      ASSERT_TRUE(log) << file << ": " << log.error().text();
      EXPECT_EQ(log->size(), expected["event_count"].get<std::size_t>());
      rtmr = replay_dstack_log(*log);
    } else {
      const Bytes bytes = shared_bytes(file);
      const auto log = parse_ccel(bytes);
      ASSERT_TRUE(log) << file << ": " << log.error().text();
      EXPECT_EQ(log->events.size(), expected["event_count"].get<std::size_t>());
      EXPECT_EQ(log->end_offset, expected["end_offset"].get<std::size_t>());
      rtmr = replay_rtmrs(*log).value();
    }
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(hex(rtmr[i].view()), expected["rtmr"][i].get<std::string>()) << file;
    if (!expected["quote"].is_string()) continue;
    const Bytes quote = shared_bytes("tdx/" + expected["quote"].get<std::string>());
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_TRUE(equal(rtmr[i].view(), ByteView(quote).subspan(48 + 328 + 48 * i, 48))) << file;
    ++compared;
  }
  EXPECT_EQ(compared, 3);
}

}  // namespace
}  // namespace cairn::eventlog
