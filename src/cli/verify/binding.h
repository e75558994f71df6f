// What ties evidence and the claims of a token to something outside of them.
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"
#include "crypto/hash.h"

namespace cairn::cli {

// The hash under which `report_data` binds `runtime_data`'s canonical JSON (zero-padded): one of those that agents
// offer; nullopt where none does.
[[nodiscard]] std::optional<crypto::Hash> bound_by(const Json& runtime_data, ByteView report_data);

}  // namespace cairn::cli
