// Any bytes as each message of the agent's service: decoding ends, and what decodes encodes to something that decodes
// to the same bytes again.
#include <cstdlib>

#include "kbs_protocol/agent_api.h"
#include "kbs_protocol/proto.h"

namespace {

template <class Message>
void round_trip(cairn::ByteView input) {
  const auto message = cairn::proto::decode<Message>(input);
  if (!message) return;
  const auto wire = cairn::proto::encode(*message);
  const auto again = cairn::proto::decode<Message>(wire);
  if (!again || cairn::proto::encode(*again) != wire) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::agent;  // NOLINT
  const cairn::ByteView input(data, size);
  round_trip<TokenRequest>(input);
  round_trip<ExtendRequest>(input);
  round_trip<ExtendResponse>(input);
  round_trip<EvidenceResponse>(input);
  round_trip<AdditionalTeesResponse>(input);
  round_trip<Empty>(input);
  return 0;
}
