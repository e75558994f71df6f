#include "cachefs/store/tree.h"

#include <sys/wait.h>

#include "cachefs/store/test_data.h"

namespace cairn::cachefs {
namespace {
using namespace test;
using gocryptfs::Holes;

std::string fingerprint(const Bytes& bytes) { return hex(crypto::sha256(bytes).view()); }

struct SharedVolume {
  const char* archive;
  const char* password;
};

class GeneratedVolumes : public testing::TestWithParam<SharedVolume> {};
INSTANTIATE_TEST_SUITE_P(All, GeneratedVolumes,
                         testing::Values(SharedVolume{"generated/default-model", "0Bn4Q1wwY9fN3P"},
                                         SharedVolume{"generated/aessiv-hkdf", "test"},
                                         SharedVolume{"generated/longnamemax100", "test"},
                                         SharedVolume{"generated/plaintextnames", "test"},
                                         SharedVolume{"generated/deterministic", "test"},
                                         SharedVolume{"generated/xchacha", "test"}),
                         [](const auto& i) {
                           std::string n = fs::path(i.param.archive).filename();
                           std::erase(n, '-');
                           return n;
                         });

TEST_P(GeneratedVolumes, HoldTheExpectedTree) {
  const TestFolder dir;
  UNPACK_OR_SKIP(path, dir, GetParam().archive);
  const Json expected =
      parse_json(read_text(fs::path(CAIRN_SHARED_DATA) / "gocryptfs/generated/expected-tree.json").value()).value();
  const OpenVolume v = open_volume(path, GetParam().password);
  EXPECT_TRUE(v.damage.empty());
  EXPECT_EQ(v.tree.size() - 1, expected.size());
  for (const auto& [name, want] : expected.items()) {
    const auto id = v.tree.find(name);
    ASSERT_TRUE(id) << name;
    const Node& node = v.tree.at(*id);
    if (want["type"] == "file") {
      EXPECT_EQ(node.size, want["size"].get<std::uint64_t>()) << name;
      const auto bytes = read_all(v, name);
      ASSERT_TRUE(bytes) << name << bytes.error().text();
      EXPECT_EQ(fingerprint(*bytes), want["sha256"].get<std::string>()) << name;
    } else if (want["type"] == "dir") {
      EXPECT_EQ(node.type, NodeType::folder) << name;
    } else {
      EXPECT_EQ(node.target, want["target"].get<std::string>()) << name;
    }
  }
}

TEST(SharedVolumes, OfEveryGeneration) {
  const TestFolder dir;
  std::size_t read = 0;
  for (const std::string version : {"v0.7", "v0.7-plaintextnames", "v0.9", "v1.1-aessiv", "v1.3",
                                    "v2.2-deterministic-names", "v2.2-xchacha", "v2.2-xchacha-deterministic-names"}) {
    UNPACK_OR_SKIP(path, dir, "upstream/" + version);
    const OpenVolume v = open_volume(path, "test");
    EXPECT_EQ(as_text(read_all(v, "status.txt").value()), "It works!\n") << version;
    EXPECT_EQ(v.tree.at(v.tree.find("rel").value()).target, "status.txt");
    EXPECT_EQ(v.tree.at(v.tree.find("abs").value()).target, "/a/b/c/d");
    EXPECT_EQ(v.tree.resolve(v.tree.find("rel").value()), v.tree.find("status.txt"));
    EXPECT_FALSE(v.tree.resolve(v.tree.find("abs").value()));
    if (!version.starts_with("v0.7")) {
      EXPECT_EQ(as_text(read_all(v, "longname_255_" + std::string(242, 'x')).value()), "It works!\n") << version;
    }
    ++read;
  }
  EXPECT_EQ(read, 8U);
}

TEST(SharedVolumes, TooOldAreRefused) {
  const TestFolder dir;
  for (const std::string version : {"v0.4", "v0.5", "v0.6", "v0.6-plaintextnames"}) {
    UNPACK_OR_SKIP(path, dir, "upstream/" + version);
    EXPECT_EQ(read_config({.source = path}).error().code, ErrorCode::unsupported) << version;
  }
}

TEST(SharedVolumes, MismatchedKeysNeverGiveData) {
  const TestFolder dir;
  UNPACK_OR_SKIP(content, dir, "upstream/hkdf_broken_content");
  EXPECT_EQ(read_all(open_volume(content, "test"), "status.txt").error().code, ErrorCode::crypto_failed);
  const TestFolder other;
  UNPACK_OR_SKIP(names, other, "upstream/hkdf_broken_names");
  EXPECT_FALSE(open_volume(names, "test").tree.find("status.txt"));
}

TEST(SharedVolumes, DamageIsAnErrorNeverData) {
  const TestFolder dir;
  UNPACK_OR_SKIP(path, dir, "generated/corrupt");
  const Json expected =
      parse_json(read_text(fs::path(CAIRN_SHARED_DATA) / "gocryptfs/generated/corrupt-expected.json").value()).value();
  const OpenVolume v = open_volume(path, "test");
  for (const auto& [name, want] : expected["files"].items()) {
    const auto id = v.tree.find(name);
    ASSERT_TRUE(id) << name;
    EXPECT_EQ(v.tree.at(*id).size, want["size"].get<std::uint64_t>()) << name;
    const auto file = CipherFile::open(*v.source, v.tree, *id, v.volume);
    for (const auto& [offset, block] : want["pread4096"].items()) {
      Bytes out(4096);
      const auto got = file ? file->read(std::stoull(offset), out, Holes::allow) : std::unexpected(file.error());
      if (block == "EIO") {
        EXPECT_FALSE(got) << name << " at " << offset;
      } else {
        ASSERT_TRUE(got) << name << " at " << offset;
        EXPECT_EQ(*got, block["len"].get<std::size_t>());
        out.resize(*got);
        EXPECT_EQ(fingerprint(out).substr(0, 16), block["sha256"].get<std::string>()) << name << " at " << offset;
      }
    }
  }
  for (const std::string bad : {"dir_diriv15", "dir_diriv17", "dir_nodiriv", "dir_zerodiriv", "sl_bad"})
    EXPECT_TRUE(v.tree.at(v.tree.find(bad).value()).damaged) << bad;
  EXPECT_EQ(v.tree.at(v.tree.find("sl_ok").value()).target, "target/ok");
  EXPECT_FALSE(v.tree.find("dir_diriv15/f"));
  EXPECT_TRUE(v.tree.find("dir_ok/f"));
  const auto zero = CipherFile::open(*v.source, v.tree, v.tree.find("zeroblock0").value(), v.volume);
  Bytes out(4096);
  EXPECT_FALSE(zero->read(0, out, Holes::deny));
}

TEST(SharedVolumes, TwoSpellingsOfOneNameAreNotShown) {
  const TestFolder dir;
  UNPACK_OR_SKIP(path, dir, "upstream/malleable_base64");
  const OpenVolume v = open_volume(path, "test");
  EXPECT_FALSE(v.damage.empty());
}

TEST(Tree, ReadsAtAnyOffset) {
  const TestFolder dir;
  const Bytes plain = crypto::random_bytes(700'001);
  put(dir / "src/file", plain);
  ASSERT_TRUE(encrypt_model(encrypting(dir / "src", dir / "vol")));
  const OpenVolume v = open_volume(dir / "vol");
  const auto file = CipherFile::open(*v.source, v.tree, v.tree.find("file").value(), v.volume);
  ASSERT_TRUE(file);
  for (const std::uint64_t offset :
       {0UL, 1UL, 4095UL, 4096UL, 262143UL, 262144UL, 524289UL, 700000UL, 700001UL, 900000UL})
    for (const std::size_t size : {0UL, 1UL, 4096UL, 4097UL, 262144UL, 300000UL, 1000000UL}) {
      Bytes out(size, 0xEE);
      const auto got = file->read(offset, out, Holes::deny);
      ASSERT_TRUE(got);
      const std::size_t want = offset >= plain.size() ? 0 : std::min<std::size_t>(size, plain.size() - offset);
      ASSERT_EQ(*got, want) << offset << " " << size;
      EXPECT_TRUE(want == 0 || std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(want),
                                          plain.begin() + static_cast<std::ptrdiff_t>(offset)));
    }
}

TEST(Tree, ChangesUnderneathAreErrors) {
  const TestFolder dir;
  put(dir / "src/file", crypto::random_bytes(10000));
  ASSERT_TRUE(encrypt_model(encrypting(dir / "src", dir / "vol")));
  const OpenVolume v = open_volume(dir / "vol");
  const NodeId id = v.tree.find("file").value();
  const fs::path stored = dir / "vol" / v.tree.disk_path(id);
  const auto file = CipherFile::open(*v.source, v.tree, id, v.volume);
  fs::resize_file(stored, 18 + 4128);
  Bytes out(10000);
  EXPECT_EQ(file->read(0, out, Holes::deny).error().code, ErrorCode::io_failed);
  EXPECT_EQ(CipherFile::open(*v.source, v.tree, id, v.volume).error().code, ErrorCode::conflict);
}

TEST(Tree, NeverLeavesTheVolume) {
  const TestFolder dir;
  put(dir / "src/sub/file", "x");
  put(dir / "src/file", "x");
  ASSERT_TRUE(encrypt_model(encrypting(dir / "src", dir / "vol")));
  std::string sub;
  {
    const OpenVolume v = open_volume(dir / "vol");
    sub = v.tree.disk_path(v.tree.find("sub").value());
  }
  fs::rename(dir / "vol" / sub, dir / "moved");
  fs::create_directory_symlink(dir / "moved", dir / "vol" / sub);
  const OpenVolume v = open_volume(dir / "vol");
  EXPECT_FALSE(v.tree.find("sub/file"));
  EXPECT_TRUE(v.tree.at(v.tree.find("sub").value()).damaged);
}

TEST(Tree, FollowsLinksInsideOnly) {
  const TestFolder dir;
  put(dir / "src/a/file", "x");
  fs::create_symlink("a/file", dir / "src/good");
  fs::create_symlink("good", dir / "src/twice");
  auto options = encrypting(dir / "src", dir / "vol");
  options.manifest = false;
  fs::create_symlink("../../etc/passwd", dir / "src/a/out");
  fs::create_symlink("/etc/passwd", dir / "src/absolute");
  fs::create_symlink("loop2", dir / "src/loop1");
  fs::create_symlink("loop1", dir / "src/loop2");
  ASSERT_TRUE(encrypt_model(options));
  const OpenVolume v = open_volume(dir / "vol");
  const auto to = [&](std::string_view path) { return v.tree.resolve(v.tree.find(path).value()); };
  EXPECT_EQ(to("good"), v.tree.find("a/file"));
  EXPECT_EQ(to("twice"), v.tree.find("a/file"));
  for (const std::string_view bad : {"a/out", "absolute", "loop1"}) EXPECT_FALSE(to(bad)) << bad;
}

}  // namespace
}  // namespace cairn::cachefs
