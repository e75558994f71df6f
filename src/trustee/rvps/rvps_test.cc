#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "base/test_folder.h"
#include "trustee/limits.h"
#include "trustee/rvps/extract.h"

namespace cairn::trustee::rvps {
namespace {

constexpr Time kNow{1'800'000'000};

TEST(ReferenceValues, SurviveAndExpire) {
  const TestFolder folder;
  const auto file = folder / "values.json";
  {
    auto store = Store::open(file).value();
    ASSERT_TRUE(
        store->put({{"a", kNow.plus(10), Json::array({"1"})}, {"b", kNow.plus(20), 7}}, Store::Mode::replace, kNow));
    EXPECT_EQ(store->snapshot(kNow).get(), store->snapshot(kNow.plus(9)).get());
  }
  auto store = Store::open(file).value();
  EXPECT_EQ(store->snapshot(kNow)->values, Json({{"a", {"1"}}, {"b", 7}}));
  EXPECT_EQ(store->snapshot(kNow.plus(10))->values, Json({{"b", 7}}));
  EXPECT_EQ(store->remove("c").error().code, ErrorCode::not_found);
  ASSERT_TRUE(store->remove("b"));
  EXPECT_EQ(Store::open(file).value()->snapshot(kNow)->values, Json({{"a", {"1"}}}));
}

TEST(ReferenceValues, MergeJoinsAndReplaceReplaces) {
  const TestFolder folder;
  auto store = Store::open(folder / "v").value();
  ASSERT_TRUE(store->put({{"a", kNow.plus(10), {"1", "2"}}}, Store::Mode::replace, kNow));
  ASSERT_TRUE(store->put({{"a", kNow.plus(20), {"2", "3"}}}, Store::Mode::merge, kNow));
  EXPECT_EQ(store->snapshot(kNow)->values["a"], Json({"1", "2", "3"}));
  ASSERT_TRUE(store->put({{"a", kNow.plus(20), {"4"}}}, Store::Mode::replace, kNow));
  EXPECT_EQ(store->snapshot(kNow)->values["a"], Json::array({"4"}));
}

TEST(ReferenceValues, LimitsHold) {
  const TestFolder folder;
  auto store = Store::open(folder / "v").value();
  const auto put = [&](const std::string& name, std::size_t values) {
    return store->put({{name, kNow.plus(10), Json(std::vector<int>(values, 1))}}, Store::Mode::replace, kNow);
  };
  EXPECT_TRUE(put(std::string(limits::kReferenceName, 'n'), 1));
  EXPECT_FALSE(put(std::string(limits::kReferenceName + 1, 'n'), 1));
  EXPECT_FALSE(put("", 1));
  EXPECT_TRUE(put("v", limits::kReferenceValues));
  EXPECT_FALSE(put("v", limits::kReferenceValues + 1));
  EXPECT_EQ(store->snapshot(kNow)->values["v"].size(), limits::kReferenceValues) << "a refused put changes nothing";
}

TEST(ReferenceValues, ReadsTheOlderStoredForm) {
  const TestFolder folder;
  ASSERT_TRUE(write_text(
      folder / "v",
      R"([{"version":"0.1.0","name":"a","expiration":"2030-01-01T00:00:00Z","hash-value":[{"alg":"sha384","value":"x"}]}])"));
  EXPECT_EQ(Store::open(folder / "v").value()->snapshot(kNow)->values, Json({{"a", {"x"}}}));
  ASSERT_TRUE(write_text(folder / "v", R"([{"name":"a","expiration":"soon","value":1},{"nam":"b"}])"));
  const auto broken = Store::open(folder / "v");
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message.find("expiration"), std::string::npos);
  EXPECT_NE(broken.error().message.find("nam"), std::string::npos) << "all problems at once";
}

TEST(Extract, SampleAndNative) {
  const Json map = {{"x", {"aa", "bb"}}};
  const auto sample = extract(
      compact_json({{"version", "0.1.0"}, {"type", "sample"}, {"payload", base64(as_bytes(compact_json(map)))}}), kNow);
  ASSERT_TRUE(sample) << sample.error().text();
  EXPECT_EQ(sample->values.at(0).value, map["x"]);
  EXPECT_EQ(sample->values.at(0).expires, kNow.plus(365LL * 86400));
  const auto native = extract(message_for(map, Store::Mode::merge), kNow);
  ASSERT_TRUE(native) << native.error().text();
  EXPECT_EQ(native->mode, Store::Mode::merge);
  EXPECT_EQ(native->values.at(0).name, "x");
}

TEST(Extract, RefusesWhatItDoesNotKnow) {
  for (const char* bad : {"", "[]", "{}", R"({"type":"sample"})", R"({"type":"sample","payload":"!"})",
                          R"({"type":"sample","payload":"W10="})", R"({"type":"cairn","payload":"{}"})",
                          R"({"type":"cairn","payload":"{\"values\":{},\"mod\":\"merge\"}"})",
                          R"({"type":"cairn","payload":"{\"values\":{},\"expires\":\"2020-01-01T00:00:00Z\"}"})"})
    EXPECT_FALSE(extract(bad, kNow)) << bad;
}

TEST(Extract, SharedMessages) {
  const auto path = std::filesystem::path(CAIRN_SHARED_DATA) / "trustee/protocol/rvps-messages.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "shared data not present";
  const Json cases = parse_json(read_text(path).value()).value();
  const TestFolder folder;
  auto store = Store::open(folder / "v").value();
  const auto registration = extract(cases["register_http_body"]["message"].get<std::string>(), kNow);
  ASSERT_TRUE(registration);
  ASSERT_TRUE(store->put(registration->values, registration->mode, kNow));
  EXPECT_EQ(store->snapshot(kNow)->values, cases["query_after"]);
  for (const auto& bad : cases["errors"]) {
    const auto refused = extract(compact_json(bad["message"]), kNow);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find(bad["error_contains"].get<std::string>()), std::string::npos);
  }
}

}  // namespace
}  // namespace cairn::trustee::rvps
