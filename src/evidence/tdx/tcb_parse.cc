// Reads the signed JSON bodies. Every member is taken where the scanner stands; unknown members are skipped.
#include <algorithm>
#include <tuple>

#include "base/encoding.h"
#include "evidence/tdx/collateral.h"
#include "evidence/tdx/json_scanner.h"
#include "evidence/tdx/limits.h"
#include "evidence/tdx/tcb.h"

namespace cairn::tdx {
namespace {

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Exactly N bytes of hex, either case.
template <std::size_t N>
Result<void> hex_into(JsonScanner& s, std::array<std::uint8_t, N>& out) {
  CAIRN_TRY(const std::string_view text, s.string());
  if (text.size() != 2 * N) return s.bad("a hex value of the wrong length");
  for (std::size_t i = 0; i < N; ++i) {
    const int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);
    if (high < 0 || low < 0) return s.bad("a value is not hex");
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return {};
}

template <class T>
Result<void> integer_into(JsonScanner& s, T& out) {
  CAIRN_TRY(const std::uint64_t n, s.integer(std::numeric_limits<T>::max()));
  out = static_cast<T>(n);
  return {};
}

Result<void> time_into(JsonScanner& s, Time& out) {
  CAIRN_TRY(const std::string_view text, s.string());
  Result<Time> t = parse_rfc3339(text);
  if (!t || !text.ends_with('Z')) return s.bad("a time is not RFC 3339 with Z");
  out = *t;
  return {};
}

Result<void> skipped(JsonScanner& s) {
  return s.skip().transform([](std::string_view) {});
}

// Which of a struct's required members have been met.
class Met {
 public:
  void operator()(unsigned bit) { bits_ |= 1U << bit; }
  [[nodiscard]] bool all(unsigned count) const { return bits_ == (1U << count) - 1; }

 private:
  unsigned bits_ = 0;
};

Result<void> advisories_into(JsonScanner& s, std::vector<std::string_view>& out) {
  return s.array([&]() -> Result<void> {
    CAIRN_TRY(const std::string_view id, s.string());
    if (id.size() > kMaxAdvisoryLength || out.size() == kMaxAdvisories)
      return s.bad("too many or too long advisory ids");
    out.push_back(id);
    return {};
  });
}

// Members that all levels share; `tcb` reads the rest. True in `met` bits 0 to 2: tcb, tcbDate, tcbStatus.
template <class F>
Result<void> level_into(JsonScanner& s, Level& out, F tcb) {
  Met met;
  CAIRN_CHECK(s.object([&](std::string_view name) -> Result<void> {
    if (name == "tcb") return met(0), tcb();
    if (name == "tcbDate") return met(1), time_into(s, out.date);
    if (name == "advisoryIDs") return advisories_into(s, out.advisory_ids);
    if (name != "tcbStatus") return skipped(s);
    met(2);
    const Result<std::string_view> text = s.string();
    if (!text) return fail(text.error());
    const std::optional<TcbStatus> status = tcb_status(*text);
    if (!status || *status == TcbStatus::td_relaunch_advised ||
        *status == TcbStatus::td_relaunch_advised_configuration_needed)
      return s.bad("an unknown tcbStatus");
    out.status = *status;
    return {};
  }));
  if (!met.all(3)) return s.bad("a level lacks tcb, tcbDate or tcbStatus");
  return {};
}

// Sorts highest first; malformed if empty or if two are equal.
template <class L, class Key>
Result<void> order(JsonScanner& s, std::vector<L>& levels, Key key) {
  if (levels.empty()) return s.bad("no TCB levels");
  std::ranges::sort(levels, [&](const L& a, const L& b) { return key(a) > key(b); });
  if (std::ranges::adjacent_find(levels, {}, key) != levels.end()) return s.bad("two TCB levels are equal");
  return {};
}

Result<void> svn_levels_into(JsonScanner& s, std::vector<SvnLevel>& out) {
  CAIRN_CHECK(s.array([&]() -> Result<void> {
    if (out.size() == kMaxTcbLevels) return s.bad("too many TCB levels");
    SvnLevel& level = out.emplace_back();
    bool met = false;
    const auto tcb = [&] {
      return s.object([&](std::string_view name) -> Result<void> {
        if (name != "isvsvn") return skipped(s);
        met = true;
        return integer_into(s, level.isv_svn);
      });
    };
    if (auto read = level_into(s, level, tcb); !read) return read;
    if (!met) return s.bad("a level lacks isvsvn");
    return {};
  }));
  return order(s, out, [](const SvnLevel& l) { return l.isv_svn; });
}

// [{"svn":n, ...} x 16]
Result<void> components_into(JsonScanner& s, std::array<std::uint8_t, 16>& out) {
  std::size_t count = 0;
  CAIRN_CHECK(s.array([&]() -> Result<void> {
    if (count == out.size()) return s.bad("more than 16 components");
    bool met = false;
    auto read = s.object([&](std::string_view name) -> Result<void> {
      if (name != "svn") return skipped(s);
      met = true;
      return integer_into(s, out[count]);
    });
    if (!read) return read;
    if (!met) return s.bad("a component lacks svn");
    ++count;
    return {};
  }));
  if (count != out.size()) return s.bad("fewer than 16 components");
  return {};
}

// "sgxtcbcomp01svn" to "sgxtcbcomp16svn" of version 2: the index, or -1.
int v2_component(std::string_view name) {
  if (name.size() != 15 || !name.starts_with("sgxtcbcomp") || !name.ends_with("svn")) return -1;
  const int n = (name[10] - '0') * 10 + (name[11] - '0');
  const bool digits = name[10] >= '0' && name[10] <= '1' && name[11] >= '0' && name[11] <= '9';
  return digits && n >= 1 && n <= 16 ? n - 1 : -1;
}

struct TcbMet {
  unsigned v2_components = 0;
  bool sgx = false, tdx = false, pce = false;
};
Result<void> platform_tcb_into(JsonScanner& s, PlatformLevel& out, TcbMet& met) {
  return s.object([&](std::string_view name) -> Result<void> {
    if (name == "sgxtcbcomponents") return met.sgx = true, components_into(s, out.sgx);
    if (name == "tdxtcbcomponents") return met.tdx = true, components_into(s, out.tdx);
    if (name == "pcesvn") return met.pce = true, integer_into(s, out.pce_svn);
    const int n = v2_component(name);
    if (n < 0) return skipped(s);
    ++met.v2_components;
    return integer_into(s, out.sgx[static_cast<std::size_t>(n)]);
  });
}

// Every level must be written as its version and TEE demand; which these are may stand after the levels.
struct LevelShape {
  bool all_v3 = true, all_v2 = true, all_tdx = true;
};
Result<void> platform_levels_into(JsonScanner& s, std::vector<PlatformLevel>& out, LevelShape& shape) {
  return s.array([&]() -> Result<void> {
    if (out.size() == kMaxTcbLevels) return s.bad("too many TCB levels");
    PlatformLevel& level = out.emplace_back();
    TcbMet met;
    auto read = level_into(s, level, [&] { return platform_tcb_into(s, level, met); });
    if (!read) return read;
    if (!met.pce) return s.bad("a level lacks pcesvn");
    shape.all_v3 &= met.sgx && met.v2_components == 0;
    shape.all_v2 &= !met.sgx && met.v2_components == 16;
    shape.all_tdx &= met.tdx;
    return {};
  });
}

// "TDX_" and two hex digits, any case.
Result<void> module_id_into(JsonScanner& s, std::uint8_t& out) {
  CAIRN_TRY(const std::string_view id, s.string());
  const auto lower = [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); };
  const bool stem = id.size() == 6 && std::ranges::equal(id.substr(0, 4), std::string_view("tdx_"), {}, lower);
  const int high = stem ? nibble(id[4]) : -1, low = stem ? nibble(id[5]) : -1;
  if (high < 0 || low < 0) return s.bad("a TDX module id is not TDX_ and two hex digits");
  out = static_cast<std::uint8_t>(high << 4 | low);
  return {};
}

Result<void> module_into(JsonScanner& s, TdxModule& out, bool identity) {
  Met met;
  std::array<std::uint8_t, 8> mask{};  // read and ignored: SEAMATTRIBUTES must be zero whatever it says (§2.8)
  CAIRN_CHECK(s.object([&](std::string_view name) -> Result<void> {
    if (name == "mrsigner") return met(0), hex_into(s, out.mr_signer);
    if (name == "attributes") return met(1), hex_into(s, out.attributes);
    if (name == "attributesMask") return met(2), hex_into(s, mask);
    if (identity && name == "id") return met(3), module_id_into(s, out.version);
    if (identity && name == "tcbLevels") return met(4), svn_levels_into(s, out.levels);
    return skipped(s);
  }));
  if (!met.all(identity ? 5 : 3)) return s.bad("a TDX module lacks a member");
  return {};
}

Result<void> modules_into(JsonScanner& s, std::vector<TdxModule>& out) {
  return s.array([&]() -> Result<void> {
    if (out.size() == kMaxModules) return s.bad("too many TDX modules");
    TdxModule module;
    if (auto read = module_into(s, module, true); !read) return read;
    if (std::ranges::contains(out, module.version, &TdxModule::version)) return s.bad("a TDX module stands twice");
    out.push_back(std::move(module));
    return {};
  });
}

Result<TcbInfo> tcb_info(JsonScanner& s) {
  TcbInfo out;
  LevelShape shape;
  Met met;
  std::uint32_t version = 0;
  std::uint32_t type = 1;
  std::string_view id;
  CAIRN_CHECK(s.object([&](std::string_view name) -> Result<void> {
    if (name == "version") return met(0), integer_into(s, version);
    if (name == "issueDate") return met(1), time_into(s, out.issued);
    if (name == "nextUpdate") return met(2), time_into(s, out.next_update);
    if (name == "fmspc") return met(3), hex_into(s, out.fmspc);
    if (name == "pceId") return met(4), hex_into(s, out.pce_id);
    if (name == "tcbType") return met(5), integer_into(s, type);
    if (name == "tcbEvaluationDataNumber") return met(6), integer_into(s, out.eval_num);
    if (name == "tcbLevels") return met(7), platform_levels_into(s, out.levels, shape);
    if (name == "tdxModule") return module_into(s, out.base_module.emplace(), false);
    if (name == "tdxModuleIdentities") return modules_into(s, out.modules);
    if (name == "id") return s.string().transform([&](std::string_view text) { id = text; });
    return skipped(s);
  }));
  if (!met.all(8)) return s.bad("tcbInfo lacks a member");
  if (version != 2 && version != 3) return s.bad("tcbInfo of another version than 2 and 3");
  if (type != 0) return s.bad("a tcbType other than 0");
  if (id != "SGX" && id != "TDX" && !(version == 2 && id.empty())) return s.bad("a tcbInfo id other than SGX and TDX");
  if (version == 2 && id == "TDX") return s.bad("TDX in a tcbInfo of version 2");
  out.tee = id == "TDX" ? TeeType::tdx : TeeType::sgx;
  if (!(version == 2 ? shape.all_v2 : shape.all_v3)) return s.bad("a level lacks SGX components");
  if (out.tee == TeeType::tdx && !shape.all_tdx) return s.bad("a level lacks TDX components");
  CAIRN_CHECK(order(s, out.levels, [](const PlatformLevel& l) { return std::tie(l.sgx, l.pce_svn, l.tdx); }));
  return out;
}

Result<QeIdentity> qe_identity(JsonScanner& s) {
  QeIdentity out;
  Met met;
  std::uint32_t version = 0;
  std::string_view id;
  CAIRN_CHECK(s.object([&](std::string_view name) -> Result<void> {
    if (name == "id") return met(0), s.string().transform([&](std::string_view text) { id = text; });
    if (name == "version") return met(1), integer_into(s, version);
    if (name == "issueDate") return met(2), time_into(s, out.issued);
    if (name == "nextUpdate") return met(3), time_into(s, out.next_update);
    if (name == "tcbEvaluationDataNumber") return met(4), integer_into(s, out.eval_num);
    if (name == "miscselect") return met(5), hex_into(s, out.misc_select);
    if (name == "miscselectMask") return met(6), hex_into(s, out.misc_select_mask);
    if (name == "attributes") return met(7), hex_into(s, out.attributes);
    if (name == "attributesMask") return met(8), hex_into(s, out.attributes_mask);
    if (name == "mrsigner") return met(9), hex_into(s, out.mr_signer);
    if (name == "isvprodid") return met(10), integer_into(s, out.isv_prod_id);
    if (name == "tcbLevels") return met(11), svn_levels_into(s, out.levels);
    return skipped(s);
  }));
  if (!met.all(12)) return s.bad("enclaveIdentity lacks a member");
  if (version != 2) return s.bad("an enclaveIdentity of another version than 2");
  if (id == "QE") return out.id = QeId::qe, out;
  if (id == "TD_QE") return out.id = QeId::td_qe, out;
  if (id == "QVE") return out.id = QeId::qve, out;
  return s.bad("an enclaveIdentity id other than QE, TD_QE and QVE");
}

// {"<member>":{...},"signature":"<128 hex>"}. When `parse` refuses the value, the body is read once more to find
// the signed bytes, so that a wrong signature is named before a wrong schema.
template <class T, class F>
Result<SignedBody<T>> signed_body(std::string_view body, std::string_view member, F parse, bool parse_value = true) {
  if (body.size() > kMaxSignedJson)
    return fail(ErrorCode::malformed, "byte " + std::to_string(kMaxSignedJson), "a signed body too large");
  JsonScanner s(body);
  SignedBody<T> out{.signed_text = {}, .signature = {}, .value = fail(ErrorCode::malformed, "not read")};
  bool signature = false, schema_error = false;
  const Result<void> read = s.object([&](std::string_view name) -> Result<void> {
    if (name == "signature") return signature = true, hex_into(s, out.signature);
    if (name != member) return skipped(s);
    s.space();
    const std::size_t start = s.offset();
    if (parse_value) {
      out.value = parse(s);
      schema_error = !out.value;
    } else {
      CAIRN_CHECK(skipped(s));
    }
    out.signed_text = s.since(start);
    return schema_error ? Result<void>(fail(out.value.error())) : Result<void>();
  });
  if (schema_error) {
    Error why = out.value.error();
    CAIRN_TRY(out, signed_body<T>(body, member, parse, false));
    out.value = fail(std::move(why));
    return out;
  }
  CAIRN_CHECK(read);
  CAIRN_CHECK(s.end());
  if (out.signed_text.empty() || !signature) return s.bad("the body lacks its value or its signature");
  return out;
}

}  // namespace

Result<SignedBody<TcbInfo>> parse_tcb_info(std::string_view body) {
  return signed_body<TcbInfo>(body, "tcbInfo", tcb_info);
}

Result<SignedBody<QeIdentity>> parse_qe_identity(std::string_view body) {
  return signed_body<QeIdentity>(body, "enclaveIdentity", qe_identity);
}

}  // namespace cairn::tdx
