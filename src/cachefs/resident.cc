#include "cachefs/resident.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <sstream>

#include "base/clock.h"
#include "base/log.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/pages.h"
#include "cachefs/store/work.h"

namespace cairn::cachefs {
namespace {

enum ChunkState : std::uint8_t { kEmpty, kFilling, kWhole };
constexpr std::uint64_t kShareOfMemory = 60;  // percent, where no budget is given

std::uint64_t number_in(const std::filesystem::path& path, std::uint64_t otherwise) {
  const auto text = read_text(path, 4096);
  if (!text || text->empty() || (*text)[0] < '0' || (*text)[0] > '9') return otherwise;
  return std::strtoull(text->c_str(), nullptr, 10);
}

std::uint64_t memory_of_system() {
  const auto text = read_text("/proc/meminfo", kSmallFileMax);
  std::istringstream lines(text.value_or(""));
  for (std::string key, unit; lines >> key;) {
    std::uint64_t value = 0;
    lines >> value;
    std::getline(lines, unit);
    if (key == "MemAvailable:") return value << 10;
  }
  return 0;
}

// What the control group (version 2) leaves; everything where there is none.
std::uint64_t memory_of_group() {
  constexpr std::uint64_t kAll = ~std::uint64_t{0};
  const auto text = read_text("/proc/self/cgroup", kSmallFileMax);
  if (!text) return kAll;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("0::")) continue;
    const std::filesystem::path group = "/sys/fs/cgroup" + line.substr(3);
    const std::uint64_t limit = number_in(group / "memory.max", kAll), used = number_in(group / "memory.current", 0);
    return limit == kAll ? kAll : limit - std::min(limit, used);
  }
  return kAll;
}

// A tmpfs of `bytes` that has no place in any mount table.
Result<Fd> make_tmpfs(std::uint64_t bytes) {
  const Fd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context) return fail(errno_error(errno, "tmpfs", "cannot make a memory file system"));
  const auto set = [&](const char* key, const char* value) {
    return ::fsconfig(context.get(), value != nullptr ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0) == 0;
  };
  if (!set("size", std::to_string(bytes).c_str()) || !set("mode", "0700"))
    return fail(errno_error(errno, "tmpfs", "cannot set its size"));
  (void)set("noswap", nullptr);      // Linux 6.4
  (void)set("huge", "within_size");  // where the kernel has huge pages
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return fail(errno_error(errno, "tmpfs", "cannot make it"));
  Fd root(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!root) return fail(errno_error(errno, "tmpfs", "cannot make it"));
  return root;
}

// From now on the memory file system takes pages of 4 KiB.
bool take_small_pages(int file_system) {
  const Fd context(::fspick(file_system, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
  return context && ::fsconfig(context.get(), FSCONFIG_SET_STRING, "huge", "never", 0) == 0 &&
         ::fsconfig(context.get(), FSCONFIG_CMD_RECONFIGURE, nullptr, nullptr, 0) == 0;
}

// Many at a time. Kernels before 5.14 do not know it: there each is had when it is touched.
bool have_pages(std::span<std::uint8_t> memory) {
  return ::madvise(memory.data(), memory.size(), MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

std::int64_t thread_cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

struct Resident::Shared {
  std::atomic<std::uint64_t> whole = 0;  // chunks
  std::atomic<int> backing = 0;
  std::atomic<std::int32_t> cached = 0, passthrough = 0;  // opens
  std::atomic<bool> streamed = false;                     // left to its readers
};

struct Resident::File {
  NodeId node = 0;
  std::uint64_t size = 0, chunks = 0, first = 0;  // first: number of its first chunk among all
  std::uint64_t next = 0;                         // chunk to be filled in the background
  bool huge = false;                              // the kernel gives it pages of 2 MiB
  std::atomic<bool> damaged = false;              // never whole
  Fd memory;
  std::uint8_t* map = nullptr;
  Shared* shared = nullptr;
  std::atomic<std::uint8_t>* states = nullptr;
  [[nodiscard]] bool complete() const { return shared->whole.load() == chunks; }
  [[nodiscard]] bool has(std::uint64_t chunk) const;
};

bool Resident::File::has(std::uint64_t chunk) const { return states[chunk] == kWhole; }

std::uint64_t available_memory() { return std::min(memory_of_system(), memory_of_group()); }

Resident::Resident(Model& model)
    : model_(model), streams_(model.options().mode == Mode::automatic && model.options().preload == 0) {}
Resident::~Resident() {
  for (const auto& f : files_)
    if (f->map != nullptr) ::munmap(f->map, f->size);
  if (shared_ != nullptr) ::munmap(shared_, shared_size_);
}

Result<std::unique_ptr<Resident>> Resident::make(Model& model) {
  const MountOptions& options = model.options();
  if (options.mode == Mode::streaming || options.mode == Mode::bounded) return nullptr;
  std::vector<NodeId> files;
  std::uint64_t bytes = 0;
  for (NodeId id = 0; id < model.tree().size(); ++id) {
    const Node& node = model.tree().at(id);
    if (node.type != NodeType::file || node.size < kResidentFrom || model.hidden(id) ||
        files.size() == kResidentFilesMax)
      continue;
    files.push_back(id);
    bytes += (node.size + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
  }
  const std::uint64_t budget =
      options.memory_mib != 0 ? options.memory_mib << 20 : available_memory() / 100 * kShareOfMemory;
  if (bytes > budget) {
    const std::string need =
        std::to_string(bytes >> 20) + " MiB are needed, " + std::to_string(budget >> 20) + " MiB may be used";
    if (options.mode == Mode::resident)
      return fail(ErrorCode::too_large, "mode", "the model does not fit into memory: " + need);
    spdlog::info("streaming: {}", need);
    return nullptr;
  }
  if (files.empty()) return nullptr;
  std::unique_ptr<Resident> out(new Resident(model));
  auto made = out->allocate(files);
  if (made) return out;
  if (options.mode == Mode::resident) return fail(std::move(made).error());
  spdlog::info("streaming: {}", made.error().text());
  return nullptr;
}

Result<void> Resident::allocate(const std::vector<NodeId>& files) {
  const rlimit limit{kResidentFilesMax + 1024, kResidentFilesMax + 1024};
  if (files.size() > 512) (void)::setrlimit(RLIMIT_NOFILE, &limit);
  slot_of_.assign(model_.tree().size(), -1);
  std::uint64_t chunks = 0, bytes = 0;
  for (const NodeId id : files) {
    auto file = std::make_unique<File>();
    file->node = id;
    file->size = model_.tree().at(id).size;
    file->chunks = (file->size + kChunkBytes - 1) / kChunkBytes;
    file->first = chunks;
    chunks += file->chunks;
    bytes += file->size;
    slot_of_[id] = static_cast<std::int32_t>(files_.size());
    files_.push_back(std::move(file));
  }
  // The rest of the model too: for whoever mounts this file system itself.
  const std::uint64_t others = model_.tree().total_bytes() - bytes + model_.tree().size() * kPage;
  CAIRN_TRY(store_, make_tmpfs((chunks + files.size()) * kChunkBytes + others));
  shared_size_ = files_.size() * sizeof(Shared) + chunks;
  shared_ = ::mmap(nullptr, shared_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared_ == MAP_FAILED) {
    shared_ = nullptr;
    return fail(ErrorCode::too_large, "memory", "cannot be had");
  }
  auto* counters = static_cast<Shared*>(shared_);
  auto* states = reinterpret_cast<std::atomic<std::uint8_t>*>(counters + files_.size());
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File& f = *files_[i];
    f.memory = Fd(::openat(store_.get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
    if (!f.memory || ::ftruncate(f.memory.get(), static_cast<off_t>(f.size)) != 0)
      return fail(errno_error(errno, "tmpfs", "cannot make a file"));
    void* map = ::mmap(nullptr, f.size, PROT_READ | PROT_WRITE, MAP_SHARED, f.memory.get(), 0);
    if (map == MAP_FAILED) return fail(errno_error(errno, "tmpfs", "cannot map a file"));
    f.map = static_cast<std::uint8_t*>(map);
    CAIRN_TRY(const struct stat status, stat_of(f.memory.get(), "tmpfs"));
    f.huge = static_cast<std::uint64_t>(status.st_blksize) >= kChunkBytes;
    f.shared = new (counters + i) Shared;
    f.states = states + f.first;
  }
  model_.shared().resident_total = bytes;
  return {};
}

void Resident::start_worker() {
  for (const auto& f : files_) {
    for (std::uint64_t c = 0; c < f->chunks; ++c)
      if (f->states[c] == kFilling) f->states[c] = kEmpty;
    f->next = 0;
    if (!f->complete()) order_.push_back(f.get());
  }
  filling_since_ms_ = monotonic_ms();
  filled_ = 0;
  for (unsigned i = 0; i < thread_count(model_.options().threads); ++i) std::thread([this] { fill_all(); }).detach();
}

std::optional<std::pair<Resident::File*, std::uint64_t>> Resident::next_chunk() {
  const std::scoped_lock lock(order_mutex_);
  while (!order_.empty()) {
    File* file = order_.front();
    if (file->next < file->chunks && !file->shared->streamed) return std::pair(file, file->next++);
    order_.pop_front();
    if (hurried_ > 0) --hurried_;
  }
  return std::nullopt;
}

// Chunks in order; those of files that somebody waits for first. A chunk that fails is left to its readers, who get
// the error. At everyone's priority: a reader who needs a chunk that is being filled waits for it.
void Resident::fill_all() {
  while (const auto next = next_chunk()) (void)ensure(*next->first, next->second);
}

void Resident::hurry(NodeId id) {
  const std::scoped_lock lock(order_mutex_);
  const auto waited_for = order_.begin() + static_cast<std::ptrdiff_t>(hurried_);
  const auto found = std::find(waited_for, order_.end(), files_[static_cast<std::size_t>(slot_of_[id])].get());
  if (found == order_.end()) return;
  std::rotate(waited_for, found, found + 1);
  ++hurried_;
}

bool Resident::whole_soon(NodeId id, std::int64_t since_ms) const {
  const File& file = *files_[static_cast<std::size_t>(slot_of_[id])];
  if (file.complete() || file.damaged || file.shared->streamed || model_.shared().poisoned) return false;
  const std::int64_t now = monotonic_ms(), filling = now - filling_since_ms_;
  const std::int64_t left =
      (streams_ ? kShortOpenWait : std::chrono::milliseconds(kOpenWait)).count() - (now - since_ms);
  if (left <= 0 || filling < kFillSample.count()) return left > 0;
  const std::uint64_t missing = (file.chunks - file.shared->whole) * kChunkBytes;
  return missing / static_cast<std::uint64_t>(left) <= filled_ / static_cast<std::uint64_t>(filling);
}

// A huge page saves its reader much, and usually us too. Not where it has to be had from a hypervisor first: that
// takes back memory in such pieces, while small pages come from what lies between.
void Resident::judge_huge_page(std::int64_t cost_ns) {
  const std::int64_t worth = std::chrono::nanoseconds(kHugePageWorth).count();
  const std::scoped_lock lock(order_mutex_);
  huge_loss_ns_ = std::max<std::int64_t>(0, huge_loss_ns_ + cost_ns - worth);
  if (huge_loss_ns_ > kHugeLossMax * worth && !std::exchange(huge_judged_, true))
    model_.shared().small_pages = take_small_pages(store_.get());
}

bool Resident::fill(File& file, std::uint64_t chunk) {
  const std::uint64_t offset = chunk * kChunkBytes;
  const std::span target(file.map + offset, std::min(kChunkBytes, file.size - offset));
  const bool huge = file.huge && !model_.shared().small_pages;
  const std::int64_t before = thread_cpu_ns();
  if (!have_pages(target)) return false;
  if (huge) judge_huge_page(thread_cpu_ns() - before);
  return model_.read(file.node, offset, target) == static_cast<int>(target.size());
}

bool Resident::ensure(File& file, std::uint64_t chunk) {
  std::atomic<std::uint8_t>& state = file.states[chunk];
  for (;;) {
    std::uint8_t seen = state.load();
    if (seen == kWhole) return true;
    if (seen == kFilling) {
      state.wait(kFilling);
      continue;
    }
    if (!state.compare_exchange_strong(seen, kFilling)) continue;
    const bool good = fill(file, chunk);
    if (good) {
      const std::uint64_t size = std::min(kChunkBytes, file.size - chunk * kChunkBytes);
      model_.shared().resident_bytes += size;
      filled_ += size;
      ++file.shared->whole;
    } else {
      file.damaged = true;
    }
    state = good ? kWhole : kEmpty;
    state.notify_all();
    return good;
  }
}

Resident::Piece Resident::read(NodeId id, std::uint64_t offset, std::size_t size) {
  File& file = *files_[static_cast<std::size_t>(slot_of_[id])];
  if (offset >= file.size) return {};
  if (model_.shared().poisoned) return {{}, EIO};
  size = std::min<std::uint64_t>(size, file.size - offset);
  for (std::uint64_t c = offset / kChunkBytes; c <= (offset + size - 1) / kChunkBytes; ++c)
    if (file.shared->streamed ? !file.has(c) : !ensure(file, c)) return {{}, EIO};
  return {ByteView(file.map + offset, size), 0};
}

ReadFn Resident::reader() {
  return [this](NodeId id, std::uint64_t offset, std::span<std::uint8_t> out) -> Result<void> {
    std::size_t got = 0;
    if (holds(id)) {
      const Piece piece = read(id, offset, out.size());
      got = piece.error == 0 ? piece.bytes.size() : 0;
      std::ranges::copy(piece.bytes, out.begin());
    } else if (const int n = model_.read(id, offset, out); n > 0) {
      got = static_cast<std::size_t>(n);
    }
    if (got == out.size()) return {};
    return fail(ErrorCode::crypto_failed, "offset " + std::to_string(offset), "the data does not authenticate");
  };
}

Resident::OpenAs Resident::opened(NodeId id, bool passthrough_possible) {
  const File& file = *files_[static_cast<std::size_t>(slot_of_[id])];
  const std::scoped_lock lock(opens_);
  const bool past =
      file.shared->passthrough > 0 || (passthrough_possible && file.shared->cached == 0 && file.complete());
  if (streams_ && !file.complete() && !file.shared->streamed.exchange(true)) ++model_.shared().streamed_files;
  ++(past ? file.shared->passthrough : file.shared->cached);
  if (past) ++model_.shared().passthrough_opens;
  return past ? OpenAs::passthrough : OpenAs::cached;
}

// Both kinds are never open at once, so the kind need not be told.
void Resident::closed(NodeId id) {
  const File& file = *files_[static_cast<std::size_t>(slot_of_[id])];
  const std::scoped_lock lock(opens_);
  auto& count = file.shared->passthrough > 0 ? file.shared->passthrough : file.shared->cached;
  if (count > 0) --count;
}

int Resident::descriptor(NodeId id) const { return files_[static_cast<std::size_t>(slot_of_[id])]->memory.get(); }
std::atomic<int>& Resident::backing_id(NodeId id) const {
  return files_[static_cast<std::size_t>(slot_of_[id])]->shared->backing;
}

Result<void> Resident::name_all() {
  const auto shown = [&](NodeId id) { return !model_.hidden(id); };
  for (NodeId id = 1; id < model_.tree().size(); ++id)
    if (shown(id)) CAIRN_CHECK(name_entry(id));
  for (NodeId id = static_cast<NodeId>(model_.tree().size()); id-- > 0;)  // making entries touches their folders
    if (shown(id)) CAIRN_CHECK(finish_entry(id));
  return {};
}

Result<void> Resident::name_entry(NodeId id) {
  const Node& node = model_.tree().at(id);
  if (node.damaged || node.type == NodeType::special)
    return fail(ErrorCode::unsupported, model_.tree().disk_path(id), "is damaged, or no file, folder or link");
  CAIRN_TRY(const Fd folder,
            open_beneath(store_.get(), model_.tree().path(node.parent), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  const char* name = node.name.c_str();
  int result = 0;
  if (node.type == NodeType::folder) {
    result = ::mkdirat(folder.get(), name, 0700);
  } else if (node.type == NodeType::link) {
    result = ::symlinkat(node.target.c_str(), folder.get(), name);
  } else if (holds(id)) {
    const std::string memory = "/proc/self/fd/" + std::to_string(descriptor(id));
    result = ::linkat(AT_FDCWD, memory.c_str(), folder.get(), name, AT_SYMLINK_FOLLOW);
  } else {
    return copy_file(folder.get(), id);
  }
  if (result == 0) return {};
  return fail(errno_error(errno, model_.tree().disk_path(id), "cannot make its entry in memory"));
}

Result<void> Resident::copy_file(int folder, NodeId id) {
  const Node& node = model_.tree().at(id);
  const Fd out(::openat(folder, node.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!out) return fail(errno_error(errno, model_.tree().disk_path(id), "cannot make its entry in memory"));
  Bytes piece(std::min<std::uint64_t>(node.size, kRequestMax));
  for (std::uint64_t at = 0; at < node.size;) {
    const int got = model_.read(id, at, piece);
    if (got <= 0) return fail(ErrorCode::crypto_failed, model_.tree().disk_path(id), "does not authenticate");
    CAIRN_CHECK(write_at(out.get(), ByteView(piece).first(static_cast<std::size_t>(got)), at, "memory"));
    at += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<void> Resident::finish_entry(NodeId id) {
  const struct stat wanted = model_.attributes(id);
  const timespec times[2] = {wanted.st_atim, wanted.st_mtim};
  CAIRN_TRY(const Fd folder, open_beneath(store_.get(), model_.tree().path(model_.tree().at(id).parent),
                                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  const char* name = id == 0 ? "." : model_.tree().at(id).name.c_str();
  const mode_t others = model_.options().allow_other ? 07777 : 0700;
  const mode_t mode = wanted.st_mode & (id == 0 ? others : 07777);
  const bool good = ::fchownat(folder.get(), name, wanted.st_uid, wanted.st_gid, AT_SYMLINK_NOFOLLOW) == 0 &&
                    (model_.tree().at(id).type == NodeType::link || ::fchmodat(folder.get(), name, mode, 0) == 0) &&
                    ::utimensat(folder.get(), name, times, AT_SYMLINK_NOFOLLOW) == 0;
  if (good) return {};
  return fail(errno_error(errno, model_.tree().disk_path(id), "cannot set its owner, mode and times"));
}

std::vector<Resident::Progress> Resident::progress() const {
  std::vector<Progress> out;
  for (const auto& f : files_) out.push_back({f->node, f->size, std::min(f->size, f->shared->whole * kChunkBytes)});
  return out;
}

bool Resident::preloaded(unsigned percent) const {
  return model_.shared().resident_bytes * 100 >= model_.shared().resident_total * percent;
}

}  // namespace cairn::cachefs
