#include "device/kernel.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "base/cursor.h"
#include "base/file.h"
#include "device/limits.h"

namespace cairn::device {
namespace {

constexpr std::uint32_t kHostCid = 2;

std::unexpected<int> last_error() { return std::unexpected(errno); }

// Exactly `out.size()` bytes; EPROTO where the peer ends early.
Answer<> receive(int fd, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const ssize_t n = ::recv(fd, out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::unexpected(errno == EAGAIN ? ETIMEDOUT : errno);
    if (n == 0) return std::unexpected(EPROTO);
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

class RealKernel final : public Kernel {
 public:
  bool exists(const std::filesystem::path& path) override { return ::access(path.c_str(), F_OK) == 0; }

  Answer<> make_dir(const std::filesystem::path& path) override {
    if (::mkdir(path.c_str(), 0700) != 0) return last_error();
    return {};
  }
  Answer<> remove_dir(const std::filesystem::path& path) override {
    if (::rmdir(path.c_str()) != 0) return last_error();
    return {};
  }

  std::vector<Entry> list(const std::filesystem::path& path) override {
    std::vector<Entry> out;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      struct stat info{};
      if (::stat(entry.path().c_str(), &info) != 0) continue;
      out.push_back({entry.path().filename().string(), now().seconds - info.st_mtim.tv_sec});
    }
    return out;
  }

  Answer<Bytes> read(const std::filesystem::path& path, std::size_t limit, std::uint64_t offset) override {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return last_error();
    if (offset != 0 && ::lseek(fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return last_error();
    Bytes out(limit);
    std::size_t size = 0;
    while (size < limit) {
      const ssize_t n = ::read(fd.get(), out.data() + size, limit - size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return last_error();
      if (n == 0) break;
      size += static_cast<std::size_t>(n);
    }
    out.resize(size);
    return out;
  }

  Answer<> write(const std::filesystem::path& path, ByteView bytes) override {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return last_error();
    const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
    if (n < 0) return last_error();
    if (static_cast<std::size_t>(n) != bytes.size()) return std::unexpected(EIO);
    return {};
  }

  Answer<> control(const std::filesystem::path& path, unsigned long request,
                   std::span<std::uint8_t> argument) override {
    return ioctl_on(path, request, argument.data());
  }

  Answer<> control_buffer(const std::filesystem::path& path, unsigned long request,
                          std::span<std::uint8_t> buffer) override {
    struct {
      std::uint64_t address, length;
    } argument{reinterpret_cast<std::uintptr_t>(buffer.data()), buffer.size()};
    return ioctl_on(path, request, &argument);
  }

  Answer<> library_extend(unsigned index, ByteView value) override {
    void* library = ::dlopen("libtdx_attest.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) return std::unexpected(ENOSYS);
    using Extend = int (*)(const void*);
    const auto extend = reinterpret_cast<Extend>(::dlsym(library, "tdx_att_extend"));
    // Packed: version, register, value, event type, event size (which must be 0).
    Writer event;
    event.u32le(1).u64le(index).bytes(value).u32le(0).u32le(0);
    const int result = extend == nullptr ? ENOSYS : extend(event.view().data()) == 0 ? 0 : EIO;
    ::dlclose(library);
    return result == 0 ? Answer<>{} : std::unexpected(result);
  }

  Answer<Bytes> ask_host(std::uint32_t port, ByteView frame, std::size_t limit) override {
    const Fd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return last_error();
    const timeval timeout{limits::qgs_timeout.count(), 0};
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = kHostCid;
    address.svm_port = port;
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return last_error();
    if (!write_all(fd.get(), frame)) return std::unexpected(EIO);
    std::array<std::uint8_t, 4> prefix{};
    if (const auto ok = receive(fd.get(), prefix); !ok) return std::unexpected(ok.error());
    const auto length = Reader(prefix).u32be();
    if (!length || *length > limit) return std::unexpected(EMSGSIZE);
    Bytes body(*length);
    if (const auto ok = receive(fd.get(), body); !ok) return std::unexpected(ok.error());
    return body;
  }

 private:
  static Answer<> ioctl_on(const std::filesystem::path& path, unsigned long request, void* argument) {
    const Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd) return last_error();
    while (::ioctl(fd.get(), request, argument) != 0)
      if (errno != EINTR) return last_error();
    return {};
  }
};

}  // namespace

std::unique_ptr<Kernel> real_kernel() { return std::make_unique<RealKernel>(); }

}  // namespace cairn::device
