#include <gtest/gtest.h>

#include <filesystem>

#include "base/clock.h"
#include "base/cursor.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/time_zone.h"

namespace cairn {
namespace {

TEST(Cursor, ReadsAndWritesBothOrders) {
  Writer w;
  w.u8(1).u16le(0x0203).u16be(0x0203).u32le(0x04050607).u64be(0x0102030405060708).text("xy");
  Reader r(w.view());
  EXPECT_EQ(*r.u8(), 1);
  EXPECT_EQ(*r.u16le(), 0x0203);
  EXPECT_EQ(*r.u16be(), 0x0203);
  EXPECT_EQ(*r.u32le(), 0x04050607U);
  EXPECT_EQ(*r.u64be(), 0x0102030405060708U);
  EXPECT_FALSE(r.end());
  EXPECT_EQ(*r.text(2), "xy");
  EXPECT_TRUE(r.end());
}

TEST(Cursor, NamesTheAbsoluteOffsetAndStaysThere) {
  const Bytes bytes(10);
  Reader r(bytes);
  ASSERT_TRUE(r.skip(4));
  auto sub = r.sub(4);
  ASSERT_TRUE(sub && sub->skip(3));
  const auto bad = sub->u32le();
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().where, "offset 7");
  EXPECT_EQ(sub->remaining(), 1U);
  EXPECT_FALSE(r.bytes(SIZE_MAX));
  EXPECT_FALSE(r.fixed<Digest<48>>());
}

TEST(Encoding, Rfc4648Vectors) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : cases) {
    EXPECT_EQ(base64(as_bytes(plain)), text);
    EXPECT_EQ(as_text(*from_base64(text)), plain);
  }
  EXPECT_EQ(base64url(Bytes{0xFB, 0xFF}), "-_8");
  EXPECT_EQ(*from_base64url("-_8"), (Bytes{0xFB, 0xFF}));
  EXPECT_EQ(*from_base64_lenient("+/8="), (Bytes{0xFB, 0xFF}));
}

TEST(Encoding, DecodersAreStrict) {
  for (const char* bad : {"Zg", "Zg=", "Zh==", "Zm9v\n", "Z===", "====", "-_8="}) EXPECT_FALSE(from_base64(bad)) << bad;
  for (const char* bad : {"Zg==", "Z", "Zh", "+/8"}) EXPECT_FALSE(from_base64url(bad)) << bad;
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("0g"));
  EXPECT_EQ(hex(*from_hex("00FFa0")), "00ffa0");
  EXPECT_TRUE(is_utf8("aé€😀"));
  for (const char* bad : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xFF"})
    EXPECT_FALSE(is_utf8(bad));
  EXPECT_EQ(*percent_decode("a%2Fb+"), "a/b+");
  EXPECT_FALSE(percent_decode("%4"));
}

TEST(TimeZone, AreFoundByName) {
  const auto utc = zone_offset("Etc/UTC", 1'700'000'000);
  if (!utc) GTEST_SKIP() << "no database of time zones here";
  EXPECT_EQ(utc->east, 0);
  EXPECT_EQ(zone_offset("Europe/Vienna", 1'720'000'000)->east, 7200);  // July
  EXPECT_EQ(zone_offset("Europe/Vienna", 1'700'000'000)->abbreviation, "CET");
  EXPECT_FALSE(zone_offset("No/Where", 0));
}

TEST(Clock, Rfc3339) {
  EXPECT_EQ(rfc3339(Time{0}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(parse_rfc3339("2026-03-01T01:30:00.25+01:30")->seconds, parse_rfc3339("2026-03-01T00:00:00Z")->seconds);
  EXPECT_EQ(rfc3339(*parse_rfc3339("2024-02-29T23:59:59Z")), "2024-02-29T23:59:59Z");
  for (const char* bad : {"2023-02-29T00:00:00Z", "2023-01-01", "2023-01-01T24:00:00Z", "2023-01-01T00:00:00", "x"})
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
}

TEST(Json, RefusesWhatIsAmbiguous) {
  EXPECT_TRUE(parse_json(R"({"a":[1,{"b":null}]})"));
  for (const char* bad : {R"({"a":1,"a":2})", "{}{}", "[1,]", "", "nul", "\xEF\xBB\xBF{}", "\"\xFF\""})
    EXPECT_FALSE(parse_json(bad)) << bad;
  EXPECT_FALSE(parse_json(std::string(65, '[') + std::string(65, ']')));
  EXPECT_TRUE(parse_json(std::string(64, '[') + std::string(64, ']')));
  EXPECT_FALSE(parse_json("[1,2,3]", {.bytes = 6}));
  EXPECT_TRUE(parse_json("[1,2,3]", {.bytes = 7}));
}

TEST(Json, ReadsEveryKindOfValue) {
  const Json json =
      *parse_json(" { \"a\\u00e9\\ud83d\\ude00\" : [ true , false,null, -1, 18446744073709551615, 1.5e3, {}, [] ] } ");
  const Json& list = json.at("a\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(list, Json::parse("[true,false,null,-1,18446744073709551615,1500.0,{},[]]"));
  EXPECT_TRUE(list[4].is_number_unsigned() && list[3].is_number_integer() && list[5].is_number_float());
  EXPECT_TRUE(parse_json("18446744073709551616")->is_number_float());
  EXPECT_EQ(*parse_json("1e-400"), 0.0);
  const std::string nul("\"\0\"", 3);
  for (const std::string& bad : {std::string("01"),
                                 std::string("-"),
                                 std::string("1."),
                                 std::string("1e"),
                                 std::string("+1"),
                                 std::string("1e999"),
                                 std::string("\"\\ud800\""),
                                 std::string("\"\\udc00\""),
                                 std::string("\"\\ud800\\u0041\""),
                                 std::string("\"\\u12g4\""),
                                 std::string("\"\\u12\""),
                                 std::string("\"\\x\""),
                                 std::string("\""),
                                 std::string("\"\\"),
                                 std::string("\"\n\""),
                                 nul,
                                 std::string("{\"a\"}"),
                                 std::string("{\"a\":}"),
                                 std::string("{\"a\":1,}"),
                                 std::string("{,}"),
                                 std::string("[,]"),
                                 std::string("{1:2}"),
                                 std::string("[1 2]"),
                                 std::string("[}"),
                                 std::string("{]"),
                                 std::string("["),
                                 std::string("tru"),
                                 std::string("\xC3")})
    EXPECT_FALSE(parse_json(bad)) << bad;
  EXPECT_EQ(parse_json("[1,x]").error().where, "byte 3");
}

// The library's own parser as the judge: every change of a byte must be taken or refused alike, with the same value.
TEST(Json, AgreesWithTheLibrary) {
  const std::string document =
      R"({"a":[1,-2,3.5e-2,"x\u00e9\"\\",true,null],"b":{"c":{},"d":[]},"é":"\ud83d\ude00 end","n":0})";
  const std::string bytes = "\"\\{}[],:01-+.eEutn \x01\x80\xC3\xFFx";
  int accepted = 0;
  for (std::size_t at = 0; at <= document.size(); ++at)
    for (const char byte : bytes)
      for (const int how : {0, 1, 2}) {  // replaced, inserted, the rest cut off
        std::string text = document.substr(0, at) + byte;
        if (how < 2 && at < document.size()) text += document.substr(at + (how == 0 ? 1 : 0));
        const auto ours = parse_json(text);
        const Json theirs = Json::parse(text, nullptr, false);
        if (ours) {
          ++accepted;
          ASSERT_FALSE(theirs.is_discarded()) << text;
          ASSERT_EQ(*ours, theirs) << text;
        } else {
          ASSERT_TRUE(theirs.is_discarded() || ours.error().message.contains("duplicate"))
              << text << ours.error().text();
        }
      }
  EXPECT_GT(accepted, 100);
}

TEST(Json, CanonicalText) {
  // RFC 8785 §3.2.2 and appendix B.
  EXPECT_EQ(*canonical_json(*parse_json(R"({"b":1,"a":"test","c":{"d":"e"}})")), R"({"a":"test","b":1,"c":{"d":"e"}})");
  EXPECT_EQ(*canonical_json(*parse_json(
                "[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001,-0.0,1e21,123456789012345680000]")),
            "[333333333.3333333,1e+30,4.5,0.002,1e-27,0,1e+21,123456789012345680000]");
  EXPECT_EQ(*canonical_json(*parse_json("\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\"")),
            "\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");
  EXPECT_EQ(*canonical_json(*parse_json("{\"\\uFB33\":1,\"\\uD83D\\uDE00\":2}")),
            "{\"\xF0\x9F\x98\x80\":2,\"\xEF\xAC\xB3\":1}");
}

TEST(Json, CompactTextIsTheLibrarys) {
  std::string every;
  for (int c = 0; c < 0x80; ++c) every.push_back(static_cast<char>(c));
  const Json values[] = {
      nullptr,
      true,
      0,
      -1,
      std::numeric_limits<std::int64_t>::min(),
      std::numeric_limits<std::uint64_t>::max(),
      0.1,
      1e300,
      -0.0,
      "",
      every,
      every + "€\xF0\x9F\x98\x80",
      "broken \xFF\xC3( \xE2\x82 \"text\"",
      Json::array(),
      Json::object(),
      Json::array({1, Json::array({"a", Json::object({{every, nullptr}})}), 2.5}),
      Json::object({{"b", 1}, {"a", Json::array({Json::object(), "\n"})}, {"", false}, {"\xC0", 1}})};
  for (const auto& value : values)
    EXPECT_EQ(compact_json(value), value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

TEST(Fields, CollectsEveryProblemAndNamesTheNearestKey) {
  const auto json = *parse_json(R"({"prot":1,"name":5,"list":[{"x":70000},{"x":1}],"ok":true})");
  Problems problems;
  Fields f(json, "$", problems);
  (void)f.required<std::uint16_t>("port");
  (void)f.required<std::string>("name");
  EXPECT_TRUE(f.value_or<bool>("ok", false));
  std::vector<std::uint16_t> xs;
  f.objects("list", [&](Fields& item) {
    xs.push_back(item.required<std::uint16_t>("x"));
    item.done();
  });
  f.done();
  EXPECT_EQ(xs, (std::vector<std::uint16_t>{0, 1}));
  ASSERT_EQ(problems.all().size(), 4U);
  EXPECT_EQ(problems.all()[2].where, "$.list[0].x");
  EXPECT_NE(problems.all()[3].message.find("did you mean \"port\""), std::string::npos);
  EXPECT_FALSE(problems.result());
}

TEST(Config, TomlAndYamlBecomeJson) {
  EXPECT_EQ((*parse_toml("a = 1\n[b]\nc = [\"x\"]\n", "t"))["b"]["c"][0], "x");
  EXPECT_EQ(parse_toml("a = \n", "t.toml").error().where.substr(0, 8), "t.toml:1");
  const auto yaml = *parse_yaml("server:\n  port: 8081\n  host: \"1\"\nlist: [a, true]\n", "y");
  EXPECT_EQ(yaml["server"]["port"], 8081);
  EXPECT_EQ(yaml["server"]["host"], "1");
  EXPECT_EQ(yaml["list"][1], true);
  for (const char* bad :
       {"a: &x 1\nb: *x\n", "a: !x 1\n", "a: 1\n---\nb: 2\n", "a: 1\na: 2\n", "[a]: 1\n", "a:\n\tb: 1\n"})
    EXPECT_FALSE(parse_yaml(bad, "y")) << bad;
  EXPECT_EQ(parse_yaml("a: 1\nb: [\n", "y").error().where, "y, line 3");
  EXPECT_EQ(parse_yaml(std::string(200, '['), "y").error().code, ErrorCode::too_large);
  EXPECT_EQ(*parse_yaml("", "y"), nullptr);
}

TEST(File, WritesWholeOrNotAtAll) {
  const auto dir = std::filesystem::temp_directory_path() / ("cairn_base_test." + std::to_string(::getpid()));
  ASSERT_TRUE(make_dirs(dir / "a" / "b", 0700));
  const auto file = dir / "a" / "f";
  ASSERT_TRUE(write_text(file, "hello", 0600));
  EXPECT_EQ(*read_text(file), "hello");
  EXPECT_EQ(as_text(read_secret(file)->view()), "hello");
  EXPECT_FALSE(read_file(file, 4));
  EXPECT_TRUE(read_file(file, 5));
  EXPECT_EQ(read_secret(file, 4).error().code, ErrorCode::too_large);
  EXPECT_EQ(read_file("/proc/self/maps")->back(), '\n') << "reports no size, and is longer than the first read";
  EXPECT_GT(read_file("/proc/self/maps")->size(), 4096U);
  EXPECT_EQ(read_file(dir / "none").error().code, ErrorCode::not_found);
  EXPECT_FALSE(write_text(dir / "no" / "f", "x"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "a"), {}), 2);
  std::filesystem::remove_all(dir);
}

TEST(Secret, NothingIsWipedAndMoved) {
  wipe(nullptr, 0);
  Secret none(0);
  EXPECT_TRUE(Secret(std::move(none)).empty());
  EXPECT_TRUE(Secret().clone().empty());
}

TEST(Secret, MovesAndCompares) {
  std::string text = "password";
  Secret a = Secret::take(std::move(text));
  EXPECT_TRUE(text.empty());  // NOLINT: the contract of take
  const Secret b = a.clone();
  EXPECT_TRUE(constant_time_equal(a.view(), b.view()));
  Secret c = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT
  EXPECT_EQ(as_text(c.view()), "password");
  EXPECT_FALSE(constant_time_equal(c.view(), as_bytes("passwore")));
  EXPECT_FALSE(constant_time_equal(c.view(), as_bytes("pass")));
}

TEST(Log, OutsideTextIsHarmless) {
  EXPECT_EQ(printable("a\n\x1b[31m"), "a\\x0a\\x1b[31m");
  EXPECT_EQ(printable("abcdef", 3), "abc…");
  EXPECT_EQ(printable("\xFF"), "?");
}

TEST(Error, SaysWhereAndWhat) {
  EXPECT_EQ((Error{ErrorCode::malformed, "offset 3", "too short"}.text()), "malformed at offset 3: too short");
  EXPECT_EQ((Error{ErrorCode::internal, "", "x"}.in("ctx").text()), "internal: ctx: x");
}

}  // namespace
TEST(Utf16, BothWaysAndRefusals) {
  const std::string text = "a\u00e9\u20ac\U0001F600";
  const auto wide = to_utf16le(text);
  ASSERT_TRUE(wide);
  EXPECT_EQ(hex(*wide), "6100e900ac203dd800de");
  EXPECT_EQ(from_utf16le(*wide).value(), text);
  EXPECT_FALSE(from_utf16le(Bytes{0x61}));
  EXPECT_FALSE(from_utf16le(Bytes{0x3d, 0xd8}));
  EXPECT_FALSE(from_utf16le(Bytes{0x00, 0xde, 0x3d, 0xd8}));
  EXPECT_FALSE(to_utf16le("a\xff"));
  EXPECT_EQ(lossy_utf8(as_bytes("a\xff\xe2\x82"
                                "b")),
            "a\uFFFD\uFFFD\uFFFD"
            "b");
}

}  // namespace cairn
