#include "cli/verify/binding.h"

namespace cairn::cli {

std::optional<crypto::Hash> bound_by(const Json& runtime_data, ByteView report_data) {
  const auto text = canonical_json(runtime_data);
  if (!text) return std::nullopt;
  for (const auto hash : {crypto::Hash::sha384, crypto::Hash::sha256, crypto::Hash::sha512}) {
    Bytes expected = crypto::digest(hash, as_bytes(*text));
    expected.resize(64);
    if (equal(expected, report_data)) return hash;
  }
  return std::nullopt;
}

}  // namespace cairn::cli
