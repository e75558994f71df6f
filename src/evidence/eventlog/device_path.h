// UEFI device paths as the text that claims carry. spec/trustee.md §9.2.1.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace cairn::eventlog {

// One text per node. `nodes` ends before the end-of-path node. malformed where a node's length runs out of bounds.
[[nodiscard]] Result<std::vector<std::string>> device_path_texts(ByteView nodes);

}  // namespace cairn::eventlog
