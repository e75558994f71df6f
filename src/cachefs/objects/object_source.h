// A volume in an S3-compatible store as a source: listed once, read by ranges that must be of the objects as they were
// listed. spec/gocryptfs.md §12.4.
#pragma once

#include <map>
#include <mutex>

#include "cachefs/objects/pieces.h"
#include "cachefs/store/source.h"

namespace cairn::cachefs {

// The objects below a target's prefix, by their path there.
using ObjectList = std::map<std::string, RemoteObject>;

// The list that push writes beside a volume (transfer.h). gocryptfs and mounts take no notice of a name like this.
inline constexpr std::string_view kObjectIndexName = "gocryptfs.longname.cairn-objects.name";

// Every page of the list. Keys that no folder can hold ("a//b", "..") are left out and counted in `skipped`; malformed
// when one name is both a file and a folder; too_large past kTreeEntriesMax.
[[nodiscard]] Result<ObjectList> list_objects(StoreLoop& loop, const StoreTarget& target, net::Milliseconds timeout,
                                              std::size_t* skipped = nullptr);

// What a folder holds, by name.
struct ListedEntry {
  const RemoteObject* object = nullptr;  // nullptr: a folder
};
[[nodiscard]] std::map<std::string, ListedEntry> entries_of(const ObjectList& objects, const std::string& folder);

class ObjectSource final : public Source {
 public:
  [[nodiscard]] static Result<std::shared_ptr<const Source>> open(std::string_view url, const StoreOptions& options);
  ObjectSource(StoreTarget target, const StoreOptions& options);
  ~ObjectSource() override;

  std::string text() const override { return target_.text(); }
  Result<struct stat> root_status() const override;
  Result<std::unique_ptr<SourceFolder>> folder(const std::string& path) const override;
  Result<std::unique_ptr<SourceFile>> file(const std::string& path, const SeenFile& seen) const override;
  Result<Fd> attributes(const std::string& path) const override;
  Result<std::string> config_text() const override;
  std::vector<SourceCounter> counters() const override;
  void rest() const override;

 private:
  friend class RemoteFile;
  friend class RemoteFolder;
  struct Engine {
    std::unique_ptr<DiskCache> disk;
    std::unique_ptr<Pieces> pieces;  // ends after the loop, whose tasks use it
    std::unique_ptr<StoreLoop> loop;
  };
  [[nodiscard]] Result<Engine*> engine() const;  // started where it is not running
  [[nodiscard]] Result<void> list() const;       // once
  [[nodiscard]] Result<Bytes> small(const RemoteObject& object, std::size_t limit) const;

  StoreTarget target_;
  StoreOptions options_;
  StoreCounters* counters_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Engine> engine_;
  mutable bool listed_ = false;
  mutable ObjectList objects_;
  mutable std::map<std::string, Bytes> small_;  // diriv and .name objects, until the tree is read
};

// A folder of this machine, or an object store where the text is its URL.
[[nodiscard]] Result<std::shared_ptr<const Source>> open_source(const std::filesystem::path& where,
                                                                const StoreOptions& options);

}  // namespace cairn::cachefs
