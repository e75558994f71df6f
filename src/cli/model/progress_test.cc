#include "cli/model/progress.h"

#include <gtest/gtest.h>

namespace cairn::cli {
namespace {

TEST(Progress, SizesForPeople) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(1023), "1023 B");
  EXPECT_EQ(human_size(1536), "1.50 KiB");
  EXPECT_EQ(human_size(2ULL << 30), "2.00 GiB");
  EXPECT_EQ(human_size(150ULL << 20), "150 MiB");
}

TEST(Progress, Line) {
  EXPECT_EQ(progress_line({.phase = "encrypting", .bytes_done = 1 << 20, .bytes_total = 4 << 20}, 1000),
            "encrypting  25 %  1.00 MiB of 4.00 MiB  1.00 MiB/s  00:03 left");
  EXPECT_EQ(progress_line({.phase = "x", .bytes_done = 0, .bytes_total = 10}, 5000), "x   0 %  0 B of 10 B");
  EXPECT_EQ(progress_line({.phase = "x", .bytes_done = 0, .bytes_total = 0}, 0), "x 100 %  0 B of 0 B");
}

}  // namespace
}  // namespace cairn::cli
