#include <re2/re2.h>

#include "policy/builtins.h"
#include "policy/scratch.h"

namespace cairn::policy {

RegexCache::RegexCache() = default;
RegexCache::~RegexCache() = default;

std::span<const Entry> regex_builtins() { return {}; }

}  // namespace cairn::policy
