#include "tng/ratls/evidence.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "crypto/hash.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

const Bytes spki_one = to_bytes("one public key"), spki_two = to_bytes("another public key");

TaggedEvidence tagged(BindingForm form, const Bytes& spki, CocoEvidence& coco) {
  const Binding binding = Binding::of(form, spki);
  coco = {"sample", to_bytes("{}"), std::nullopt, form == BindingForm::b, binding.runtime_data};
  return {tag_coco_evidence, coco.encode(), binding.claims_buffer};
}

TEST(Evidence, BothFormsBindTheKey) {
  for (const BindingForm form : {BindingForm::a, BindingForm::b}) {
    CocoEvidence coco;
    const auto sent = tagged(form, spki_one, coco);
    const auto got = TaggedEvidence::decode(sent.encode());
    ASSERT_TRUE(got);
    const auto inner = CocoEvidence::decode(got->evidence);
    ASSERT_TRUE(inner);
    EXPECT_EQ(check_binding(*got, *inner, spki_one), form);
    EXPECT_EQ(check_binding(*got, *inner, spki_two).error().where, "ratls.pubkey_hash");
  }
}

TEST(Evidence, FormARefusesRuntimeDataOfOtherClaims) {
  CocoEvidence coco;
  auto sent = tagged(BindingForm::a, spki_one, coco);
  sent.claims_buffer = Binding::of(BindingForm::a, spki_two).claims_buffer;
  EXPECT_EQ(check_binding(sent, coco, spki_two).error().where, "ratls.runtime_data");
}

TEST(Evidence, EveryTruncationAndAppendedByteIsRefused) {
  CocoEvidence coco;
  const Bytes whole = tagged(BindingForm::a, spki_one, coco).encode();
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(TaggedEvidence::decode(ByteView(whole).first(n))) << n;
  Bytes longer = whole;
  longer.push_back(0);
  EXPECT_FALSE(TaggedEvidence::decode(longer));
  const Bytes inner = coco.encode();
  for (std::size_t n = 0; n < inner.size(); ++n) EXPECT_FALSE(CocoEvidence::decode(ByteView(inner).first(n))) << n;
}

TEST(Evidence, DuplicateAndUnknownMembersAreRefused) {
  CocoEvidence coco;
  (void)tagged(BindingForm::a, spki_one, coco);
  const std::string text(as_text(coco.encode()));
  std::string twice = text, unknown = text;
  twice.replace(twice.find("aa_evidence"), 11, "tee_type\x00\x00\x00", 11);
  unknown.replace(unknown.find("aa_evidence"), 11, "ab_evidence");
  EXPECT_FALSE(CocoEvidence::decode(as_bytes(twice)));
  EXPECT_FALSE(CocoEvidence::decode(as_bytes(unknown)));
  // a1 "pubkey-hash" twice
  Bytes claims = Binding::of(BindingForm::a, spki_one).claims_buffer;
  Bytes doubled = claims;
  doubled[0] = 0xA2;
  append(doubled, ByteView(claims).subspan(1));
  EXPECT_FALSE(claimed_pubkey_hash(doubled));
}

TEST(Evidence, ClaimsAreBoundedAndForeignOnesPassedOver) {
  TaggedEvidence big{tag_coco_evidence, {1}, Bytes(limits::claims, 0)};
  EXPECT_TRUE(TaggedEvidence::decode(big.encode()));
  big.claims_buffer.push_back(0);
  EXPECT_EQ(TaggedEvidence::decode(big.encode()).error().code, ErrorCode::too_large);
}

TEST(Evidence, EchoMustBeEqualInFormAAndMayBeLargerInFormB) {
  const std::string sent = Binding::of(BindingForm::b, spki_one).runtime_data;
  Json echoed = *parse_json(sent);
  EXPECT_TRUE(check_echo(BindingForm::a, sent, echoed));
  echoed["nonce"] = "x";
  EXPECT_FALSE(check_echo(BindingForm::a, sent, echoed));
  EXPECT_TRUE(check_echo(BindingForm::b, sent, echoed));
  echoed["pubkey-hash"] = "y";
  EXPECT_FALSE(check_echo(BindingForm::b, sent, echoed));
  EXPECT_FALSE(check_echo(BindingForm::b, sent, Json()));
}

TEST(Evidence, ComposedVectors) {
  const std::filesystem::path file = CAIRN_SHARED_DATA "/tng/composed/ratls_binding.json";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "shared data not present";
  const Json v = *parse_json(*read_text(file));
  const auto bytes = [](const Json& value) { return *from_hex(value.get<std::string>()); };
  const PubkeyHash hash{hash_sha256, bytes(v["spki_sha256"])};
  EXPECT_EQ(hash.encode(), bytes(v["pubkey_hash_value_cbor"]));
  for (const auto& [name, form] : {std::pair{"form_2_2_4", BindingForm::a}, {"form_2_2_5_and_later", BindingForm::b}}) {
    const auto got = TaggedEvidence::decode(bytes(v[name]["extension_value"]));
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_EQ(got->evidence, bytes(v[name]["coco_evidence_cbor"]));
    const auto coco = CocoEvidence::decode(got->evidence);
    ASSERT_TRUE(coco);
    EXPECT_EQ(coco->runtime_data, v[name]["aa_runtime_data"].get<std::string>());
    EXPECT_EQ(coco->encode(), got->evidence);
    EXPECT_EQ(got->encode(), bytes(v[name]["extension_value"]));
    EXPECT_EQ(hex(crypto::sha384(as_bytes(coco->runtime_data)).view()),
              v[name]["get_evidence_runtime_data_sha384"].get<std::string>());
    if (form == BindingForm::a) {
      EXPECT_EQ(got->claims_buffer, bytes(v["claims_buffer_cbor"]));
      EXPECT_EQ(claimed_pubkey_hash(got->claims_buffer)->digest, hash.digest);
    }
  }
}

}  // namespace
}  // namespace cairn::tng
