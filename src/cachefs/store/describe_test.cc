#include "cachefs/store/describe.h"

#include <gtest/gtest.h>

#include "base/cursor.h"

namespace cairn::cachefs {
namespace {

Bytes safetensors(std::string_view header) {
  Writer w;
  w.u64le(header.size()).text(header).zeros(64);
  return std::move(w).take();
}

Bytes gguf() {
  Writer w;
  const auto text = [&](std::string_view t) { w.u64le(t.size()).text(t); };
  w.text("GGUF").u32le(3).u64le(7).u64le(4);
  text("general.architecture");
  w.u32le(8);
  text("llama");
  text("a.number");
  w.u32le(4).u32le(1);
  text("an.array");
  w.u32le(9).u32le(8).u64le(2);
  text("x");
  text("y");
  text("general.name");
  w.u32le(8);
  text("Tiny");
  return std::move(w).take();
}

TEST(Describe, Safetensors) {
  const Bytes file = safetensors(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[12,20]}})");
  EXPECT_EQ(describe_beginning(file, file.size()), "safetensors, 2 tensors, 10 parameters, BF16");
  EXPECT_EQ(describe_beginning(safetensors(R"({"a":{"shape":[18446744073709551615,2]}})"), 200), std::nullopt);
  EXPECT_EQ(describe_beginning(safetensors(R"({"a":1})"), 200), std::nullopt);
}

TEST(Describe, Gguf) {
  const Bytes file = gguf();
  EXPECT_EQ(describe_beginning(file, file.size()), "GGUF v3, llama, 7 tensors, Tiny");
  // Cut anywhere it neither fails nor invents.
  for (std::size_t n = 0; n < file.size(); ++n) {
    const auto what = describe_beginning(ByteView(file).first(n), file.size());
    EXPECT_TRUE(!what || what->starts_with("GGUF v3")) << n;
  }
}

TEST(Describe, OtherFilesAreNothing) {
  for (const std::string_view text : {"", "{}", "plain text of a README file", "GGUX____________________"})
    EXPECT_EQ(describe_beginning(as_bytes(text), text.size()), std::nullopt) << text;
}

}  // namespace
}  // namespace cairn::cachefs
