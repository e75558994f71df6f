#include "crypto/hash.h"
#include "crypto/random.h"
#include "gocryptfs/engine.h"
#include "gocryptfs/test_data.h"

namespace cairn::gocryptfs {
namespace {
using test::unhex;

FileId known_id() { return FileId::from(unhex(test::kKnownFileId)).value(); }
ContentCipher make(ContentMode mode) {
  const Secret key(crypto::random_bytes(mode == ContentMode::aes_siv ? 64 : 32));
  return ContentCipher::create(mode, key).value();
}
class ContentModes : public testing::TestWithParam<ContentMode> {};
INSTANTIATE_TEST_SUITE_P(All, ContentModes,
                         testing::Values(ContentMode::aes_gcm, ContentMode::aes_siv, ContentMode::xchacha));

TEST(Content, KnownBlocks) {
  for (const auto& known : test::kKnownBlocks) {
    const Secret key(unhex(known.key));
    const Bytes block = unhex(known.block);
    const auto check = [&](const ContentCipher::Engine& engine) {
      Bytes out(5), again(block.size());
      Bytes aad(8);
      append(aad, known_id().view());
      ASSERT_TRUE(engine.session()->open(block, aad, out.data())) << engine.name();
      EXPECT_EQ(as_text(out), "hello");
      ASSERT_TRUE(engine.session()->seal(ByteView(block).first(engine.layout.nonce_size), out, aad, again.data()));
      EXPECT_EQ(hex(again), known.block) << engine.name();
    };
    check(*openssl_engine(known.mode, key).value());
    if (known.mode != ContentMode::aes_gcm) continue;
    if (const auto engine = ipsec_engine(key)) check(*engine);
  }
}

TEST(Content, BothGcmEnginesAgree) {
  const Secret key = crypto::random_secret(32);
  const auto fast = ipsec_engine(key);
  if (!fast) GTEST_SKIP() << "no intel-ipsec-mb in this build or for this processor";
  const auto plain_engine = openssl_engine(ContentMode::aes_gcm, key).value();
  const Bytes aad = crypto::random_bytes(24);
  for (const std::size_t size : {1UL, 15UL, 16UL, 17UL, 255UL, 1024UL, 4095UL, 4096UL}) {
    const Bytes nonce = crypto::random_bytes(16), plain = crypto::random_bytes(size);
    Bytes a(size + 32), b(size + 32), back(size);
    ASSERT_TRUE(fast->session()->seal(nonce, plain, aad, a.data()));
    ASSERT_TRUE(plain_engine->session()->seal(nonce, plain, aad, b.data()));
    EXPECT_EQ(a, b) << size;
    ASSERT_TRUE(fast->session()->open(b, aad, back.data()));
    EXPECT_EQ(back, plain);
  }
}

TEST_P(ContentModes, RoundTripAndEveryFlippedByteIsFound) {
  const ContentCipher cipher = make(GetParam());
  const FileId id = random_file_id();
  for (const std::size_t size : {1UL, 17UL, 4095UL, 4096UL, 4097UL, 12289UL}) {
    const Bytes plain = crypto::random_bytes(size);
    Bytes stored(cipher.sealed_size(size));
    ASSERT_EQ(cipher.seal_blocks(plain, 5, id, stored), stored.size());
    EXPECT_EQ(stored.size() + kHeaderSize, cipher.layout().cipher_size(size));
    Bytes out(size);
    ASSERT_EQ(cipher.open_blocks(stored, 5, id, Holes::deny, out).value(), size);
    EXPECT_EQ(out, plain);
    for (std::size_t at = 0; at < stored.size(); at += size > 4096 ? 97 : 1 + size / 64) {
      Bytes bad = stored;
      bad[at] ^= 0x10;
      const auto result = cipher.open_blocks(bad, 5, id, Holes::allow, out);
      ASSERT_FALSE(result) << at;
      EXPECT_EQ(result.error().code, ErrorCode::crypto_failed);
      EXPECT_EQ(result.error().where, "block " + std::to_string(5 + at / cipher.layout().cipher_block()));
    }
  }
}

TEST_P(ContentModes, BindsBlockNumberAndFile) {
  const ContentCipher cipher = make(GetParam());
  const FileId id = random_file_id();
  Bytes stored(cipher.sealed_size(8192)), out(8192);
  (void)cipher.seal_blocks(crypto::random_bytes(8192), 0, id, stored);
  EXPECT_TRUE(cipher.open_blocks(stored, 0, id, Holes::deny, out));
  EXPECT_FALSE(cipher.open_blocks(stored, 1, id, Holes::deny, out));
  EXPECT_FALSE(cipher.open_blocks(stored, std::uint64_t{1} << 32, id, Holes::deny, out));
  EXPECT_FALSE(cipher.open_blocks(stored, 0, random_file_id(), Holes::deny, out));
  const std::size_t block = cipher.layout().cipher_block();
  std::rotate(stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(block), stored.end());
  EXPECT_FALSE(cipher.open_blocks(stored, 0, id, Holes::deny, out));
  EXPECT_FALSE(make(GetParam()).open_blocks(stored, 1, id, Holes::deny, out));
}

TEST_P(ContentModes, HolesOnlyWhereAllowed) {
  const ContentCipher cipher = make(GetParam());
  const std::size_t block = cipher.layout().cipher_block();
  Bytes out(4096, 1);
  EXPECT_FALSE(cipher.open_blocks(Bytes(block), 0, known_id(), Holes::deny, out));
  std::ranges::fill(out, std::uint8_t{1});
  ASSERT_TRUE(cipher.open_blocks(Bytes(block), 0, known_id(), Holes::allow, out));
  EXPECT_EQ(out, Bytes(4096, 0));
  EXPECT_FALSE(cipher.open_blocks(Bytes(block - 1), 0, known_id(), Holes::allow, out));
  Bytes nonzero(block);
  nonzero.back() = 1;
  EXPECT_FALSE(cipher.open_blocks(nonzero, 0, known_id(), Holes::allow, out));
  EXPECT_FALSE(cipher.open_blocks(Bytes(cipher.layout().overhead, 1), 0, known_id(), Holes::allow, out));
}

TEST_P(ContentModes, Blobs) {
  const ContentCipher cipher = make(GetParam());
  EXPECT_TRUE(cipher.seal_blob({}).empty());
  EXPECT_TRUE(cipher.open_blob({})->empty());
  Bytes blob = cipher.seal_blob(as_bytes("status.txt"));
  EXPECT_EQ(as_text(cipher.open_blob(blob).value()), "status.txt");
  blob[20] ^= 1;
  EXPECT_FALSE(cipher.open_blob(blob));
  EXPECT_FALSE(cipher.open_blob(Bytes(cipher.layout().overhead, 1)));
}

TEST(Content, NeverWritesPastTheBuffer) {
  const ContentCipher cipher = make(ContentMode::aes_gcm);
  Bytes stored(cipher.sealed_size(5000)), small(4999);
  (void)cipher.seal_blocks(Bytes(5000, 1), 0, known_id(), stored);
  EXPECT_EQ(cipher.open_blocks(stored, 0, known_id(), Holes::deny, small).error().code, ErrorCode::invalid_argument);
}

TEST(Header, VersionAndIdAreChecked) {
  const FileId id = random_file_id();
  auto header = write_header(id);
  EXPECT_EQ(parse_header(header).value(), id);
  EXPECT_FALSE(parse_header(ByteView(header).first(17)));
  header[1] = 3;
  EXPECT_FALSE(parse_header(header));
  EXPECT_FALSE(parse_header(write_header(FileId{})));
}

TEST(Sizes, Arithmetic) {
  const Layout gcm = Layout::of(ContentMode::aes_gcm);
  const std::pair<std::uint64_t, std::uint64_t> known[] = {{0, 0},       {1, 51},      {4096, 4146},
                                                           {4097, 4179}, {5000, 5082}, {1000000, 1007858}};
  for (const auto& [plain, cipher] : known) {
    EXPECT_EQ(gcm.cipher_size(plain), cipher);
    EXPECT_EQ(gcm.plain_size(cipher), plain);
  }
  EXPECT_EQ(gcm.plain_size(4166), 4097U);
  EXPECT_FALSE(gcm.legal_cipher_size(4166));
  for (const std::uint64_t empty : {10U, 17U, 18U}) EXPECT_EQ(gcm.plain_size(empty), 0U);
  for (const ContentMode mode : {ContentMode::aes_gcm, ContentMode::xchacha}) {
    const Layout layout = Layout::of(mode);
    for (std::uint64_t size = 0; size < 20000; size += 13) {
      EXPECT_EQ(layout.plain_size(layout.cipher_size(size)), size);
      EXPECT_TRUE(layout.legal_cipher_size(layout.cipher_size(size)));
    }
  }
}

TEST(Sizes, SharedVectors) {
  REQUIRE_SHARED_VECTORS(vectors);
  for (const auto& [plain, cipher] : vectors["plain_size_to_cipher_size_gcm"].items())
    EXPECT_EQ(Layout{}.cipher_size(std::stoull(plain)), cipher.get<std::uint64_t>());
  for (const auto& [plain, cipher] : vectors["plain_size_to_cipher_size_xchacha"].items())
    EXPECT_EQ(Layout::of(ContentMode::xchacha).cipher_size(std::stoull(plain)), cipher.get<std::uint64_t>());
  for (const auto& [cipher, plain] : vectors["cipher_size_to_plain_size_gcm_incl_illegal"].items())
    EXPECT_EQ(Layout{}.plain_size(std::stoull(cipher)), plain.get<std::uint64_t>()) << cipher;
}

TEST(Content, SharedVectors) {
  REQUIRE_SHARED_VECTORS(vectors);
  for (const Json& v : vectors["gcm_blocks"]) {
    const auto engine = openssl_engine(ContentMode::aes_gcm, Secret(unhex(v["content_key"]))).value();
    const std::string text = v["plaintext"];
    const Bytes plain = text == "00*4096" ? Bytes(4096, 0) : unhex(text);
    Bytes stored(plain.size() + 32);
    ASSERT_TRUE(engine->session()->seal(unhex(v["nonce"]), plain, unhex(v["aad"]), stored.data()));
    if (v.contains("block")) {
      EXPECT_EQ(hex(stored), v["block"].get<std::string>());
    } else {
      EXPECT_EQ(hex(crypto::sha256(stored).view()), v["block_sha256"].get<std::string>());
    }
    Bytes out(4096);
    const auto cipher = ContentCipher::create(ContentMode::aes_gcm, Secret(unhex(v["content_key"]))).value();
    const auto id = FileId::from(unhex(v["file_id"])).value();
    ASSERT_EQ(cipher.open_blocks(stored, v["block_no"].get<std::uint64_t>(), id, Holes::deny, out).value(),
              plain.size());
    EXPECT_EQ(hex(ByteView(out).first(plain.size())), hex(plain));
  }
  for (const Json& v : vectors["volumes"]) {
    if (!v.contains("file") || !v["file"].is_object() || !v["file"].contains("ciphertext")) continue;
    const Json& f = v["file"];
    const Bytes stored = unhex(f["ciphertext"]);
    const auto cipher = ContentCipher::create(ContentMode::aes_gcm, Secret(unhex(v["content_key"]))).value();
    Bytes out(4096);
    const auto size = cipher.open_blocks(ByteView(stored).subspan(kHeaderSize), 0,
                                         parse_header(ByteView(stored).first(kHeaderSize)).value(), Holes::deny, out);
    ASSERT_TRUE(size) << v["volume"];
  }
}

}  // namespace
}  // namespace cairn::gocryptfs
