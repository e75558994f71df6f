#include "policy/builtins.h"

namespace cairn::policy {
std::span<const Entry> schema_builtins() { return {}; }
}  // namespace cairn::policy
