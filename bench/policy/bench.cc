// Times policies: the default attestation policy over a real claim set, and indexing over growing inputs.
//   policy_bench [DATA] [--dump FOLDER] [--only NAME]
//     DATA: the folder of shared data (default ../shared/data). A table, then one JSON line.
//     --dump writes each case as FOLDER/NAME/{policy.rego,data.json,input.json,query} instead of timing it, for
//     compare, which times the same cases with OPA.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>

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
double microseconds(F&& f, int rounds) {
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
  std::fprintf(stderr, "policy_bench: %s\n", what);
  std::exit(1);
}

struct Case {
  std::string name;
  std::string text;
  std::string query;
  Json input = Json::object();
  Json data = Json::object();
  Json expected;
  double size = 1;    // the time must not grow faster than this
  bool host = false;  // calls query_reference_value of the host, so OPA cannot run it
};

Json claims(const std::filesystem::path& data) {
  const auto token = read_file(data / "trustee/token/ear.jwt", 8U << 20);
  require(token.has_value(), "trustee/token/ear.jwt is missing");
  const std::string text(as_text(*token));
  const auto dot = text.find('.');
  const auto payload = from_base64url(text.substr(dot + 1, text.find('.', dot + 1) - dot - 1));
  return parse_json(as_text(*payload))->at(Json::json_pointer("/submods/cpu0/ear.veraison.annotated-evidence"));
}

Json references(const std::filesystem::path& data) {
  const auto text = read_file(data / "trustee/policy-cases/ear-openanolis-1.9.0.json", 8U << 20);
  require(text.has_value(), "trustee/policy-cases/ear-openanolis-1.9.0.json is missing");
  const auto cases = parse_json(as_text(*text));
  for (const auto& c : *cases)
    if (c["name"] == "tdx-all-reference") return c["reference"];
  return Json::object();
}

std::vector<Case> all_cases(const std::filesystem::path& data) {
  std::vector<Case> out;
  if (std::filesystem::exists(data / "trustee/token/ear.jwt")) {
    Case c;
    c.name = "attestation";
    c.text = defaults::ear_b();
    c.query =
        "{\"e\": data.policy.executables, \"h\": data.policy.hardware, \"c\": data.policy.configuration, \"f\": "
        "data.policy.file_system}";
    c.input = claims(data);
    c.data["reference"] = references(data);
    c.expected = {{"e", 3}, {"h", 2}, {"c", 2}, {"f", 2}};
    Case host = c;
    host.name = "attestation-host";
    host.host = true;
    c.text += "\nquery_reference_value(name) := data.reference[name]\n";
    out.push_back(std::move(host));
    out.push_back(std::move(c));
  } else {
    std::fprintf(stderr, "policy_bench: the attestation policy is skipped, shared data is not present\n");
  }
  for (const int n : {10, 100, 1000, 10000}) {  // n rules told apart by one value of the input
    Case c;
    c.name = "index-" + std::to_string(n);
    c.text = "package p\nimport rego.v1\n";
    for (int i = 0; i < n; ++i) c.text += "allow if { input.role == \"role" + std::to_string(i) + "\"; input.ok }\n";
    c.query = "data.p.allow";
    c.input = {{"role", "role" + std::to_string(n - 1)}, {"ok", true}};
    c.expected = true;
    c.size = n;
    out.push_back(std::move(c));
  }
  for (const int n : {100, 1000, 10000}) {  // n elements looked up in a document
    Case c;
    c.name = "join-" + std::to_string(n);
    c.text =
        "package p\nimport rego.v1\nmatched contains u.id if { some u in input.users; data.groups[u.group].open }\n";
    c.query = "count(data.p.matched)";
    c.input["users"] = Json::array();
    for (int i = 0; i < n; ++i) {
      c.input["users"].push_back({{"id", i}, {"group", "g" + std::to_string(i)}});
      c.data["groups"]["g" + std::to_string(i)] = {{"open", true}};
    }
    c.expected = n;
    c.size = n;
    out.push_back(std::move(c));
  }
  return out;
}

void dump(const Case& c, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder / c.name);
  std::ofstream(folder / c.name / "policy.rego") << c.text;
  std::ofstream(folder / c.name / "data.json") << c.data.dump();
  std::ofstream(folder / c.name / "input.json") << c.input.dump();
  std::ofstream(folder / c.name / "query") << c.query;
}

Json timed(const Case& c) {
  CompileOptions options{.limits = {.tokens = 10'000'000}};
  if (c.host) options.host = {{"query_reference_value", 1}};
  const auto input = Document::from_json(c.input);
  const auto data = Document::from_json(c.data);
  EvalOptions eval{.input = &*input, .data = &*data};
  eval.host["query_reference_value"] = [&](std::span<const Json> a) -> Result<Json> {
    const auto it = c.data["reference"].find(a[0].get<std::string>());
    return it == c.data["reference"].end() ? Json(nullptr) : *it;
  };
  const auto decide = [&](const Policy& p) {
    const auto v = p.evaluate(c.query, eval);
    require(v && *v && **v == c.expected, ("the answer of " + c.name + " is wrong").c_str());
  };
  const auto policy = compile({{"p.rego", c.text}}, options);
  require(policy.has_value(), ("the policy of " + c.name + " does not compile").c_str());
  const double prepared = microseconds([&] { decide(*policy); }, c.size > 1000 ? 100 : 1000);
  const double whole =
      microseconds([&] { decide(*compile({{"p.rego", c.text}}, options)); }, c.text.size() > 10'000 ? 5 : 300);
  std::printf("%-18s %12.2f us prepared %14.1f us with compilation\n", c.name.c_str(), prepared, whole);
  return {{"prepared_us", prepared}, {"with_compilation_us", whole}};
}

}  // namespace

int main(int argc, char** argv) {
  std::filesystem::path data = "../shared/data";
  std::optional<std::filesystem::path> folder;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    if ((a == "--dump" || a == "--only") && i + 1 < argc) {
      if (a == "--dump")
        folder = argv[++i];
      else
        only = argv[++i];
    } else {
      data = argv[i];
    }
  }
  Json out = Json::object();
  for (const Case& c : all_cases(data)) {
    if (!only.empty() && c.name != only) continue;
    if (!folder)
      out[c.name] = timed(c);
    else if (!c.host)
      dump(c, *folder);
  }
  if (!folder) std::printf("%s\n", out.dump().c_str());
  return 0;
}
