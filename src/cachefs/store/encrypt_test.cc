#include "cachefs/store/encrypt.h"

#include <sys/wait.h>
#include <unistd.h>

#include "cachefs/store/limits.h"
#include "cachefs/store/test_data.h"

namespace cairn::cachefs {
namespace {
using namespace test;

// Same names, types, bytes, targets, permission bits and times.
void expect_same(const fs::path& a, const fs::path& b) {
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(a)) {
    const fs::path other = b / entry.path().lexically_relative(a);
    ASSERT_TRUE(fs::exists(fs::symlink_status(other))) << other;
    EXPECT_EQ(fs::symlink_status(other).type(), entry.symlink_status().type()) << other;
    if (entry.is_symlink()) {
      EXPECT_EQ(fs::read_symlink(entry.path()), fs::read_symlink(other));
    } else {
      EXPECT_EQ(entry.status().permissions(), fs::status(other).permissions()) << other;
      EXPECT_EQ(fs::last_write_time(entry.path()), fs::last_write_time(other)) << other;
    }
    if (entry.is_regular_file() && !entry.is_symlink()) {
      EXPECT_EQ(read_file(entry.path()).value(), read_file(other).value()) << other;
    }
    ++count;
  }
  EXPECT_EQ(count, static_cast<std::size_t>(std::distance(fs::recursive_directory_iterator(b), {})));
}

TEST(Encrypt, RoundTrip) {
  for (const gocryptfs::FeatureSet& features :
       {gocryptfs::kDefaultFeatures,
        gocryptfs::FeatureSet{gocryptfs::Feature::hkdf, gocryptfs::Feature::gcm_iv128,
                              gocryptfs::Feature::plaintext_names},
        gocryptfs::FeatureSet{gocryptfs::Feature::hkdf, gocryptfs::Feature::xchacha, gocryptfs::Feature::eme_names,
                              gocryptfs::Feature::long_names, gocryptfs::Feature::raw64}}) {
    const TestFolder dir;
    make_plain(dir / "src");
    auto options = encrypting(dir / "src", dir / "vol");
    options.features = features;
    options.manifest = false;
    std::uint64_t last = 0;
    options.progress = [&](const Progress& p) {
      EXPECT_GE(p.bytes_done, last);
      last = p.bytes_done;
      return true;
    };
    const auto report = encrypt_model(options);
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_EQ(report->bytes, last);
    EXPECT_FALSE(fs::exists(dir / "vol.partial"));
    DecryptOptions back;
    back.source = dir / "vol";
    back.destination = dir / "back";
    back.password = password();
    const auto decrypted = decrypt_model(back);
    ASSERT_TRUE(decrypted) << decrypted.error().text();
    EXPECT_EQ(decrypted->files, report->files);
    expect_same(dir / "src", dir / "back");
  }
}

TEST(Encrypt, OneFileAndItsManifest) {
  const TestFolder dir;
  put(dir / "model.gguf", crypto::random_bytes(100'000));
  const auto report = encrypt_model(encrypting(dir / "model.gguf", dir / "vol"));
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->files, 1U);
  const auto plain = manifest_of_plain(dir / "model.gguf", "m");
  ASSERT_TRUE(plain);
  EXPECT_EQ(write_manifest(*plain).value(), report->manifest);
  const OpenVolume v = open_volume(dir / "vol");
  EXPECT_EQ(stored_manifest(v).value(), report->manifest);
  EXPECT_EQ(read_all(v, "model.gguf").value(), read_file(dir / "model.gguf").value());
}

TEST(Encrypt, LargeFilesAreSplitAndDigestedAlike) {
  const TestFolder dir;
  const std::uint64_t size = kVerityFrom + kTaskBytes + 12345;
  put(dir / "src/big", crypto::random_bytes(size));
  auto options = encrypting(dir / "src", dir / "vol");
  options.threads = 3;
  const auto report = encrypt_model(options);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_NE(report->manifest.find("\"verity\""), std::string::npos);
  EXPECT_EQ(write_manifest(manifest_of_plain(dir / "src", "m", 2).value()).value(), report->manifest);
  const OpenVolume v = open_volume(dir / "vol");
  EXPECT_TRUE(verify_volume(v, parse_manifest(report->manifest).value(), 2));
  EXPECT_TRUE(check_volume(v, gocryptfs::Holes::deny, 2)->clean());
}

TEST(Encrypt, NothingIsOverwritten) {
  const TestFolder dir;
  put(dir / "src/file", "x");
  put(dir / "full/file", "x");
  EXPECT_EQ(encrypt_model(encrypting(dir / "src", dir / "full")).error().code, ErrorCode::already_exists);
  put(dir / "afile", "x");
  EXPECT_EQ(encrypt_model(encrypting(dir / "src", dir / "afile")).error().code, ErrorCode::already_exists);
  EXPECT_EQ(encrypt_model(encrypting(dir / "src", dir / "src/vol")).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(encrypt_model(encrypting(dir / "missing", dir / "vol")).error().code, ErrorCode::not_found);
  fs::create_directories(dir / "empty");
  EXPECT_TRUE(encrypt_model(encrypting(dir / "src", dir / "empty")));
}

TEST(Encrypt, LinksThatLeaveTheModelHaveNoManifest) {
  const TestFolder dir;
  put(dir / "src/file", "x");
  fs::create_symlink("/etc/passwd", dir / "src/link");
  const auto report = encrypt_model(encrypting(dir / "src", dir / "vol"));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::unsupported);
  EXPECT_EQ(report.error().where, "link");
  EXPECT_FALSE(fs::exists(dir / "vol"));
}

// Stops in the middle as a killed process would, then goes on.
TEST(Encrypt, GoesOnAfterAnInterruption) {
  const TestFolder dir;
  for (int i = 0; i < 40; ++i) put(dir / "src" / ("f" + std::to_string(i)), crypto::random_bytes(200'000));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto options = encrypting(dir / "src", dir / "vol");
    options.progress = [](const Progress& p) {
      if (p.files_done >= 5) ::_exit(9);
      ::usleep(101'000);  // so that the next piece is reported again
      return true;
    };
    options.threads = 1;
    (void)encrypt_model(options);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(WEXITSTATUS(status), 9);
  EXPECT_FALSE(fs::exists(dir / "vol"));
  auto wrong = encrypting(dir / "src", dir / "vol");
  wrong.password = Secret(as_bytes("other"));
  EXPECT_EQ(encrypt_model(wrong).error().code, ErrorCode::conflict);
  const auto report = encrypt_model(encrypting(dir / "src", dir / "vol"));
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_GE(report->resumed_files, 5U);
  EXPECT_LT(report->resumed_files, 40U);
  const OpenVolume v = open_volume(dir / "vol");
  EXPECT_TRUE(verify_volume(v, manifest_of_plain(dir / "src", "m").value()));
  EXPECT_TRUE(v.damage.empty());
}

TEST(Encrypt, ADamagedLeftoverIsNotTakenOver) {
  const TestFolder dir;
  put(dir / "src/a", crypto::random_bytes(50'000));
  put(dir / "src/z", "x");
  ASSERT_TRUE(encrypt_model(encrypting(dir / "src", dir / "vol")));
  fs::path stored;
  {
    const OpenVolume v = open_volume(dir / "vol");
    stored = dir / "vol.partial" / v.tree.disk_path(v.tree.find("a").value());
  }
  fs::rename(dir / "vol", dir / "vol.partial");
  const auto time = fs::last_write_time(stored);
  Bytes bytes = read_file(stored).value();
  bytes[20'000] ^= 1;
  put(stored, bytes);
  fs::last_write_time(stored, time);
  EXPECT_EQ(encrypt_model(encrypting(dir / "src", dir / "vol")).error().code, ErrorCode::conflict);
}

TEST(Encrypt, CanBeCancelled) {
  const TestFolder dir;
  put(dir / "src/file", crypto::random_bytes(3'000'000));
  auto options = encrypting(dir / "src", dir / "vol");
  options.progress = [](const Progress&) { return false; };
  EXPECT_EQ(encrypt_model(options).error().code, ErrorCode::cancelled);
  EXPECT_FALSE(fs::exists(dir / "vol"));
}

TEST(Decrypt, RefusesDamageAndWrongPasswords) {
  const TestFolder dir;
  put(dir / "src/file", crypto::random_bytes(30'000));
  ASSERT_TRUE(encrypt_model(encrypting(dir / "src", dir / "vol")));
  DecryptOptions options;
  options.source = dir / "vol";
  options.destination = dir / "back";
  options.password = Secret(as_bytes("no"));
  EXPECT_EQ(decrypt_model(options).error().code, ErrorCode::unauthenticated);
  options.password = password();
  std::string stored;
  {
    const OpenVolume v = open_volume(dir / "vol");
    stored = v.tree.disk_path(v.tree.find("file").value());
  }
  Bytes bytes = read_file(dir / "vol" / stored).value();
  bytes[9000] ^= 1;
  put(dir / "vol" / stored, bytes);
  const auto result = decrypt_model(options);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::crypto_failed);
  EXPECT_NE(result.error().where.find("file, block 2"), std::string::npos) << result.error().where;
  EXPECT_FALSE(fs::exists(dir / "back"));
}

}  // namespace
}  // namespace cairn::cachefs
