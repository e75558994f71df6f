#include "cachefs/front.h"

#include <linux/fuse.h>
#include <poll.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "cachefs/chunk_cache.h"
#include "cachefs/fuse_api.h"
#include "cachefs/objects/store_target.h"
#include "cachefs/status.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/pages.h"
#include "cachefs/store/work.h"

namespace cairn::cachefs {
namespace {

constexpr double kTimeout = kTimeoutSeconds;
constexpr fuse_ino_t kFirstInode = FUSE_ROOT_ID;  // node 0

// An open whose answer waits for its file to be whole in memory: only then can the kernel read by itself.
struct WaitingOpen {
  fuse_req_t request;
  NodeId id;
  fuse_file_info info;
  std::int64_t since_ms;
};

// What the replies of one session need; libfuse hands it to every operation.
struct Front {
  Model& model;
  Resident* resident;
  int device;
  std::unique_ptr<ChunkCache> chunks = nullptr;  // bounded mode
  std::mutex snapshots_mutex = {};
  std::map<fuse_ino_t, std::string> snapshots = {};  // of the .stats file; the last kSnapshotsKept
  std::atomic<bool> passthrough = false;             // the kernel reads whole resident files by itself
  std::mutex backing = {};
  std::mutex opens_mutex = {};
  std::condition_variable_any opens_changed = {};
  std::list<WaitingOpen> opens = {};
  bool replaying = false;            // the saved first request is still to be read
  std::uint64_t swallow_unique = 0;  // its answer, which the kernel has had already
  bool swallow = false;
};

// Every lookup of .stats makes an inode of its own, with the counters as they are then: nothing stale is ever read.
constexpr std::string_view kStatsName = ".stats";
constexpr fuse_ino_t kFirstSnapshot = fuse_ino_t{1} << 40;

Front& front_of(fuse_req_t request) { return *static_cast<Front*>(fuse_req_userdata(request)); }
Model& model_of(fuse_req_t request) { return front_of(request).model; }

// The node of an inode number; nullopt for one that was never given out.
std::optional<NodeId> node_of(const Model& model, fuse_ino_t ino) {
  if (ino < kFirstInode || ino - kFirstInode >= model.tree().size()) return std::nullopt;
  return static_cast<NodeId>(ino - kFirstInode);
}

fuse_entry_param entry_of(const Model& model, NodeId id) {
  fuse_entry_param out{};
  out.ino = id + kFirstInode;
  out.attr = model.attributes(id);
  out.attr_timeout = kTimeout;
  out.entry_timeout = kTimeout;
  return out;
}

fuse_entry_param snapshot_entry(fuse_ino_t ino, std::size_t size) {
  fuse_entry_param out{};
  out.ino = ino;
  out.attr.st_ino = ino;
  out.attr.st_mode = S_IFREG | 0444;
  out.attr.st_nlink = 1;
  out.attr.st_size = static_cast<off_t>(size);
  out.attr_timeout = kTimeout;
  return out;
}

fuse_entry_param take_snapshot(Front& front) {
  const fuse_ino_t ino = kFirstSnapshot + front.model.shared().snapshots++;
  std::string text = metrics_text(front.model);
  const auto out = snapshot_entry(ino, text.size());
  const std::scoped_lock lock(front.snapshots_mutex);
  front.snapshots.emplace(ino, std::move(text));
  if (front.snapshots.size() > kSnapshotsKept) front.snapshots.erase(front.snapshots.begin());
  return out;
}

// nullopt for an inode that is none, or not kept any more.
std::optional<std::string> snapshot_of(Front& front, fuse_ino_t ino) {
  const std::scoped_lock lock(front.snapshots_mutex);
  const auto found = front.snapshots.find(ino);
  if (found == front.snapshots.end()) return std::nullopt;
  return found->second;
}

void on_init(void* data, fuse_conn_info* connection) {
  Front& front = *static_cast<Front*>(data);
  connection->max_write = kRequestMax;  // also bounds reads
  connection->max_readahead = kReadAheadKbMax * 1024;
  connection->max_background = 64;
  connection->congestion_threshold = 48;
  connection->time_gran = 1;
  // Without AUTO_INVAL_DATA cached pages stay: nothing changes behind them.
  for (const std::uint64_t flag : {FUSE_CAP_AUTO_INVAL_DATA, FUSE_CAP_SPLICE_READ, FUSE_CAP_SPLICE_WRITE,
                                   FUSE_CAP_SPLICE_MOVE, FUSE_CAP_READDIRPLUS_AUTO, FUSE_CAP_WRITEBACK_CACHE})
    fuse_unset_feature_flag(connection, flag);
  for (const std::uint64_t flag :
       {FUSE_CAP_ASYNC_READ, FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS, FUSE_CAP_CACHE_SYMLINKS,
        FUSE_CAP_EXPLICIT_INVAL_DATA, FUSE_CAP_NO_OPEN_SUPPORT, FUSE_CAP_NO_OPENDIR_SUPPORT})
    (void)fuse_set_feature_flag(connection, flag);
  (void)fuse_set_feature_flag(connection, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
  front.passthrough = front.resident != nullptr && fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH);
  front.model.shared().passthrough = front.passthrough.load();
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Model& model = model_of(request);
  const auto folder = node_of(model, parent);
  if (!folder) return (void)fuse_reply_err(request, ESTALE);
  model.shared().lookups.fetch_add(1, std::memory_order_relaxed);
  if (std::strlen(name) > gocryptfs::kNameMax) return (void)fuse_reply_err(request, ENAMETOOLONG);
  if (model.tree().at(*folder).damaged) return (void)fuse_reply_err(request, EIO);
  const auto id = model.tree().child(*folder, name);
  fuse_entry_param entry{};
  entry.entry_timeout = kTimeout;  // inode 0: remembered as missing
  if (id && !model.hidden(*id)) entry = entry_of(model, *id);
  if (!id && *folder == 0 && name == kStatsName) entry = take_snapshot(front_of(request));
  fuse_reply_entry(request, &entry);
}

void on_getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
  const Model& model = model_of(request);
  if (const auto text = snapshot_of(front_of(request), ino)) {
    const auto entry = snapshot_entry(ino, text->size());
    return (void)fuse_reply_attr(request, &entry.attr, kTimeout);
  }
  const auto id = node_of(model, ino);
  if (!id) return (void)fuse_reply_err(request, ESTALE);
  const struct stat status = model.attributes(*id);
  fuse_reply_attr(request, &status, kTimeout);
}

void on_readlink(fuse_req_t request, fuse_ino_t ino) {
  const Model& model = model_of(request);
  const auto id = node_of(model, ino);
  if (!id) return (void)fuse_reply_err(request, ESTALE);
  const Node& node = model.tree().at(*id);
  if (node.damaged) return (void)fuse_reply_err(request, EIO);
  fuse_reply_readlink(request, node.target.c_str());
}

// From the cache of the bounded mode; at most two pieces meet in one request.
void read_chunks(fuse_req_t request, Front& front, NodeId id, std::uint64_t at, std::size_t size) {
  const auto first = front.chunks->read(id, at, size);
  if (first.error != 0) return (void)fuse_reply_err(request, first.error);
  ChunkCache::View second;
  if (!first.bytes.empty() && first.bytes.size() < size)
    second = front.chunks->read(id, at + first.bytes.size(), size - first.bytes.size());
  // What lies before a damaged piece is still good; the reader comes back for the rest and gets the error.
  const iovec parts[2] = {{const_cast<std::uint8_t*>(first.bytes.data()), first.bytes.size()},
                          {const_cast<std::uint8_t*>(second.bytes.data()), second.bytes.size()}};
  fuse_reply_iov(request, parts, second.bytes.empty() ? 1 : 2);
}

void on_read(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info*) {
  thread_local const Pages buffer(kRequestMax);
  Front& front = front_of(request);
  if (offset < 0) return (void)fuse_reply_err(request, EINVAL);
  const auto at = static_cast<std::uint64_t>(offset);
  if (const auto text = snapshot_of(front, ino)) {
    const std::string_view rest = std::string_view(*text).substr(std::min<std::uint64_t>(at, text->size()));
    return (void)fuse_reply_buf(request, rest.data(), std::min(size, rest.size()));
  }
  const auto id = node_of(front.model, ino);
  if (!id) return (void)fuse_reply_err(request, ESTALE);
  size = std::min(size, kRequestMax);
  if (front.chunks && front.chunks->holds(*id)) return read_chunks(request, front, *id, at, size);
  if (front.resident != nullptr && front.resident->holds(*id)) {
    const auto piece = front.resident->read(*id, at, size);
    // A damaged block spoils its chunk for the store; the blocks around it are still had one by one below.
    if (piece.error == 0)
      return (void)fuse_reply_buf(request, reinterpret_cast<const char*>(piece.bytes.data()), piece.bytes.size());
  }
  const int got = front.model.read(*id, at, buffer.span().first(size));
  if (got < 0) return (void)fuse_reply_err(request, -got);
  fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.span().data()), static_cast<std::size_t>(got));
}

// Positions: 0 ".", 1 "..", then the children in their order.
class Listing {
 public:
  Listing(fuse_req_t request, std::size_t size, bool plus) : request_(request), out_(size), plus_(plus) {}

  // False when it does not fit any more.
  bool add(const Model& model, const char* name, NodeId id, off_t next, bool known) {
    const std::size_t room = out_.size() - used_;
    char* at = out_.data() + used_;
    fuse_entry_param entry = entry_of(model, id);
    if (!known) {  // "." and "..": no reference is given out
      entry.ino = 0;
      entry.attr_timeout = entry.entry_timeout = 0;
    }
    const std::size_t need = plus_ ? fuse_add_direntry_plus(request_, at, room, name, &entry, next)
                                   : fuse_add_direntry(request_, at, room, name, &entry.attr, next);
    if (need > room) return false;
    used_ += need;
    return true;
  }
  void reply() { fuse_reply_buf(request_, out_.data(), used_); }

 private:
  fuse_req_t request_;
  std::vector<char> out_;
  std::size_t used_ = 0;
  bool plus_;
};

void list(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset, bool plus) {
  const Model& model = model_of(request);
  const auto id = node_of(model, ino);
  if (!id || model.tree().at(*id).type != NodeType::folder) return (void)fuse_reply_err(request, id ? ENOTDIR : ESTALE);
  const Node& folder = model.tree().at(*id);
  if (folder.damaged) return (void)fuse_reply_err(request, EIO);
  Listing out(request, std::min(size, kRequestMax), plus);
  for (std::uint64_t at = static_cast<std::uint64_t>(std::max<off_t>(offset, 0)); at < folder.children + 2ULL; ++at) {
    const auto next = static_cast<off_t>(at + 1);
    const NodeId child = at < 2 ? (at == 0 ? *id : folder.parent) : folder.first_child + static_cast<NodeId>(at - 2);
    if (at >= 2 && model.hidden(child)) continue;
    const char* name = at == 0 ? "." : at == 1 ? ".." : model.tree().at(child).name.c_str();
    if (!out.add(model, name, child, next, at >= 2)) break;
  }
  out.reply();
}
void on_readdir(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info*) {
  list(request, ino, size, offset, false);
}
void on_readdirplus(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info*) {
  list(request, ino, size, offset, true);
}

// The connection's number for a file of the store; 0 where the kernel refuses.
int backing_of(fuse_req_t request, NodeId id) {
  Front& front = front_of(request);
  const std::scoped_lock lock(front.backing);
  std::atomic<int>& backing = front.resident->backing_id(id);
  if (backing == 0) backing = std::max(0, fuse_passthrough_open(request, front.resident->descriptor(id)));
  if (backing == 0) front.passthrough = false;
  return backing;
}

void open_held(fuse_req_t request, Front& front, NodeId id, fuse_file_info info) {
  if (front.resident->opened(id, front.passthrough && backing_of(request, id) != 0) == Resident::OpenAs::passthrough) {
    info.keep_cache = 0;
    info.backing_id = front.resident->backing_id(id);
  }
  if (fuse_reply_open(request, &info) != 0) front.resident->closed(id);
}

// Answers the opens that wait, in a thread of its own: those who serve are not held up.
void answer_opens(const std::stop_token& stop, Front& front) {
  std::unique_lock lock(front.opens_mutex);
  while (front.opens_changed.wait(lock, stop, [&] { return !front.opens.empty(); }) && !stop.stop_requested()) {
    std::list<WaitingOpen> due;
    for (auto open = front.opens.begin(); open != front.opens.end();) {
      const auto next = std::next(open);
      if (!front.resident->whole_soon(open->id, open->since_ms)) due.splice(due.end(), front.opens, open);
      open = next;
    }
    lock.unlock();
    for (const WaitingOpen& open : due) open_held(open.request, front, open.id, open.info);
    std::this_thread::sleep_for(kOpenPoll);
    lock.lock();
  }
}

// Streaming: not implemented on purpose, the kernel then opens without asking and keeps its cache.
void on_open(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  Front& front = front_of(request);
  if (front.resident == nullptr && !front.chunks) return (void)fuse_reply_err(request, ENOSYS);
  info->keep_cache = 1;
  info->noflush = 1;
  if (snapshot_of(front, ino)) return (void)fuse_reply_open(request, info);
  const auto id = node_of(front.model, ino);
  if (!id) return (void)fuse_reply_err(request, ESTALE);
  if (front.chunks && front.chunks->holds(*id)) {
    info->keep_cache = 0;
    info->direct_io = 1;
  }
  if (front.resident == nullptr || !front.resident->holds(*id)) return (void)fuse_reply_open(request, info);
  const std::int64_t now = monotonic_ms();
  front.resident->hurry(*id);
  if (!front.passthrough || !front.resident->whole_soon(*id, now)) return open_held(request, front, *id, *info);
  const std::scoped_lock lock(front.opens_mutex);
  front.opens.push_back({request, *id, *info, now});
  front.opens_changed.notify_one();
}
void on_release(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
  Front& front = front_of(request);
  const auto id = node_of(front.model, ino);
  if (id && front.resident != nullptr && front.resident->holds(*id)) front.resident->closed(*id);
  fuse_reply_err(request, 0);
}
void on_opendir(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, ENOSYS); }

void on_statfs(fuse_req_t request, fuse_ino_t) {
  const Model& model = model_of(request);
  struct statvfs out{};
  out.f_bsize = out.f_frsize = 4096;
  out.f_blocks = (model.tree().total_bytes() + 4095) / 4096;
  out.f_files = model.tree().size();
  out.f_namemax = gocryptfs::kNameMax;
  out.f_flag = ST_RDONLY;
  fuse_reply_statfs(request, &out);
}

void reply_sized(fuse_req_t request, std::size_t room, ByteView value) {
  if (room == 0) return (void)fuse_reply_xattr(request, value.size());
  if (value.size() > room) return (void)fuse_reply_err(request, ERANGE);
  fuse_reply_buf(request, reinterpret_cast<const char*>(value.data()), value.size());
}

void on_listxattr(fuse_req_t request, fuse_ino_t ino, std::size_t size) {
  Model& model = model_of(request);
  const auto id = node_of(model, ino);
  if (!id) return (void)fuse_reply_err(request, ESTALE);
  if (!model.has_attributes()) return (void)fuse_reply_err(request, ENOSYS);  // the kernel asks no more
  const auto names = model.attribute_names(*id);
  if (!names) return (void)fuse_reply_err(request, EIO);
  reply_sized(request, size, as_bytes(*names));
}

void on_getxattr(fuse_req_t request, fuse_ino_t ino, const char* name, std::size_t size) {
  Model& model = model_of(request);
  const auto id = node_of(model, ino);
  if (!id) return (void)fuse_reply_err(request, ESTALE);
  if (std::string_view(name) == "security.capability") return (void)fuse_reply_err(request, EOPNOTSUPP);
  if (!model.has_attributes()) return (void)fuse_reply_err(request, ENOSYS);
  const auto value = model.attribute(*id, name);
  if (value) return reply_sized(request, size, *value);
  if (value.error().code == ErrorCode::not_found) return (void)fuse_reply_err(request, ENODATA);
  model.failed(*id, 0, value.error());
  fuse_reply_err(request, EIO);
}

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops ops = [] {
    fuse_lowlevel_ops o{};
    o.init = on_init;
    o.lookup = on_lookup;
    o.getattr = on_getattr;
    o.readlink = on_readlink;
    o.open = on_open;
    o.release = on_release;
    o.opendir = on_opendir;
    o.read = on_read;
    o.readdir = on_readdir;
    o.readdirplus = on_readdirplus;
    o.statfs = on_statfs;
    o.listxattr = on_listxattr;
    o.getxattr = on_getxattr;
    return o;
  }();
  return ops;
}

// --- the device: reads and writes, with the first request kept for workers to come ---

ssize_t device_read(int device, void* buffer, std::size_t size, void* data) {
  Front& front = *static_cast<Front*>(data);
  SharedState& shared = front.model.shared();
  if (front.replaying) {
    front.replaying = false;
    const std::size_t n = std::min<std::size_t>(size, shared.init_size);
    std::memcpy(buffer, shared.init.data(), n);
    fuse_in_header header{};
    std::memcpy(&header, buffer, sizeof header);
    front.swallow_unique = header.unique;
    front.swallow = true;
    return static_cast<ssize_t>(n);
  }
  const ssize_t n = ::read(device, buffer, size);
  if (n >= static_cast<ssize_t>(sizeof(fuse_in_header)) && shared.init_size == 0) {
    fuse_in_header header{};
    std::memcpy(&header, buffer, sizeof header);
    if (header.opcode == FUSE_INIT && static_cast<std::size_t>(n) <= shared.init.size()) {
      std::memcpy(shared.init.data(), buffer, static_cast<std::size_t>(n));
      shared.init_size = static_cast<std::uint32_t>(n);
    }
  }
  return n;
}

ssize_t device_write(int device, iovec* parts, int count, void* data) {
  Front& front = *static_cast<Front*>(data);
  if (front.swallow && count > 0 && parts[0].iov_len >= sizeof(fuse_out_header)) {
    fuse_out_header header{};
    std::memcpy(&header, parts[0].iov_base, sizeof header);
    if (header.unique == front.swallow_unique) {
      front.swallow = false;
      return static_cast<ssize_t>(header.len);
    }
  }
  return ::writev(device, parts, count);
}

// Requests that a former worker had read but not answered go back to the queue (Linux 6.9). Older kernels lose them:
// their callers wait until the mount goes.
void resend_unanswered(int device) {
  const fuse_out_header header{.len = sizeof(fuse_out_header), .error = FUSE_NOTIFY_RESEND, .unique = 0};
  if (::write(device, &header, sizeof header) != static_cast<ssize_t>(sizeof header))
    spdlog::warn("this kernel cannot send unanswered requests again ({}); their readers may hang",
                 std::strerror(errno));
}

class FuseSession {
 public:
  FuseSession(Model& model, Resident* resident, int device) : front_{model, resident, device} {
    const MountOptions& o = model.options();
    if (o.mode == Mode::bounded)
      front_.chunks = std::make_unique<ChunkCache>(model, o.cache_mib << 20, thread_count(0));
    static char name[] = "cairn-cachefs";
    char* argv[] = {name, nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, argv);
    quick_ = resident == nullptr && !front_.chunks && o.verify == Verify::none && !is_store_url(o.source.string());
    session_ = fuse_session_new(&args, &operations(), sizeof(fuse_lowlevel_ops), &front_);
    fuse_opt_free_args(&args);
  }
  FuseSession(const FuseSession&) = delete;
  FuseSession& operator=(const FuseSession&) = delete;
  // The session is left to the end of the process: destroying it would close the supervisor's descriptor number.

  [[nodiscard]] bool start() {
    if (session_ == nullptr) return false;
    const fuse_custom_io io{.writev = device_write,
                            .read = device_read,
                            .splice_receive = nullptr,
                            .splice_send = nullptr,
                            .clone_fd = nullptr};
    if (fuse_session_custom_io(session_, &io, sizeof io, front_.device) != 0) return false;
    const bool takeover = front_.model.shared().init_size != 0;
    front_.replaying = takeover;
    fuse_buf buffer{};
    if (!one(buffer)) return false;  // the first request, alone
    std::free(buffer.mem);
    if (takeover) resend_unanswered(front_.device);
    return true;
  }

  [[nodiscard]] std::jthread start_opener() {
    return std::jthread([this](const std::stop_token& stop) { answer_opens(stop, front_); });
  }

  void loop() {
    fuse_buf buffer{};
    while (!fuse_session_exited(session_) && one(buffer)) {
    }
    std::free(buffer.mem);
  }

 private:
  // Requests are taken by one thread at a time, and the next thread is woken only to take over: when a request is
  // large, may have to wait, or is not the only one. Waking a thread that sleeps costs more than a small read from
  // memory.
  bool one(fuse_buf& buffer) {
    std::unique_lock taking(taking_);
    do {
      if (spins_) wait_briefly();
      const int n = fuse_session_receive_buf(session_, &buffer);
      if (n == -EINTR || n == -EAGAIN) continue;
      if (n <= 0) return false;
      const bool small = is_small(buffer);
      spins_ = small && many_cores_;
      if (small && quick_ && !pending()) {
        const QuickSection quick(taking);
        fuse_session_process_buf(session_, &buffer);
      } else {
        taking.unlock();
        fuse_session_process_buf(session_, &buffer);
        // The reader first: it would wait until all that it had asked for ahead is served, and then go on alone.
        if (!small) std::this_thread::yield();
      }
    } while (taking.owns_lock());
    return true;
  }
  static bool is_small(const fuse_buf& buffer) {
    fuse_in_header header{};
    fuse_read_in read{};
    if (buffer.size < sizeof header + sizeof read) return false;
    std::memcpy(&header, buffer.mem, sizeof header);
    std::memcpy(&read, static_cast<const char*>(buffer.mem) + sizeof header, sizeof read);
    return header.opcode == FUSE_READ && read.size <= kSmallRequest;
  }
  [[nodiscard]] bool pending() const {
    pollfd waiting{front_.device, POLLIN, 0};
    return ::poll(&waiting, 1, 0) != 0;
  }
  void wait_briefly() const {
    const auto until = std::chrono::steady_clock::now() + kSpin;
    while (!pending() && std::chrono::steady_clock::now() < until) {
    }
  }

  std::mutex taking_;
  bool spins_ = false;                           // under taking_
  const bool many_cores_ = thread_count(0) > 1;  // else the reader could not go on meanwhile
  bool quick_ = false;                           // small reads come from the source's page cache, or say that they wait
  Front front_;
  fuse_session* session_ = nullptr;
};

}  // namespace

int serve(Model& model, Resident* resident, int device, const OnReady& on_ready) {
  FuseSession session(model, resident, device);
  if (!session.start()) {
    spdlog::error("the kernel's file system connection did not start");
    return 1;
  }
  if (resident != nullptr) resident->start_worker();
  const unsigned wanted = model.options().threads;
  const unsigned count = std::clamp(wanted != 0 ? wanted : 2 * thread_count(0), kServeThreadsMin, kServeThreadsMax);
  std::vector<std::jthread> threads;
  const std::jthread opener = session.start_opener();
  for (unsigned i = 0; i < count; ++i) threads.emplace_back([&] { session.loop(); });
  while (resident != nullptr && !resident->preloaded(model.options().preload))
    std::this_thread::sleep_for(kPreloadPoll);
  on_ready();
  threads.clear();
  return 0;
}

}  // namespace cairn::cachefs
