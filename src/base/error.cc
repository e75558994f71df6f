#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace cairn {
namespace {
struct Entry {
  std::string_view name, sentence;
};
Entry entry(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument: return {"invalid_argument", "A value given is outside what is accepted."};
    case ErrorCode::malformed: return {"malformed", "The input does not have the form it must have."};
    case ErrorCode::too_large: return {"too_large", "The input exceeds a limit."};
    case ErrorCode::unsupported: return {"unsupported", "The input is recognised but this program does not handle it."};
    case ErrorCode::not_found: return {"not_found", "What was asked for does not exist."};
    case ErrorCode::already_exists: return {"already_exists", "It exists already and is not overwritten."};
    case ErrorCode::permission_denied: return {"permission_denied", "The operating system or a policy refused it."};
    case ErrorCode::unauthenticated: return {"unauthenticated", "Credentials are missing, expired or wrong."};
    case ErrorCode::evidence_rejected: return {"evidence_rejected", "The attestation evidence did not verify."};
    case ErrorCode::crypto_failed: return {"crypto_failed", "A signature, tag, key or certificate did not verify."};
    case ErrorCode::io_failed: return {"io_failed", "The operating system reported an error."};
    case ErrorCode::unavailable: return {"unavailable", "A peer or device does not answer."};
    case ErrorCode::timed_out: return {"timed_out", "It took longer than the stated time."};
    case ErrorCode::cancelled: return {"cancelled", "It was stopped on request."};
    case ErrorCode::conflict: return {"conflict", "Two things exclude each other."};
    case ErrorCode::internal: return {"internal", "This is a defect of the program."};
  }
  return {"internal", "This is a defect of the program."};
}
}  // namespace

std::string_view name(ErrorCode code) { return entry(code).name; }
std::string_view sentence(ErrorCode code) { return entry(code).sentence; }

std::string Error::text() const {
  std::string out{name(code)};
  if (!where.empty()) out.append(" at ").append(where);
  return out.append(": ").append(message);
}

Error Error::in(std::string_view context) && {
  message.insert(0, std::string(context) + ": ");
  return std::move(*this);
}

Error errno_error(int number, std::string where, std::string_view action) {
  ErrorCode code = ErrorCode::io_failed;
  switch (number) {
    case ENOENT: code = ErrorCode::not_found; break;
    case EEXIST: code = ErrorCode::already_exists; break;
    case EACCES:
    case EPERM: code = ErrorCode::permission_denied; break;
    case ETIMEDOUT: code = ErrorCode::timed_out; break;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH: code = ErrorCode::unavailable; break;
    default: break;
  }
  return Error{code, std::move(where), std::string(action) + ": " + std::strerror(number)};
}

}  // namespace cairn
