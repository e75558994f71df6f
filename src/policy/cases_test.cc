// The attestation and resource policies over the cases of data/trustee/policy-cases.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "policy/defaults.h"
#include "policy/policy.h"

namespace cairn::policy {
namespace {

const std::filesystem::path folder = std::filesystem::path(CAIRN_SHARED_DATA) / "trustee";

Json load(const std::filesystem::path& file) {
  const auto text = read_file(file, 8U << 20);
  EXPECT_TRUE(text.has_value()) << file;
  auto json = parse_json(as_text(*text));
  EXPECT_TRUE(json.has_value()) << file;
  return json.value_or(Json());
}

// The document that a case names, or carries, with its patches.
Json input_of(const Json& c) {
  Json input;
  if (c.contains("input")) {
    input = c["input"];
  } else {
    const std::string base = c["input_base"];
    if (base.starts_with("token/ear.jwt")) {
      const auto token = read_file(folder / "token/ear.jwt", 8U << 20);
      const std::string text(as_text(*token));
      const auto dot = text.find('.');
      const auto payload = from_base64url(text.substr(dot + 1, text.find('.', dot + 1) - dot - 1));
      const auto claims = parse_json(as_text(*payload));
      input = (*claims).at(Json::json_pointer("/submods/cpu0/ear.veraison.annotated-evidence"));
    } else {
      input = load(folder / base);
    }
  }
  if (c.contains("patch"))
    for (const auto& p : c["patch"]) input[Json::json_pointer("/" + p["path"].get<std::string>())] = p["value"];
  return input;
}

Policy compiled(std::string_view text) {
  auto policy = compile({{"policy.rego", std::string(text)}}, {.host = {{"query_reference_value", 1}}});
  if (!policy) throw std::runtime_error(policy.error().text());
  return *policy;
}

class Case {
 public:
  Case(const Json& input, const Json& data, const Json& reference)
      : input_(*Document::from_json(input)), data_(*Document::from_json(data)) {
    options_.input = &input_;
    options_.data = &data_;
    options_.host["query_reference_value"] = [reference](std::span<const Json> args) -> Result<Json> {
      const auto it = reference.find(args[0].get<std::string>());
      return it == reference.end() ? Json(nullptr) : *it;
    };
  }
  [[nodiscard]] std::optional<Json> value(const Policy& p, const std::string& rule) const {
    auto r = p.evaluate("data.policy." + rule, options_);
    EXPECT_TRUE(r.has_value()) << rule << ": " << (r ? "" : r.error().text());
    return r ? *r : std::nullopt;
  }

 private:
  Document input_;
  Document data_;
  EvalOptions options_;
};

TEST(PolicyCases, Simple) {
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  const Policy p = compiled(defaults::simple());
  for (const auto& c : load(folder / "policy-cases/simple-1.5.2.json")) {
    const Json data = {{"reference", c.value("reference", Json::object())}};
    EXPECT_EQ(Case(input_of(c), data, {}).value(p, "allow"), c["expected"]["allow"]) << c["name"];
  }
}

void ear(const std::string& file, std::string_view text, const std::vector<std::string>& rules) {
  const Policy p = compiled(text);
  for (const auto& c : load(folder / "policy-cases" / file)) {
    const Json reference = c.value("reference", Json::object());
    const Case one(input_of(c), {{"reference", reference}}, reference);
    Json vector = Json::object();
    for (const auto& rule : rules) {
      std::string name = rule;
      std::ranges::replace(name, '_', '-');
      if (const auto v = one.value(p, rule)) vector[name] = *v;
    }
    EXPECT_EQ(vector, c["expected"]["trust_vector"]) << file << " " << c["name"];
  }
}

TEST(PolicyCases, EarA) {
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  ear("ear-1.5.2.json", defaults::ear_a(), {"executables", "hardware", "configuration"});
}

TEST(PolicyCases, EarB) {
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  ear("ear-openanolis-1.9.0.json", defaults::ear_b(), {"executables", "hardware", "configuration", "file_system"});
}

TEST(PolicyCases, EarC) {
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  const Policy p = compiled(defaults::ear_c_cpu());
  for (const auto& c : load(folder / "policy-cases/ear-upstream-cpu.json")) {
    const Case one(input_of(c), Json::object(), c.value("reference", Json::object()));
    EXPECT_EQ(one.value(p, "trust_claims"), c["expected"]["trust_vector"]) << c["name"];
    if (c["expected"].contains("extensions")) {
      EXPECT_EQ(one.value(p, "extensions"), c["expected"]["extensions"]) << c["name"];
    }
  }
}

TEST(PolicyCases, Resources) {
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  std::map<std::string, Policy> policies{{"kbs-default-openanolis-1.9.0", compiled(defaults::resource_b())},
                                         {"kbs-default-upstream", compiled(defaults::resource_c())},
                                         {"kbs-affirming-upstream", compiled(defaults::resource_affirming())},
                                         {"kbs-unit-policy-1", compiled(R"(package policy
default allow = false
path := split(data["resource-path"], "/")
allow {
  count(path) == 3
  path[1] == input.submods.cpu["ear.veraison.annotated-evidence"].sample.productId
})")},
                                         {"kbs-unit-policy-5", compiled(R"(package policy
import future.keywords.if
default allow = false
path := split(data["resource-path"], "/")
least := {"secret1": 2, "secret2": 3}
evidence := input.submods.cpu["ear.veraison.annotated-evidence"].sample
allow if {
  count(path) == 3
  path[0] == "myrepo"
  path[1] == "secret"
  evidence.svn >= least[path[2]]
})")}};
  for (const auto& c : load(folder / "policy-cases/kbs-resource-policies.json")) {
    const auto it = policies.find(c["profile"]);
    ASSERT_NE(it, policies.end()) << c["profile"];
    EXPECT_EQ(Case(c["input"], c["data"], {}).value(it->second, "allow"), c["allow"])
        << c["profile"] << " " << c["name"];
  }
}

}  // namespace
}  // namespace cairn::policy
