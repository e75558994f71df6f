// TCB info and QE identity: Intel's signed lists of what counts as current, and the rules by which a machine's numbers
// find their level. Pure functions over parsed values; signatures are verify.cc's. tdx-dcap §2.6 to §2.9.
#pragma once

#include <array>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "evidence/sgx/pck_extension.h"
#include "evidence/tdx/quote.h"
#include "evidence/tdx/verify.h"

namespace cairn::tdx {

// What a level says once it applies. Advisory ids point into the text parsed.
struct Level {
  TcbStatus status = TcbStatus::revoked;
  Time date{};
  std::vector<std::string_view> advisory_ids;
};
struct PlatformLevel : Level {
  std::array<std::uint8_t, 16> sgx{};
  std::uint16_t pce_svn = 0;
  std::array<std::uint8_t, 16> tdx{};
};
struct SvnLevel : Level {
  std::uint16_t isv_svn = 0;
};

struct TdxModule {
  std::uint8_t version = 0;
  Register mr_signer{};
  std::array<std::uint8_t, 8> attributes{};
  std::vector<SvnLevel> levels;  // highest first; none for version 0
};

struct TcbInfo {
  TeeType tee = TeeType::sgx;
  Time issued{}, next_update{};
  std::array<std::uint8_t, 6> fmspc{};
  std::array<std::uint8_t, 2> pce_id{};
  std::uint32_t eval_num = 0;
  std::optional<TdxModule> base_module;  // "tdxModule": version 0
  std::vector<TdxModule> modules;        // "tdxModuleIdentities"
  std::vector<PlatformLevel> levels;     // highest first, whatever the order of the document
};

enum class QeId : std::uint8_t { qe, td_qe, qve };
struct QeIdentity {
  QeId id = QeId::qe;
  Time issued{}, next_update{};
  std::uint32_t eval_num = 0;
  std::array<std::uint8_t, 4> misc_select{}, misc_select_mask{};
  std::array<std::uint8_t, 16> attributes{}, attributes_mask{};
  Digest<32> mr_signer{};
  std::uint16_t isv_prod_id = 0;
  std::vector<SvnLevel> levels;  // highest first
};

// A response body taken apart: the signed bytes, the signature, and the parsed value or why it could not be parsed
// (reported only after the signature has been checked).
template <class T>
struct SignedBody {
  std::string_view signed_text;
  std::array<std::uint8_t, 64> signature{};
  Result<T> value;
};
[[nodiscard]] Result<SignedBody<TcbInfo>> parse_tcb_info(std::string_view body);
[[nodiscard]] Result<SignedBody<QeIdentity>> parse_qe_identity(std::string_view body);

// Does the QE report fit the identity (§2.7)? The name of the first field that does not, or "".
[[nodiscard]] std::string_view identity_mismatch(const QeIdentity& identity, const sgx::Report& report);

// The module identity that applies to a TEE_TCB_SVN, or none.
[[nodiscard]] const TdxModule* module_for(const TcbInfo& info, const Svn16& tee_tcb_svn);

// What one evaluation used and found.
struct Evaluation {
  TcbLevel level;
  std::optional<TcbStatus> module_status;
  TcbStatus qe_status = TcbStatus::revoked;
  Time qe_date{};
};
// §2.9 for one TEE_TCB_SVN (none: SGX). unsupported, with the list that has no level as `where`, is TcbNotSupported.
[[nodiscard]] Result<Evaluation> evaluate(const TcbInfo& info, const QeIdentity& identity, const sgx::PckExtension& pck,
                                          std::uint16_t qe_isv_svn, const Svn16* tee_tcb_svn);
// The status of a TD 1.5 from its launch and current statuses.
[[nodiscard]] TcbStatus relaunch(TcbStatus launch, TcbStatus current);

}  // namespace cairn::tdx
