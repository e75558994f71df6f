// `cairn attest`: makes evidence on this machine. docs/attest.md.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>

#include "base/bytes.h"
#include "device/tee.h"

namespace CLI {
class App;
}

namespace cairn::cli {

struct AttestOptions {
  std::string tee = "auto";         // auto, tdx, simulated
  std::filesystem::path simulator;  // the simulator's state folder
  std::string scenario;             // way in which the simulated platform is broken; stays in force
  std::string agent;                // ask this attestation agent (unix:///…) instead of the device
  std::string report_data;          // hex, at most 64 bytes, zero-padded
  std::string nonce;                // text whose SHA-512 becomes the report data
  std::filesystem::path event_log;  // the agent's text log, for evidence made from the device
  std::string format = "evidence";  // evidence (P1 JSON), evidence-p2, quote
  std::filesystem::path output;     // standard output by default
};

// What report data the options ask for: exactly one of report_data and nonce, or fresh random bytes where neither is
// given.
[[nodiscard]] Result<ReportData> report_data_of(const AttestOptions& options);
// Evidence of `tee` as the attestation agent writes it: spec/guest.md §5.1 ("evidence") or §5.3 ("evidence-p2"), or the
// raw quote. `aael` is the agent's text log or, for P2, its records; may be empty.
[[nodiscard]] Result<Bytes> make_evidence(device::Tee& tee, const ReportData& report_data, std::string_view format,
                                          ByteView aael);

// Adds the verb to `app`; its run sets `exit_code`: 0 done, 1 an option or file is unusable, 2 no evidence could be
// made.
void add_attest(CLI::App& app, int& exit_code);
[[nodiscard]] int run_attest(const AttestOptions& options, std::ostream& out, std::ostream& err);

}  // namespace cairn::cli
