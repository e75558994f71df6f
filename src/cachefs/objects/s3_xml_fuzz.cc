#include "cachefs/objects/s3_xml.h"
#include "cachefs/objects/store_target.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)cairn::cachefs::parse_list_page(text);
  (void)cairn::cachefs::parse_parts_page(text);
  (void)cairn::cachefs::error_text(text);
  (void)cairn::cachefs::parse_credentials(text);
  return 0;
}
