// What needs no store: lists, the index, the cache on disk.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "cachefs/objects/parallel.h"
#include "cachefs/objects/transfer.h"
#include "cachefs/store/test_data.h"

namespace cairn::cachefs {
namespace {

TEST(ObjectList, FoldersComeFromKeysAndMarkers) {
  ObjectList list;
  for (const char* path : {"a", "a-b", "dir/x", "dir/sub/y", "dir-z", "other/q"}) list[path].key = path;
  list["marked"].folder = true;
  list["dir"].folder = true;  // "dir/" as an object
  const auto names = [&](const std::string& folder) {
    std::map<std::string, bool> out;
    for (const auto& [name, entry] : entries_of(list, folder)) out[name] = entry.object == nullptr;
    return out;
  };
  using Names = std::map<std::string, bool>;
  EXPECT_EQ(names(""),
            (Names{{"a", false}, {"a-b", false}, {"dir", true}, {"dir-z", false}, {"marked", true}, {"other", true}}));
  EXPECT_EQ(names("dir"), (Names{{"sub", true}, {"x", false}}));
  EXPECT_EQ(names("marked"), Names{});
}

TEST(ObjectIndex, RoundTripAndStrictness) {
  const std::vector<IndexedObject> objects{{.path = "a", .size = 0, .part_bytes = kStorePartBytes, .parts = {}},
                                           {.path = "b/c",
                                            .size = kStorePartBytes + 1,
                                            .part_bytes = kStorePartBytes,
                                            .parts = {crypto::sha256({}), crypto::sha256({})}}};
  const auto text = write_object_index(objects);
  ASSERT_TRUE(text) << text.error().text();
  const auto back = parse_object_index(*text);
  ASSERT_TRUE(back) << back.error().text();
  ASSERT_EQ(back->size(), 2U);
  EXPECT_EQ((*back)[1].path, "b/c");
  EXPECT_EQ((*back)[1].parts, objects[1].parts);
  const auto refused = [&](std::string_view from, std::string_view to) {
    std::string changed = *text;
    const auto at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    return !parse_object_index(changed);
  };
  EXPECT_TRUE(refused("cairn.objects/1", "cairn.objects/2"));
  EXPECT_TRUE(refused("\"b/c\"", "\"a\""));
  EXPECT_TRUE(refused("\"b/c\"", "\"\""));
  EXPECT_TRUE(refused("16777217", "16777216"));
  EXPECT_TRUE(refused("\"part_bytes\":16777216", "\"part_bytes\":1"));
  EXPECT_TRUE(refused("e3b0", "e3b"));
  EXPECT_TRUE(refused("\"schema\"", "\"shema\""));
  EXPECT_FALSE(write_object_index({objects[1], objects[0]}));
}

TEST(ObjectIndex, SizesOfParts) {
  EXPECT_EQ(part_bytes_of(0), kStorePartBytes);
  EXPECT_EQ(part_bytes_of(kStorePartBytes * kStorePartsMax), kStorePartBytes);
  const std::uint64_t large = kStorePartBytes * kStorePartsMax + 1;
  EXPECT_GT(part_bytes_of(large), kStorePartBytes);
  EXPECT_LE((large + part_bytes_of(large) - 1) / part_bytes_of(large), kStorePartsMax);
}

TEST(DiskCache, KeepsFindsAndForgetsTheOldest) {
  const TestFolder dir;
  const Bytes one(1000, 1), two(1000, 2), three(1000, 3);
  const std::string a = DiskCache::name_of("a"), b = DiskCache::name_of("b"), c = DiskCache::name_of("c");
  Bytes out(1000);
  {
    const auto cache = DiskCache::open(dir / "cache", 2500).value();
    EXPECT_FALSE(cache->load(a, out));
    cache->store(a, one);
    cache->store(b, two);
    ASSERT_TRUE(cache->load(a, out));
    EXPECT_EQ(out, one);
    cache->store(c, three);  // b was used least lately
    EXPECT_FALSE(cache->load(b, out));
    EXPECT_TRUE(cache->load(a, out));
    EXPECT_TRUE(cache->load(c, out));
    EXPECT_EQ(cache->bytes(), 2000U);
    cache->store(b, Bytes(2501));  // larger than everything
    EXPECT_EQ(cache->bytes(), 2000U);
  }
  const auto again = DiskCache::open(dir / "cache", 2500).value();
  ASSERT_TRUE(again->load(c, out));
  EXPECT_EQ(out, three);
  Bytes other(999);
  EXPECT_FALSE(again->load(c, other));  // another size is another piece
  EXPECT_FALSE(again->load(c, out));
  again->drop(a);
  EXPECT_FALSE(again->load(a, out));
  EXPECT_EQ(again->bytes(), 0U);
}

TEST(DiskCache, OthersMayNotWriteToIt) {
  const TestFolder dir;
  std::filesystem::create_directory(dir / "cache");
  ASSERT_EQ(::chmod((dir / "cache").c_str(), 0777), 0);
  const auto cache = DiskCache::open(dir / "cache", 1000);
  ASSERT_FALSE(cache);
  EXPECT_EQ(cache.error().code, ErrorCode::permission_denied);
}

TEST(Parallel, EveryNumberOnceAndTheFirstError) {
  std::mutex mutex;
  std::set<std::size_t> seen;
  EXPECT_TRUE(for_each_number(100, 8, [&](std::size_t i) -> Result<void> {
    const std::scoped_lock lock(mutex);
    EXPECT_TRUE(seen.insert(i).second);
    return {};
  }));
  EXPECT_EQ(seen.size(), 100U);
  std::atomic<int> calls = 0;
  const auto end = for_each_number(1000, 1, [&](std::size_t i) -> Result<void> {
    ++calls;
    if (i == 3) return fail(ErrorCode::io_failed, "three");
    return {};
  });
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().message, "three");
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace cairn::cachefs
