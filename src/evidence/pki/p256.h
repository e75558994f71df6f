// ECDSA on P-256 with SHA-256: the only signature in Intel's attestation. A thin owner over OpenSSL.
#pragma once

#include <memory>

#include "base/bytes.h"

namespace cairn::pki {

using Point = std::array<std::uint8_t, 64>;  // x || y, big-endian

// A public key; immutable and cheap to copy.
class P256Key {
 public:
  // crypto_failed unless the point is on the curve.
  [[nodiscard]] static Result<P256Key> from_point(ByteView xy);

  [[nodiscard]] const Point& point() const { return point_; }
  // Whether r || s (64 bytes) signs `digest`. False for r or s outside [1, n-1] and for any other length.
  [[nodiscard]] bool verify(const Digest<32>& digest, ByteView r_s) const;
  [[nodiscard]] bool verify_message(ByteView message, ByteView r_s) const;

  // Computes a table of multiples (150 KiB, 20 ms) after which a verification takes a third of the time: for the few
  // keys that sign thousands of things. Not to be called while another thread uses a copy of this key.
  void prepare();
  [[nodiscard]] bool prepared() const;

 private:
  struct Native;
  std::shared_ptr<Native> native_;
  Point point_{};
};

// The r || s of an ECDSA-Sig-Value (strict DER); malformed when a number has more than 32 bytes.
[[nodiscard]] Result<std::array<std::uint8_t, 64>> raw_signature(ByteView der);

}  // namespace cairn::pki
