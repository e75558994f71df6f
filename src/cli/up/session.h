// One run of `cairn up`: what was asked, where things are, what runs, and what came out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/secret.h"
#include "cli/up/process.h"
#include "cli/up/screen.h"
#include "cli/up/tamper.h"

namespace cairn::cli {

struct UpOptions {
  bool once = false;
  std::filesystem::path json_file;
  std::filesystem::path model;        // a plain model, file or folder; empty: what was encrypted before
  std::string engine_url;             // a running engine instead of one of ours
  std::filesystem::path engine_root;  // root folder that holds llama-server
  std::filesystem::path engine_program = "/usr/bin/llama-server";  // inside engine_root, or on this machine
  std::string prompt = "What is the capital of France? Answer in one short sentence.";
  std::string tee = "auto";
  Tamper tamper = Tamper::none;
  std::filesystem::path state;  // kept from run to run
  std::uint16_t trustee_port = 8081;
  std::uint16_t proxy_port = 41000;
  std::uint16_t port = 8080;  // the protected port of the inference service
  unsigned max_tokens = 64;
  bool trust_new_engine = false;  // register the engine's measurement although another one is registered
};

// Milliseconds of each part of the run, in the order of the JSON result.
struct Timings {
  std::int64_t setup = 0, trustee_ready = 0, attest = 0, key = 0, mount = 0, engine_ready = 0, first_token = 0,
               total = 0;
};

// What the owner of the model knows about it; kept beside the ciphertext, holds no secret.
struct ModelRecord {
  std::string name;  // of the model, as measured
  std::string file;  // of the file the engine loads, relative to the model's folder
  std::uint64_t files = 0, bytes = 0;
  std::string sha256_plain;     // see model_sha256
  std::string manifest_digest;  // 96 hex digits: SHA-384 of the manifest
};

struct Outcome {
  std::string answer;
  std::string engine_name, engine_version, engine_url;
  bool simulated = false;
  std::string verdict_status;  // "affirming", ...
  std::vector<std::string> policy_ids;
  Json trust_vector = Json::object();
  std::vector<std::string> rtmr;  // four, hex
  std::string mrtd, root;         // root: which trust anchor the quote led to
  std::string sha256_mounted;
  bool key_released = false;
  std::string tls_version, tls_group;
  std::optional<bool> plaintext_seen;
};

// A refusal by attestation or integrity: exit code 3 and one sentence.
struct Refusal {
  std::string code;  // stable: "quote_rejected", "key_refused", "model_damaged", ...
  std::string sentence;
};

struct Session {
  UpOptions options;
  Screen* screen = nullptr;
  std::filesystem::path programs;  // the folder that holds cairn-trustee and its siblings
  std::filesystem::path run;       // on a tmpfs, 0700, gone afterwards: sockets, the key for a moment, the mount point
  std::filesystem::path logs;
  ModelRecord model;
  Timings timings;
  Outcome outcome;
  std::optional<Refusal> refusal;
  std::list<Process> processes;  // in order of start; stopped in reverse
  std::uint16_t engine_port = 0;
  std::filesystem::path engine_replacement;  // Tamper::engine: another binary in the program's place
  std::string engine_address;                // host:port that the gateway forwards to
  std::uint16_t client_control_port = 0;     // of the client's gateway: its status
  std::function<bool()> stopping;            // Ctrl-C or SIGTERM was received

  [[nodiscard]] std::filesystem::path cipher_dir() const { return options.state / "model" / "cipher"; }
  [[nodiscard]] std::filesystem::path mount_dir() const { return run / "mnt"; }
  [[nodiscard]] std::filesystem::path key_file() const { return run / "key" / "model-decryption-key"; }
  [[nodiscard]] std::filesystem::path agent_socket() const { return run / "aa.sock"; }
  [[nodiscard]] std::filesystem::path trustee_dir() const { return options.state / "trustee"; }
  [[nodiscard]] std::filesystem::path simulator_dir() const { return options.state / "simulator"; }
  [[nodiscard]] std::string trustee_url() const {
    return "http://127.0.0.1:" + std::to_string(options.trustee_port) + "/api";
  }
  // Starts one of our programs with its log in logs/NAME.log.
  [[nodiscard]] Result<Process*> start(const std::string& program, std::vector<std::string> arguments,
                                       std::vector<std::string> environment = {}, const std::string& instance = {});
  // An error naming the process that ended, or nothing while all run.
  [[nodiscard]] Result<void> all_running();
  // Polls `ready` every few milliseconds until it is true, for at most `timeout_ms`, watching the processes.
  [[nodiscard]] Result<void> wait_until(std::string_view what, std::int64_t timeout_ms,
                                        const std::function<bool()>& ready);
  // The refusal as an Error for the way up; remembers it for the exit code.
  [[nodiscard]] std::unexpected<Error> refuse(std::string code, std::string sentence);
};

inline constexpr std::string_view kKeyId = "kbs:///default/aliyun/model-decryption-key";
inline constexpr std::string_view kKeyPath = "default/aliyun/model-decryption-key";

// SHA-256 over a model's files: of the one file's bytes; of several, of the lines "<sha256 hex>  <path>\n" sorted by
// path. The manifest, which encryption adds, does not count.
[[nodiscard]] Result<std::string> model_sha256(const std::filesystem::path& folder_or_file,
                                               const std::function<void(std::uint64_t)>& progress = {});

// The steps, each in a file of its own name; in this order.
[[nodiscard]] Result<void> prepare_model(Session& session);
[[nodiscard]] Result<void> start_trustee(Session& session);
[[nodiscard]] Result<void> start_tee(Session& session);
[[nodiscard]] Result<void> appraise(Session& session);
// After a refusal: the key broker, asked by the same machine, must refuse too.
[[nodiscard]] Result<void> confirm_key_is_refused(Session& session);
[[nodiscard]] Result<void> release_key_and_mount(Session& session);
[[nodiscard]] Result<void> start_engine(Session& session);
[[nodiscard]] Result<void> open_tunnel(Session& session);
// With Tamper::mitm the protected port is held by impostors in turn, and nothing may reach them.
[[nodiscard]] Result<void> ask(Session& session);

// The prompt, through the proxy. A peer that was not attested is a refusal. Prints the answer where `show` is set.
struct Answer {
  std::string text;
  std::int64_t first_token_ms = 0;
};
[[nodiscard]] Result<Answer> send_prompt(Session& session, bool show);

}  // namespace cairn::cli
