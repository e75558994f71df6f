// The key's way: released by the key broker after attestation, held in memory for a moment, used to mount the model.
#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "cli/up/owner.h"
#include "cli/up/session.h"
#include "crypto/random.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kKeyMs = 60'000, kMountMs = 120'000;
constexpr std::string_view kWrongKeyPath = "default/aliyun/another-key";

// Runs the data hub once; the key is then in key_file().
Result<void> fetch_key(Session& s) {
  CAIRN_CHECK(make_dirs(s.key_file().parent_path(), 0700));
  std::string uri(kKeyId);
  if (s.options.tamper == Tamper::key) {
    CAIRN_CHECK(store_key(s, kWrongKeyPath, Secret::take(base64url(crypto::random_bytes(32)))));
    uri = "kbs:///" + std::string(kWrongKeyPath);
  }
  CAIRN_TRY(
      Process* const hub,
      s.start("cairn-cdh", {"--trustee-url", s.trustee_url(), "--aa-socket", "unix://" + s.agent_socket().string(),
                            "get-resource", "--resource-uri", uri, "--resource-path", s.key_file().string()}));
  const auto status = hub->wait(kKeyMs);
  const fs::path log = hub->log();
  s.processes.pop_back();
  if (!status) return fail(status.error());
  if (*status != 0) {
    const std::string cause = last_error_line(log);
    return s.refuse("key_refused", "The key broker did not release the key: " + cause);
  }
  if (std::error_code ec; !fs::exists(s.key_file(), ec))
    return fail(ErrorCode::internal, "cairn-cdh", "it ended well but left no key");
  s.outcome.key_released = true;
  return {};
}

Result<void> mount(Session& s) {
  fs::path source = s.cipher_dir();
  if (s.options.tamper == Tamper::model) {
    source = s.options.state / "model" / "tampered";
    std::error_code ec;
    fs::remove_all(source, ec);
    CAIRN_CHECK(copy_with_a_flipped_bit(s.cipher_dir(), source));
  }
  CAIRN_CHECK(make_dirs(s.mount_dir(), 0755));
  const fs::path ready = s.run / "mounted";
  CAIRN_CHECK(
      s.start("cairn-cachefs", {"mount", "--source", source.string(), "--mountpoint", s.mount_dir().string(),
                                "--passfile", s.key_file().string(), "--wipe-passfile", "--verify", "full",
                                "--expect-root", "sha384:" + s.model.manifest_digest, "--ready-file", ready.string()}));
  const auto mounted = s.wait_until("verifying and mounting", kMountMs, [&] {
    std::error_code ec;
    return fs::exists(ready, ec);
  });
  if (!mounted) {
    const auto status = s.processes.back().ended();
    if (!status) return fail(mounted.error());
    const std::string cause = last_error_line(s.processes.back().log());
    s.processes.pop_back();
    return s.options.tamper == Tamper::key
               ? s.refuse("key_wrong", "The released key does not open the model: " + cause)
               : s.refuse("model_damaged", "The encrypted model cannot be trusted: " + cause);
  }
  if (std::error_code ec; fs::exists(s.key_file(), ec))
    return fail(ErrorCode::internal, s.key_file().string(), "the key file was not wiped");
  return {};
}

Result<void> compare(Session& s) {
  const auto digest = model_sha256(s.mount_dir(), [&](std::uint64_t done) {
    s.screen->progress("comparing " + human_bytes(done) + " of " + human_bytes(s.model.bytes));
  });
  if (!digest)
    return s.refuse("model_damaged",
                    "The encrypted model cannot be trusted: reading it failed, " + digest.error().text());
  s.outcome.sha256_mounted = *digest;
  if (*digest != s.model.sha256_plain)
    return s.refuse("model_differs", "The mounted model is not the one that was encrypted: their SHA-256 differ.");
  return {};
}

}  // namespace

Result<void> confirm_key_is_refused(Session& s) {
  if (s.model.files == 0) return {};
  s.screen->begin("Key release");
  const auto verdict = s.refusal;
  const auto key = fetch_key(s);
  s.refusal = verdict;
  if (!key) {
    s.screen->done("refused by the key broker too");
    return {};
  }
  std::error_code ec;
  fs::remove(s.key_file(), ec);
  s.refusal.reset();
  return fail(ErrorCode::internal, "key broker", "it released the key to a machine whose evidence was refused");
}

Result<void> release_key_and_mount(Session& s) {
  if (s.model.files == 0) return {};
  std::int64_t started = monotonic_ms();
  s.screen->begin("Key release");
  CAIRN_CHECK(fetch_key(s));
  s.timings.key = monotonic_ms() - started;
  s.screen->done(std::string(kKeyId));
  started = monotonic_ms();
  s.screen->begin("Mounting the model");
  CAIRN_CHECK(mount(s));
  CAIRN_CHECK(compare(s));
  s.timings.mount = monotonic_ms() - started;
  s.screen->done("decrypted in memory, equal to the plain model");
  return {};
}

}  // namespace cairn::cli
