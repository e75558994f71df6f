// Runs conformance cases: one JSON case per line on stdin, one JSON verdict per line on stdout.
//   case: {note, modules: [text], query, data?, input? (JSON), input_term?, v0, strict}
//   verdict: {note, results: [bindings in Rego's JSON with sets as arrays]} or {note, error: {code, message, stage}}
#include <iostream>
#include <string>

#include "policy/policy.h"

namespace {

using namespace cairn;
using namespace cairn::policy;

Json failed(const std::string& stage, const Error& e) {
  return {{"stage", stage}, {"code", name(e.code)}, {"where", e.where}, {"message", e.message}};
}

Json run(const Json& c) {
  Json out{{"note", c["note"]}};
  CompileOptions options{.dialect = c.value("v0", false) ? Dialect::v0 : Dialect::v1};
  std::vector<Source> sources;
  for (const auto& m : c["modules"])
    sources.push_back({"module" + std::to_string(sources.size()) + ".rego", m.get<std::string>()});
  std::vector<Diagnostic> diagnostics;
  auto policy = compile(sources, options, &diagnostics);
  if (!policy) {
    out["error"] = failed("compile", policy.error());
    out["error"]["codes"] = Json::array();
    for (const auto& d : diagnostics) out["error"]["codes"].push_back(d.code);
    return out;
  }
  auto query = policy->query(c["query"].get<std::string>());
  if (!query) {
    out["error"] = failed("query", query.error());
    return out;
  }
  Document input;
  Document data = *Document::from_json(Json::object());
  EvalOptions eval{.now_ns = 1'767'225'600'000'000'000, .zones = zone_offset, .seed = "seed"};
  eval.strict_builtin_errors = c.value("strict", false);
  if (c.contains("input_term")) {
    auto d = Document::parse_term(c["input_term"].get<std::string>());
    if (!d) {
      out["error"] = failed("input", d.error());
      return out;
    }
    input = *d;
    eval.input = &input;
  } else if (c.contains("input")) {
    auto d = Document::parse(c["input"].get<std::string>());
    if (!d) {
      out["error"] = failed("input", d.error());
      return out;
    }
    input = *d;
    eval.input = &input;
  }
  if (c.contains("data")) {
    auto d = Document::parse(c["data"].get<std::string>());
    if (d) data = *d;
    eval.data = &data;
  }
  auto rows = query->run(eval);
  if (!rows) {
    out["error"] = failed("eval", rows.error());
    return out;
  }
  out["results"] = Json::array();
  for (const auto& r : *rows) out["results"].push_back(r.to_json_text());
  return out;
}

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const Json c = Json::parse(line, nullptr, false);
    if (c.is_discarded()) continue;
    std::cout << run(c).dump(-1, ' ', false, Json::error_handler_t::replace) << "\n" << std::flush;
  }
  return 0;
}
