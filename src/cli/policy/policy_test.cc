#include "cli/policy/policy.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;

class PolicyVerb : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("policy-verb-" + std::to_string(::getpid()) +
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path file(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  fs::path folder_;
  std::ostringstream out_, err_;
};

TEST_F(PolicyVerb, Eval) {
  PolicyOptions o;
  o.files = {file("a.rego", "package policy\nallow if input.x in query_reference_value(\"x\")\n")};
  o.input = file("input.json", R"({"x":"good"})");
  o.reference = file("reference.json", R"({"x":["good"]})");
  EXPECT_EQ(run_policy_eval(o, out_, err_), kPolicyOk) << err_.str();
  EXPECT_EQ(out_.str(), "true\n");
  o.reference.clear();
  out_.str("");
  EXPECT_EQ(run_policy_eval(o, out_, err_), kPolicyNegative);
  EXPECT_EQ(out_.str(), "undefined\n");
  o.query = "x := input.x; y := 2";
  out_.str("");
  EXPECT_EQ(run_policy_eval(o, out_, err_), kPolicyOk);
  EXPECT_NE(out_.str().find("\"x\": \"good\""), std::string::npos) << out_.str();
}

TEST_F(PolicyVerb, ExplainNamesTheLine) {
  PolicyOptions o;
  o.files = {file("a.rego", "package policy\n\nallow if {\n\tinput.a == 1\n\tinput.b == 2\n}\n")};
  o.input = file("input.json", R"({"a":1,"b":3})");
  o.explain = true;
  EXPECT_EQ(run_policy_eval(o, out_, err_), kPolicyNegative);
  EXPECT_NE(err_.str().find(":4  input.a == 1"), std::string::npos) << err_.str();
  EXPECT_EQ(err_.str().find("ok " + o.files[0].string() + ":5"), std::string::npos) << err_.str();
  EXPECT_NE(err_.str().find("fails " + o.files[0].string() + ":5  input.b == 2"), std::string::npos) << err_.str();
}

TEST_F(PolicyVerb, ErrorsShowTheirLine) {
  PolicyOptions o;
  o.files = {file("a.rego", "package policy\nx := 1 if input.a\nx := 2 if input.b\n")};
  o.input = file("input.json", R"({"a":1,"b":1})");
  o.query = "data.policy.x +";
  EXPECT_EQ(run_policy_eval(o, out_, err_), kPolicyBroken);
  EXPECT_NE(err_.str().find("data.policy.x +\n               ^\n"), std::string::npos) << err_.str();
  o.query = "data.policy.x";
  err_.str("");
  EXPECT_EQ(run_policy_eval(o, out_, err_), kPolicyBroken);
  EXPECT_NE(err_.str().find("a.rego:3: "), std::string::npos) << err_.str();
  EXPECT_NE(err_.str().find("    x := 2 if input.b\n"), std::string::npos) << err_.str();
  o.files = {file("b.rego", "package policy\nx := \"\u00e9\" + +\n")};
  err_.str("");
  EXPECT_EQ(run_policy_format(o, out_, err_), kPolicyBroken);
  EXPECT_NE(err_.str().find("x := \"\u00e9\" + +\n           ^\n"), std::string::npos) << err_.str();
}

TEST_F(PolicyVerb, CheckPointsAtTheProblem) {
  PolicyOptions o;
  o.files = {file("a.rego", "package policy\nallow if nosuch(input.x)\n")};
  EXPECT_EQ(run_policy_check(o, out_, err_), kPolicyBroken);
  EXPECT_NE(err_.str().find("a.rego:2:10"), std::string::npos) << err_.str();
  EXPECT_NE(err_.str().find("allow if nosuch(input.x)\n         ^"), std::string::npos) << err_.str();
  o.files = {file("b.rego", "package policy\nallow if input.x\n")};
  EXPECT_EQ(run_policy_check(o, out_, err_), kPolicyOk);
}

TEST_F(PolicyVerb, Test) {
  PolicyOptions o;
  o.files = {file("a.rego", "package policy\nallow if input.x == 1\n"),
             file("a_test.rego",
                  "package policy_test\nimport data.policy\ntest_yes if policy.allow with input.x as 1\ntest_no if not "
                  "policy.allow with input.x as 2\n")};
  EXPECT_EQ(run_policy_test(o, out_, err_), kPolicyOk) << out_.str() << err_.str();
  EXPECT_EQ(out_.str(), "2 passed, 0 failed, 0 skipped\n");
  o.files.push_back(file("b_test.rego", "package policy_test\ntest_wrong if data.policy.allow with input.x as 2\n"));
  out_.str("");
  EXPECT_EQ(run_policy_test(o, out_, err_), kPolicyNegative);
  EXPECT_NE(out_.str().find("FAIL data.policy_test.test_wrong"), std::string::npos);
  EXPECT_NE(out_.str().find("b_test.rego:2  test_wrong if data.policy.allow with input.x as 2\n"), std::string::npos)
      << out_.str();
}

TEST_F(PolicyVerb, OnlyTrueIsAPassedTest) {
  PolicyOptions o;
  o.files = {
      file("a_test.rego",
           "package a_test\ntest_cases[name] if some name in [\"x\", \"y\"]\ntest_some[name] := name == \"x\" if some "
           "name in [\"x\", \"y\"]\ntest_five := 5\n")};
  EXPECT_EQ(run_policy_test(o, out_, err_), kPolicyNegative);
  EXPECT_NE(out_.str().find("a_test.rego:4): its value is 5, not true\n"), std::string::npos) << out_.str();
  EXPECT_NE(out_.str().find("a_test.rego:3): its value is {\"x\":true,\"y\":false}, not true\n"), std::string::npos)
      << out_.str();
  EXPECT_NE(out_.str().find("1 passed, 2 failed, 0 skipped\n"), std::string::npos) << out_.str();
}

TEST_F(PolicyVerb, Format) {
  PolicyOptions o;
  o.files = {file(
      "a.rego", "package   policy\n\n\n\n# why\nallow   if{\n  input.x==1 # here\n      y:=[1,2 , -3]\n y[0]>0\n}\n")};
  EXPECT_EQ(run_policy_format(o, out_, err_), kPolicyOk) << err_.str();
  EXPECT_EQ(out_.str(),
            "package policy\n\n# why\nallow if {\n\tinput.x == 1 # here\n\ty := [1, 2, -3]\n\ty[0] > 0\n}\n");
  o.list = true;
  out_.str("");
  EXPECT_EQ(run_policy_format(o, out_, err_), kPolicyNegative);
}

}  // namespace
}  // namespace cairn::cli
