// The JSON of `mount --config-content`.
#include "cachefs/options.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (const auto options = cairn::cachefs::parse_mount_options(cairn::as_text(cairn::ByteView(data, size))))
    (void)cairn::cachefs::check_mount_options(*options);
  return 0;
}
