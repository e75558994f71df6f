// Full verification of one GPU's evidence on one core: report, certificates, driver and VBIOS RIM, seven OCSP answers,
// golden values. `cached`: RIMs, OCSP answers and the device's chain are known; `new_device`: only its chain is not;
// `cold`: nothing is. Times and revocation are judged anew in each.
//
//   tools/build release nvidia_bench && build/release/bench/evidence/nvidia_bench
#include <benchmark/benchmark.h>

#include "device/simulator/gpu/gpu_simulator.h"

namespace {

using namespace cairn;
constexpr Time kAt{1795305600};

struct Machine {
  device::GpuSimulator simulator = device::GpuSimulator::make({}, kAt).value();
  nvidia::Nonce nonce{};
  nvidia::Evidence evidence = simulator.evidence(nonce).value();
  nvidia::Collateral collateral = simulator.collateral(kAt).value();
  nvidia::Policy policy;
  Machine() { policy.allow_simulated = true; }
};

void run(benchmark::State& state, nvidia::Verifier::CacheSizes sizes) {
  const Machine machine;
  nvidia::Verifier verifier(machine.simulator.roots(), sizes);
  const nvidia::Options options{.time = kAt, .nonce = machine.nonce};
  for (auto _ : state) {
    const nvidia::Verdict verdict = verifier.verify(machine.evidence, machine.collateral, options, machine.policy);
    if (!verdict.affirming()) state.SkipWithError("not affirming");
  }
  state.SetItemsProcessed(state.iterations());
}

void cached(benchmark::State& state) { run(state, {}); }
void new_device(benchmark::State& state) { run(state, {.chains = 0}); }
void cold(benchmark::State& state) { run(state, {.chains = 0, .rims = 0, .ocsp = 0}); }

void parse_rim(benchmark::State& state) {
  const Machine machine;
  const Bytes& document = machine.collateral.rims.begin()->second;
  for (auto _ : state) benchmark::DoNotOptimize(nvidia::parse_rim(document));
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(cached);
BENCHMARK(new_device);
BENCHMARK(cold);
BENCHMARK(parse_rim);

}  // namespace

BENCHMARK_MAIN();
