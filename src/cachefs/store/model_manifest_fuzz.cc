// Manifests come out of a volume whose owner may not be the reader's; descriptions out of model files of any origin.
#include <cstdlib>

#include "cachefs/store/describe.h"
#include "cachefs/store/manifest.h"

using namespace cairn;
using namespace cairn::cachefs;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(ByteView(data, size));
  (void)manifest_covers(text);
  (void)check_manifest_path(text);
  (void)describe_beginning(ByteView(data, size), std::uint64_t{1} << 40);
  if (const auto manifest = parse_manifest(text))
    if (write_manifest(*manifest).value() != text) std::abort();
  return 0;
}
