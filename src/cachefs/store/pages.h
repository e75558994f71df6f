// Memory for bulk data that the kernel copies from or to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace cairn::cachefs {

inline constexpr std::size_t kPage = 4096;

// Begins on a page: the kernel moves such data one page at a time, other data in two parts per page. Not initialized.
class Pages {
 public:
  explicit Pages(std::size_t size)
      : size_((size + kPage - 1) / kPage * kPage),
        data_(static_cast<std::uint8_t*>(std::aligned_alloc(kPage, size_)), std::free) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  [[nodiscard]] std::span<std::uint8_t> span() const { return {data_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<std::uint8_t, void (*)(void*)> data_;
};

}  // namespace cairn::cachefs
