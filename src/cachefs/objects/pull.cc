#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <set>

#include "base/encoding.h"
#include "base/log.h"
#include "cachefs/objects/parallel.h"
#include "cachefs/objects/transfer.h"
#include "cachefs/store/limits.h"
#include "cachefs/store/staging.h"
#include "cachefs/store/work.h"
#include "gocryptfs/config.h"
#include "gocryptfs/names.h"

namespace cairn::cachefs {
namespace {

constexpr auto kPullTimeout = 600'000ms;     // of one part with all its tries
constexpr auto kPullTryTimeout = 120'000ms;  // of one of them
constexpr unsigned kWrongPartTries = 3;      // a part that is not what the list says
constexpr std::string_view kPartialPrefix = ".cairn-pull-";

// One object on its way into the folder. Its unfinished file is longer than the object: a byte for each part follows,
// 1 once the part is written, so that a later run knows where to go on.
struct Download {
  std::string path;
  const RemoteObject* object = nullptr;
  const IndexedObject* indexed = nullptr;  // nullptr: the store has no list
  std::uint64_t part_bytes = 0;
  std::size_t parts = 0;
  std::once_flag begun;
  Result<void> begin_result;
  std::string temporary;
  Fd file;
  bool whole = false;  // finished by an earlier run
  Bytes done;          // of an earlier run, by part
  std::atomic<std::size_t> left = 0;
};

std::string parent_folder(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

mode_t mode_of(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  if (path == gocryptfs::kConfName) return 0400;
  const bool fixed = name == gocryptfs::kDirIvName || gocryptfs::entry_kind(name) == gocryptfs::EntryKind::long_name;
  return fixed ? 0444 : 0644;
}

class Puller {
 public:
  Puller(const PullOptions& options, const StoreTarget& target, StoreLoop& loop, ObjectList objects)
      : options_(options), target_(target), loop_(loop), objects_(std::move(objects)) {}

  Result<TransferReport> run() {
    CAIRN_CHECK(read_index());
    std::uint64_t bytes = 0;
    for (const auto& [path, object] : objects_) bytes += object.size;
    CAIRN_TRY(staging_, Staging::open(options_.destination, options_.source, bytes));
    CAIRN_CHECK(plan());
    CAIRN_CHECK(download_all());
    CAIRN_CHECK(drop_partials());
    CAIRN_CHECK(staging_->publish());
    report_.resumed_bytes = resumed_;
    return std::move(report_);
  }

 private:
  // The list, where there is one, must be of the objects that are there.
  Result<void> read_index() {
    const auto found = objects_.find(std::string(kObjectIndexName));
    if (found == objects_.end()) return {};
    const std::string key = found->second.key;
    objects_.erase(found);
    CAIRN_TRY(const Bytes text,
              loop_.call_again<Bytes>(kPullTimeout, [&](S3Client& client) { return client.get(key, kStoreIndexMax); }));
    CAIRN_TRY(index_, parse_object_index(as_text(text)));
    report_.index = "sha256:" + hex(crypto::sha256(text).view());
    std::size_t files = 0;
    for (const auto& [path, object] : objects_) files += object.folder ? 0 : 1;
    for (const IndexedObject& o : index_) {
      const auto listed = objects_.find(o.path);
      if (listed == objects_.end() || listed->second.folder || listed->second.size != o.size)
        return fail(ErrorCode::conflict, printable(o.path),
                    "the store's list has this object; it is not there, or has "
                    "another size");
    }
    if (files != index_.size())
      return fail(ErrorCode::conflict, target_.text(), "objects lie there that the store's list does not have");
    return {};
  }

  [[nodiscard]] int root() const { return staging_->folder(); }

  Result<void> make_folder(const std::string& path) {
    if (path.empty() || !folders_.insert(path).second) return {};
    CAIRN_CHECK(make_folder(parent_folder(path)));
    CAIRN_TRY(const Fd parent, open_beneath(root(), parent_folder(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (::mkdirat(parent.get(), path.substr(path.rfind('/') + 1).c_str(), 0755) != 0 && errno != EEXIST)
      return fail(errno_error(errno, printable(path), "cannot make the folder"));
    return {};
  }

  Result<void> plan() {
    for (const auto& [path, object] : objects_) {
      if (Staging::is_temporary(path) || path.starts_with(kPartialPrefix))
        return fail(ErrorCode::unsupported, printable(path), "this name is used for unfinished files");
      CAIRN_CHECK(make_folder(object.folder ? path : parent_folder(path)));
      if (object.folder) continue;
      Download& d = downloads_.emplace_back();
      d.path = path;
      d.object = &object;
      const auto indexed = std::ranges::lower_bound(index_, path, {}, &IndexedObject::path);
      if (indexed != index_.end()) d.indexed = &*indexed;
      d.part_bytes = part_bytes_of(object.size);
      d.parts = (object.size + d.part_bytes - 1) / d.part_bytes;
      d.left = std::max<std::size_t>(1, d.parts);
      d.temporary =
          std::string(kPartialPrefix) + hex(crypto::sha256(as_bytes(path + '\0' + object.etag)).view().first(16));
      report_.bytes += object.size;
      ++report_.files;
    }
    return {};
  }

  Result<void> download_all() {
    struct Part {
      Download* download;
      std::size_t number;
    };
    std::vector<Part> parts;
    for (Download& d : downloads_)
      for (std::size_t i = 0; i < std::max<std::size_t>(1, d.parts); ++i) parts.push_back({&d, i});
    Meter meter("pulling", report_.bytes, report_.files, options_.progress);
    const auto each = [&](std::size_t i) { return take_part(*parts[i].download, parts[i].number, meter); };
    CAIRN_CHECK(for_each_number(parts.size(), options_.threads, each));
    meter.finish();
    return {};
  }

  // Finished before: it has its name, and the object's time.
  Result<bool> find_whole(Download& d) {
    auto found = open_beneath(root(), d.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (!found) return false;
    CAIRN_TRY(const struct stat s, stat_of(found->get(), d.path));
    if (!S_ISREG(s.st_mode) || static_cast<std::uint64_t>(s.st_size) != d.object->size ||
        nanoseconds(s.st_mtim) != d.object->mtime_ns)
      return false;
    d.file = std::move(*found);
    return true;
  }

  Result<void> begin(Download& d) {
    CAIRN_TRY(d.whole, find_whole(d));
    if (d.whole) return {};
    d.file = Fd(::openat(root(), d.temporary.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!d.file) return fail(errno_error(errno, d.temporary, "cannot create the file"));
    CAIRN_TRY(const struct stat s, stat_of(d.file.get(), d.temporary));
    const std::uint64_t size = d.object->size + d.parts;
    d.done.assign(d.parts, 0);
    if (static_cast<std::uint64_t>(s.st_size) == size)
      return read_at(d.file.get(), d.done, d.object->size, d.temporary).transform([](std::size_t) {});
    if (::ftruncate(d.file.get(), 0) != 0 || ::ftruncate(d.file.get(), static_cast<off_t>(size)) != 0)
      return fail(errno_error(errno, d.temporary, "cannot make room for the file"));
    return {};
  }

  [[nodiscard]] bool as_listed(const Download& d, std::size_t number, ByteView bytes) const {
    return d.indexed == nullptr || crypto::sha256(bytes) == d.indexed->parts[number];
  }

  Result<void> take_part(Download& d, std::size_t number, Meter& meter) {
    std::call_once(d.begun, [&] { d.begin_result = begin(d); });
    CAIRN_CHECK(Result<void>(d.begin_result));
    const std::uint64_t offset = number * d.part_bytes;
    Bytes part(std::min(d.part_bytes, d.object->size - offset));
    if (!part.empty()) {
      CAIRN_TRY(const bool had, had_before(d, number, part));
      if (had)
        resumed_ += part.size();
      else
        CAIRN_CHECK(fetch_part(d, number, part));
    }
    const bool last = d.left.fetch_sub(1) == 1;
    if (last) CAIRN_CHECK(finish(d));
    return meter.add(part.size(), last ? 1 : 0);
  }

  // From an earlier run; compared again where there is something to compare with.
  Result<bool> had_before(const Download& d, std::size_t number, Bytes& room) const {
    if (!d.whole && d.done[number] != 1) return false;
    if (d.indexed == nullptr) return true;
    CAIRN_TRY(const std::size_t got, read_at(d.file.get(), room, number * d.part_bytes, printable(d.path)));
    if (got == room.size() && as_listed(d, number, room)) return true;
    if (!d.whole) return false;
    return fail(ErrorCode::conflict, staging_->path(),
                "a file of the interrupted run is damaged; remove the folder to start anew");
  }

  Result<void> fetch_part(Download& d, std::size_t number, Bytes& part) {
    const ObjectRange range{
        .key = d.object->key, .etag = d.object->etag, .object_size = d.object->size, .offset = number * d.part_bytes};
    for (unsigned tries = 1;; ++tries) {
      CAIRN_CHECK(loop_.call_again<void>(
          kPullTimeout, [&](S3Client& client) { return client.get_range(range, part, kPullTryTimeout); }));
      if (as_listed(d, number, part)) break;
      if (tries == kWrongPartTries)
        return fail(ErrorCode::crypto_failed, printable(d.path),
                    "part " + std::to_string(number + 1) + " is not what was pushed");
    }
    CAIRN_CHECK(write_at(d.file.get(), part, range.offset, printable(d.path)));
    const std::uint8_t one = 1;
    return write_at(d.file.get(), ByteView(&one, 1), d.object->size + number, printable(d.path));
  }

  Result<void> finish(Download& d) {
    if (d.whole) {
      d.file.reset();
      return {};
    }
    const timespec times[2] = {to_timespec(d.object->mtime_ns), to_timespec(d.object->mtime_ns)};
    if (::ftruncate(d.file.get(), static_cast<off_t>(d.object->size)) != 0 ||
        ::fchmod(d.file.get(), mode_of(d.path)) != 0 || ::futimens(d.file.get(), times) != 0)
      return fail(errno_error(errno, printable(d.path), "cannot set its size, mode and time"));
    CAIRN_TRY(const Fd folder, open_beneath(root(), parent_folder(d.path), O_PATH | O_DIRECTORY | O_NOFOLLOW));
    const std::string name = d.path.substr(d.path.rfind('/') + 1);
    if (::renameat(root(), d.temporary.c_str(), folder.get(), name.c_str()) != 0)
      return fail(errno_error(errno, printable(d.path), "cannot put it in place"));
    d.file.reset();
    return {};
  }

  // Unfinished files of objects that were replaced since.
  Result<void> drop_partials() {
    const Fd here(::openat(root(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CAIRN_TRY(const auto entries, list_folder(here, staging_->path(), kTreeEntriesMax));
    for (const DirEntry& e : entries)
      if (e.name.starts_with(kPartialPrefix) && ::unlinkat(root(), e.name.c_str(), 0) != 0)
        return fail(errno_error(errno, e.name, "cannot remove an unfinished file"));
    return {};
  }

  const PullOptions& options_;
  const StoreTarget& target_;
  StoreLoop& loop_;
  ObjectList objects_;
  std::vector<IndexedObject> index_;
  std::optional<Staging> staging_;
  std::set<std::string> folders_;
  std::deque<Download> downloads_;
  std::atomic<std::uint64_t> resumed_ = 0;
  TransferReport report_;
};

}  // namespace

Result<TransferReport> pull_volume(const PullOptions& options) {
  CAIRN_TRY(const StoreTarget target, resolve_store(options.source, options.store));
  CAIRN_TRY(const auto loop, StoreLoop::start(target));
  std::size_t skipped = 0;
  CAIRN_TRY(ObjectList objects, list_objects(*loop, target, kPullTimeout, &skipped));
  if (!objects.contains(std::string(gocryptfs::kConfName)))
    return fail(ErrorCode::not_found, target.text(), "not a gocryptfs volume (no gocryptfs.conf)");
  if (skipped != 0)
    return fail(ErrorCode::unsupported, target.text(),
                std::to_string(skipped) + " objects have keys that no folder can hold");
  return Puller(options, target, *loop, std::move(objects)).run();
}

}  // namespace cairn::cachefs
