#include "evidence/tdx/policy.h"

#include <algorithm>

#include "base/encoding.h"

namespace cairn::tdx {
namespace {

std::string le_hex(std::uint64_t value) { return hex(Writer().u64le(value).view()); }

template <class T>
bool any_of(const std::vector<T>& list, const auto& value) {
  return std::ranges::any_of(list, [&](const T& x) { return equal(x, value); });
}

// Collects what the policy rejects; `reject` adds one finding when `ok` is false.
class Appraisal {
 public:
  Appraisal(const Verdict& verdict, const Policy& policy, Time at) : v_(verdict), p_(policy), at_(at) {}

  std::vector<Finding> run() && {
    platform();
    header();
    if (const TdReport* td = v_.quote->td()) {
      td_rules(*td);
      td_measurements(*td);
    } else {
      enclave(*v_.quote->enclave());
    }
    if (p_.report_data)
      expect(v_.quote->report_data() == *p_.report_data, "report_data", "REPORTDATA is not the expected value");
    return std::move(out_);
  }

 private:
  void expect(bool ok, std::string_view rule, std::string message) {
    if (!ok) out_.push_back({std::string(rule), std::move(message)});
  }
  // An unset list accepts all.
  template <class T>
  void listed(const std::vector<T>& list, ByteView value, std::string_view rule) {
    expect(list.empty() || any_of(list, value), rule, hex(value) + " is not in the list");
  }
  void flag(const std::optional<bool>& want, const std::optional<bool>& have, std::string_view rule) {
    if (!want) return;
    expect(have == want, rule, have ? (*have ? "is true" : "is false") : "the PCK certificate does not say");
  }

  [[nodiscard]] bool accepted(TcbStatus status) const {
    if (p_.accepted_statuses.contains(status)) return true;
    return std::ranges::any_of(p_.exceptions, [&](const Policy::Exception& e) {
      return e.status == status && equal(e.fmspc, v_.platform->pck.fmspc) && at_ <= e.until;
    });
  }

  void platform() {
    const sgx::PckExtension& pck = v_.platform->pck;
    expect(!v_.simulated || p_.allow_simulated, "simulated", "the trust root \"" + v_.root_name + "\" is not Intel's");
    expect(!v_.collateral->expired || p_.allow_expired_collateral, "collateral_expired",
           "collateral or a certificate expired at " + rfc3339(v_.collateral->earliest_expiration));
    expect(accepted(v_.tcb->status), "tcb_status", std::string(name(v_.tcb->status)) + " is not accepted");
    if (p_.check_current)
      expect(accepted(v_.current->status), "tcb_status_current",
             std::string(name(v_.current->status)) + " of the module that runs now is not accepted");
    if (p_.accepted_advisories)
      for (const std::string& id : v_.tcb->advisory_ids)
        expect(p_.accepted_advisories->contains(id), "advisory", id + " is not accepted");
    if (p_.max_tcb_age_seconds)
      expect(at_.seconds - v_.tcb->date.seconds <= *p_.max_tcb_age_seconds, "tcb_age",
             "the TCB is of " + rfc3339(v_.tcb->date));
    expect(v_.collateral->tcb_eval_num >= p_.min_tcb_eval_num, "tcb_eval_num",
           std::to_string(v_.collateral->tcb_eval_num) + " is below " + std::to_string(p_.min_tcb_eval_num));
    listed(p_.fmspc, pck.fmspc, "fmspc");
    expect(p_.ppid.empty() || any_of(p_.ppid, pck.ppid), "ppid", "this machine is not in the list");
    expect(p_.platform_instance_id.empty() ||
               (pck.platform_instance_id && any_of(p_.platform_instance_id, *pck.platform_instance_id)),
           "platform_instance_id", "this machine is not in the list");
    expect(p_.sgx_types.empty() || p_.sgx_types.contains(pck.type), "sgx_type",
           std::string(sgx::name(pck.type)) + " is not accepted");
    flag(p_.dynamic_platform, pck.dynamic_platform, "dynamic_platform");
    flag(p_.cached_keys, pck.cached_keys, "cached_keys");
    flag(p_.smt_enabled, pck.smt_enabled, "smt_enabled");
  }

  void header() {
    const Header& h = v_.quote->header;
    if (h.version != 3) return;
    const auto svn = [&](std::size_t at) { return static_cast<std::uint16_t>(h.svns[at] | h.svns[at + 1] << 8); };
    expect(svn(0) >= p_.minimum_qe_svn, "qe_svn", std::to_string(svn(0)) + " is too low");
    expect(svn(2) >= p_.minimum_pce_svn, "pce_svn", std::to_string(svn(2)) + " is too low");
  }

  void td_rules(const TdReport& t) {
    const std::uint64_t a = t.td_attributes;
    const auto clear = [&](std::uint64_t mask, bool allowed) { return allowed || (a & mask) == 0; };
    expect(clear(td_attribute::kDebug, p_.allow_debug), "debug", "the TD can be debugged by its host");
    expect(clear(td_attribute::kUnderDebug & ~td_attribute::kDebug, p_.allow_under_debug), "under_debug",
           "TDATTRIBUTES has debug or profiling bits: " + le_hex(a));
    expect(clear(td_attribute::kMigratable, p_.allow_migratable), "migratable", "the TD can be migrated");
    expect(clear(td_attribute::kPerfmon, p_.allow_perfmon), "perfmon", "performance monitoring is enabled");
    expect(!p_.require_sept_ve_disable || (a & td_attribute::kSeptVeDisable) != 0, "sept_ve_disable",
           "SEPT_VE_DISABLE is clear: the host can inject #VE");
    expect(clear(p_.td_attributes_reserved, false), "td_attributes_reserved", "TDATTRIBUTES is " + le_hex(a));
    if (p_.td_attributes)
      expect((a & p_.td_attributes->mask) == p_.td_attributes->value, "td_attributes", "TDATTRIBUTES is " + le_hex(a));
    expect((t.xfam & p_.xfam_fixed_one) == p_.xfam_fixed_one, "xfam_fixed", "XFAM is " + le_hex(t.xfam));
    if (p_.xfam) expect((t.xfam & p_.xfam->mask) == p_.xfam->value, "xfam", "XFAM is " + le_hex(t.xfam));
    expect(t.type() != BodyType::tdx15_extended || p_.allow_extended_body, "extended_body",
           "a TD report of body type 4");
    if (p_.minimum_tee_tcb_svn)
      for (std::size_t i = 0; i < t.tee_tcb_svn.size(); ++i)
        expect(t.tee_tcb_svn[i] >= (*p_.minimum_tee_tcb_svn)[i], "tee_tcb_svn",
               "component " + std::to_string(i) + " is " + std::to_string(t.tee_tcb_svn[i]));
  }

  void td_measurements(const TdReport& t) {
    listed(p_.mr_seam, t.mr_seam, "mr_seam");
    listed(p_.mr_td, t.mr_td, "mr_td");
    listed(p_.mr_config_id, t.mr_config_id, "mr_config_id");
    listed(p_.mr_owner, t.mr_owner, "mr_owner");
    listed(p_.mr_owner_config, t.mr_owner_config, "mr_owner_config");
    for (std::size_t i = 0; i < t.rtmr.size(); ++i) listed(p_.rtmr[i], t.rtmr[i], "rtmr_" + std::to_string(i));
    expect(!any_enclave_list(), "body", "enclave measurements are demanded of a TD");
    const std::array<const Register*, 3> service = {t.td15 ? &t.td15->mr_service_td : nullptr,
                                                    t.extended ? &t.extended->init_service_td : nullptr,
                                                    t.extended ? &t.extended->current_service_td : nullptr};
    for (const Register* r : service)
      if (r != nullptr)
        expect(*r == Register{} || any_of(p_.mr_service_td, *r), "mr_service_td",
               "service TD " + hex(*r) + " is not in the list");
  }

  [[nodiscard]] bool any_enclave_list() const { return !p_.mr_enclave.empty() || !p_.mr_signer.empty(); }
  [[nodiscard]] bool any_td_list() const {
    return !p_.mr_td.empty() || !p_.mr_seam.empty() || !p_.mr_config_id.empty() || !p_.mr_owner.empty() ||
           !p_.mr_owner_config.empty() || std::ranges::any_of(p_.rtmr, [](const auto& l) { return !l.empty(); });
  }

  void enclave(const sgx::Report& r) {
    expect(!r.debug() || p_.allow_debug, "debug", "the enclave can be debugged by its host");
    listed(p_.mr_enclave, r.mr_enclave, "mr_enclave");
    listed(p_.mr_signer, r.mr_signer, "mr_signer");
    expect(!any_td_list(), "body", "TD measurements are demanded of an enclave");
  }

  const Verdict& v_;
  const Policy& p_;
  Time at_;
  std::vector<Finding> out_;
};

// Every member of a policy under its JSON name, for reading and writing alike.
template <class P, class V>
void members(P& p, V& visit) {
  visit("accepted_statuses", p.accepted_statuses);
  visit("check_current", p.check_current);
  visit("accepted_advisories", p.accepted_advisories);
  visit("max_tcb_age_seconds", p.max_tcb_age_seconds);
  visit("min_tcb_eval_num", p.min_tcb_eval_num);
  visit("fmspc", p.fmspc);
  visit("ppid", p.ppid);
  visit("platform_instance_id", p.platform_instance_id);
  visit("sgx_types", p.sgx_types);
  visit("dynamic_platform", p.dynamic_platform);
  visit("cached_keys", p.cached_keys);
  visit("smt_enabled", p.smt_enabled);
  visit("allow_simulated", p.allow_simulated);
  visit("allow_expired_collateral", p.allow_expired_collateral);
  visit("exceptions", p.exceptions);
  visit("minimum_qe_svn", p.minimum_qe_svn);
  visit("minimum_pce_svn", p.minimum_pce_svn);
  visit("allow_debug", p.allow_debug);
  visit("allow_under_debug", p.allow_under_debug);
  visit("allow_migratable", p.allow_migratable);
  visit("allow_perfmon", p.allow_perfmon);
  visit("require_sept_ve_disable", p.require_sept_ve_disable);
  visit("allow_extended_body", p.allow_extended_body);
  visit("td_attributes", p.td_attributes);
  visit("td_attributes_reserved", p.td_attributes_reserved);
  visit("xfam", p.xfam);
  visit("xfam_fixed_one", p.xfam_fixed_one);
  visit("minimum_tee_tcb_svn", p.minimum_tee_tcb_svn);
  visit("mr_seam", p.mr_seam);
  visit("mr_td", p.mr_td);
  visit("mr_config_id", p.mr_config_id);
  visit("mr_owner", p.mr_owner);
  visit("mr_owner_config", p.mr_owner_config);
  visit("rtmr_0", p.rtmr[0]);
  visit("rtmr_1", p.rtmr[1]);
  visit("rtmr_2", p.rtmr[2]);
  visit("rtmr_3", p.rtmr[3]);
  visit("mr_service_td", p.mr_service_td);
  visit("report_data", p.report_data);
  visit("mr_enclave", p.mr_enclave);
  visit("mr_signer", p.mr_signer);
}

constexpr sgx::PlatformType kPlatformTypes[] = {sgx::PlatformType::standard, sgx::PlatformType::scalable,
                                                sgx::PlatformType::scalable_with_integrity};

// Reads a member where it is present; absent ones keep their default.
class PolicyReader {
 public:
  explicit PolicyReader(Fields& fields) : f_(&fields) {}

  template <class T>
    requires std::is_integral_v<T>
  void operator()(const char* key, T& out) {
    out = f_->value_or<T>(key, out);
  }
  void operator()(const char* key, std::uint64_t& out) { bits(*f_, key, out); }
  void operator()(const char* key, std::optional<bool>& out) { out = f_->optional<bool>(key); }
  void operator()(const char* key, std::optional<std::int64_t>& out) { out = f_->optional<std::int64_t>(key); }
  void operator()(const char* key, std::set<TcbStatus>& out) {
    const auto names = f_->optional<std::vector<std::string>>(key);
    if (!names) return;
    out.clear();
    for (const std::string& n : *names) out.insert(status(*f_, key, n));
  }
  void operator()(const char* key, std::optional<std::set<std::string>>& out) {
    if (const auto names = f_->optional<std::vector<std::string>>(key)) out.emplace(names->begin(), names->end());
  }
  void operator()(const char* key, std::set<sgx::PlatformType>& out) {
    for (const std::string& n : f_->value_or<std::vector<std::string>>(key, {})) {
      const auto found = std::ranges::find(kPlatformTypes, n, sgx::name);
      if (found == std::end(kPlatformTypes))
        f_->problem(key, "must list Standard, Scalable or ScalableWithIntegrity");
      else
        out.insert(*found);
    }
  }
  void operator()(const char* key, std::vector<Bytes>& out) {
    for (const std::string& text : f_->value_or<std::vector<std::string>>(key, {})) {
      if (auto b = from_hex(text); b && !b->empty())
        out.push_back(*std::move(b));
      else
        f_->problem(key, "must list hex values");
    }
  }
  template <std::size_t N, class Tag>
  void operator()(const char* key, std::vector<FixedBytes<N, Tag>>& out) {
    for (const std::string& text : f_->value_or<std::vector<std::string>>(key, {}))
      fixed(key, text, out.emplace_back());
  }
  void operator()(const char* key, std::optional<ReportData>& out) {
    if (const auto text = f_->optional<std::string>(key)) fixed(key, *text, out.emplace());
  }
  void operator()(const char* key, std::optional<Svn16>& out) {
    if (const auto text = f_->optional<std::string>(key)) fixed(key, *text, out.emplace());
  }
  void operator()(const char* key, std::optional<MaskedBits>& out) {
    if (!f_->has(key)) return;
    Fields f = f_->object(key);
    MaskedBits& m = out.emplace(MaskedBits{.mask = ~0ULL, .value = 0});
    bits(f, "mask", m.mask);
    if (!f.has("value")) f.problem("value", "is required");
    bits(f, "value", m.value);
    if ((m.value & ~m.mask) != 0) f.problem("value", "has bits outside the mask");
    f.done();
  }
  void operator()(const char* key, std::vector<Policy::Exception>& out) {
    f_->objects(key, [&](Fields& f) {
      Policy::Exception& e = out.emplace_back();
      if (auto b = from_hex(f.required<std::string>("fmspc")); b && b->size() == 6)
        e.fmspc = *std::move(b);
      else
        f.problem("fmspc", "must be 6 bytes of hex");
      e.status = status(f, "status", f.required<std::string>("status"));
      if (const auto t = parse_rfc3339(f.required<std::string>("until")))
        e.until = *t;
      else
        f.problem("until", "must be an RFC 3339 time");
      f.done();
    });
  }

 private:
  template <std::size_t N>
  void fixed(const char* key, const std::string& text, std::array<std::uint8_t, N>& out) {
    const Result<Bytes> b = from_hex(text);
    if (b && b->size() == N)
      std::ranges::copy(*b, out.begin());
    else
      f_->problem(key, "must be " + std::to_string(N) + " bytes of hex");
  }
  // Eight bytes of hex in memory order, as claims spell TDATTRIBUTES and XFAM.
  static void bits(Fields& f, const char* key, std::uint64_t& out) {
    const auto text = f.optional<std::string>(key);
    if (!text) return;
    const Result<Bytes> b = from_hex(*text);
    if (b && b->size() == 8)
      out = *Reader(*b).u64le();
    else
      f.problem(key, "must be 8 bytes of hex in memory order, as in 0000001000000000");
  }
  static TcbStatus status(Fields& f, const char* key, const std::string& text) {
    const std::optional<TcbStatus> s = tcb_status(text);
    if (!s) f.problem(key, "\"" + text + "\" is no TCB status");
    return s.value_or(TcbStatus::up_to_date);
  }

  Fields* f_;
};

class PolicyWriter {
 public:
  template <class T>
  void operator()(const char* key, const T& value) {
    if constexpr (requires { value.has_value(); }) {
      if (value) json[key] = text(*value);
    } else {
      json[key] = text(value);
    }
  }
  Json json = Json::object();

 private:
  static Json text(bool v) { return v; }
  static Json text(std::uint16_t v) { return v; }
  static Json text(std::uint32_t v) { return v; }
  static Json text(std::int64_t v) { return v; }
  static Json text(std::uint64_t v) { return le_hex(v); }
  static Json text(TcbStatus v) { return name(v); }
  static Json text(sgx::PlatformType v) { return sgx::name(v); }
  static Json text(const std::string& v) { return v; }
  static Json text(const Bytes& v) { return hex(v); }
  static Json text(const MaskedBits& v) { return {{"mask", le_hex(v.mask)}, {"value", le_hex(v.value)}}; }
  static Json text(const Policy::Exception& v) {
    return {{"fmspc", hex(v.fmspc)}, {"status", name(v.status)}, {"until", rfc3339(v.until)}};
  }
  template <std::size_t N>
  static Json text(const std::array<std::uint8_t, N>& v) {
    return hex(v);
  }
  template <class T>
  static Json text(const std::set<T>& v) {
    return each(v);
  }
  template <class T>
  static Json text(const std::vector<T>& v) {
    return each(v);
  }
  static Json each(const auto& v) {
    Json out = Json::array();
    for (const auto& x : v) out.push_back(text(x));
    return out;
  }
};

}  // namespace

Result<Policy> parse_policy(const Json& json) {
  Problems problems;
  Fields fields(json, "$", problems);
  Policy out;
  PolicyReader reader(fields);
  members(out, reader);
  fields.done();
  CAIRN_CHECK(problems.result());
  return out;
}

Json to_json(const Policy& policy) {
  PolicyWriter writer;
  members(policy, writer);
  return std::move(writer.json);
}

std::vector<Finding> appraise(const Verdict& verdict, const Policy& policy, Time at) {
  if (!verdict.authentic() || !verdict.quote || !verdict.tcb)
    return {
        {"authentic", std::string(sentence(verdict.failure)) + (verdict.detail.empty() ? "" : ": " + verdict.detail)}};
  return Appraisal(verdict, policy, at).run();
}

}  // namespace cairn::tdx
