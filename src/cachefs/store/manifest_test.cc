#include "cachefs/store/manifest.h"

#include "cachefs/store/limits.h"
#include "cachefs/store/test_data.h"

namespace cairn::cachefs {
namespace {

Manifest sample() {
  Manifest m;
  m.kind = "model";
  m.name = "tiny";
  m.files.push_back(manifest_file("config.json", 12, {DigestKind::sha384, Bytes(48, 1)}, false));
  m.files.push_back(manifest_file("model/weights", 1 << 20, {DigestKind::verity, Bytes(32, 2)}, true));
  return m;
}
std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Manifest, CanonicalTextAndBack) {
  const std::string text = write_manifest(sample()).value();
  EXPECT_EQ(text, R"({"files":[{"path":"config.json","sha384":")" + hex(Bytes(48, 1)) +
                      R"(","size":12},{"path":"model/weights","size":1048576,"verity":")" + hex(Bytes(32, 2)) +
                      R"(","x":true}],"kind":"model","name":"tiny","schema":"cairn.manifest/1"})");
  const auto back = parse_manifest(text);
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(write_manifest(*back).value(), text);
  EXPECT_EQ(measured_form(manifest_digest(text)), "sha384:" + hex(crypto::sha384(as_bytes(text)).view()));
}

TEST(Manifest, AnotherSpellingIsRefused) {
  const std::string good = write_manifest(sample()).value();
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"{\"files\"", "{ \"files\""},
                                                        {"manifest/1", "manifest/2"},
                                                        {"\"size\":12", "\"size\":12.0"},
                                                        {"\"size\":12", "\"size\":-1"},
                                                        {"\"size\":12", "\"size\":12,\"extra\":1"},
                                                        {"\"kind\"", "\"extra\":1,\"kind\""},
                                                        {"config.json", "../config.json"},
                                                        {"config.json", "/config.json"},
                                                        {"config.json", "a//b"},
                                                        {"config.json", "./a"},
                                                        {"config.json", "zz"},
                                                        {"config.json", "model/weights"},
                                                        {"config.json", ".git/x"},
                                                        {"config.json", "x.lock"},
                                                        {"config.json", ".cairn-manifest.json"},
                                                        {"\"sha384\":\"01", "\"sha384\":\""},
                                                        {"\"sha384\"", "\"sha256\""},
                                                        {"\"verity\":\"", "\"sha384\":\"00\",\"verity\":\""},
                                                        {",\"x\":true", ",\"x\":false"}})
    EXPECT_FALSE(parse_manifest(replaced(good, from, to))) << from << " -> " << to;
  EXPECT_FALSE(parse_manifest(""));
  EXPECT_FALSE(parse_manifest("[]"));
  EXPECT_FALSE(parse_manifest(good + "\n"));
}

TEST(Manifest, PathsHaveLimits) {
  EXPECT_TRUE(check_manifest_path(std::string(255, 'x')));
  EXPECT_FALSE(check_manifest_path(std::string(256, 'x')));
  std::string deep = "x";
  while (deep.size() + 2 <= kPathMax) deep += "/x";
  EXPECT_TRUE(check_manifest_path(deep)) << deep.size();
  EXPECT_FALSE(check_manifest_path(deep + "/xx"));
  EXPECT_FALSE(check_manifest_path("\xff"));
}

TEST(Manifest, LeavesOutWhatIsNotTheModel) {
  for (const std::string_view out :
       {".git/config", ".gitattributes", "a/.gitignore", ".cache/x", "a/.cache/b", "x.lock", ".cairn-manifest.json"})
    EXPECT_FALSE(manifest_covers(out)) << out;
  for (const std::string_view in :
       {"config.json", "cache/x", ".cache", "lock/x", "a.lock/x", "sub/.cairn-manifest.json"})
    EXPECT_TRUE(manifest_covers(in)) << in;
}

// Values of the fsverity tool of fsverity-utils for the same contents.
TEST(Digest, Verity) {
  const auto of = [](const Bytes& bytes, std::size_t part_size) {
    FileDigest digest(bytes.size(), DigestKind::verity);
    for (std::size_t at = 0; at == 0 || at < bytes.size(); at += part_size) {
      auto part = digest.part(at);
      part.update(ByteView(bytes).subspan(at, std::min(part_size, bytes.size() - at)));
      digest.finish(std::move(part));
    }
    return digest.result().text();
  };
  EXPECT_EQ(of({}, 1 << 19), "verity:3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95");
  const Bytes large = crypto::random_bytes((3 << 20) + 17);
  EXPECT_EQ(of(large, 1 << 19), of(large, 1 << 20));
  EXPECT_EQ(of(large, 1 << 19), of(large, 4 << 20));
  Bytes other = large;
  other.back() ^= 1;
  EXPECT_NE(of(other, 4 << 20), of(large, 4 << 20));
}

TEST(Digest, Sha384InPieces) {
  const Bytes bytes = crypto::random_bytes(100'000);
  FileDigest digest(bytes.size());
  auto part = digest.part(0);
  part.update(ByteView(bytes).first(40'960));
  part.update(ByteView(bytes).subspan(40'960));
  digest.finish(std::move(part));
  EXPECT_EQ(digest.result().value, to_bytes(crypto::sha384(bytes).view()));
  EXPECT_EQ(FileDigest(0).result().value, to_bytes(crypto::sha384({}).view()));
}

}  // namespace
}  // namespace cairn::cachefs
