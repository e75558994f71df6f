// Configuration text: anything may come in, nothing but a Config or a list of problems comes out.
#include "base/bytes.h"
#include "tng/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const auto text = as_text({data, size});
  (void)tng::parse_config(text);
  (void)tng::parse_config(text, {.compat = tng::Compat::latest, .strict = true, .lenient = true});
  return 0;
}
