#include "policy/builtins.h"

namespace cairn::policy {
std::span<const Entry> net_builtins() { return {}; }
}  // namespace cairn::policy
