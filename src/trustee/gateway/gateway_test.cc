#include "trustee/gateway/gateway.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/test_folder.h"
#include "trustee/limits.h"

namespace cairn::trustee::gateway {
namespace {

constexpr Time kNow{1'800'000'000};

net::RequestHead get(std::string target) {
  net::RequestHead head;
  head.method = "GET";
  head.target = std::move(target);
  return head;
}
AttestationRecord record(Time at, int status = 200) {
  return {"192.0.2.1", "s", "{}", "kbs", status, at, {"i", "", "", ""}};
}

TEST(Audit, RetainsByAgeAndCount) {
  const TestFolder folder;
  AuditOptions options;
  options.max_records = 3;
  {
    auto audit = Audit::open(folder / "a/b.db", options, kNow).value();
    for (int i = 0; i < 6; ++i) audit->record(record(kNow.plus(i)));
    audit->record(record(kNow.plus(-4 * 86400)));
  }  // written on the way out
  auto audit = Audit::open(folder / "a/b.db", options, kNow.plus(10)).value();
  const auto all = audit->attestations(get("/")).value();
  EXPECT_EQ(all["total"], 3);
  EXPECT_EQ(all["data"][0]["timestamp"], rfc3339(kNow.plus(5)));
}

TEST(Audit, PagesAndFilters) {
  const TestFolder folder;
  auto audit = Audit::open(folder / "a.db", {}, kNow).value();
  for (int i = 0; i < 10; ++i) audit->record(record(kNow.plus(i), i % 2 ? 200 : 401));
  audit->flush();
  EXPECT_EQ(audit->attestations(get("/?limit=4&offset=8")).value()["data"].size(), 2U);
  EXPECT_EQ(audit->attestations(get("/?limit=4&offset=8")).value()["total"], 10);
  EXPECT_EQ(audit->attestations(get("/?successful=T")).value()["total"], 5);
  EXPECT_EQ(audit->attestations(get("/?start_time=" + rfc3339(kNow.plus(8)))).value()["total"], 2);
  EXPECT_EQ(audit->attestations(get("/?end_time=" + rfc3339(kNow.plus(1)))).value()["total"], 2);
  EXPECT_EQ(audit->attestations(get("/?limit=x&start_time=never&successful=maybe")).value()["total"], 10) << "ignored";
  EXPECT_EQ(audit->attestations(get("/?session_id=none")).value()["total"], 0);
}

TEST(Audit, ClaimsAreBounded) {
  const TestFolder folder;
  auto audit = Audit::open(folder / "a.db", {}, kNow).value();
  auto large = record(kNow);
  large.claims = std::string(limits::kAuditClaims, 'x');
  audit->record(large);
  large.claims += "x";
  large.at = kNow.plus(1);
  audit->record(large);
  audit->flush();
  const auto all = audit->attestations(get("/")).value()["data"];
  EXPECT_EQ(all[0]["claims"], "");
  EXPECT_EQ(all[1]["claims"].get<std::string>().size(), limits::kAuditClaims);
}

TEST(Gateway, ReportsTroubleOfItsParts) {
  const TestFolder folder;
  auto audit = Audit::open(folder / "a.db", {}, kNow).value();
  const Part down = [](const Call&) { return net::Response::text(503, "down"); };
  Gateway gateway({down, down, down}, *audit, false);
  const auto head = get("/api/services-health");
  const auto response = gateway.handle({head, head.path(), "", kNow}, "");
  EXPECT_EQ(response.status, 200);
  const auto all = parse_json(response.body).value();
  EXPECT_EQ(all["gateway"]["status"], "ok");
  EXPECT_EQ(all["kbs"]["message"], "kbs auth request failed");
  EXPECT_EQ(all["as"]["message"], "as certificate request failed with status: 503, body: down");
  EXPECT_EQ(all["rvps"]["status"], "error");
}

TEST(Instance, HeaderIsBounded) {
  auto head = get("/");
  head.headers.set("AAInstanceInfo", R"({"instance_id":"i","unknown":[1]})");
  EXPECT_EQ(required_instance_info(head)->instance_id, "i");
  head.headers.set("AAInstanceInfo", "{\"instance_id\":\"" + std::string(limits::kAaInstanceInfo, 'x') + "\"}");
  EXPECT_FALSE(required_instance_info(head));
  EXPECT_EQ(instance_info(head).instance_id, "");
  head.headers.set("AAInstanceInfo", R"({"eas_instance_id":"e"})");
  EXPECT_EQ(instance_info(head).instance_id, "e");
}

}  // namespace
}  // namespace cairn::trustee::gateway
