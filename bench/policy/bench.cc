// Times policies: the default attestation policies over a real claim set, and indexing over growing inputs.
//   bench_policy [DATA]   DATA: the folder of shared data (default ../shared/data). A table, then one JSON line.
// bench/policy/compare does the same queries with `opa eval` where it is installed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/encoding.h"
#include "base/file.h"
#include "policy/defaults.h"
#include "policy/policy.h"

namespace {

using namespace cairn;
using namespace cairn::policy;
using Clock = std::chrono::steady_clock;

// Median of many runs, in microseconds.
template <class F>
double microseconds(F&& f, int rounds = 200) {
  std::vector<double> all;
  for (int i = 0; i < rounds; ++i) {
    const auto from = Clock::now();
    f();
    all.push_back(std::chrono::duration<double, std::micro>(Clock::now() - from).count());
  }
  std::ranges::nth_element(all, all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2));
  return all[all.size() / 2];
}

void require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "bench_policy: %s\n", what);
  std::exit(1);
}

Json claims(const std::filesystem::path& data) {
  const auto token = read_file(data / "trustee/token/ear.jwt", 8U << 20);
  require(token.has_value(), "token/ear.jwt is missing");
  const std::string text(as_text(*token));
  const auto dot = text.find('.');
  const auto payload = from_base64url(text.substr(dot + 1, text.find('.', dot + 1) - dot - 1));
  return parse_json(as_text(*payload))->at(Json::json_pointer("/submods/cpu0/ear.veraison.annotated-evidence"));
}

Json references(const std::filesystem::path& data) {
  const auto text = read_file(data / "trustee/policy-cases/ear-openanolis-1.9.0.json", 8U << 20);
  require(text.has_value(), "policy-cases/ear-openanolis-1.9.0.json is missing");
  const auto cases = parse_json(as_text(*text));
  for (const auto& c : *cases)
    if (c["name"] == "tdx-all-reference") return c["reference"];
  return Json::object();
}

struct Row {
  std::string name;
  double prepared, with_compilation;
};

Row attestation(const std::filesystem::path& data) {
  const Json input_json = claims(data);
  const Json reference = references(data);
  const CompileOptions options{.host = {{"query_reference_value", 1}}};
  const std::string text(defaults::ear_b());
  const auto input = Document::from_json(input_json);
  EvalOptions eval{.input = &*input};
  eval.host["query_reference_value"] = [&](std::span<const Json> a) -> Result<Json> {
    const auto it = reference.find(a[0].get<std::string>());
    return it == reference.end() ? Json(nullptr) : *it;
  };
  const auto all = [&](const Policy& p) {
    const auto v = p.evaluate(
        "{\"e\": data.policy.executables, \"h\": data.policy.hardware, \"c\": data.policy.configuration, \"f\": "
        "data.policy.file_system}",
        eval);
    require(v && *v && (**v)["e"] == 3 && (**v)["c"] == 2, "the verdict is wrong");
  };
  const auto policy = compile({{"p.rego", text}}, options);
  require(policy.has_value(), "the policy does not compile");
  Row row{"default attestation policy, TDX claims", 0, 0};
  row.prepared = microseconds([&] { all(*policy); }, 1000);
  row.with_compilation = microseconds([&] { all(*compile({{"p.rego", text}}, options)); });
  return row;
}

// n rules told apart by one value of the input; and lookups over n elements.
double indexing(int n) {
  std::string text = "package p\nimport rego.v1\n";
  for (int i = 0; i < n; ++i) text += "allow if { input.role == \"role" + std::to_string(i) + "\"; input.ok }\n";
  const auto p = compile({{"p.rego", text}}, {.limits = {.tokens = 10'000'000}});
  require(p.has_value(), "the indexed policy does not compile");
  const auto input = Document::from_json({{"role", "role" + std::to_string(n - 1)}, {"ok", true}});
  const EvalOptions eval{.input = &*input};
  return microseconds(
      [&] { require(*p->evaluate("data.p.allow", eval) == std::optional<Json>(true), "allow is wrong"); });
}

double joining(int n) {
  const auto p = compile(
      {{"p.rego",
        "package p\nimport rego.v1\nmatched contains u.id if { some u in input.users; data.groups[u.group].open }"}});
  Json users = Json::array();
  Json groups = Json::object();
  for (int i = 0; i < n; ++i) {
    users.push_back({{"id", i}, {"group", "g" + std::to_string(i)}});
    groups["g" + std::to_string(i)] = {{"open", true}};
  }
  const auto input = Document::from_json({{"users", users}});
  const auto data = Document::from_json({{"groups", groups}});
  const EvalOptions eval{.input = &*input, .data = &*data};
  return microseconds(
      [&] {
        require((**p->evaluate_document("count(data.p.matched)", eval)) == *Document::parse(std::to_string(n)),
                "matched is wrong");
      },
      50);
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path data = argc > 1 ? argv[1] : "../shared/data";
  Json out;
  if (std::filesystem::exists(data / "trustee/token/ear.jwt")) {
    const Row r = attestation(data);
    std::printf("%-42s %10.1f us prepared %10.1f us with compilation\n", r.name.c_str(), r.prepared,
                r.with_compilation);
    out["attestation_us"] = r.prepared;
    out["attestation_with_compilation_us"] = r.with_compilation;
  } else {
    std::printf("attestation: skipped, shared data not present\n");
  }
  for (const int n : {10, 100, 1000}) {
    const double us = indexing(n);
    std::printf("one of %5d rules by a value of the input   %10.2f us\n", n, us);
    out["index_us"][std::to_string(n)] = us;
  }
  for (const int n : {100, 1000, 10000}) {
    const double us = joining(n);
    std::printf("%6d elements joined with a document       %10.1f us, %.3f us each\n", n, us, us / n);
    out["join_us"][std::to_string(n)] = us;
  }
  std::printf("%s\n", out.dump().c_str());
  return 0;
}
