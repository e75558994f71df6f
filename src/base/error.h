// What every fallible function of the house returns.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

// Closed set of causes, coarse enough to act on. Finer causes (a quote verifier's, for instance) live in their area
// as enums of their own and appear here as `evidence_rejected` with the fine code as `where`.
enum class ErrorCode {
  invalid_argument,   // the caller passed something the contract excludes
  malformed,          // bytes or text from outside do not parse
  too_large,          // a named limit was exceeded
  unsupported,        // recognised, but deliberately not handled
  not_found,          // a file, resource, key or session does not exist
  already_exists,     // would overwrite something that must not be
  permission_denied,  // refused by the operating system or by a policy
  unauthenticated,    // no, expired or wrong credentials
  evidence_rejected,  // attestation evidence or its collateral did not verify
  crypto_failed,      // a signature, tag, key or certificate did not verify
  io_failed,          // the operating system reported an error
  unavailable,        // a peer or device does not answer; trying again may help
  timed_out,          // a stated deadline passed
  cancelled,          // stopped on request
  conflict,           // state changed meanwhile, or two settings exclude each other
  internal,           // a broken invariant: a bug of ours
};

// Stable name for logs, JSON and exit messages, e.g. "evidence_rejected".
[[nodiscard]] std::string_view name(ErrorCode code);
// One sentence that explains the code to a reader.
[[nodiscard]] std::string_view sentence(ErrorCode code);

struct Error {
  ErrorCode code;
  std::string where;    // position, path or fine code: "offset 48", "$.add_egress[0].mapping", "tdx.pck_revoked"
  std::string message;  // what happened and what the reader can do; never holds a secret

  // "malformed at offset 48: the quote ends inside its header"
  [[nodiscard]] std::string text() const;
  // The same error with "context: " before its message.
  [[nodiscard]] Error in(std::string_view context) &&;
};

template <class T = void>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string where, std::string message) {
  return std::unexpected(Error{code, std::move(where), std::move(message)});
}
[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return fail(code, {}, std::move(message));
}
[[nodiscard]] inline std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }

// Errno as an Error: code by kind, `where` = the path or object, message names the action.
[[nodiscard]] Error errno_error(int number, std::string where, std::string_view action);

}  // namespace cairn

// CAIRN_TRY(auto x, f());   x = the value, or return the error from this function.
// CAIRN_CHECK(g());         the same for Result<void>.
// CAIRN_CO_TRY / CAIRN_CO_CHECK: inside coroutines.
#define CAIRN_CONCAT2(a, b) a##b
#define CAIRN_CONCAT(a, b) CAIRN_CONCAT2(a, b)
#define CAIRN_TRY_IMPL(tmp, ret, decl, ...)                  \
  auto tmp = (__VA_ARGS__);                                  \
  if (!tmp) ret ::std::unexpected(::std::move(tmp).error()); \
  decl = *::std::move(tmp)
#define CAIRN_TRY(decl, ...) CAIRN_TRY_IMPL(CAIRN_CONCAT(cairn_try_, __LINE__), return, decl, __VA_ARGS__)
#define CAIRN_CO_TRY(decl, ...) CAIRN_TRY_IMPL(CAIRN_CONCAT(cairn_try_, __LINE__), co_return, decl, __VA_ARGS__)
#define CAIRN_CHECK(...)                                                                                            \
  do {                                                                                                              \
    if (auto cairn_check = (__VA_ARGS__); !cairn_check) return ::std::unexpected(::std::move(cairn_check).error()); \
  } while (false)
#define CAIRN_CO_CHECK(...)                                                                                            \
  do {                                                                                                                 \
    if (auto cairn_check = (__VA_ARGS__); !cairn_check) co_return ::std::unexpected(::std::move(cairn_check).error()); \
  } while (false)
