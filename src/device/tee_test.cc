#include "device/tee.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/test_folder.h"

namespace cairn::device {
namespace {

TEST(Tee, PcrsMapToRegisters) {
  for (const auto& [pcr, rtmr] :
       {std::pair{0U, 3U}, {1U, 0U}, {2U, 1U}, {6U, 1U}, {7U, 0U}, {8U, 2U}, {15U, 2U}, {16U, 3U}, {17U, 3U}})
    EXPECT_EQ(rtmr_of_pcr(pcr), rtmr) << pcr;
  EXPECT_EQ(mr_index_of_rtmr(3), 4U);
}

TEST(Tee, NeverSimulatesUnasked) {
  if (std::filesystem::exists("/dev/tdx_guest")) GTEST_SKIP() << "this machine has a TEE";
  EXPECT_EQ(open_tee({}).error().code, ErrorCode::unavailable);
  EXPECT_EQ(open_tee({.choice = TeeChoice::tdx, .simulator_dir = "/tmp/x", .force_simulator = true}).error().code,
            ErrorCode::unavailable);
  EXPECT_EQ(open_tee({.choice = TeeChoice::simulated, .simulator_dir = {}}).error().code, ErrorCode::invalid_argument);
  EXPECT_FALSE(tee_choice_named("none"));
  const TestFolder folder;
  const auto tee = open_tee({.choice = TeeChoice::simulated, .simulator_dir = folder.path()});
  ASSERT_TRUE(tee) << tee.error().text();
  EXPECT_TRUE((*tee)->simulated());
  EXPECT_EQ((*tee)->type(), "tdx");
}

}  // namespace
}  // namespace cairn::device
