#include "cli/verify/cases.h"

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "evidence/tdx/policy.h"
#include "evidence/tdx/verify.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string id, required;
  std::vector<std::string> also_ok;
  fs::path quote, root;
  tdx::Collateral collateral;
  Time time;
  Json json;
};

Result<void> read_into(const fs::path& folder, Fields& f, const char* member, auto& out) {
  CAIRN_TRY(const Bytes bytes, read_file(folder / f.required<std::string>(member)));
  out = {bytes.begin(), bytes.end()};
  return {};
}

// The time: seconds, or RFC 3339.
Result<Time> case_time(Fields& f) {
  if (const auto seconds = f.optional<std::int64_t>("unix_time")) return Time{*seconds};
  return parse_rfc3339(f.required<std::string>("time"));
}

Result<Case> read_case(const Json& json, const fs::path& folder, const std::string& path) {
  Problems problems;
  Fields f(json, path, problems);
  Case out;
  out.json = json;
  out.id = f.required<std::string>("id");
  out.required = f.required<std::string>("required");
  out.also_ok = f.value_or<std::vector<std::string>>("also_ok", {});
  out.quote = folder / f.required<std::string>("quote");
  out.root = folder / f.required<std::string>("root");
  CAIRN_CHECK(problems.result());
  const auto read = [&](const char* member, auto& to) { return read_into(folder, f, member, to); };
  CAIRN_CHECK(read("tcb_info", out.collateral.tcb_info));
  CAIRN_CHECK(read("tcb_signing_chain", out.collateral.tcb_signing_chain));
  CAIRN_CHECK(read("qe_identity", out.collateral.qe_identity));
  CAIRN_CHECK(read("qe_signing_chain", out.collateral.qe_signing_chain));
  CAIRN_CHECK(read("root_crl", out.collateral.root_crl));
  CAIRN_CHECK(read("pck_crl", out.collateral.pck_crl));
  CAIRN_CHECK(read("pck_crl_issuer_chain", out.collateral.pck_crl_issuer_chain));
  if (f.has("pck_chain")) CAIRN_CHECK(read("pck_chain", out.collateral.pck_chain));
  CAIRN_TRY(out.time, case_time(f));
  CAIRN_CHECK(problems.result());
  return out;
}

// What a case says of a level, against what was found: the first difference, or "".
std::string level_difference(const Json& want, const tdx::TcbLevel& got, const std::string& of) {
  if (const auto d = want.find("tcb_date"); d != want.end() && d->is_string() && *d != rfc3339(got.date))
    return of + "tcb_date is " + rfc3339(got.date) + ", wanted " + d->get<std::string>();
  if (const auto a = want.find("advisories"); a != want.end() && a->is_array() && *a != Json(got.advisory_ids))
    return of + "advisories are " + Json(got.advisory_ids).dump() + ", wanted " + a->dump();
  if (const auto s = want.find("tcb_status"); s != want.end() && s->is_string() && *s != tdx::name(got.status))
    return of + "tcb_status is " + std::string(tdx::name(got.status)) + ", wanted " + s->get<std::string>();
  return {};
}

// Data that a completed evaluation must have besides its status.
std::string data_difference(const Json& want, const tdx::Verdict& v) {
  if (std::string d = level_difference(want, *v.tcb, ""); !d.empty()) return d;
  if (const auto n = want.find("tcb_eval_num"); n != want.end() && n->is_number() && *n != v.collateral->tcb_eval_num)
    return "tcb_eval_num is " + std::to_string(v.collateral->tcb_eval_num) + ", wanted " + n->dump();
  const auto current = want.find("current");
  return current == want.end() ? std::string() : level_difference(*current, *v.current, "current ");
}

// The default TD policy apart from the platform's status, which the verdict names already.
std::string policy_difference(const Json& want, const tdx::Verdict& v, Time at) {
  const auto rules = want.find("policy");
  if (rules == want.end() || !rules->is_array() || rules->empty()) return {};
  tdx::Policy policy;
  policy.check_current = false;
  policy.accepted_statuses.insert(v.tcb->status);
  policy.allow_simulated = policy.allow_expired_collateral = true;
  return tdx::appraise(v, policy, at).empty() ? "the default policy accepts it, wanted " + rules->dump()
                                              : std::string();
}

CaseResult judge_case(const Case& c, ByteView quote, const tdx::TrustRoot& root) {
  CaseResult out{.id = c.id, .wanted = c.required, .got = {}, .detail = {}};
  const tdx::Verdict v = tdx::verify(quote, c.collateral, {root}, {.time = c.time});
  out.got = v.outcome();
  out.detail = v.detail;
  out.as_wanted = out.got == c.required || std::ranges::contains(c.also_ok, out.got);
  if (!out.as_wanted || !v.authentic()) return out;
  out.detail = data_difference(c.json, v);
  if (out.detail.empty()) out.detail = policy_difference(c.json, v, c.time);
  out.as_wanted = out.detail.empty();
  return out;
}

}  // namespace

Result<std::vector<CaseResult>> run_cases(const fs::path& file) {
  CAIRN_TRY(const std::string text, read_text(file));
  CAIRN_TRY(const Json document, parse_json(text));
  const auto cases = document.is_object() ? document.find("cases") : document.end();
  if (cases == document.end() || !cases->is_array())
    return fail(ErrorCode::malformed, file.string(), "a case file is an object with an array \"cases\"");
  std::vector<CaseResult> out;
  for (std::size_t i = 0; i < cases->size(); ++i) {
    const std::string path = "$.cases[" + std::to_string(i) + "]";
    CAIRN_TRY(const Case c, read_case((*cases)[i], file.parent_path(), path));
    CAIRN_TRY(const Bytes quote, read_file(c.quote));
    CAIRN_TRY(const Bytes certificate, read_file(c.root));
    CAIRN_TRY(const tdx::TrustRoot root, tdx::trust_root(c.root.stem().string(), certificate));
    out.push_back(judge_case(c, quote, root));
  }
  return out;
}

}  // namespace cairn::cli
