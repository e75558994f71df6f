// Attestation tokens and JWKs from anyone: parse, verify against nothing, read.
#include "kbs_protocol/token/token.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const auto text = as_text({data, size});
  (void)token::verify(text, {.embedded_key = true}, {1'800'000'000});
  if (const auto jws = crypto::parse_jws(text)) {
    (void)jws->claims();
    if (const auto claims = jws->claims()) (void)crypto::check_times(*claims, {1'800'000'000});
  }
  if (const auto json = parse_json(text)) {
    if (const auto jwk = crypto::parse_jwk(*json)) {
      (void)crypto::emit_jwk(jwk->key, jwk->alg, jwk->x5c);
      (void)crypto::encrypt_answer(*json, as_bytes("x"), crypto::AnswerForm::rfc7516);
    }
    (void)crypto::parse_jwk_set(*json);
  }
  return 0;
}
