#include "cachefs/objects/object_source.h"

#include <sys/mman.h>

#include "base/log.h"
#include "cachefs/store/limits.h"
#include "gocryptfs/names.h"

namespace cairn::cachefs {

using net::Task;

namespace {

constexpr std::uint64_t kFolderInodes = std::uint64_t{1} << 40;
constexpr auto kListTimeout = 600'000ms;  // of all pages, and of all small objects

StoreCounters* share_counters() {
  void* memory = ::mmap(nullptr, sizeof(StoreCounters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return new (memory) StoreCounters;
}

// A path of names that a folder can hold.
bool is_plain_path(std::string_view path) {
  for (bool more = true; more;) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > gocryptfs::kNameMax ||
        part.find('\0') != std::string_view::npos)
      return false;
    more = slash < path.size();
    path.remove_prefix(std::min(path.size(), slash + 1));
  }
  return true;
}

struct stat status_of(std::uint64_t inode, const RemoteObject* object) {
  struct stat out{};
  out.st_ino = inode;
  out.st_mode = object == nullptr ? S_IFDIR | 0555 : S_IFREG | 0444;
  out.st_nlink = object == nullptr ? 2 : 1;
  if (object == nullptr) return out;
  constexpr std::uint64_t kSector = 512;
  out.st_size = static_cast<off_t>(object->size);
  out.st_blocks = static_cast<blkcnt_t>((object->size + kSector - 1) / kSector);
  out.st_mtim = out.st_ctim = out.st_atim = to_timespec(object->mtime_ns);
  return out;
}

std::string_view last_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// All pages, one after the other.
Task<std::vector<ListedObject>> list_pages(S3Client& client) {
  std::vector<ListedObject> out;
  for (std::string next;;) {
    std::function<Task<ListPage>()> once = [&] { return client.list(next); };
    CAIRN_CO_TRY(ListPage page, co_await net::retry<ListPage>(StoreLoop::kRetry, std::move(once)));
    if (page.objects.size() > kTreeEntriesMax - out.size())
      co_return fail(ErrorCode::too_large, "store", "more than " + std::to_string(kTreeEntriesMax) + " objects");
    std::ranges::move(page.objects, std::back_inserter(out));
    if (page.next.empty()) co_return out;
    next = std::move(page.next);
  }
}

// Many small objects, several at a time.
struct Gathering {
  std::vector<const RemoteObject*> wanted;
  std::vector<Bytes> got;
  std::size_t next = 0;
  std::optional<Error> error;
};
Task<> gather_some(S3Client& client, Gathering& g) {
  while (g.next < g.wanted.size() && !g.error) {
    const std::size_t mine = g.next++;
    const RemoteObject& object = *g.wanted[mine];
    Bytes bytes(object.size);
    const ObjectRange range{.key = object.key, .etag = object.etag, .object_size = object.size, .offset = 0};
    std::function<Task<>()> once = [&] { return client.get_range(range, bytes, kStoreTryTimeout); };
    const Result<> got = co_await net::retry<void>(StoreLoop::kRetry, std::move(once));
    if (!got && !g.error) g.error = got.error();
    g.got[mine] = std::move(bytes);
  }
  co_return Result<>{};
}
Task<> gather(S3Client& client, Gathering& g, unsigned parallel) {
  net::TaskGroup group(co_await net::this_loop());
  for (unsigned i = 0; i < parallel; ++i) group.spawn(gather_some(client, g), "store");
  co_await group.join();
  if (g.error) co_return fail(std::move(*g.error));
  co_return Result<>{};
}

}  // namespace

class RemoteFile final : public SourceFile {
 public:
  RemoteFile(const ObjectSource& source, const RemoteObject& object) : source_(source), object_(object) {}
  Result<std::size_t> read(std::span<std::uint8_t> out, std::uint64_t offset, std::string_view) const override {
    CAIRN_TRY(ObjectSource::Engine * engine, source_.engine());
    return engine->pieces->read(object_, out, offset);
  }
  bool distrust(std::uint64_t offset, std::size_t size) const override {
    const auto engine = source_.engine();
    if (engine) (*engine)->pieces->drop(object_, offset, size);
    return engine.has_value();
  }

 private:
  const ObjectSource& source_;
  const RemoteObject& object_;
};

class RemoteFolder final : public SourceFolder {
 public:
  RemoteFolder(const ObjectSource& source, std::string path) : source_(source), path_(std::move(path)) {}
  Result<std::vector<DirEntry>> list(std::size_t limit) const override {
    std::vector<DirEntry> out;
    for (const auto& [name, entry] : entries_of(source_.objects_, path_)) {
      if (path_.empty() && name == kObjectIndexName) continue;
      if (out.size() == limit)
        return fail(ErrorCode::too_large, path_, "more than " + std::to_string(limit) + " entries");
      const std::uint64_t inode = entry.object != nullptr
                                      ? entry.object->inode
                                      : kFolderInodes + std::hash<std::string>()(join(path_, name)) % kFolderInodes;
      out.push_back({name, status_of(inode, entry.object)});
    }
    return out;
  }
  Result<Bytes> read_small(const std::string& name, std::size_t limit) const override {
    const auto found = source_.objects_.find(join(path_, name));
    if (found == source_.objects_.end() || found->second.folder)
      return fail(ErrorCode::not_found, name, "not in the store");
    return source_.small(found->second, limit);
  }
  Result<std::string> read_link(const std::string& name, std::size_t) const override {
    return fail(ErrorCode::unsupported, name, "object stores have no links");
  }

 private:
  const ObjectSource& source_;
  std::string path_;
};

std::map<std::string, ListedEntry> entries_of(const ObjectList& objects, const std::string& folder) {
  std::map<std::string, ListedEntry> out;
  const std::string before = folder.empty() ? "" : folder + "/";
  for (auto at = objects.lower_bound(before); at != objects.end() && at->first.starts_with(before);) {
    const std::string_view rest = std::string_view(at->first).substr(before.size());
    const std::size_t slash = rest.find('/');
    std::string name(rest.substr(0, slash));
    if (slash == std::string_view::npos) {
      out.try_emplace(std::move(name), at->second.folder ? nullptr : &at->second);
      ++at;
    } else {
      at = objects.lower_bound(before + name + static_cast<char>('/' + 1));
      out.try_emplace(std::move(name));
    }
  }
  return out;
}

Result<ObjectList> list_objects(StoreLoop& loop, const StoreTarget& target, net::Milliseconds timeout,
                                std::size_t* skipped) {
  CAIRN_TRY(const auto listed, loop.call<std::vector<ListedObject>>([timeout](S3Client& client) {
    return net::with_timeout(list_pages(client), timeout);
  }));
  ObjectList out;
  for (const ListedObject& o : listed) {
    std::string_view path = o.key;
    if (!path.starts_with(target.prefix)) return fail(ErrorCode::malformed, target.text(), "a list of other objects");
    path.remove_prefix(target.prefix.size());
    if (path.empty()) continue;  // a marker of the prefix itself
    const bool folder = path.ends_with('/') && o.size == 0;
    if (folder) path.remove_suffix(1);
    if (!is_plain_path(path)) {
      if (skipped != nullptr) ++*skipped;
      continue;
    }
    RemoteObject object{
        .key = o.key, .etag = o.etag, .size = o.size, .mtime_ns = o.mtime_ns, .inode = 0, .folder = folder};
    if (!out.emplace(path, std::move(object)).second)
      return fail(ErrorCode::malformed, printable(o.key), "is both a file and a folder in the store");
  }
  std::uint64_t inode = 1;
  for (auto& [path, object] : out) {
    object.inode = ++inode;
    // "a" and "a/b" cannot both be.
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
      if (const auto file = out.find(path.substr(0, slash)); file != out.end() && !file->second.folder)
        return fail(ErrorCode::malformed, printable(file->second.key), "is both a file and a folder in the store");
  }
  return out;
}

ObjectSource::ObjectSource(StoreTarget target, const StoreOptions& options)
    : target_(std::move(target)), options_(options), counters_(share_counters()) {}
ObjectSource::~ObjectSource() {
  engine_.reset();
  ::munmap(counters_, sizeof(StoreCounters));
}

Result<std::shared_ptr<const Source>> ObjectSource::open(std::string_view url, const StoreOptions& options) {
  CAIRN_TRY(StoreTarget target, resolve_store(url, options));
  return std::make_shared<const ObjectSource>(std::move(target), options);
}

void ObjectSource::rest() const {
  const std::scoped_lock lock(mutex_);
  engine_.reset();
  small_.clear();
}

Result<ObjectSource::Engine*> ObjectSource::engine() const {
  const std::scoped_lock lock(mutex_);
  if (engine_) return engine_.get();
  auto made = std::make_unique<Engine>();
  if (!options_.cache.empty()) {
    CAIRN_TRY(made->disk, DiskCache::open(options_.cache, options_.cache_mib << 20));
  }
  CAIRN_TRY(made->loop, StoreLoop::start(target_));
  made->pieces = std::make_unique<Pieces>(*made->loop, made->disk.get(), options_, target_, *counters_);
  engine_ = std::move(made);
  return engine_.get();
}

Result<void> ObjectSource::list() const {
  CAIRN_TRY(Engine * running, engine());
  const std::scoped_lock lock(mutex_);
  if (listed_) return {};
  std::size_t skipped = 0;
  CAIRN_TRY(ObjectList objects, list_objects(*running->loop, target_, kListTimeout, &skipped));
  if (objects.empty()) return fail(ErrorCode::not_found, target_.text(), "nothing is there");
  if (skipped != 0) spdlog::warn("{} objects of {} have keys that no folder can hold", skipped, target_.text());
  Gathering g;
  std::vector<std::string> paths;
  for (const auto& [path, object] : objects) {
    const std::string_view name = last_name(path);
    const bool wanted = name == gocryptfs::kDirIvName || gocryptfs::entry_kind(name) == gocryptfs::EntryKind::long_name;
    if (!wanted || object.folder || object.size == 0 || object.size > kStoreSmallMax || path == kObjectIndexName)
      continue;
    g.wanted.push_back(&object);
    paths.push_back(path);
  }
  g.got.resize(g.wanted.size());
  CAIRN_CHECK(running->loop->call<void>(
      [&](S3Client& client) { return net::with_timeout(gather(client, g, options_.parallel), kListTimeout); }));
  counters_->requests += g.wanted.size();
  for (std::size_t i = 0; i < paths.size(); ++i) small_.emplace(std::move(paths[i]), std::move(g.got[i]));
  objects_ = std::move(objects);
  listed_ = true;
  return {};
}

Result<Bytes> ObjectSource::small(const RemoteObject& object, std::size_t limit) const {
  if (object.size > limit)
    return fail(ErrorCode::malformed, printable(object.key), "larger than " + std::to_string(limit) + " bytes");
  {
    const std::scoped_lock lock(mutex_);
    if (const auto kept = small_.find(object.key.substr(target_.prefix.size())); kept != small_.end())
      return kept->second;
  }
  if (object.size == 0) return Bytes();
  CAIRN_TRY(Engine * running, engine());
  Bytes out(object.size);
  CAIRN_TRY(const std::size_t got, running->pieces->read(object, out, 0));
  out.resize(got);
  return out;
}

Result<struct stat> ObjectSource::root_status() const {
  CAIRN_CHECK(list());
  return status_of(1, nullptr);
}

Result<std::unique_ptr<SourceFolder>> ObjectSource::folder(const std::string& path) const {
  CAIRN_CHECK(list());
  return std::make_unique<RemoteFolder>(*this, path);
}

Result<std::unique_ptr<SourceFile>> ObjectSource::file(const std::string& path, const SeenFile& seen) const {
  CAIRN_CHECK(list());
  const auto found = objects_.find(path);
  if (found == objects_.end() || found->second.folder) return fail(ErrorCode::not_found, path, "not in the store");
  if (found->second.inode != seen.inode || found->second.size != seen.size)
    return fail(ErrorCode::conflict, path, "not the object that was listed");
  return std::make_unique<RemoteFile>(*this, found->second);
}

Result<Fd> ObjectSource::attributes(const std::string&) const {
  return fail(ErrorCode::not_found, "xattr", "object stores have no extended attributes");
}

Result<std::string> ObjectSource::config_text() const {
  CAIRN_TRY(Engine * running, engine());
  const std::string key = target_.prefix + std::string(gocryptfs::kConfName);
  CAIRN_TRY(const Bytes text,
            running->loop->call_again<Bytes>(std::chrono::seconds(options_.timeout_s),
                                             [&](S3Client& client) { return client.get(key, gocryptfs::kConfigMax); }));
  return std::string(as_text(text));
}

std::vector<SourceCounter> ObjectSource::counters() const {
  const StoreCounters& c = *counters_;
  return {{"store_requests", "Requests to the object store", c.requests.load()},
          {"store_bytes", "Ciphertext bytes that came from the object store", c.bytes.load()},
          {"store_failures", "Requests that failed after all their tries", c.failures.load()},
          {"store_hedges", "Second requests that were sent because the first was slow", c.hedges.load()},
          {"store_hedges_won", "Second requests that were answered first", c.hedges_won.load()},
          {"store_cache_hits", "Pieces of ciphertext that were found in the cache on disk", c.cache_hits.load()},
          {"store_distrusted", "Pieces of ciphertext that did not authenticate and were fetched again",
           c.distrusted.load()}};
}

Result<std::shared_ptr<const Source>> open_source(const std::filesystem::path& where, const StoreOptions& options) {
  if (is_store_url(where.string())) return ObjectSource::open(where.string(), options);
  return open_folder(where);
}

}  // namespace cairn::cachefs
