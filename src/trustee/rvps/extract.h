// Messages that register reference values, and what extractors find in them. spec/trustee.md §8.2, §8.3.
#pragma once

#include <string_view>
#include <vector>

#include "trustee/rvps/reference_values.h"

namespace cairn::trustee::rvps {

struct Registration {
  std::vector<ReferenceValue> values;
  Store::Mode mode = Store::Mode::replace;
};

// {"version":"0.1.0","type":<extractor>,"payload":<text>}. Extractors:
//   sample  payload: base64 of {"name":[values…],…}; expires after 12 months; replaces
//   cairn   payload: JSON text {"values":{"name":value,…},"expires":RFC 3339 (optional),"mode":"replace"|"merge"}
// Other types are unsupported: in_toto, slsa, reproducible_build, swid and corim are not implemented.
[[nodiscard]] Result<Registration> extract(std::string_view message, Time now);
// The message of extractor `cairn` for these values, for administrators' tools.
[[nodiscard]] std::string message_for(const Json& values, Store::Mode mode);

}  // namespace cairn::trustee::rvps
