#include "cli/policy/policy.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <iostream>
#include <map>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "policy/policy.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
using policy::Document;
using policy::Source;

Result<std::string> read_text(const fs::path& path) {
  CAIRN_TRY(const auto bytes, read_file(path, policy::max_json_bytes));
  return std::string(as_text(bytes));
}

Result<std::vector<Source>> sources(const PolicyOptions& o) {
  std::vector<fs::path> files;
  for (const auto& f : o.files) {
    std::error_code ignored;
    if (!fs::is_directory(f, ignored)) {
      files.push_back(f);
      continue;
    }
    for (const auto& e : fs::recursive_directory_iterator(f, ignored))
      if (e.is_regular_file() && e.path().extension() == ".rego") files.push_back(e.path());
  }
  std::ranges::sort(files);
  std::vector<Source> out;
  for (const auto& f : files) {
    CAIRN_TRY(auto text, read_text(f));
    out.push_back({f.string(), std::move(text)});
  }
  if (out.empty()) return fail(ErrorCode::not_found, "no policy files given");
  return out;
}

std::string_view line_of(const std::vector<Source>& texts, std::string_view file, std::uint32_t line) {
  for (const auto& s : texts) {
    if (s.name != file) continue;
    std::string_view text = s.text;
    for (std::uint32_t n = 1; n < line; ++n) {
      const auto end = text.find('\n');
      if (end == std::string_view::npos) return {};
      text.remove_prefix(end + 1);
    }
    text = text.substr(0, text.find('\n'));
    const auto from = text.find_first_not_of(" \t");
    return from == std::string_view::npos ? std::string_view() : text.substr(from);
  }
  return {};
}

// An error, and the line that it names ("file:line:column" or "file:line") where it names one.
void complain(const Error& e, const std::vector<Source>& texts, std::ostream& err) {
  err << e.text() << "\n";
  std::string_view rest = e.where;
  std::vector<std::uint32_t> numbers;
  while (numbers.size() < 2) {
    const auto colon = rest.rfind(':');
    std::uint32_t n = 0;
    const std::string_view digits = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
    if (error != std::errc{} || end != digits.data() + digits.size()) break;
    numbers.push_back(n);
    rest = rest.substr(0, colon);
  }
  policy::Diagnostic d;
  d.file = rest;
  if (numbers.size() == 2) {
    d.column = numbers[0];
    d.line = numbers[1];
    for (const auto& s : texts)
      if (s.name == d.file) err << policy::excerpt(d, s.text);
  } else if (numbers.size() == 1) {
    if (const auto line = line_of(texts, rest, numbers[0]); !line.empty()) err << "    " << line << "\n";
  }
}

// Compiles; problems go to `err` with the line and a caret.
std::optional<policy::Policy> compiled(const PolicyOptions& o, const std::vector<Source>& texts, std::ostream& err) {
  policy::CompileOptions options;
  options.dialect = o.v0 ? policy::Dialect::v0 : policy::Dialect::any;
  options.host = {{"query_reference_value", 1}};
  options.prints = true;
  std::vector<policy::Diagnostic> problems;
  auto p = policy::compile(texts, options, &problems);
  if (p) return *p;
  for (const auto& d : problems) {
    err << d.text() << "\n";
    for (const auto& s : texts)
      if (s.name == d.file) err << policy::excerpt(d, s.text);
  }
  if (problems.empty()) err << p.error().text() << "\n";
  return std::nullopt;
}

Result<Document> document(const fs::path& path, std::string_view fallback) {
  if (path.empty()) return Document::parse(fallback);
  CAIRN_TRY(const auto text, read_text(path));
  auto d = Document::parse(text);
  if (!d) return fail(std::move(d.error()).in(path.string()));
  return d;
}

// Everything an evaluation needs, kept alive together.
struct Setting {
  std::vector<Source> texts;
  std::optional<policy::Policy> policy;
  Document input, data;
  Json reference = Json::object();
  policy::EvalOptions eval;
};

bool prepare(const PolicyOptions& o, Setting& s, std::ostream& err) {
  const auto refuse = [&](const Error& e) {
    err << e.text() << "\n";
    return false;
  };
  auto texts = sources(o);
  if (!texts) return refuse(texts.error());
  s.texts = std::move(*texts);
  s.policy = compiled(o, s.texts, err);
  if (!s.policy) return false;
  auto input = document(o.input, "{}");
  auto data = document(o.data, "{}");
  if (!input || !data) return refuse(!input ? input.error() : data.error());
  s.input = std::move(*input);
  s.data = std::move(*data);
  if (!o.reference.empty()) {
    auto reference = document(o.reference, "{}");
    if (!reference) return refuse(reference.error());
    s.reference = reference->to_json();
  }
  Time at = now();
  if (!o.at.empty()) {
    const auto t = parse_rfc3339(o.at);
    if (!t) return refuse(t.error());
    at = *t;
  }
  if (!o.input.empty()) s.eval.input = &s.input;
  s.eval.data = &s.data;
  s.eval.now_ns = at.seconds * 1'000'000'000;
  s.eval.zones = zone_offset;
  s.eval.seed = "cairn policy";
  s.eval.strict_builtin_errors = o.strict;
  s.eval.host["query_reference_value"] = [&s](std::span<const Json> args) -> Result<Json> {
    if (!args[0].is_string()) return fail(ErrorCode::invalid_argument, "the name of a reference value is a string");
    const auto it = s.reference.find(args[0].get<std::string>());
    return it == s.reference.end() ? Json(nullptr) : *it;
  };
  s.eval.print = [&err](std::string_view text, std::string_view file, std::uint32_t line) {
    err << file << ":" << line << ": " << text << "\n";
  };
  if (o.explain)
    s.eval.trace = [&s, &err](const policy::TraceEvent& e) {
      using Kind = policy::TraceEvent::Kind;
      const std::string_view verb = e.kind == Kind::enter  ? "try  "
                                    : e.kind == Kind::exit ? "holds"
                                    : e.kind == Kind::fail ? "fails"
                                                           : "  ok ";
      if (e.file == "query") return;
      err << std::string(2 * std::min<std::size_t>(e.depth, 40), ' ') << verb << " " << e.file << ":" << e.line << "  "
          << (e.kind == Kind::exit ? e.what : line_of(s.texts, e.file, e.line)) << "\n";
    };
  return true;
}

}  // namespace

int run_policy_eval(const PolicyOptions& o, std::ostream& out, std::ostream& err) {
  Setting s;
  if (!prepare(o, s, err)) return kPolicyBroken;
  auto query = s.policy->query(o.query);
  if (!query) {
    complain(query.error(), {{"query", o.query}}, err);
    return kPolicyBroken;
  }
  if (const auto value = s.policy->evaluate_document(o.query, s.eval)) {
    out << (*value ? (*value)->to_json().dump(2) : "undefined") << "\n";
    return *value && (*value)->to_json() != Json(false) ? kPolicyOk : kPolicyNegative;
  } else if (value.error().code != ErrorCode::malformed) {
    complain(value.error(), s.texts, err);
    return kPolicyBroken;
  }
  const auto rows = query->run(s.eval);  // several expressions: their bindings
  if (!rows) {
    complain(rows.error(), s.texts, err);
    return kPolicyBroken;
  }
  Json all = Json::array();
  for (const auto& r : *rows) all.push_back(r.to_json());
  out << all.dump(2) << "\n";
  return rows->empty() ? kPolicyNegative : kPolicyOk;
}

int run_policy_check(const PolicyOptions& o, std::ostream& out, std::ostream& err) {
  auto texts = sources(o);
  if (!texts) {
    err << texts.error().text() << "\n";
    return kPolicyBroken;
  }
  const auto p = compiled(o, *texts, err);
  if (!p) return kPolicyBroken;
  const std::size_t rules = p->rules().size();
  out << texts->size() << (texts->size() == 1 ? " file, " : " files, ") << rules
      << (rules == 1 ? " rule: fine\n" : " rules: fine\n");
  return kPolicyOk;
}

namespace {

// A test holds where its value is true, or an object of cases (`test_x[name] if …`) that all hold.
bool passes(const Json& v) {
  return v.is_object() ? !v.empty() && std::all_of(v.begin(), v.end(), passes) : v == Json(true);
}

}  // namespace

int run_policy_test(const PolicyOptions& o, std::ostream& out, std::ostream& err) {
  Setting s;
  if (!prepare(o, s, err)) return kPolicyBroken;
  std::size_t passed = 0, failed = 0, skipped = 0;
  for (const auto& rule : s.policy->rules()) {
    const auto name = rule.substr(rule.rfind('.') + 1);
    if (name.starts_with("todo_test_")) {
      out << "SKIP " << rule << "\n";
      ++skipped;
    }
    if (!name.starts_with("test_")) continue;
    const auto r = s.policy->evaluate(rule, s.eval);
    if (r && *r && passes(**r)) {
      ++passed;
      continue;
    }
    ++failed;
    out << "FAIL " << rule << " (" << s.policy->position(rule) << ")";
    if (!r) {
      out << ": " << r.error().text() << "\n";
      continue;
    }
    if (*r && **r != Json(false)) out << ": its value is " << (*r)->dump() << ", not true";
    out << "\n";
    auto again = s.eval;  // to learn which line did not hold
    again.print = {};
    again.trace = [&](const policy::TraceEvent& e) {
      if (e.kind == policy::TraceEvent::Kind::fail && e.what == rule)
        out << "     " << e.file << ":" << e.line << "  " << line_of(s.texts, e.file, e.line) << "\n";
    };
    (void)s.policy->evaluate(rule, again);
  }
  out << passed << " passed, " << failed << " failed, " << skipped << " skipped\n";
  if (passed + failed == 0) err << "no rule is named test_…\n";
  return failed > 0 ? kPolicyNegative : passed + skipped > 0 ? kPolicyOk : kPolicyBroken;
}

int run_policy_format(const PolicyOptions& o, std::ostream& out, std::ostream& err) {
  auto texts = sources(o);
  if (!texts) {
    err << texts.error().text() << "\n";
    return kPolicyBroken;
  }
  int code = kPolicyOk;
  for (const auto& s : *texts) {
    const auto formatted = policy::format(s, o.v0 ? policy::Dialect::v0 : policy::Dialect::any);
    if (!formatted) {
      complain(formatted.error(), *texts, err);
      return kPolicyBroken;
    }
    if (o.list) {
      if (*formatted == s.text) continue;
      out << s.name << "\n";
      code = kPolicyNegative;
    } else if (!o.write) {
      out << *formatted;
    } else if (*formatted != s.text) {
      if (const auto w = write_file(s.name, as_bytes(*formatted)); !w) {
        err << w.error().text() << "\n";
        return kPolicyBroken;
      }
    }
  }
  return code;
}

void add_policy(CLI::App& app, int& exit_code) {
  auto* verb = app.add_subcommand("policy", "Write, try out and test Rego policies");
  verb->require_subcommand(1);
  const auto add = [&](const char* name, const char* what,
                       int (*run)(const PolicyOptions&, std::ostream&, std::ostream&)) {
    auto* sub = verb->add_subcommand(name, what);
    auto o = std::make_shared<PolicyOptions>();
    sub->add_option("FILES", o->files, "policies, or folders of .rego files")->required();
    sub->add_flag("--v0", o->v0, "read the texts as Rego v0");
    sub->callback([o, run, &exit_code] { exit_code = run(*o, std::cout, std::cerr); });
    return std::pair(sub, o);
  };
  const auto documents = [](CLI::App* sub, PolicyOptions& o) {
    sub->add_option("--input", o.input, "JSON file given as input");
    sub->add_option("--data", o.data, "JSON file given as data");
    sub->add_option("--reference", o.reference, "JSON object that query_reference_value answers from");
    sub->add_option("--at", o.at, "the time of the evaluation (RFC 3339); now unless given");
    sub->add_flag("--explain", o.explain, "show which rules and lines held");
    sub->add_flag("--strict", o.strict, "errors inside built-in functions end the evaluation");
  };
  auto [eval, e] = add("eval", "Evaluate a query", run_policy_eval);
  eval->add_option("--query", e->query, "what to evaluate")->capture_default_str();
  documents(eval, *e);
  (void)add("check", "Compile and report problems", run_policy_check);
  auto [test, t] = add("test", "Run the rules named test_…", run_policy_test);
  documents(test, *t);
  auto [fmt, f] = add("fmt", "Print in the usual layout", run_policy_format);
  fmt->add_flag("-w,--write", f->write, "rewrite the files");
  fmt->add_flag("-l,--list", f->list, "only name the files that would change");
}

}  // namespace cairn::cli
