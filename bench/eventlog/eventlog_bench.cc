// Event logs and simulated quotes, one thread: a full 64 KiB CCEL parsed (bar: 200 us), replayed and turned into
// claims; a text AAEL; quotes of the simulator.
#include <benchmark/benchmark.h>

#include <filesystem>

#include "crypto/hash.h"
#include "device/simulator/simulator.h"
#include "evidence/eventlog/claims.h"

namespace {

using namespace cairn;
using namespace cairn::eventlog;

// 64 KiB of GRUB commands and AAEL events, as a long boot leaves them.
const cairn::Bytes& full_log() {
  static const cairn::Bytes log = [] {
    cairn::Bytes out = spec_id_record(1, {Algorithm::sha384});
    for (int i = 0; out.size() < (64U << 10) - 512; ++i) {
      const std::string command = "insmod part_" + std::to_string(i);
      const std::string text = "grub_cmd " + command + '\0';
      append(out, event_record(3, type::ipl, crypto::sha384(as_bytes(command + '\0')), as_bytes(text)));
      append(out, tagged_event_record({"measure.cairn.v1", "model/m" + std::to_string(i), std::string(103, 'a')}));
    }
    out.resize(64U << 10, 0xFF);
    return out;
  }();
  return log;
}

void parse(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(parse_ccel(full_log()));
  state.counters["events"] = static_cast<double>(parse_ccel(full_log())->events.size());
}
void parse_and_replay(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(replay_rtmrs(*parse_ccel(full_log())));
}
void claims(benchmark::State& state) {
  const auto log = parse_ccel(full_log());
  for (auto _ : state) benchmark::DoNotOptimize(uefi_event_logs(*log));
}
void text_log(benchmark::State& state) {
  std::string text = init_line({}) + "\n";
  for (int i = 0; i < 100; ++i)
    text += "measure.cairn.v1 model/m" + std::to_string(i) + " " + std::string(103, 'a') + "\n";
  for (auto _ : state) benchmark::DoNotOptimize(replay_text_log(*parse_text_log(text)));
}
void simulated_quote(benchmark::State& state) {
  char name[] = "/tmp/cairn-bench-XXXXXX";
  const std::filesystem::path dir = ::mkdtemp(name);
  {
    const auto td = device::Simulator::open(dir / "td", true).value();
    for (auto _ : state) benchmark::DoNotOptimize(td->quote({}));
  }
  std::filesystem::remove_all(dir);
}

BENCHMARK(parse)->Unit(benchmark::kMicrosecond);
BENCHMARK(parse_and_replay)->Unit(benchmark::kMicrosecond);
BENCHMARK(claims)->Unit(benchmark::kMicrosecond);
BENCHMARK(text_log)->Unit(benchmark::kMicrosecond);
BENCHMARK(simulated_quote)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
