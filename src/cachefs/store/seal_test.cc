#include "cachefs/store/seal.h"

#include "cachefs/store/test_data.h"

namespace cairn::cachefs {
namespace {
using namespace test;
using gocryptfs::ContentMode;
using gocryptfs::kBlockSize;

std::vector<Sealed> sealed_sample() {
  std::vector<Sealed> out;
  out.push_back({"a", SealedType::folder, 0, {}, {}});
  out.push_back({"a/empty", SealedType::file, 0, {}, {}});
  out.push_back({"a/link", SealedType::link, 0, {}, {crypto::sha256(as_bytes("empty"))}});
  out.push_back({"weights", SealedType::file, kSealBytes + 1, gocryptfs::random_file_id(), {{}, {}}});
  return out;
}

TEST(Seals, BytesAndBack) {
  const Bytes bytes = write_seals(sealed_sample()).value();
  const auto back = parse_seals(bytes);
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(write_seals(*back).value(), bytes);
  // The layout, by hand: magic, blocks of a chunk, records; the first record is the folder "a".
  const std::string start =
      "434149524e534c31"
      "00000100"
      "00000004"
      "0001"
      "61"
      "01"
      "0000000000000000";
  EXPECT_EQ(hex(ByteView(bytes).first(start.size() / 2)), start);
}

TEST(Seals, WhatDoesNotFitIsRefused) {
  const Bytes good = write_seals(sealed_sample()).value();
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(parse_seals(ByteView(good).first(size))) << size;
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_FALSE(parse_seals(longer));
  const auto refused = [](const std::function<void(std::vector<Sealed>&)>& change) {
    auto records = sealed_sample();
    change(records);
    EXPECT_FALSE(write_seals(records));
  };
  refused([](auto& r) { std::swap(r[0], r[1]); });
  refused([](auto& r) { r[1].path = "a"; });
  refused([](auto& r) { r[1].path = "../a/empty"; });
  refused([](auto& r) { r[0].size = 1; });
  refused([](auto& r) { r[1].id = gocryptfs::random_file_id(); });
  refused([](auto& r) { r[2].chunks.clear(); });
  refused([](auto& r) { r[3].chunks.pop_back(); });
  refused([](auto& r) { r[3].id = {}; });
}

TEST(Seals, AChunkIsItsNoncesAndTags) {
  for (const auto mode : {ContentMode::aes_gcm, ContentMode::aes_siv, ContentMode::xchacha}) {
    const auto cipher =
        gocryptfs::ContentCipher::create(mode, crypto::random_secret(mode == ContentMode::aes_siv ? 64 : 32)).value();
    const auto id = gocryptfs::random_file_id();
    const Bytes plain = crypto::random_bytes(3 * kBlockSize + 5);
    Bytes stored(cipher.sealed_size(plain.size()));
    (void)cipher.seal_blocks(plain, 0, id, stored);
    // By the words of the format: number, then for each block its nonce and its tag.
    Bytes input{0, 0, 0, 0, 0, 0, 0, 7};
    const auto& layout = cipher.layout();
    for (std::size_t at = 0; at < stored.size(); at += layout.cipher_block()) {
      const ByteView block = ByteView(stored).subspan(at, std::min(layout.cipher_block(), stored.size() - at));
      append(input, block.first(layout.nonce_size));
      append(input, mode == ContentMode::aes_siv ? block.subspan(16, 16) : block.last(16));
    }
    EXPECT_EQ(chunk_seal(mode, 7, stored), crypto::sha256(input));
    const auto before = chunk_seal(mode, 0, stored);
    Bytes again(stored.size());
    (void)cipher.seal_blocks(plain, 0, id, again);  // the same plaintext, other nonces
    EXPECT_NE(chunk_seal(mode, 0, again), before);
    EXPECT_NE(block_tag(mode, ByteView(again).first(layout.cipher_block())),
              block_tag(mode, ByteView(stored).first(layout.cipher_block())));
  }
}

TEST(Seals, PiecesMakeTheSameSeals) {
  const auto cipher = gocryptfs::ContentCipher::create(ContentMode::aes_gcm, crypto::random_secret(32)).value();
  const Bytes plain = crypto::random_bytes(2 * kSealBytes + 100);
  Bytes stored(cipher.sealed_size(plain.size()));
  (void)cipher.seal_blocks(plain, 0, gocryptfs::random_file_id(), stored);
  std::vector<Digest<32>> seals(3), none;
  SealWriter writer(ContentMode::aes_gcm, 0, seals);
  const std::size_t whole = cipher.layout().cipher_block(), chunk = kSealBlocks * whole;
  for (std::size_t at = 0; at < stored.size(); at += 64 * whole)
    writer.add(ByteView(stored).subspan(at, std::min(64 * whole, stored.size() - at)));
  writer.finish();
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(seals[i], chunk_seal(ContentMode::aes_gcm, i,
                                   ByteView(stored).subspan(i * chunk, std::min(chunk, stored.size() - i * chunk))));
  SealWriter idle(ContentMode::aes_gcm, 0, none);  // nowhere to write: does nothing
  idle.add(stored);
  idle.finish();
  EXPECT_TRUE(none.empty());
}

class SealedVolume : public testing::Test {
 protected:
  void SetUp() override {
    make_plain(dir_ / "src");
    weights_ = crypto::random_bytes(2 * kSealBytes + 12345);
    put(dir_ / "src/weights", weights_);
    auto options = encrypting(dir_ / "src", dir_ / "vol");
    options.seals = true;
    const auto report = encrypt_model(options);
    ASSERT_TRUE(report) << report.error().text();
  }
  // The volume with its seals taken, or why not.
  [[nodiscard]] Result<OpenVolume> taken() const {
    OpenVolume v = open_volume(dir_ / "vol");
    CAIRN_TRY(const std::string text, stored_manifest(v));
    CAIRN_TRY(const Manifest manifest, parse_manifest(text));
    CAIRN_CHECK(verify_names(v, manifest));
    CAIRN_CHECK(take_seals(v, manifest));
    return v;
  }
  [[nodiscard]] fs::path stored(std::string_view path) const {
    const OpenVolume v = open_volume(dir_ / "vol");
    return dir_ / "vol" / v.tree.disk_path(v.tree.find(path).value());
  }
  TestFolder dir_;
  Bytes weights_;
};

TEST_F(SealedVolume, ReadsInAnyPieces) {
  const auto v = taken();
  ASSERT_TRUE(v) << v.error().text();
  EXPECT_EQ(read_all(*v, "weights", gocryptfs::Holes::deny).value(), weights_);
  for (const char* name : {"size0", "size1", "size4096", "size131073", "run.sh"})
    EXPECT_TRUE(read_all(*v, name)) << name;
  const auto file = CipherFile::open(*v->source, v->tree, v->tree.find("weights").value(), v->volume).value();
  std::uint64_t state = 1;
  for (int i = 0; i < 300; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const std::uint64_t at = (state >> 20) % weights_.size();
    Bytes out(1 + (state >> 40) % (i % 3 == 0 ? 2'000'000 : 9'000));
    const std::size_t got = file.read(at, out, gocryptfs::Holes::deny).value();
    ASSERT_EQ(got, std::min<std::size_t>(out.size(), weights_.size() - at));
    EXPECT_TRUE(std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(got),
                           weights_.begin() + static_cast<std::ptrdiff_t>(at)));
  }
}

// What the format would take: a block as it was before, at the same place of the same file.
TEST_F(SealedVolume, ABlockRolledBackIsDamage) {
  const fs::path file = stored("weights");
  const Bytes now = read_file(file).value();
  const auto id = gocryptfs::parse_header(ByteView(now).first(18)).value();
  Bytes then = now;
  {
    const OpenVolume v = open_volume(dir_ / "vol");
    const std::size_t at = v.volume.layout().block_offset(300);
    (void)v.volume.content().seal_blocks(crypto::random_bytes(kBlockSize), 300, id,
                                         std::span(then).subspan(at, v.volume.layout().cipher_block()));
  }
  const auto v = taken();
  ASSERT_TRUE(v) << v.error().text();
  const auto open = CipherFile::open(*v->source, v->tree, v->tree.find("weights").value(), v->volume).value();
  Bytes block(kBlockSize);
  const auto reads = [&](std::uint64_t number) {
    return open.read(number * kBlockSize, block, gocryptfs::Holes::deny).has_value();
  };
  EXPECT_TRUE(reads(301));  // its chunk's tags are remembered from here on
  put(file, then);
  EXPECT_FALSE(reads(300));
  EXPECT_TRUE(reads(301));
  EXPECT_TRUE(reads(10));
  EXPECT_FALSE(read_all(*v, "weights"));
  EXPECT_TRUE(read_all(open_volume(dir_ / "vol"), "weights"));  // without seals nobody would notice
  const auto fresh = taken();                                   // nothing remembered: the whole chunk is refused
  ASSERT_TRUE(fresh);
  const auto again = CipherFile::open(*fresh->source, fresh->tree, fresh->tree.find("weights").value(), fresh->volume);
  EXPECT_FALSE(again->read(301 * kBlockSize, block, gocryptfs::Holes::deny));
  put(file, now);
  EXPECT_TRUE(again->read(301 * kBlockSize, block, gocryptfs::Holes::deny));
}

TEST_F(SealedVolume, WhatWasExchangedIsRefusedAtTheStart) {
  const fs::path a = stored("size300000"), b = stored("weights"), seals = stored(kSealName), link = stored("sub/link");
  const auto with = [&](const fs::path& file, const Bytes& bytes) {
    const Bytes good = read_file(file).value();
    put(file, bytes);
    const bool out = taken().has_value();
    put(file, good);
    return out;
  };
  EXPECT_TRUE(taken());
  EXPECT_FALSE(with(a, read_file(b).value()));  // another size
  Bytes other = read_file(seals).value();
  other[100] ^= 1;
  EXPECT_FALSE(with(seals, other));
  const fs::path target = fs::read_symlink(link);
  fs::remove(link);
  const OpenVolume v = open_volume(dir_ / "vol");
  fs::create_symlink(v.volume.seal_symlink("../size4096"), link);
  EXPECT_FALSE(taken());
  fs::remove(link);
  fs::create_symlink(target, link);
  EXPECT_TRUE(taken());
}

TEST_F(SealedVolume, AFileOfTheSameSizeCannotStandIn) {
  put(dir_ / "src/twin", crypto::random_bytes(weights_.size()));
  fs::remove_all(dir_ / "vol");
  auto options = encrypting(dir_ / "src", dir_ / "vol");
  options.seals = true;
  ASSERT_TRUE(encrypt_model(options));
  put(stored("weights"), read_file(stored("twin")).value());
  const auto v = taken();
  ASSERT_TRUE(v);
  EXPECT_FALSE(CipherFile::open(*v->source, v->tree, v->tree.find("weights").value(), v->volume));
}

TEST_F(SealedVolume, AnInterruptedRunGoesOn) {
  // As a run that was killed leaves it: some files whole, others and the lists not there.
  for (const std::string_view name : {std::string_view("run.sh"), kSealName, kManifestName}) fs::remove(stored(name));
  fs::rename(dir_ / "vol", dir_ / "vol.partial");
  auto options = encrypting(dir_ / "src", dir_ / "vol");
  options.seals = true;
  const auto report = encrypt_model(options);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->resumed_files, report->files - 1);
  const auto v = taken();
  ASSERT_TRUE(v) << v.error().text();
  EXPECT_EQ(read_all(*v, "weights").value(), weights_);
}

TEST(Seals, NeedTheManifest) {
  const TestFolder dir;
  make_plain(dir / "src");
  auto options = encrypting(dir / "src", dir / "vol");
  options.seals = true;
  options.manifest = false;
  EXPECT_FALSE(encrypt_model(options));
  options.seals = false;
  options.manifest = true;
  ASSERT_TRUE(encrypt_model(options));
  OpenVolume v = open_volume(dir / "vol");
  const Manifest manifest = parse_manifest(stored_manifest(v).value()).value();
  EXPECT_EQ(take_seals(v, manifest).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace cairn::cachefs
