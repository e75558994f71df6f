// DER as the simulator writes it.
#pragma once

#include <initializer_list>

#include "base/bytes.h"
#include "evidence/pki/der.h"

namespace cairn::device::simulator {

inline Bytes der(std::uint8_t tag, ByteView content) {
  Bytes out{tag};
  if (content.size() >= 0x100)
    out.insert(out.end(), {0x82, static_cast<std::uint8_t>(content.size() >> 8)});
  else if (content.size() >= 0x80)
    out.push_back(0x81);
  out.push_back(static_cast<std::uint8_t>(content.size()));
  append(out, content);
  return out;
}
inline Bytes der(std::uint8_t tag, std::initializer_list<Bytes> parts) {
  Bytes content;
  for (const Bytes& p : parts) append(content, p);
  return der(tag, ByteView(content));
}

}  // namespace cairn::device::simulator
