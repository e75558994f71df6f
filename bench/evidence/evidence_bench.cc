// Full verification of a real TDX quote, with parsing, on one core: nothing cached, then one more cache each. The
// caches are warm, but time and revocation are judged anew on every quote. fresh_verifier makes a verifier per quote.
//
// "nothing_cached" is the cold figure: everything is parsed, every signature is checked, and every key but the pinned
// root's is made from its bytes. "key_tables_only" adds the tables of the other authorities' keys.
//
//   tools/build release evidence_bench && build/release/bench/evidence/evidence_bench
#include <benchmark/benchmark.h>

#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "evidence/pki/p256.h"
#include "evidence/tdx/tcb.h"
#include "evidence/tdx/verify.h"

namespace {

using namespace cairn;
namespace fs = std::filesystem;

struct Vector {
  Bytes quote;
  tdx::Collateral collateral;
  tdx::Options options;
};

const Vector& vector() {
  static const Vector v = [] {
    const fs::path folder = fs::path(CAIRN_SHARED_DATA) / "tdx";
    const Json cases = parse_json(read_text(folder / "cases-real.json").value()).value();
    const Json& c = cases.at("cases").at(4);  // t05: TDX module version 1, TCB info of average size
    const auto bytes = [&](const char* m) { return read_file(folder / c.at(m).get<std::string>()).value(); };
    const auto text = [&](const char* m) { return std::string(as_text(bytes(m))); };
    return Vector{.quote = bytes("quote"),
                  .collateral = {.tcb_info = text("tcb_info"),
                                 .tcb_signing_chain = text("tcb_signing_chain"),
                                 .qe_identity = text("qe_identity"),
                                 .qe_signing_chain = text("qe_signing_chain"),
                                 .root_crl = bytes("root_crl"),
                                 .pck_crl = bytes("pck_crl"),
                                 .pck_crl_issuer_chain = text("pck_crl_issuer_chain"),
                                 .pck_chain = {}},
                  .options = {.time = {c.at("unix_time").get<std::int64_t>()}}};
  }();
  return v;
}

void run(benchmark::State& state, tdx::Verifier::CacheSizes sizes) {
  const Vector& v = vector();
  tdx::Verifier verifier({tdx::intel_root()}, sizes);
  for (auto _ : state) {
    const tdx::Verdict verdict = verifier.verify(v.quote, v.collateral, v.options);
    if (!verdict.authentic()) return state.SkipWithError(verdict.detail);
  }
  state.SetItemsProcessed(state.iterations());
}

// One-shot verifiers: what `cairn verify` does for one file.
void fresh_verifier(benchmark::State& state) {
  const Vector& v = vector();
  for (auto _ : state) {
    const tdx::Verdict verdict = tdx::verify(v.quote, v.collateral, {tdx::intel_root()}, v.options);
    if (!verdict.authentic()) return state.SkipWithError(verdict.detail);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(fresh_verifier);

void nothing_cached(benchmark::State& s) { run(s, {.collaterals = 0, .chains = 0, .bindings = 0, .keys = 0}); }
void key_tables_only(benchmark::State& s) { run(s, {.collaterals = 0, .chains = 0, .bindings = 0}); }
void collateral_cached(benchmark::State& s) { run(s, {.collaterals = 16, .chains = 0, .bindings = 0}); }
void chain_cached(benchmark::State& s) { run(s, {.collaterals = 16, .chains = 1024, .bindings = 0}); }
void binding_cached(benchmark::State& s) { run(s, {.collaterals = 16, .chains = 1024, .bindings = 1024}); }
// Warm-ups long enough for the tables of keys, which are arithmetic and no cache of anything verified.
BENCHMARK(nothing_cached)->MinWarmUpTime(1.5);
BENCHMARK(key_tables_only)->MinWarmUpTime(1.5);
BENCHMARK(collateral_cached)->MinWarmUpTime(1);
BENCHMARK(chain_cached);
BENCHMARK(binding_cached);

void parse_quote(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(tdx::parse_quote(vector().quote));
}
BENCHMARK(parse_quote);

void parse_tcb_info(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(tdx::parse_tcb_info(vector().collateral.tcb_info));
}
BENCHMARK(parse_tcb_info);

// The floor under all of it: one P-256 verification.
void p256_verify(benchmark::State& state) {
  const tdx::ParsedQuote q = tdx::parse_quote(vector().quote).value();
  const pki::P256Key key = pki::P256Key::from_point(q.quote.attestation_key).value();
  for (auto _ : state) benchmark::DoNotOptimize(key.verify_message(q.signed_bytes, q.quote.signature));
}
BENCHMARK(p256_verify);

}  // namespace

int main(int argc, char** argv) {
  if (!fs::exists(fs::path(CAIRN_SHARED_DATA) / "tdx/cases-real.json")) {
    std::puts("shared data not present: nothing to measure");
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
