#include "policy/builtins.h"

namespace cairn::policy {
std::span<const Entry> misc_builtins() { return {}; }
}  // namespace cairn::policy
