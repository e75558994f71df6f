#include "guest/common/config_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"

namespace cairn::guest {
namespace {

Environment environment_of(std::optional<std::string> value) {
  return [value](const char* name) { return std::string_view(name) == "AA_KBC_PARAMS" ? value : std::nullopt; };
}

TEST(ConfigFile, FormatByExtension) {
  const auto dir = std::filesystem::temp_directory_path() / ("cairn_config_test." + std::to_string(::getpid()));
  ASSERT_TRUE(make_dirs(dir));
  ASSERT_TRUE(write_text(dir / "a.toml", "x = 1\n"));
  ASSERT_TRUE(write_text(dir / "a.json", R"({"x":1})"));
  ASSERT_TRUE(write_text(dir / "a.yaml", "x: 1\n"));
  ASSERT_TRUE(write_text(dir / "a.conf", "x = 1\n"));
  for (const char* name : {"a.toml", "a.json", "a.yaml", "a.conf"})
    EXPECT_EQ((*load_config_file(dir / name))["x"], 1) << name;
  ASSERT_TRUE(write_text(dir / "b.json", "x = 1\n"));
  EXPECT_NE(load_config_file(dir / "b.json").error().where.find("b.json"), std::string::npos);
  EXPECT_EQ(load_config_file(dir / "none.toml").error().code, ErrorCode::not_found);
  std::filesystem::remove_all(dir);
}

TEST(KbcParams, ExactlyOneMark) {
  EXPECT_EQ(parse_kbc_params("cc_kbc::http://1.2.3.4:8081/api")->url, "http://1.2.3.4:8081/api");
  EXPECT_EQ(parse_kbc_params("offline_fs_kbc::")->name, "offline_fs_kbc");
  for (const char* bad : {"", "cc_kbc", "::url", "a::b::c"}) EXPECT_FALSE(parse_kbc_params(bad)) << bad;
}

TEST(KbcParams, EnvironmentBeforeKernelBeforeDefault) {
  const std::string cmdline = "ro agent.aa_kbc_params_x=a::b agent.aa_kbc_params=cc_kbc::http://k quiet\n";
  EXPECT_EQ(find_kbc_params(environment_of("cc_kbc::http://e"), cmdline)->url, "http://e");
  EXPECT_EQ(find_kbc_params(environment_of({}), cmdline)->url, "http://k");
  EXPECT_EQ(find_kbc_params(environment_of({}), "ro quiet")->name, "offline_fs_kbc");
  EXPECT_FALSE(find_kbc_params(environment_of("broken"), cmdline));
}

}  // namespace
}  // namespace cairn::guest
