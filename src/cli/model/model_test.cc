#include "cli/model/model.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/json.h"
#include "base/test_folder.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;

class ModelVerbs : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(dir_ / "src/sub");
    std::ofstream(dir_ / "src/config.json") << "{}\n";
    std::ofstream(dir_ / "src/sub/weights") << std::string(100'000, 'w');
    std::ofstream(dir_ / "key") << "pw\n";
  }

  // Runs `cairn model WORDS...`; '@' begins a path of the test's folder.
  int run(std::vector<std::string> words) {
    for (std::string& w : words)
      if (w.starts_with('@')) w = (dir_ / w.substr(1)).string();
    words.insert(words.begin(), "model");
    std::ranges::reverse(words);
    CLI::App app;
    int code = 0;
    add_model(app, code);
    testing::internal::CaptureStdout();
    try {
      app.parse(words);
    } catch (const CLI::ParseError& e) {
      code = 100 + e.get_exit_code();
    }
    out_ = testing::internal::GetCapturedStdout();
    return code;
  }
  // A bit of the largest ciphertext file.
  void damage() {
    for (const auto& e : fs::recursive_directory_iterator(dir_ / "vol")) {
      if (!e.is_regular_file() || e.file_size() < 100'000) continue;
      std::fstream f(e.path(), std::ios::in | std::ios::out | std::ios::binary);
      f.seekp(50'000);
      const char flipped = static_cast<char>(f.peek() ^ 1);
      f.seekp(50'000);
      f.put(flipped);
    }
  }
  TestFolder dir_;
  std::string out_;
};

TEST_F(ModelVerbs, EncryptReadCheckAndDecrypt) {
  ASSERT_EQ(run({"encrypt", "@src", "@vol", "--key-file", "@key", "--name", "m", "--log-n", "10", "--json"}), 0);
  const std::string digest = parse_json(out_).value()["manifest"];
  EXPECT_EQ(run({"digest", "@vol", "--key-file", "@key", "--expect", digest, "-q"}), 0);
  EXPECT_EQ(out_, digest + "\n");
  EXPECT_EQ(run({"digest", "@src", "--name", "m", "-q"}), 0);
  EXPECT_EQ(out_, digest + "\n");
  EXPECT_EQ(run({"digest", "@src", "--name", "other", "--expect", digest, "-q"}), kModelRefused);
  EXPECT_EQ(run({"ls", "@vol", "-R", "--key-file", "@key"}), 0);
  EXPECT_EQ(out_, ".cairn-manifest.json\nconfig.json\nsub\nsub/weights\n");
  EXPECT_EQ(run({"cat", "@vol", "sub/weights", "--key-file", "@key"}), 0);
  EXPECT_EQ(run({"fsck", "@vol", "--key-file", "@key", "-q"}), 0);
  EXPECT_NE(out_.find("no problems found"), std::string::npos);
  EXPECT_EQ(run({"info", "@vol"}), 0);
  EXPECT_NE(out_.find("HKDF GCMIV128 DirIV EMENames LongNames Raw64"), std::string::npos);
  EXPECT_EQ(run({"decrypt", "@vol", "@back", "--key-file", "@key", "-q"}), 0);
  EXPECT_EQ(read_text(dir_ / "back/sub/weights").value(), std::string(100'000, 'w'));
}

TEST_F(ModelVerbs, WrongPasswordAndNoPassword) {
  ASSERT_EQ(run({"encrypt", "@src", "@vol", "--key-file", "@key", "--log-n", "10", "-q"}), 0);
  std::ofstream(dir_ / "bad") << "other\n";
  EXPECT_EQ(run({"ls", "@vol", "--key-file", "@bad"}), kModelWrongPassword);
  EXPECT_EQ(run({"ls", "@vol", "--key-file", "@missing"}), kModelFailed);
  EXPECT_GE(run({"ls", "@vol", "--key-file", "@key", "--key-stdin"}), 100);
  EXPECT_EQ(run({"ls", "@src", "--key-file", "@key"}), kModelFailed);
}

TEST_F(ModelVerbs, NewKeyIsMadeOnceAndPrivate) {
  ASSERT_EQ(run({"encrypt", "@src", "@vol", "--new-key", "@made", "-q"}), 0);
  struct stat status{};
  ASSERT_EQ(::stat((dir_ / "made").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(status.st_size, 44);
  EXPECT_EQ(run({"info", "@vol"}), 0);
  EXPECT_NE(out_.find("N=1024 "), std::string::npos);  // a random key needs no stretching
  EXPECT_EQ(run({"fsck", "@vol", "--key-file", "@made", "-q"}), 0);
  EXPECT_EQ(run({"encrypt", "@src", "@vol2", "--new-key", "@made", "-q"}), kModelFailed);
  EXPECT_FALSE(fs::exists(dir_ / "vol2"));
}

TEST_F(ModelVerbs, PasswordChange) {
  ASSERT_EQ(run({"encrypt", "@src", "@vol", "--key-file", "@key", "--log-n", "10", "-q"}), 0);
  std::ofstream(dir_ / "key2") << "new";
  EXPECT_EQ(run({"passwd", "@vol", "--key-file", "@key", "--new-key-file", "@key2", "--log-n", "10", "-q"}), 0);
  EXPECT_EQ(run({"fsck", "@vol", "--key-file", "@key", "-q"}), kModelWrongPassword);
  EXPECT_EQ(run({"fsck", "@vol", "--key-file", "@key2", "-q"}), 0);
}

TEST_F(ModelVerbs, DamageHasItsExitCode) {
  ASSERT_EQ(run({"encrypt", "@src", "@vol", "--key-file", "@key", "--log-n", "10", "-q"}), 0);
  damage();
  EXPECT_EQ(run({"fsck", "@vol", "--key-file", "@key", "-q", "--json"}), kModelDamaged);
  const Json report = parse_json(out_).value();
  EXPECT_EQ(report["damaged"], 1);
  EXPECT_EQ(report["damage"][0]["offset"], 49152);
  EXPECT_EQ(run({"cat", "@vol", "sub/weights", "--key-file", "@key"}), kModelRefused);
  EXPECT_EQ(run({"decrypt", "@vol", "@back", "--key-file", "@key", "-q"}), kModelRefused);
  EXPECT_FALSE(fs::exists(dir_ / "back"));
  EXPECT_EQ(run({"digest", "@vol", "--key-file", "@key", "-q"}), kModelRefused);
}

}  // namespace
}  // namespace cairn::cli
