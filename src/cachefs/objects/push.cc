#include <fcntl.h>

#include <atomic>
#include <deque>

#include "base/encoding.h"
#include "base/log.h"
#include "cachefs/objects/parallel.h"
#include "cachefs/objects/transfer.h"
#include "cachefs/store/plain.h"
#include "cachefs/store/work.h"
#include "gocryptfs/config.h"
#include "gocryptfs/names.h"

namespace cairn::cachefs {

using net::Task;

namespace {

constexpr auto kPushTimeout = 600'000ms;  // of one request with all its tries
constexpr std::string_view kSourceField = "x-amz-meta-cairn-source";

struct Upload {
  const PlainEntry* entry = nullptr;
  std::string key;
  IndexedObject indexed;
  bool multipart = false;
  const RemoteObject* there = nullptr;  // an object of this key and size from an earlier run
  std::once_flag begun;
  Result<void> begin_result;
  Fd file;
  bool whole = false;                     // `there` was made of this very file
  std::string id;                         // of the upload in parts
  std::map<unsigned, ListedPart> stored;  // parts that the store has, by number
  std::vector<std::string> etags;
  std::atomic<std::size_t> left = 0;
};

// What tells a source file from its later versions.
std::string source_mark(const PlainEntry& e) { return std::to_string(e.size) + "-" + std::to_string(e.mtime_ns); }

net::Headers fields_of(const PlainEntry& e) {
  net::Headers out;
  out.set("Content-Type", "application/octet-stream");
  out.set(kSourceField, source_mark(e));
  return out;
}

std::string md5_etag(ByteView bytes) { return "\"" + hex(crypto::md5(bytes).view()) + "\""; }

class Pusher {
 public:
  Pusher(const PushOptions& options, const StoreTarget& target, StoreLoop& loop, PlainSource source)
      : options_(options), target_(target), loop_(loop), source_(std::move(source)) {}

  Result<TransferReport> run() {
    CAIRN_TRY(objects_, list_objects(loop_, target_, kPushTimeout));
    CAIRN_CHECK(plan());
    CAIRN_CHECK(make_way());
    CAIRN_CHECK(upload_all());
    CAIRN_CHECK(write_index());
    for (const std::string& key : excess_) CAIRN_CHECK(remove(key));
    CAIRN_CHECK(upload_config());
    report_.files = source_.files;
    report_.bytes = source_.bytes;
    return std::move(report_);
  }

 private:
  template <class T>
  Result<T> ask(std::function<Task<T>(S3Client&)> work) {
    return loop_.call_again<T>(kPushTimeout, std::move(work));
  }
  Result<void> remove(const std::string& key) {
    return ask<void>([&](S3Client& client) { return client.remove(key); });
  }
  [[nodiscard]] bool is_config(const PlainEntry& e) const { return e.path == gocryptfs::kConfName; }

  Result<void> plan() {
    for (std::size_t i = 0; i < source_.entries.size(); ++i) {
      const PlainEntry& e = source_.entries[i];
      const std::string key = target_.prefix + e.path;
      if (e.type == NodeType::link)
        return fail(
            ErrorCode::unsupported, printable(e.path),
            "a link: object stores have none. Copy the model with its links followed (cp -L), and encrypt that");
      if (!is_utf8(e.path) || std::ranges::any_of(e.path, [](char c) { return static_cast<unsigned char>(c) < ' '; }))
        return fail(ErrorCode::unsupported, printable(e.path), "object stores take names in UTF-8 only");
      if (key.size() + 1 > kStoreKeyMax)
        return fail(ErrorCode::too_large, printable(e.path),
                    "its key has more than " + std::to_string(kStoreKeyMax) + " bytes; use a shorter prefix");
      if (e.type == NodeType::folder && !has_children(i)) empty_folders_.push_back(key + "/");
      if (e.type != NodeType::file) continue;
      Upload& u = uploads_.emplace_back();
      u.entry = &e;
      u.key = key;
      u.indexed = {.path = e.path, .size = e.size, .part_bytes = part_bytes_of(e.size), .parts = {}};
      u.indexed.parts.resize((e.size + u.indexed.part_bytes - 1) / u.indexed.part_bytes);
      u.multipart = u.indexed.parts.size() > 1;
      u.etags.resize(u.indexed.parts.size());
      u.left = std::max<std::size_t>(1, u.indexed.parts.size());
      const auto found = objects_.find(e.path);
      if (found != objects_.end() && !found->second.folder && found->second.size == e.size) u.there = &found->second;
    }
    return {};
  }
  [[nodiscard]] bool has_children(std::size_t folder) const {
    const auto& entries = source_.entries;
    const std::string before = entries[folder].path + "/";
    const auto found = std::ranges::lower_bound(entries, before, {}, &PlainEntry::path);
    return found != entries.end() && found->path.starts_with(before);
  }

  // What lies at the destination: nothing, what an interrupted run left, or a volume that is to be replaced.
  Result<void> make_way() {
    for (const auto& [path, object] : objects_) {
      if (path == kObjectIndexName || source_.find(path)) continue;
      if (!options_.replace)
        return fail(ErrorCode::conflict, printable(object.key),
                    "other objects lie there; give another prefix, or --replace to have them removed");
      excess_.push_back(object.key);
    }
    const auto config = objects_.find(std::string(gocryptfs::kConfName));
    if (config == objects_.end()) return {};
    if (!options_.replace)
      return fail(ErrorCode::already_exists, target_.text(), "a volume is there; --replace puts this one in its place");
    return remove(config->second.key);
  }

  Result<void> upload_all() {
    struct Part {
      Upload* upload;
      std::size_t number;
    };
    std::vector<Part> parts;
    for (Upload& u : uploads_) {
      if (is_config(*u.entry)) continue;
      for (std::size_t i = 0; i < std::max<std::size_t>(1, u.indexed.parts.size()); ++i) parts.push_back({&u, i});
    }
    Meter meter("pushing", source_.bytes, source_.files, options_.progress);
    const auto each = [&](std::size_t i) { return upload_part(*parts[i].upload, parts[i].number, meter); };
    CAIRN_CHECK(for_each_number(parts.size(), options_.threads, each));
    meter.finish();
    auto nothing = std::make_shared<UploadBody>();
    nothing->sha256 = hex(crypto::sha256({}));
    for (const std::string& key : empty_folders_) {
      const auto made = ask<std::string>([&](S3Client& client) { return client.put(key, nothing, {}); });
      if (!made) return fail(made.error());
    }
    return {};
  }

  Result<void> begin(Upload& u) {
    CAIRN_TRY(u.file, open_plain(source_, *u.entry));
    if (!u.multipart) return {};
    if (u.there != nullptr) {
      CAIRN_TRY(const ObjectHead head, ask<ObjectHead>([&](S3Client& client) { return client.head(u.key); }));
      const auto mark = head.headers.get(kSourceField);
      u.whole = head.size == u.entry->size && mark && *mark == source_mark(*u.entry);
      if (u.whole) return {};
    }
    CAIRN_TRY(u.id, ask<std::string>([&](S3Client& client) { return client.find_upload(u.key); }));
    if (!u.id.empty()) return list_parts(u);
    CAIRN_TRY(u.id,
              ask<std::string>([&](S3Client& client) { return client.begin_upload(u.key, fields_of(*u.entry)); }));
    return {};
  }
  Result<void> list_parts(Upload& u) {
    for (std::string marker;;) {
      CAIRN_TRY(PartsPage page, ask<PartsPage>([&](S3Client& client) { return client.parts(u.key, u.id, marker); }));
      for (ListedPart& part : page.parts) u.stored[part.number] = part;
      if (page.next_marker.empty() || page.next_marker == marker) return {};
      marker = std::move(page.next_marker);
    }
  }

  Result<std::shared_ptr<UploadBody>> read_part(const Upload& u, std::size_t number) const {
    const std::uint64_t offset = number * u.indexed.part_bytes;
    auto body = std::make_shared<UploadBody>();
    body->bytes.resize(std::min(u.indexed.part_bytes, u.entry->size - offset));
    const std::span<std::uint8_t> room(reinterpret_cast<std::uint8_t*>(body->bytes.data()), body->bytes.size());
    CAIRN_TRY(const std::size_t got, read_at(u.file.get(), room, offset, printable(u.entry->path)));
    if (got != room.size())
      return fail(ErrorCode::conflict, printable(u.entry->path), "the file became shorter while it was being read");
    return body;
  }

  Result<void> upload_part(Upload& u, std::size_t number, Meter& meter) {
    std::call_once(u.begun, [&] { u.begin_result = begin(u); });
    CAIRN_CHECK(Result<void>(u.begin_result));
    CAIRN_TRY(const auto body, read_part(u, number));
    const Digest<32> digest = crypto::sha256(as_bytes(body->bytes));
    body->sha256 = hex(digest.view());
    if (!u.indexed.parts.empty()) u.indexed.parts[number] = digest;
    CAIRN_TRY(const bool sent, u.multipart ? send_part(u, number, body) : send_whole(u, body));
    if (!sent) resumed_ += body->bytes.size();
    const bool last = u.left.fetch_sub(1) == 1;
    if (last) CAIRN_CHECK(end(u));
    return meter.add(body->bytes.size(), last ? 1 : 0);
  }

  // False: the store has it already.
  Result<bool> send_whole(Upload& u, const std::shared_ptr<UploadBody>& body) {
    if (u.there != nullptr && u.there->etag == md5_etag(as_bytes(body->bytes))) return false;
    CAIRN_CHECK(unchanged(u.file.get(), *u.entry));
    CAIRN_CHECK(ask<std::string>([&](S3Client& client) {
                  return client.put(u.key, body, fields_of(*u.entry));
                }).transform([](const std::string&) {}));
    return true;
  }
  Result<bool> send_part(Upload& u, std::size_t number, const std::shared_ptr<UploadBody>& body) {
    if (u.whole) return false;
    const unsigned name = static_cast<unsigned>(number) + 1;
    if (const auto found = u.stored.find(name); found != u.stored.end() && found->second.size == body->bytes.size() &&
                                                found->second.etag == md5_etag(as_bytes(body->bytes))) {
      u.etags[number] = found->second.etag;
      return false;
    }
    CAIRN_TRY(u.etags[number],
              ask<std::string>([&](S3Client& client) { return client.put_part(u.key, u.id, name, body); }));
    return true;
  }

  // All parts are there.
  Result<void> end(Upload& u) {
    CAIRN_CHECK(unchanged(u.file.get(), *u.entry));
    u.file.reset();
    if (!u.multipart || u.whole) return {};
    CAIRN_CHECK(ask<void>([&](S3Client& client) { return client.end_upload(u.key, u.id, u.etags); }));
    CAIRN_TRY(const ObjectHead head, ask<ObjectHead>([&](S3Client& client) { return client.head(u.key); }));
    if (head.size == u.entry->size) return {};
    return fail(
        ErrorCode::io_failed, printable(u.key),
        "the store has " + std::to_string(head.size) + " bytes of it, the file has " + std::to_string(u.entry->size));
  }

  Result<void> upload_config() {
    for (Upload& u : uploads_) {
      if (!is_config(*u.entry)) continue;
      CAIRN_CHECK(begin(u));
      CAIRN_TRY(const auto body, read_part(u, 0));
      body->sha256 = hex(u.indexed.parts[0].view());
      if (hex(crypto::sha256(as_bytes(body->bytes))) != body->sha256)
        return fail(ErrorCode::conflict, printable(u.entry->path), "the file changed meanwhile; start again");
      u.there = nullptr;
      CAIRN_CHECK(send_whole(u, body).transform([](bool) {}));
    }
    return {};
  }

  Result<void> write_index() {
    std::vector<IndexedObject> list;
    for (Upload& u : uploads_) {
      if (is_config(*u.entry)) {
        CAIRN_CHECK(begin(u));
        CAIRN_TRY(const auto body, read_part(u, 0));
        u.indexed.parts[0] = crypto::sha256(as_bytes(body->bytes));
      }
      list.push_back(u.indexed);
    }
    auto body = std::make_shared<UploadBody>();
    CAIRN_TRY(body->bytes, write_object_index(list));
    if (body->bytes.size() > kStoreIndexMax)
      return fail(ErrorCode::too_large, target_.text(), "too many objects for one list");
    body->sha256 = hex(crypto::sha256(as_bytes(body->bytes)));
    report_.index = "sha256:" + body->sha256;
    report_.resumed_bytes = resumed_;
    const std::string key = target_.prefix + std::string(kObjectIndexName);
    return ask<std::string>([&](S3Client& client) { return client.put(key, body, {}); })
        .transform([](const std::string&) {});
  }

  const PushOptions& options_;
  const StoreTarget& target_;
  StoreLoop& loop_;
  PlainSource source_;
  ObjectList objects_;
  std::deque<Upload> uploads_;
  std::vector<std::string> empty_folders_, excess_;
  std::atomic<std::uint64_t> resumed_ = 0;
  TransferReport report_;
};

}  // namespace

Result<TransferReport> push_volume(const PushOptions& options) {
  CAIRN_TRY(const StoreTarget target, resolve_store(options.destination, options.store));
  CAIRN_CHECK(read_config({.source = options.source}).transform([](const gocryptfs::Config&) {}));
  CAIRN_TRY(PlainSource source, scan_plain(options.source));
  if (source.find(kObjectIndexName))
    return fail(ErrorCode::unsupported, std::string(kObjectIndexName), "this name is used for the list of objects");
  CAIRN_TRY(const auto loop, StoreLoop::start(target));
  return Pusher(options, target, *loop, std::move(source)).run();
}

}  // namespace cairn::cachefs
