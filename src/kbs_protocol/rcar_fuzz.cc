// What a hostile key broker may answer, and what a hostile configuration may name.
#include <cstdlib>

#include "kbs_protocol/rcar.h"
#include "kbs_protocol/uri.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::kbs;  // NOLINT
  const std::string_view text = cairn::as_text({data, size});
  for (const Profile profile : {Profile::p1, Profile::p2}) {
    const auto challenge = parse_challenge(profile, text);
    if (challenge && !runtime_data(profile, *challenge, {{"alg", "x"}}, "")) std::abort();
  }
  (void)parse_attest_answer(text);
  (void)parse_refusal(500, text).text();
  if (const auto uri = ResourceUri::parse(text)) {
    const auto again = ResourceUri::parse(uri->text());
    if (!again || !(*again == *uri)) std::abort();
  }
  return 0;
}
