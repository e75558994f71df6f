// Blocks of 4 KiB in memory, one core: what the content cipher reaches without disks and without FUSE.
//
//   tools/build release blocks_bench && build/release/bench/cachefs/blocks_bench
#include <benchmark/benchmark.h>

#include "crypto/random.h"
#include "gocryptfs/content.h"
#include "gocryptfs/engine.h"

namespace {

using namespace cairn;
using namespace cairn::gocryptfs;

void open_run(benchmark::State& state, ContentMode mode) {
  const auto size = static_cast<std::size_t>(state.range(0));
  const auto cipher =
      ContentCipher::create(mode, crypto::random_secret(mode == ContentMode::aes_siv ? 64 : 32)).value();
  const FileId id = random_file_id();
  const Bytes plain = crypto::random_bytes(size);
  Bytes stored(cipher.sealed_size(size)), out(size);
  (void)cipher.seal_blocks(plain, 0, id, stored);
  for (auto _ : state) {
    if (!cipher.open_blocks(stored, 0, id, Holes::deny, out)) state.SkipWithError("does not open");
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * size));
  state.SetLabel(std::string(cipher.engine()));
}

void seal_run(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  const auto cipher = ContentCipher::create(ContentMode::aes_gcm, crypto::random_secret(32)).value();
  const Bytes plain = crypto::random_bytes(size);
  Bytes stored(cipher.sealed_size(size));
  for (auto _ : state) benchmark::DoNotOptimize(cipher.seal_blocks(plain, 0, random_file_id(), stored));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * size));
}

// The bare engine: its own figure, without the loop over blocks.
void engine_alone(benchmark::State& state, bool fast) {
  const Secret key = crypto::random_secret(32);
  auto engine = fast ? ipsec_engine(key) : openssl_engine(ContentMode::aes_gcm, key).value();
  if (!engine) return state.SkipWithError("not in this build");
  const auto session = engine->session();
  const Bytes nonce = crypto::random_bytes(16), aad = crypto::random_bytes(24),
              plain = crypto::random_bytes(kBlockSize);
  Bytes stored(kBlockSize + 32), out(kBlockSize);
  (void)session->seal(nonce, plain, aad, stored.data());
  for (auto _ : state) benchmark::DoNotOptimize(session->open(stored, aad, out.data()));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kBlockSize));
}

BENCHMARK_CAPTURE(engine_alone, ipsec, true);
BENCHMARK_CAPTURE(engine_alone, openssl, false);
BENCHMARK_CAPTURE(open_run, gcm, ContentMode::aes_gcm)->Arg(4096)->Arg(256 << 10)->Arg(32 << 20);
BENCHMARK_CAPTURE(open_run, siv, ContentMode::aes_siv)->Arg(256 << 10);
BENCHMARK_CAPTURE(open_run, xchacha, ContentMode::xchacha)->Arg(256 << 10);
BENCHMARK(seal_run)->Arg(256 << 10);

}  // namespace

BENCHMARK_MAIN();
