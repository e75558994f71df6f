#include "guest/aa/attester.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "guest/aa/test_tee.h"

namespace cairn::aa {
namespace {

namespace fs = std::filesystem;
using kbs::Profile;

Json shared(const char* name) {
  const auto path = fs::path(CAIRN_SHARED_DATA) / "guest/evidence" / name;
  return fs::exists(path) ? *parse_json(*read_text(path)) : Json();
}
Bytes decoded(const Json& evidence, const char* member) {
  return evidence[member].is_null() ? Bytes{} : *from_base64(evidence[member].get<std::string>());
}

TEST(Evidence, VectorsAreRebuiltByteForByte) {
  const Json p1 = shared("tdx-p1-cos113.json"), p2 = shared("tdx-p2-cos113.json"), aael = shared("tdx-p1-aael.json");
  if (p1.is_null()) GTEST_SKIP() << "shared data not present";
  const Bytes quote = decoded(p1, "quote"), ccel = decoded(p1, "cc_eventlog");
  const auto rebuilt = *parse_json(tdx_evidence_p1(quote, ccel, {}));
  for (const char* member : {"quote", "cc_eventlog", "aa_eventlog"}) EXPECT_EQ(rebuilt[member], p1[member]) << member;
  const auto second = *parse_json(*tdx_evidence_p2(quote, ccel, {}));
  EXPECT_EQ(second["quote"], p2["quote"]);
  EXPECT_EQ(second["cc_eventlog"], p2["cc_eventlog"]);
  EXPECT_FALSE(second.contains("aa_eventlog"));
  const auto third =
      *parse_json(tdx_evidence_p1(decoded(aael, "quote"), {}, as_bytes(aael["aa_eventlog"].get<std::string>())));
  EXPECT_EQ(third["aa_eventlog"], aael["aa_eventlog"]);
  EXPECT_TRUE(third["cc_eventlog"].is_null());
}

TEST(Evidence, SampleIsExact) {
  const Json v = shared("sample.json");
  Bytes data(48);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i);
  if (!v.is_null()) {
    EXPECT_EQ(v, *parse_json(sample_evidence("1", data)));
  }
  EXPECT_EQ(sample_evidence("1", Bytes{0, 1, 2}), R"({"report_data":"AAEC","svn":"1"})");
}

// spec/guest.md §12.2, 12.
TEST(Evidence, ReportDataOfUpTo64Bytes) {
  for (const std::size_t size : {0U, 48U, 64U}) {
    const auto padded = as_report_data(Bytes(size, 7));
    ASSERT_TRUE(padded);
    EXPECT_EQ(std::count(padded->begin(), padded->end(), 7), static_cast<std::ptrdiff_t>(size));
  }
  EXPECT_EQ(as_report_data(Bytes(65)).error().code, ErrorCode::invalid_argument);
  EXPECT_FALSE(sample_attester()->evidence(Bytes(65)));
  EXPECT_TRUE(sample_attester()->evidence(Bytes(64)));
}

struct Machine {
  FakeTee tee;
  fs::path dir = fs::temp_directory_path() / ("cairn_attester_test." + std::to_string(::getpid()));
  std::unique_ptr<EventLog> log;
  std::unique_ptr<Attester> attester;
  Machine(Profile profile, bool ccel, bool with_log) {
    fs::remove_all(dir);
    tee.has_ccel = ccel;
    if (with_log)
      log = *EventLog::open({.path = dir / "eventlog", .form = profile == Profile::p1 ? LogForm::text : LogForm::tcg2},
                            tee);
    attester = tdx_attester(tee, log.get(), profile);
  }
  ~Machine() { fs::remove_all(dir); }
};

TEST(Attester, P1CarriesTheWholeCcelAndTheTextLog) {
  Machine m(Profile::p1, true, true);
  ASSERT_TRUE(m.attester->extend({"d", "o", "c"}, {}));
  const auto evidence = *parse_json(*m.attester->evidence(Bytes(48, 9)));
  EXPECT_EQ(decoded(evidence, "cc_eventlog"), FakeTee::ccel_bytes());
  EXPECT_NE(evidence["aa_eventlog"].get<std::string>().find("\nd o c\n"), std::string::npos);
  const Bytes quote = decoded(evidence, "quote");
  EXPECT_EQ(quote[0], 9);
  EXPECT_EQ(quote[48], 0);
  EXPECT_TRUE(evidence["gpu_evidence"].is_null());
}

TEST(Attester, P2MergesTheLogs) {
  for (const bool ccel : {false, true}) {
    Machine m(Profile::p2, ccel, true);
    ASSERT_TRUE(m.attester->extend({"d", "o", "c"}, {}));
    const auto evidence = *parse_json(*m.attester->evidence({}));
    const Bytes log = decoded(evidence, "cc_eventlog");
    EXPECT_EQ(Bytes(log.end() - 8, log.end()), Bytes(8, 0xFF));
    const auto parsed = eventlog::parse_ccel(log);
    ASSERT_TRUE(parsed) << parsed.error().text();
    EXPECT_EQ((*eventlog::replay_rtmrs(*parsed))[3], m.tee.rtmr[3]);
    EXPECT_EQ(eventlog::aael_events(*parsed)->at(0).text(), "d o c");
  }
}

TEST(Attester, WithoutALogNothingIsExtended) {
  Machine m(Profile::p1, false, false);
  EXPECT_EQ(m.attester->extend({"d", "o", "c"}, {}).error().code, ErrorCode::unsupported);
  EXPECT_EQ(m.tee.rtmr[3], Digest<48>{});
  const auto evidence = *parse_json(*m.attester->evidence({}));
  EXPECT_TRUE(evidence["cc_eventlog"].is_null());
  EXPECT_TRUE(evidence["aa_eventlog"].is_null());
}

TEST(Attester, InitDataIsComparedWithMrConfigId) {
  Machine m(Profile::p1, false, false);
  std::fill_n(m.tee.config_id.begin(), 32, 5);
  EXPECT_TRUE(m.attester->check_init_data(Bytes(32, 5)));
  EXPECT_EQ(m.attester->check_init_data(Bytes(32, 6)).error().code, ErrorCode::evidence_rejected);
  EXPECT_FALSE(m.attester->check_init_data(Bytes(48, 5)));
}

}  // namespace
}  // namespace cairn::aa
