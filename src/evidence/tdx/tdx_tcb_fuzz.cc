// Any text as a signed body: the two parsers agree with the strict JSON loader on what is JSON at all, and what they
// accept can be evaluated.
#include <cstdlib>

#include "base/json.h"
#include "evidence/tdx/tcb.h"

namespace {

// Numbers too large for a double are JSON, but the general loader refuses them.
bool may_overflow(std::string_view text) {
  std::size_t digits = 0;
  for (const char c : text) {
    if (digits > 0 && (c == 'e' || c == 'E')) return true;
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits > 300) return true;
  }
  return false;
}

// What the scanner accepts, the general loader accepts too (it is laxer in depth and member names).
void must_be_json(std::string_view text) {
  if (!may_overflow(text) && !cairn::parse_json(text)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto info = tdx::parse_tcb_info(text);
  const auto identity = tdx::parse_qe_identity(text);
  if (info) must_be_json(text), must_be_json(info->signed_text);
  if (identity) must_be_json(text), must_be_json(identity->signed_text);
  tdx::QeIdentity qe;
  qe.levels.emplace_back();
  if (info && info->value) {
    sgx::PckExtension pck;
    pck.components.fill(5);
    pck.pce_svn = 11;
    const tdx::Svn16 svn = {3, 1, 6};
    (void)tdx::evaluate(*info->value, qe, pck, 4, nullptr);
    (void)tdx::evaluate(*info->value, identity && identity->value ? *identity->value : qe, pck, 4, &svn);
  }
  if (identity && identity->value) (void)tdx::identity_mismatch(*identity->value, {});
  return 0;
}
