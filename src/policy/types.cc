#include "policy/compiler.h"

namespace cairn::policy {
void check_types(Compiler&, std::vector<Diagnostic>&) {}
void check_types(Compiler&, const Body&, std::vector<Diagnostic>&) {}
}  // namespace cairn::policy
