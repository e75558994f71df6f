// Evidence as the wire carries it, from the TEE of this machine. spec/guest.md §2.5, §5.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "device/tee.h"
#include "guest/aa/event_log.h"
#include "guest/aa/gpu.h"
#include "kbs_protocol/rcar.h"

namespace cairn::aa {

// Evidence JSON texts. `ccel` is the whole area, `log` the event log's bytes; empty means none.
[[nodiscard]] std::string tdx_evidence_p1(ByteView quote, ByteView ccel, ByteView log, const Json& gpu = {});
[[nodiscard]] Result<std::string> tdx_evidence_p2(ByteView quote, ByteView ccel, ByteView log);
// The sample TEE proves nothing. svn "1" is the TEE, "2" the sample device.
[[nodiscard]] std::string sample_evidence(std::string_view svn, ByteView report_data);
// Runtime data on the right padded to 64 bytes; invalid_argument past that.
[[nodiscard]] Result<ReportData> as_report_data(ByteView runtime_data);

// Any thread; calls block for as long as the device takes.
class Attester {
 public:
  virtual ~Attester() = default;
  [[nodiscard]] virtual std::string tee() const = 0;  // name on the wire
  // Evidence JSON over at most 64 bytes of runtime data, log and quote of one state.
  [[nodiscard]] virtual Result<std::string> evidence(ByteView runtime_data) = 0;
  [[nodiscard]] virtual Result<void> extend(const eventlog::AaelEvent& event, std::optional<std::uint64_t> pcr) = 0;
  // evidence_rejected unless the machine was started with this digest; success where a TEE has no such concept.
  [[nodiscard]] virtual Result<void> check_init_data(ByteView digest) = 0;
  // P2: further devices as an object tee -> evidence, each bound to `runtime_data`; empty without devices.
  [[nodiscard]] virtual Result<Json> devices(ByteView runtime_data) = 0;
  [[nodiscard]] virtual std::vector<std::string> device_names() const = 0;
};

// `log` may be nullptr: no event log, and extend is unsupported; so may `gpu`. All must outlive the attester.
[[nodiscard]] std::unique_ptr<Attester> tdx_attester(device::Tee& tee, EventLog* log, kbs::Profile profile,
                                                     Gpu* gpu = nullptr);
[[nodiscard]] std::unique_ptr<Attester> sample_attester();

}  // namespace cairn::aa
