#include "cachefs/objects/s3_xml.h"

#include <gtest/gtest.h>

namespace cairn::cachefs {
namespace {

TEST(StoreXml, ElementsTextAndReferences) {
  const auto root =
      parse_xml("<?xml version=\"1.0\"?>\n<A x='>' y=\"&\"><B>1 &lt;&amp;&#65;&#x1F600;</B><B/><C> </C></A>\n");
  ASSERT_TRUE(root) << root.error().text();
  EXPECT_EQ(root->name, "A");
  EXPECT_EQ(root->text_of("B"), "1 <&A\xf0\x9f\x98\x80");
  EXPECT_EQ(root->children.size(), 3U);
  EXPECT_EQ(root->text_of("missing"), "");
}

TEST(StoreXml, WhatIsNotPlainIsMalformed) {
  for (const char* text : {"", "<A>", "<A></B>", "</A>", "<A/><B/>", "x<A/>", "<A/>x", "<A>&bad;</A>", "<A>&#0;</A>",
                           "<A>&#xD800;</A>", "<A>& </A>", "<!DOCTYPE a><A/>", "<A><!-- c --></A>",
                           "<A><![CDATA[x]]></A>", "<A", "<A b=\">", "< A/>", "<A>\xff</A>", "<?xml <A/>"})
    EXPECT_FALSE(parse_xml(text)) << text;
}

TEST(StoreXml, DepthAndCountAreBounded) {
  const auto nested = [](std::size_t n) {
    std::string out;
    for (std::size_t i = 0; i < n; ++i) out += "<a>";
    for (std::size_t i = 0; i < n; ++i) out += "</a>";
    return out;
  };
  EXPECT_TRUE(parse_xml(nested(kStoreXmlDepth)));
  EXPECT_FALSE(parse_xml(nested(kStoreXmlDepth + 1)));
  const auto many = [](std::size_t n) {
    std::string out = "<r>";
    for (std::size_t i = 1; i < n; ++i) out += "<a/>";
    return out + "</r>";
  };
  EXPECT_TRUE(parse_xml(many(kStoreXmlElements)));
  EXPECT_FALSE(parse_xml(many(kStoreXmlElements + 1)));
}

std::string page(std::string_view tail, std::string_view key = "m/a%20b", std::string_view size = "7") {
  return "<ListBucketResult "
         "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><EncodingType>url</EncodingType><Contents><Key>" +
         std::string(key) +
         "</Key><LastModified>2026-01-31T12:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>" +
         std::string(size) + "</Size></Contents>" + std::string(tail) + "</ListBucketResult>";
}

TEST(StoreXml, ListPages) {
  const auto last = parse_list_page(page("<IsTruncated>false</IsTruncated>"));
  ASSERT_TRUE(last) << last.error().text();
  ASSERT_EQ(last->objects.size(), 1U);
  EXPECT_EQ(last->objects[0].key, "m/a b");
  EXPECT_EQ(last->objects[0].etag, "\"e\"");
  EXPECT_EQ(last->objects[0].size, 7U);
  EXPECT_EQ(last->objects[0].mtime_ns, 1'769'860'800'000'000'000);
  EXPECT_EQ(last->next, "");
  const auto more =
      parse_list_page(page("<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"));
  ASSERT_TRUE(more);
  EXPECT_EQ(more->next, "t");
  EXPECT_FALSE(parse_list_page(page("")));  // whole or not?
  EXPECT_FALSE(parse_list_page(page("<IsTruncated>true</IsTruncated>")));
  EXPECT_FALSE(parse_list_page(page("<IsTruncated>false</IsTruncated>", "m/%zz")));
  EXPECT_FALSE(parse_list_page(page("<IsTruncated>false</IsTruncated>", "")));
  EXPECT_FALSE(parse_list_page(page("<IsTruncated>false</IsTruncated>", "m", "-1")));
  EXPECT_FALSE(parse_list_page(page("<IsTruncated>false</IsTruncated>", "m", "99999999999999999999")));
  EXPECT_FALSE(parse_list_page("<Other/>"));
}

TEST(StoreXml, PartsAndErrors) {
  const auto parts = parse_parts_page(
      "<ListPartsResult><Part><PartNumber>2</PartNumber><ETag>\"x\"</ETag><Size>5</Size></Part>"
      "<IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker></ListPartsResult>");
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->parts[0].number, 2U);
  EXPECT_EQ(parts->next_marker, "2");
  EXPECT_EQ(error_text("<Error><Code>NoSuchKey</Code><Message>gone\n</Message></Error>"), "NoSuchKey: gone\\x0a");
  EXPECT_EQ(error_text("<html>"), "");
}

}  // namespace
}  // namespace cairn::cachefs
