#include "base/secret.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <new>
#include <utility>

namespace cairn {
namespace {
std::size_t mapped(std::size_t size) {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}
}  // namespace

void wipe(void* data, std::size_t size) {
  if (size != 0) ::explicit_bzero(data, size);  // nothing has no address
}

bool constant_time_equal(ByteView a, ByteView b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  asm volatile("" : "+r"(difference));  // keeps the loop from being cut short
  return difference == 0;
}

Secret::Secret(std::size_t size) : size_(size) {
  if (size == 0) return;
  void* memory = ::mmap(nullptr, mapped(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // Without the right to lock more memory the bytes may be swapped: best effort, as for every process.
  (void)::mlock(memory, mapped(size));
  (void)::madvise(memory, mapped(size), MADV_DONTDUMP);
  data_ = static_cast<std::uint8_t*>(memory);
}
Secret::Secret(ByteView bytes) : Secret(bytes.size()) { std::copy(bytes.begin(), bytes.end(), data_); }
Secret Secret::take(std::string&& text) {
  Secret out(as_bytes(text));
  wipe(text.data(), text.size());
  text.clear();
  return out;
}
Secret Secret::take(Bytes&& bytes) {
  Secret out{ByteView(bytes)};
  wipe(bytes.data(), bytes.size());
  bytes.clear();
  return out;
}
Secret::Secret(Secret&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}
Secret::~Secret() { release(); }
void Secret::release() {
  if (data_ == nullptr) return;
  wipe(data_, size_);
  ::munmap(data_, mapped(size_));
  data_ = nullptr;
  size_ = 0;
}

void harden_process() {
  const rlimit none{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &none);
  (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::umask(077);
}

}  // namespace cairn
