// Reference Integrity Manifests: the golden measurements of a driver, VBIOS or switch BIOS, as a signed SWID tag.
// nvidia-gpu §4, §5.7.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evidence/nvidia/chain.h"

namespace cairn::nvidia {

enum class RimSource : std::uint8_t { driver, firmware };
[[nodiscard]] std::string_view name(RimSource source);  // "Driver", "Firmware": as mismatch records say it

struct Golden {
  std::uint16_t index = 0;  // compared with measurement block index + 1
  std::string name;
  std::vector<Measurement> alternatives;  // one of them must match
};
// Bound of an opaque record (two bytes of value type opaque::kMinSvn).
struct MinimumSvn {
  std::uint16_t type = 0;
  std::string name;
  std::uint16_t value = 0;
};

// A document as parsed: its schema holds; signature and chain are not yet judged.
struct Rim {
  std::string product, edition, version, oem_id, tag_id;  // edition "GPU" or "SWITCH"; oem_id "5703", "" if absent
  std::vector<Golden> golden;                             // active entries, by index
  std::vector<MinimumSvn> minimum;                        // active entries, by type
  std::vector<crypto::Certificate> certificates;          // of the signature, leaf first; not verified

  // Of the signature: the digest it names, the document's own, and what the signer's key signed.
  Measurement named_digest{}, document_digest{};
  std::string signed_info;  // canonical
  std::array<std::uint8_t, 96> signature{};
};
// malformed where the document is not a RIM or is signed in any other way than RIMs are.
[[nodiscard]] Result<Rim> parse_rim(ByteView document);

// Whether the document carries the signature of `key`, which is the only key asked: nothing in the document is.
[[nodiscard]] bool signature_holds(const Rim& rim, const crypto::PublicKey& key);

// A RIM whose signer's chain and signature hold for all time.
struct VerifiedRim {
  Rim rim;
  Chain chain;
};
[[nodiscard]] Checked<VerifiedRim> verify_rim(ByteView document, const std::vector<TrustRoot>& roots);

}  // namespace cairn::nvidia
