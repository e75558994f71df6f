#include "policy/builtins.h"

namespace cairn::policy {
std::span<const Entry> crypto_builtins() { return {}; }
}  // namespace cairn::policy
