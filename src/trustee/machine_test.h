// A simulated machine for tests of the Trustee.
#pragma once

#include "device/simulator/simulator.h"
#include "evidence/eventlog/measure.h"
#include "trustee/fixture_test.h"

namespace cairn::trustee::test {

// A simulated TD with the agent's log, measured as `cairn up` does before the key is asked for.
class Machine {
 public:
  Machine(const std::filesystem::path& folder, cairn::kbs::Profile profile) : profile_(profile) {
    td = cairn::device::Simulator::open(folder, true).value();
    if (profile == cairn::kbs::Profile::p1) log(eventlog::init_line(Digest<48>{}));
  }
  void measure(const eventlog::AaelEvent& event) {
    if (profile_ == cairn::kbs::Profile::p1) return log(event.text());
    extend(eventlog::tagged_event_digest(event));
    append(records_, eventlog::tagged_event_record(event));
  }
  void extend(const Digest<48>& digest) { ASSERT_TRUE(td->extend_rtmr(3, digest)); }
  Json evidence(ByteView report_data) const {
    ReportData data{};
    std::ranges::copy(report_data, data.begin());
    const auto quote = td->quote(data);
    EXPECT_TRUE(quote) << quote.error().text();
    if (profile_ == cairn::kbs::Profile::p1)
      return {{"quote", base64(*quote)},
              {"cc_eventlog", base64(td->ccel().value())},
              {"aa_eventlog", text_},
              {"gpu_evidence", nullptr}};
    return {{"quote", base64(*quote)},
            {"cc_eventlog", base64(eventlog::evidence_log(td->ccel().value(), records_).value())}};
  }

  std::unique_ptr<cairn::device::Simulator> td;
  std::string text_;
  Bytes records_;

 private:
  void log(const std::string& line) {
    text_ += line + "\n";
    extend(eventlog::text_line_digest(line));
  }
  cairn::kbs::Profile profile_;
};

}  // namespace cairn::trustee::test
