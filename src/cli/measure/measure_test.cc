#include "cli/measure/measure.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>

#include "base/encoding.h"
#include "base/test_folder.h"
#include "cli/measure/files.h"
#include "cli/measure/predict.h"
#include "crypto/hash.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;

class MeasureTest : public testing::Test {
 protected:
  void SetUp() override {
    put("a.bin", "aaa");
    put("sub/b.bin", std::string(3U << 20, 'b'));
    put("run", "#!/bin/sh\nexit 7\n");
    fs::permissions(dir_ / "run", fs::perms::owner_all);
  }
  void put(const fs::path& path, std::string_view text) {
    fs::create_directories((dir_ / path).parent_path());
    std::ofstream(dir_ / path) << text;
  }
  TestFolder dir_;
};

TEST_F(MeasureTest, ManifestOfAFolder) {
  const auto manifest = manifest_of(dir_.path(), "engine", "e");
  ASSERT_TRUE(manifest) << manifest.error().text();
  ASSERT_EQ(manifest->files.size(), 3U);
  EXPECT_EQ(manifest->files[0].path, "a.bin");
  EXPECT_EQ(manifest->files[0].sha384, crypto::sha384(as_bytes("aaa")));
  EXPECT_TRUE(manifest->files[1].executable);
  EXPECT_EQ(manifest->files[2].path, "sub/b.bin");
  EXPECT_EQ(manifest->files[2].size, 3U << 20);
  EXPECT_TRUE(eventlog::manifest_text(*manifest));
  EXPECT_TRUE(check_tree(dir_.path(), *manifest));
}

TEST_F(MeasureTest, ManifestOfOneFile) {
  const auto manifest = manifest_of(dir_ / "a.bin", "model", "m").value();
  ASSERT_EQ(manifest.files.size(), 1U);
  EXPECT_EQ(manifest.files[0].path, "a.bin");
  EXPECT_EQ(manifest.files[0].size, 3U);
}

TEST_F(MeasureTest, EveryChangeOfATreeIsFound) {
  const auto manifest = manifest_of(dir_.path(), "engine", "e").value();
  const auto where = [&] { return check_tree(dir_.path(), manifest).error().where; };
  put("a.bin", "aab");
  EXPECT_EQ(where(), "a.bin");
  put("a.bin", "aaa");
  put("new", "");
  EXPECT_EQ(where(), "new");
  fs::remove(dir_ / "new");
  fs::permissions(dir_ / "run", fs::perms::owner_read);
  EXPECT_EQ(where(), "run");
  fs::permissions(dir_ / "run", fs::perms::owner_all);
  fs::remove(dir_ / "sub/b.bin");
  EXPECT_EQ(where(), "sub/b.bin");
}

TEST_F(MeasureTest, ModelRulesLeaveOutWhatIsNotTheModel) {
  put(".git/config", "x");
  put(".gitattributes", "x");
  put(".cache/y", "x");
  put("z.lock", "x");
  put(std::string(kManifestName), "{}");
  EXPECT_EQ(manifest_of(dir_.path(), "model", "m", TreeRules::model)->files.size(), 3U);
  EXPECT_EQ(manifest_of(dir_.path(), "model", "m")->files.size(), 8U);
}

TEST_F(MeasureTest, LinksAndSpecialFiles) {
  fs::create_symlink("a.bin", dir_ / "link");
  EXPECT_EQ(manifest_of(dir_.path(), "model", "m")->files.size(), 4U);
  fs::create_symlink("/etc/hostname", dir_ / "out");
  EXPECT_EQ(manifest_of(dir_.path(), "model", "m").error().code, ErrorCode::invalid_argument);
  fs::remove(dir_ / "out");
  fs::create_symlink("nowhere", dir_ / "dangling");
  EXPECT_FALSE(manifest_of(dir_.path(), "model", "m"));
  fs::remove(dir_ / "dangling");
  ASSERT_EQ(::mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  EXPECT_FALSE(manifest_of(dir_.path(), "model", "m"));
  EXPECT_FALSE(hash_file(dir_ / "fifo"));
  EXPECT_FALSE(manifest_of(dir_ / "none", "model", "m"));
  fs::create_directory(dir_ / "empty");
  EXPECT_EQ(manifest_of(dir_ / "empty", "model", "m").error().code, ErrorCode::not_found);
}

TEST_F(MeasureTest, AMeasuredProgramIsSealedAndRuns) {
  auto program = measure_program("/bin/true");
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->digests.sha384, hash_file("/bin/true")->sha384);
  EXPECT_LT(::write(program->file.get(), "x", 1), 0);
  EXPECT_NE(::ftruncate(program->file.get(), 0), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char name[] = "true";
    char* const argv[] = {name, nullptr};
    char* const env[] = {nullptr};
    ::fexecve(program->file.get(), argv, env);
    ::_exit(127);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(MeasureTest, TheMeasurerStopsAtTheFirstFailure) {
  std::vector<std::string> sent;
  bool works = true;
  const auto extend = [&](const eventlog::AaelEvent& e) -> Result<void> {
    if (!works) return fail(ErrorCode::unavailable, "no agent");
    sent.push_back(e.operation);
    return {};
  };
  auto run = Measurer::begin(extend, "boot").value();
  EXPECT_TRUE(run.document(eventlog::Kind::config, "engine", "{}"));
  EXPECT_TRUE(run.subject(eventlog::Kind::model, "m", {}));
  EXPECT_TRUE(run.program_file("/bin/true", {}));
  EXPECT_FALSE(run.program_file("true", {}));
  EXPECT_EQ(sent, (std::vector<std::string>{"begin/1", "config/engine", "model/m", "pai/load-model", "/bin/true"}));
  works = false;
  EXPECT_EQ(run.subject(eventlog::Kind::engine, "e", {}).error().code, ErrorCode::unavailable);
  works = true;
  EXPECT_EQ(run.ready().error().code, ErrorCode::conflict);
  EXPECT_FALSE(boot_id()->empty());
  EXPECT_TRUE(kernel_cmdline());
}

TEST_F(MeasureTest, RuntimeManifest) {
  put("doc.json", "{}");
  const auto json =
      parse_json(R"({"boot_id":"b","subjects":[{"kind":"config","name":"engine","file":"doc.json"}]})").value();
  const auto out = predict_runtime(json, dir_.path());
  ASSERT_TRUE(out) << out.error().text();
  const std::string content = "sha384:" + hex(crypto::sha384(as_bytes("{}")).view());
  EXPECT_EQ((*out)["reference_values"]["measurement.config.engine"][0], content);
  EXPECT_EQ((*out)["events"].size(), 3U);
  std::string text = eventlog::init_line({}) + "\n";
  for (const auto& e : (*out)["events"])
    text += e["domain"].get<std::string>() + " " + e["operation"].get<std::string>() + " " +
            e["content"].get<std::string>() + "\n";
  EXPECT_EQ(replay_log(as_bytes(text)).value()["register"], (*out)["rtmr3"]["text"]);
  EXPECT_FALSE(
      predict_runtime(parse_json(R"({"boot_id":"b","subjects":[{"kind":"x","name":"y"}]})").value(), dir_.path()));
  EXPECT_FALSE(predict_runtime(parse_json(R"({"boot_id":"b","subject":[]})").value(), dir_.path()));
}

TEST_F(MeasureTest, SharedWorkedExample) {
  if (!fs::exists(CAIRN_SHARED_DATA)) GTEST_SKIP() << "shared data not present";
  const auto example =
      parse_json(read_text(CAIRN_SHARED_DATA "/guest/aael/cairn-measure-example.json").value()).value();
  Json manifest{{"boot_id", example["boot_id"]}, {"subjects", Json::array()}};
  const auto add = [&](std::string_view kind, std::string_view name, const std::string& text) {
    manifest["subjects"].push_back(
        {{"kind", kind}, {"name", name}, {"sha384", hex(crypto::sha384(as_bytes(text)).view())}});
  };
  add("kernel", "cmdline", example["kernel_cmdline"]);
  add("engine", "demo-engine", example["manifests"]["engine"]);
  add("ui", "demo-ui", example["manifests"]["ui"]);
  add("config", "engine", example["config_document"]);
  add("model", "demo-1b", example["manifests"]["model"]);
  const auto out = predict_runtime(manifest, dir_.path());
  ASSERT_TRUE(out) << out.error().text();
  EXPECT_EQ((*out)["rtmr3"]["text"], example["rtmr3_after_text"]);
  EXPECT_EQ((*out)["rtmr3"]["tcg2"], example["rtmr3_after_tcg2"]);
}

TEST(MeasureMemory, Amounts) {
  EXPECT_EQ(parse_memory("2G").value(), 2ULL << 30);
  EXPECT_EQ(parse_memory("4096").value(), 4096U);
  for (const std::string_view bad : {"", "G", "2g", "2 G", "-1", "0", "99999999999T", "2GB"})
    EXPECT_FALSE(parse_memory(bad)) << bad;
}

TEST(MeasureCommand, AddsItsParts) {
  CLI::App app;
  int code = -1;
  add_measure(app, code);
  testing::internal::CaptureStderr();
  app.parse("measure boot --firmware /none", false);
  EXPECT_EQ(code, 1);
  EXPECT_TRUE(testing::internal::GetCapturedStderr().contains("/none"));
}

}  // namespace
}  // namespace cairn::cli
