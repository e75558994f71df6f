// Bytes that must not outlive their use, be printed, copied, or compared in variable time.
#pragma once

#include <cstddef>

#include "base/bytes.h"

namespace cairn {

// Overwrites memory in a way the compiler keeps.
void wipe(void* data, std::size_t size);

// True when equal; the time taken depends on the lengths only.
[[nodiscard]] bool constant_time_equal(ByteView a, ByteView b);

// Owns secret bytes on locked pages excluded from core dumps (where the limits allow), wiped on destruction.
// Moves, never copies; has no operator==, no stream operator, no implicit conversion.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size);       // zero bytes, to be filled through mutable_view()
  explicit Secret(ByteView bytes);         // copies; the caller wipes its own
  static Secret take(std::string&& text);  // copies and wipes the source
  static Secret take(Bytes&& bytes);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  [[nodiscard]] ByteView view() const { return {data_, size_}; }
  [[nodiscard]] std::span<std::uint8_t> mutable_view() { return {data_, size_}; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] Secret clone() const { return Secret(view()); }  // an explicit, visible copy

 private:
  void release();
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// For the first lines of every main: no core dumps, no ptrace by the same user, umask 077.
void harden_process();

}  // namespace cairn
