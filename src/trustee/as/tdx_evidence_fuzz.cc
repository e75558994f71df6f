// TDX evidence with collateral that fits nothing: every parser before and beside the quote's signature.
#include "trustee/as/tdx_verifier.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  static const auto verifier =
      trustee::as::tdx_verifier({.roots = {tdx::intel_root()},
                                 .collateral = [](ByteView, Time, trustee::Pending*) -> Result<device::CollateralPtr> {
                                   return std::make_shared<const tdx::Collateral>();
                                 },
                                 .gpu = std::make_shared<const trustee::as::GpuJudge>(trustee::as::GpuOptions{
                                     .roots = nvidia::nvidia_roots(), .policy = {}, .bundles = {}})});
  if (const auto evidence = parse_json(as_text({data, size})))
    (void)verifier->verify(*evidence, {}, {1'800'000'000}, nullptr);
  return 0;
}
