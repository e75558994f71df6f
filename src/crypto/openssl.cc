#include "crypto/openssl.h"

#include <openssl/err.h>

namespace cairn::crypto {

std::unexpected<Error> openssl_error(std::string what) {
  const unsigned long code = ERR_peek_last_error();
  if (code != 0) {
    if (const char* reason = ERR_reason_error_string(code)) what.append(" (").append(reason).append(")");
  }
  ERR_clear_error();
  return fail(ErrorCode::crypto_failed, std::move(what));
}

}  // namespace cairn::crypto
