// What the Linux TDX device asks of the kernel, as an interface so that tests can answer in its place. Results carry
// errno, because the protocol above depends on it.
#pragma once

#include <expected>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace cairn::device {

template <class T = void>
using Answer = std::expected<T, int>;  // value or errno

class Kernel {
 public:
  virtual ~Kernel() = default;

  [[nodiscard]] virtual bool exists(const std::filesystem::path& path) = 0;
  [[nodiscard]] virtual Answer<> make_dir(const std::filesystem::path& path) = 0;
  virtual Answer<> remove_dir(const std::filesystem::path& path) = 0;
  // Entries of a folder and how long ago each was made.
  struct Entry {
    std::string name;
    std::int64_t age_seconds = 0;
  };
  [[nodiscard]] virtual std::vector<Entry> list(const std::filesystem::path& path) = 0;
  // From `offset` to the end or `limit` bytes, whichever comes first.
  [[nodiscard]] virtual Answer<Bytes> read(const std::filesystem::path& path, std::size_t limit,
                                           std::uint64_t offset = 0) = 0;
  // In one write call.
  [[nodiscard]] virtual Answer<> write(const std::filesystem::path& path, ByteView bytes) = 0;
  // ioctl(open(path), request, argument.data()).
  [[nodiscard]] virtual Answer<> control(const std::filesystem::path& path, unsigned long request,
                                         std::span<std::uint8_t> argument) = 0;
  // The same with a struct {u64 buffer, u64 length} as argument; `buffer` is page-aligned and rewritten by the kernel.
  [[nodiscard]] virtual Answer<> control_buffer(const std::filesystem::path& path, unsigned long request,
                                                std::span<std::uint8_t> buffer) = 0;
  // tdx_att_extend of Intel's libtdx_attest, for kernels whose driver only that library knows. ENOSYS where the library
  // is not installed, EIO where it fails.
  [[nodiscard]] virtual Answer<> library_extend(unsigned index, ByteView value) = 0;
  // Sends `frame` to the host over AF_VSOCK (CID 2) and reads one length-prefixed answer: its body.
  [[nodiscard]] virtual Answer<Bytes> ask_host(std::uint32_t port, ByteView frame, std::size_t limit) = 0;
};

[[nodiscard]] std::unique_ptr<Kernel> real_kernel();

}  // namespace cairn::device
