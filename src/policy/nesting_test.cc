// What nests deeper than any limit, in texts, inputs and documents, ends with an error and needs little stack.
#include <gtest/gtest.h>
#include <pthread.h>

#include <functional>

#include "policy/policy.h"

namespace cairn::policy {
namespace {

constexpr std::size_t levels = 100'000;
const CompileOptions wide{
    .limits = {.source_bytes = 64U << 20, .tokens = 10'000'000}};  // so that only depth is refused
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
constexpr std::size_t stack_bytes = 4U << 20;  // frames are several times as large
#else
constexpr std::size_t stack_bytes = 1U << 20;
#endif

void on_a_small_stack(std::function<void()> f) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, stack_bytes), 0);
  pthread_t thread{};
  const auto start = [](void* p) -> void* {
    (*static_cast<std::function<void()>*>(p))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, start, &f), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

std::string times(std::string_view s, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += s;
  return out;
}

// `open` and `close` around `inside`, as often as fits.
std::string around(std::string_view open, std::string_view inside, std::string_view close) {
  return times(open, levels) + std::string(inside) + times(close, levels);
}

TEST(Nesting, OfTextsIsRefused) {
  const std::string texts[] = {
      "x := " + around("(", "1", ")"),
      "x := " + around("[", "1", "]"),
      "x := " + around("{", "1", "}"),
      "x := " + around("{\"a\":", "1", "}"),
      "x := " + around("[1|x:=", "1", "]"),
      "x := " + around("f(", "1", ")"),
      "x := " + around("a[", "1", "]"),
      "x := 1" + times("+1", levels),
      "x := 1" + times("|1", levels),
      "x if 1" + times("==1", levels),
      "x if 1" + times(" in [1]", levels),
      "x := f()" + times(".a()", levels),
      "x := y" + times(".a", levels),
      "x" + times(".a", levels) + " := 1",
      "x := 1 if false" + times(" else := 1 if false", levels),
      "x if " + times("not ", levels) + "y",
      "x := " + times("-", levels) + "1",
      "x if " + around("every e in [1] {", "e == 1", "}"),
      "x := " + around("$\"{", "1", "}\""),
      "import rego.v2\nx if " + around("(a and ", "b", ")"),
      "import rego.v2\nx if a" + times(" or b", levels),
      "import rego.v2\nx if " + around("not {", "a", "}"),
      "x if y with input" + times(".a", levels) + " as 1",
  };
  for (const auto& text : texts)
    on_a_small_stack([&] {
      const auto p = compile({{"p.rego", "package p\n" + text + "\n"}}, wide);
      EXPECT_FALSE(p.has_value()) << text.substr(0, 60);
      (void)format({"p.rego", "package p\n" + text + "\n"});
    });
  on_a_small_stack(
      [&] { EXPECT_FALSE(compile({{"p.rego", "package p" + times(".a", levels) + "\nx := 1\n"}}, wide)); });
}

// Each limit leaves room for what people write.
TEST(Nesting, UpToTheLimitsIsFine) {
  const std::string texts[] = {
      "x := " + times("[", 60) + times("]", 60),
      "x := 1" + times("+1", 1000),
      "x := input" + times(".a", 500),
      "x" + times(".a", 100) + " := 1",
      "x := 1 if false" + times(" else := 1 if false", 100),
  };
  for (const auto& text : texts)
    on_a_small_stack([&] {
      const auto p = compile({{"p.rego", "package p\n" + text + "\n"}});
      ASSERT_TRUE(p.has_value()) << text.substr(0, 60) << p.error().text();
      EXPECT_TRUE(p->evaluate("data.p", {}).has_value());
    });
}

// Variables that stand for each other in a long chain.
TEST(Nesting, OfEquationsIsFollowedWithoutRecursion) {
  constexpr int n = 3000;
  std::string left = "[";
  std::string right = "[";
  for (int i = 0; i < n; ++i) {
    left += "a" + std::to_string(i) + ",";
    right += "a" + std::to_string(i + 1) + ",";
  }
  on_a_small_stack([&] {
    const auto p = compile(
        {{"p.rego", "package p\nx := a0 if {\n" + left + "1] = " + right + "1]\na" + std::to_string(n) + " = 7\n}\n"}});
    ASSERT_TRUE(p.has_value()) << p.error().text();
    const auto v = p->evaluate("data.p.x", {});
    ASSERT_TRUE(v.has_value()) << v.error().text();
    EXPECT_EQ(*v, std::optional<Json>(7));
  });
}

TEST(Nesting, OfDocumentsIsRefused) {
  on_a_small_stack([] {
    EXPECT_FALSE(Document::parse(around("[", "1", "]")));
    EXPECT_FALSE(Document::parse(around("{\"a\":", "1", "}")));
    EXPECT_FALSE(Document::parse(times("[", levels)));
    EXPECT_FALSE(Document::parse_term(around("[", "1", "]")));
    Json nested = 1;
    for (std::size_t i = 0; i < levels; ++i) nested = Json::array({std::move(nested)});
    EXPECT_FALSE(Document::from_json(nested));
  });
}

// What built-in functions read from strings.
TEST(Nesting, OfStringsIsRefusedOrUndefined) {
  const std::pair<std::string, std::string> calls[] = {
      {"json.unmarshal(input)", around("[", "1", "]")},
      {"json.unmarshal(input)", around("{\"a\":", "1", "}")},
      {"yaml.unmarshal(input)", around("[", "1", "]")},
      {"yaml.unmarshal(input)", times("- ", levels) + "1"},
      {"regex.match(input, \"a\")", around("(", "a", ")")},
      {"regex.match(input, \"a\")", "a" + times("*", levels)},
      {"regex.globs_match(input, \"a\")", around("[", "a", "]")},
      {"glob.match(input, [], \"a\")", around("{", "a", "}")},
      {"json.filter({\"a\": 1}, [input])", times("a/", levels)},
      {"json.remove({\"a\": 1}, [input])", times("a/", levels)},
      {"json.patch({\"a\": 1}, [{\"op\": \"add\", \"path\": input, \"value\": 1}])", times("/a", levels)},
      {"json.match_schema(input, \"true\")", around("[", "1", "]")},
      {"json.verify_schema(input)", around("{\"not\":", "true", "}")},
      {"sprintf(input, [1])", times("%[1]", levels)},
      {"net.cidr_is_valid(input)", times("1.", levels)},
      {"semver.is_valid(input)", times("1.", levels)},
      {"units.parse(input)", times("1", levels)},
      {"time.parse_duration_ns(input)", times("1h", levels)},
      {"io.jwt.decode(input)", times("a.", levels)},
  };
  for (const auto& [call, text] : calls)
    on_a_small_stack([&] {
      const auto p = compile({{"p.rego", "package p\nx := " + call + "\n"}});
      ASSERT_TRUE(p.has_value()) << p.error().text();
      const auto input = Document::from_json(text);
      ASSERT_TRUE(input.has_value());
      (void)p->evaluate("data.p.x", {.input = &*input});  // any answer but a crash
    });
}

// Values that an evaluation makes, and rules that call each other.
TEST(Nesting, WhileEvaluatingEndsWithAnError) {
  std::string calls = "f0(y) := y\n";
  std::string values = "v0 := 1\n";
  std::string closures = "c0 := [1]\n";
  std::string sets = "s0 contains 1\n";
  std::string known = "g0(y) := y\n";
  for (int i = 1; i < 2000; ++i) {
    const std::string n = std::to_string(i);
    const std::string before = std::to_string(i - 1);
    calls += "f" + n + "(y) := f" + before + "([y])\n";
    values += "v" + n + " := [v" + before + "]\n";
    sets += "s" + n + " contains y if s" + before + "[y]\n";
    known += "g" + n + "(y) := g" + before + "(y)\n";
    closures += "c" + n + " := {d | d := 1; every e in [1] { not c" + before + " == e } }\n";
  }
  for (const auto& [text, ref] : {std::pair{calls + "x := f1999(1)\n", "data.p.x"}, std::pair{values, "data.p.v1999"},
                                  std::pair{closures, "data.p.c1999"}, std::pair{sets + "x if s1999[1]\n", "data.p.x"},
                                  std::pair{known + "x if [[1]][y][_] = g1999(y)\n", "data.p.x"}})
    on_a_small_stack([&] {
      const auto p = compile({{"p.rego", "package p\n" + text}});
      ASSERT_TRUE(p.has_value()) << p.error().text();
      const auto v = p->evaluate(ref, {});
      ASSERT_FALSE(v.has_value());
      EXPECT_EQ(v.error().code, ErrorCode::too_large) << v.error().text();
    });
}

}  // namespace
}  // namespace cairn::policy
