#include "cli/model/model.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <memory>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cachefs/objects/transfer.h"
#include "cachefs/store/check.h"
#include "cachefs/store/describe.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/encrypt.h"
#include "cachefs/store/limits.h"
#include "cli/model/password.h"
#include "cli/model/progress.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
using cachefs::OpenVolume;
using gocryptfs::Holes;

struct Options {
  fs::path volume, source, destination, config, manifest_out;
  std::string path, name, expect;
  KeySource key, new_key;
  cachefs::StoreOptions store;
  bool replace = false;
  unsigned threads = 0;
  std::optional<int> log_n;
  bool json = false, quiet = false, deny_holes = false, no_manifest = false, no_verify = false, seals = false;
  bool long_form = false, recursive = false;
  std::vector<std::string> mount_arguments;
};

int code_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::unauthenticated: return kModelWrongPassword;
    case ErrorCode::crypto_failed: return kModelRefused;
    case ErrorCode::unsupported: return kModelUnsupported;
    default: return kModelFailed;
  }
}
int report(const Error& error) {
  std::fprintf(stderr, "cairn model: %s\n", error.text().c_str());
  return code_of(error);
}
void say(const std::string& line) { std::fprintf(stdout, "%s\n", line.c_str()); }

Result<OpenVolume> open_volume(const Options& o) {
  CAIRN_TRY(auto source, cachefs::open_source(o.volume, o.store));
  CAIRN_TRY(const auto config, cachefs::read_config({.source = o.volume, .config = o.config},
                                                    *source));  // before a password is asked for
  CAIRN_TRY(const Secret password, take_key(o.key, false));
  CAIRN_TRY(const Secret key, gocryptfs::unwrap_master_key(config, password.view()));
  return cachefs::open_volume(std::move(source), config, key);
}

Holes holes_of(const Options& o) { return o.deny_holes ? Holes::deny : Holes::allow; }

// scrypt slows down who guesses passwords. Nobody guesses 256 random bits, and each mount would pay for it.
int log_n_of(const Options& o, const KeySource& key) {
  return o.log_n.value_or(key.new_file.empty() ? gocryptfs::kLogNDefault : gocryptfs::kLogNMin);
}

Result<int> run_encrypt(Options& o) {
  cachefs::EncryptOptions e;
  e.source = o.source;
  e.destination = o.destination;
  e.name = o.name;
  e.log_n = log_n_of(o, o.key);
  e.manifest = !o.no_manifest;
  e.seals = o.seals;
  e.verify = !o.no_verify;
  e.threads = o.threads;
  ProgressBar bar(o.quiet);
  e.progress = bar.function();
  CAIRN_TRY(e.password, take_key(o.key, true));
  auto r = cachefs::encrypt_model(e);
  if (!r && !o.key.new_file.empty())
    std::fprintf(stderr, "cairn model: the new key stays in %s; go on with --key-file %s\n", o.key.new_file.c_str(),
                 o.key.new_file.c_str());
  if (!r) return fail(std::move(r).error());
  const std::string digest = o.no_manifest ? std::string() : cachefs::measured_form(r->digest);
  if (o.json) {
    say(compact_json({{"files", r->files},
                      {"bytes", r->bytes},
                      {"cipher_bytes", r->cipher_bytes},
                      {"resumed_files", r->resumed_files},
                      {"manifest", digest}}));
  } else if (!o.quiet) {
    say("encrypted " + std::to_string(r->files) + " files, " + human_size(r->bytes) +
        (r->resumed_files != 0 ? " (" + std::to_string(r->resumed_files) + " from an earlier run)" : ""));
    if (!digest.empty()) say("manifest  " + digest);
  }
  return 0;
}

Result<int> run_decrypt(Options& o) {
  cachefs::DecryptOptions d;
  d.source = o.volume;
  CAIRN_TRY(d.opened, cachefs::open_source(o.volume, o.store));
  d.destination = o.destination;
  d.holes = !o.deny_holes;
  d.threads = o.threads;
  ProgressBar bar(o.quiet);
  d.progress = bar.function();
  CAIRN_TRY(d.password, take_key(o.key, false));
  CAIRN_TRY(const auto r, cachefs::decrypt_model(d));
  if (!o.quiet) say("decrypted " + std::to_string(r.files) + " files, " + human_size(r.bytes));
  return 0;
}

std::string long_line(const cachefs::Node& node) {
  const char type = node.type == cachefs::NodeType::folder ? 'd' : node.type == cachefs::NodeType::link ? 'l' : '-';
  return std::string(1, type) + " " + std::to_string(node.size) + "\t";
}

void list_folder(const OpenVolume& v, cachefs::NodeId id, const std::string& prefix, const Options& o) {
  std::vector<std::pair<cachefs::NodeId, std::string>> todo{{id, prefix}};
  while (!todo.empty()) {
    const auto [folder, at] = std::move(todo.back());
    todo.pop_back();
    const auto& node = v.tree.at(folder);
    for (std::uint32_t i = 0; i < node.children; ++i) {
      const auto child = node.first_child + i;
      const auto& c = v.tree.at(child);
      const std::string path = cachefs::join(at, c.name);
      say((o.long_form ? long_line(c) : "") + printable(path, 8192) +
          (o.long_form && !c.target.empty() ? " -> " + printable(c.target, 4096) : ""));
      if (o.recursive && c.type == cachefs::NodeType::folder) todo.emplace_back(child, path);
    }
  }
}

Result<int> run_ls(Options& o) {
  CAIRN_TRY(const OpenVolume v, open_volume(o));
  const auto id = v.tree.find(o.path);
  if (!id) return fail(ErrorCode::not_found, printable(o.path), "not in this volume");
  const auto& node = v.tree.at(*id);
  if (node.damaged) return fail(ErrorCode::crypto_failed, printable(o.path), "is damaged");
  if (node.type == cachefs::NodeType::folder)
    list_folder(v, *id, "", o);
  else
    say((o.long_form ? long_line(node) : "") + printable(o.path, 8192));
  for (const auto& d : v.damage)
    std::fprintf(stderr, "cairn model: damaged: %s: %s\n", printable(d.disk_path, 4096).c_str(), d.reason.c_str());
  return 0;
}

Result<int> run_cat(Options& o) {
  CAIRN_TRY(const OpenVolume v, open_volume(o));
  auto id = v.tree.find(o.path);
  if (id) id = v.tree.resolve(*id);
  if (!id) return fail(ErrorCode::not_found, printable(o.path), "not in this volume");
  CAIRN_TRY(const auto file, cachefs::CipherFile::open(*v.source, v.tree, *id, v.volume));
  Bytes piece(cachefs::kPieceBytes);
  for (std::uint64_t at = 0; at < file.size();) {
    CAIRN_TRY(const std::size_t got, file.read(at, piece, holes_of(o)));
    CAIRN_CHECK(write_all(STDOUT_FILENO, ByteView(piece).first(got)));
    at += got;
  }
  return 0;
}

Result<int> run_info(Options& o) {
  CAIRN_TRY(const auto source, cachefs::open_source(o.volume, o.store));
  CAIRN_TRY(const auto c, cachefs::read_config({.source = o.volume, .config = o.config}, *source));
  const auto mode = c.features.has(gocryptfs::Feature::xchacha)   ? gocryptfs::ContentMode::xchacha
                    : c.features.has(gocryptfs::Feature::aes_siv) ? gocryptfs::ContentMode::aes_siv
                                                                  : gocryptfs::ContentMode::aes_gcm;
  if (o.json) {
    say(compact_json(
        {{"creator", c.creator},
         {"features", c.features.text()},
         {"encrypted_key_bytes", c.encrypted_key.size()},
         {"scrypt", {{"salt_bytes", c.scrypt.salt.size()}, {"n", c.scrypt.n}, {"r", c.scrypt.r}, {"p", c.scrypt.p}}},
         {"content_encryption", gocryptfs::name(mode)},
         {"default_features", c.features == gocryptfs::kDefaultFeatures}}));
    return 0;
  }
  say("Creator:           " + printable(c.creator));
  say("FeatureFlags:      " + c.features.text());
  say("EncryptedKey:      " + std::to_string(c.encrypted_key.size()) + "B");
  say("ScryptObject:      Salt=" + std::to_string(c.scrypt.salt.size()) + "B N=" + std::to_string(c.scrypt.n) +
      " R=" + std::to_string(c.scrypt.r) + " P=" + std::to_string(c.scrypt.p) + " KeyLen=32");
  say("contentEncryption: " + std::string(gocryptfs::name(mode)));
  return 0;
}

Result<int> run_fsck(Options& o) {
  CAIRN_TRY(const OpenVolume v, open_volume(o));
  std::optional<ProgressBar> bar(std::in_place, o.quiet);
  const auto progress = bar->function();
  CAIRN_TRY(const auto r, cachefs::check_volume(v, holes_of(o), o.threads, progress));
  bar.reset();
  Json list = Json::array();
  for (const auto& d : r.damage) {
    const std::string place = d.offset ? ", offset " + std::to_string(*d.offset) : "";
    if (o.json)
      list.push_back({{"path", printable(d.disk_path, 8192)},
                      {"offset", d.offset ? Json(*d.offset) : Json()},
                      {"reason", d.reason}});
    else
      say("damaged: " + printable(d.disk_path, 8192) + place + ": " + d.reason);
  }
  if (o.json)
    say(compact_json({{"files", r.files}, {"bytes", r.bytes}, {"damaged", r.damaged}, {"damage", list}}));
  else if (r.clean())
    say("fsck summary: no problems found in " + std::to_string(r.files) + " files, " + human_size(r.bytes));
  else
    say("fsck summary: " + std::to_string(r.damaged) + " corrupt places");
  return r.clean() ? 0 : kModelDamaged;
}

// The manifest of a plain folder or file, or of a volume: the stored one, verified against the contents.
Result<std::string> manifest_text(Options& o, const cachefs::ProgressFn& progress,
                                  std::vector<std::string>& described) {
  std::error_code ec;
  if (!cachefs::is_store_url(o.source.string()) && !fs::exists(o.source / gocryptfs::kConfName, ec) &&
      o.config.empty()) {
    described = cachefs::describe_plain(o.source);
    CAIRN_TRY(const auto manifest, cachefs::manifest_of_plain(o.source, o.name, o.threads, progress));
    return cachefs::write_manifest(manifest);
  }
  o.volume = o.source;
  CAIRN_TRY(const OpenVolume v, open_volume(o));
  described = cachefs::describe_volume(v);
  const auto stored = cachefs::stored_manifest(v);
  if (!stored && stored.error().code == ErrorCode::not_found) {
    const auto real = fs::weakly_canonical(o.source, ec);
    CAIRN_TRY(const auto manifest,
              cachefs::manifest_of_volume(v, o.name.empty() ? real.filename().string() : o.name, o.threads, progress));
    return cachefs::write_manifest(manifest);
  }
  if (!stored) return stored;
  CAIRN_TRY(const auto manifest, cachefs::parse_manifest(*stored));
  CAIRN_CHECK(cachefs::verify_volume(v, manifest, o.threads, progress));
  return stored;
}

Result<int> run_digest(Options& o) {
  std::optional<ProgressBar> bar(std::in_place, o.quiet || o.json);
  const auto progress = bar->function();
  std::vector<std::string> described;
  CAIRN_TRY(const std::string text, manifest_text(o, progress, described));
  bar.reset();
  const std::string digest = cachefs::measured_form(cachefs::manifest_digest(text));
  if (!o.manifest_out.empty()) CAIRN_CHECK(write_text(o.manifest_out, text));
  if (o.json) {
    CAIRN_TRY(const auto manifest, cachefs::parse_manifest(text));
    say(compact_json(
        {{"digest", digest}, {"name", manifest.name}, {"files", manifest.files.size()}, {"described", described}}));
  } else {
    say(digest);
    for (const auto& line : described) std::fprintf(stderr, "%s\n", line.c_str());
  }
  if (o.expect.empty() || o.expect == digest) return 0;
  return fail(ErrorCode::crypto_failed, "digest", "expected " + printable(o.expect) + ", this is " + digest);
}

Result<int> run_passwd(Options& o) {
  CAIRN_TRY(const auto config, cachefs::read_config({.source = o.volume, .config = o.config}));
  CAIRN_TRY(const Secret old_password, take_key(o.key, false));
  CAIRN_TRY(const Secret key, gocryptfs::unwrap_master_key(config, old_password.view()));
  CAIRN_TRY(const Secret password, take_key(o.new_key, true));
  CAIRN_TRY(auto changed, gocryptfs::wrap_master_key(key, password.view(), config.features, config.long_name_max,
                                                     log_n_of(o, o.new_key)));
  changed.creator = config.creator;
  const fs::path path = o.config.empty() ? o.volume / gocryptfs::kConfName : o.config;
  CAIRN_CHECK(write_text(path, gocryptfs::write_config(changed), 0400));
  if (!o.quiet)
    say("the password is changed; whoever has an old copy of gocryptfs.conf and the old password still has the master "
        "key");
  return 0;
}

Result<int> say_transfer(const Options& o, const char* done, const cachefs::TransferReport& r) {
  if (o.json) {
    say(compact_json({{"files", r.files}, {"bytes", r.bytes}, {"resumed_bytes", r.resumed_bytes}, {"index", r.index}}));
  } else if (!o.quiet) {
    say(std::string(done) + " " + std::to_string(r.files) + " files, " + human_size(r.bytes) +
        (r.resumed_bytes != 0 ? " (" + human_size(r.resumed_bytes) + " from an earlier run)" : ""));
    say(r.index.empty() ? "the store has no list of digests: pushed by another tool" : "objects   " + r.index);
  }
  return 0;
}

// Pushes or pulls, with what both have in common.
template <class TransferOptions>
Result<int> transfer(const Options& o, TransferOptions options,
                     Result<cachefs::TransferReport> (*run)(const TransferOptions&), const char* done) {
  options.store = o.store;
  if (o.threads != 0) options.threads = o.threads;
  std::optional<ProgressBar> bar(std::in_place, o.quiet);
  options.progress = bar->function();
  CAIRN_TRY(const auto report, run(options));
  bar.reset();
  return say_transfer(o, done, report);
}

Result<int> run_push(Options& o) {
  cachefs::PushOptions p;
  p.source = o.volume;
  p.destination = o.destination.string();
  p.replace = o.replace;
  return transfer(o, std::move(p), cachefs::push_volume, "pushed");
}

Result<int> run_pull(Options& o) {
  cachefs::PullOptions p;
  p.source = o.source.string();
  p.destination = o.destination;
  return transfer(o, std::move(p), cachefs::pull_volume, "pulled");
}

// The options of the store that were given, for the program that mounts.
std::vector<std::string> store_words(const cachefs::StoreOptions& s) {
  std::vector<std::string> out;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) out.insert(out.end(), {name, value});
  };
  const cachefs::StoreOptions usual;
  add("--store-endpoint", s.endpoint);
  add("--store-region", s.region);
  add("--store-style", s.style);
  add("--store-credentials", s.credentials.string());
  add("--store-ca", s.ca.string());
  if (s.parallel != usual.parallel) add("--store-parallel", std::to_string(s.parallel));
  if (s.timeout_s != usual.timeout_s) add("--store-timeout", std::to_string(s.timeout_s));
  if (s.anonymous) out.emplace_back("--store-anonymous");
  return out;
}

// The program of its own privilege does it: beside this one, else by the search path.
Result<int> run_mount_program(Options& o) {
  std::error_code ec;
  const fs::path beside = fs::read_symlink("/proc/self/exe", ec).parent_path() / "cairn-cachefs";
  const std::string program = fs::exists(beside, ec) ? beside.string() : "cairn-cachefs";
  if (!o.key.file.empty() == o.key.standard_input)
    return fail(ErrorCode::invalid_argument, "key", "give it with --key-file FILE or --key-stdin");
  std::vector<std::string> words{"cairn-cachefs", "mount",
                                 "--source",      o.volume.string(),
                                 "--mountpoint",  o.destination.string(),
                                 "--passfile",    o.key.standard_input ? "-" : o.key.file.string()};
  for (std::string& word : store_words(o.store)) words.push_back(std::move(word));
  words.insert(words.end(), o.mount_arguments.begin(), o.mount_arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(program.c_str(), argv.data());
  return fail(errno_error(errno, program, "cannot start"));
}

using Verb = Result<int> (*)(Options&);

CLI::App* add_verb(CLI::App& model, std::string name, std::string help, const std::shared_ptr<Options>& o,
                   int& exit_code, Verb run) {
  CLI::App* app = model.add_subcommand(std::move(name), std::move(help));
  app->callback([o, run, &exit_code] {
    auto result = run(*o);
    exit_code = result ? *result : report(result.error());
  });
  return app;
}

void add_volume(CLI::App* app, Options& o) {
  app->add_option("volume", o.volume, "the encrypted folder, or s3://BUCKET/PREFIX")->required();
  app->add_option("--config", o.config, "gocryptfs.conf, where it is not in the folder");
  add_store_options(*app, o.store, false);
}
void add_work(CLI::App* app, Options& o) {
  app->add_option("--threads", o.threads, "default: one per core");
  app->add_flag("-q,--quiet", o.quiet, "no progress and no summary");
}

void add_writers(CLI::App& model, const std::shared_ptr<Options>& o, int& exit_code) {
  auto* encrypt =
      add_verb(model, "encrypt", "encrypt a model (a folder or one file) into a new folder", o, exit_code, run_encrypt);
  encrypt->add_option("source", o->source, "the plain model")->required();
  encrypt->add_option("destination", o->destination, "the folder to make; an interrupted run goes on")->required();
  add_key_options(*encrypt, o->key, true);
  encrypt->add_option("--name", o->name, "the model's name in its manifest; default: the source's");
  encrypt->add_option("--log-n", o->log_n,
                      "cost of the password's scrypt, 10 to 20; default 16, for a new random key 10");
  encrypt->add_flag("--no-manifest", o->no_manifest,
                    "without .cairn-manifest.json: for trees whose names are not UTF-8");
  encrypt
      ->add_flag("--seals", o->seals, "write .cairn-seal.bin too: mounts can then compare what they read (verify=seal)")
      ->excludes("--no-manifest");
  encrypt->add_flag("--no-verify", o->no_verify, "do not read back what was written");
  encrypt->add_flag("--json", o->json);
  add_work(encrypt, *o);
  auto* decrypt = add_verb(model, "decrypt", "write the plain model to a new folder", o, exit_code, run_decrypt);
  add_volume(decrypt, *o);
  decrypt->add_option("destination", o->destination, "the folder to make")->required();
  add_key_options(*decrypt, o->key, false);
  decrypt->add_flag("--deny-holes", o->deny_holes, "full blocks of zeros are damage");
  add_work(decrypt, *o);
  auto* passwd = add_verb(model, "passwd", "change the password", o, exit_code, run_passwd);
  passwd->add_option("volume", o->volume, "the encrypted folder")->required();
  passwd->add_option("--config", o->config, "gocryptfs.conf, where it is not in the folder");
  add_key_options(*passwd, o->key, false);
  passwd->add_option("--new-key-file", o->new_key.file, "file whose first line is the new password");
  passwd->add_option("--new-key", o->new_key.new_file, "make this file with a random new password");
  passwd->add_option("--log-n", o->log_n,
                     "cost of the password's scrypt, 10 to 20; default 16, for a new random key 10");
  passwd->add_flag("-q,--quiet", o->quiet);
}

void add_readers(CLI::App& model, const std::shared_ptr<Options>& o, int& exit_code) {
  auto* ls = add_verb(model, "ls", "list the plain names", o, exit_code, run_ls);
  add_volume(ls, *o);
  ls->add_option("path", o->path, "in the model");
  add_key_options(*ls, o->key, false);
  ls->add_flag("-l", o->long_form, "with type and size");
  ls->add_flag("-R", o->recursive, "folders in folders too");
  auto* cat = add_verb(model, "cat", "write one plain file to standard output", o, exit_code, run_cat);
  add_volume(cat, *o);
  cat->add_option("path", o->path, "in the model")->required();
  add_key_options(*cat, o->key, false);
  cat->add_flag("--deny-holes", o->deny_holes, "full blocks of zeros are damage");
  auto* info = add_verb(model, "info", "show the volume's parameters; no password needed", o, exit_code, run_info);
  add_volume(info, *o);
  info->add_flag("--json", o->json);
  auto* fsck = add_verb(model, "fsck", "check every block; lists each damaged place", o, exit_code, run_fsck);
  add_volume(fsck, *o);
  add_key_options(*fsck, o->key, false);
  fsck->add_flag("--deny-holes", o->deny_holes, "full blocks of zeros are damage");
  fsck->add_flag("--json", o->json);
  add_work(fsck, *o);
  auto* digest = add_verb(model, "digest", "the digest that is attested: of a plain model or of a volume", o, exit_code,
                          run_digest);
  digest->add_option("model", o->source, "a plain folder or file, an encrypted folder, or s3://BUCKET/PREFIX")
      ->required();
  digest->add_option("--config", o->config, "gocryptfs.conf, where it is not in the folder");
  add_store_options(*digest, o->store, false);
  add_key_options(*digest, o->key, false);
  digest->add_option("--name", o->name, "the model's name in its manifest");
  digest->add_option("--manifest", o->manifest_out, "write the manifest to this file");
  digest->add_option("--expect", o->expect, "fail unless the digest is this one (sha384:HEX)");
  digest->add_flag("--json", o->json);
  add_work(digest, *o);
}

void add_transfers(CLI::App& model, const std::shared_ptr<Options>& o, int& exit_code) {
  auto* push = add_verb(model, "push", "upload an encrypted folder to an object store; an interrupted run goes on", o,
                        exit_code, run_push);
  push->add_option("volume", o->volume, "the encrypted folder")->required();
  push->add_option("destination", o->destination, "s3://BUCKET/PREFIX")->required();
  push->add_flag("--replace", o->replace, "put it in the place of the volume and the objects that are there");
  auto* pull = add_verb(model, "pull", "download an encrypted folder from an object store; an interrupted run goes on",
                        o, exit_code, run_pull);
  pull->add_option("source", o->source, "s3://BUCKET/PREFIX")->required();
  pull->add_option("destination", o->destination, "the folder to make")->required();
  for (CLI::App* app : {push, pull}) {
    add_store_options(*app, o->store, false);
    app->add_option("--threads", o->threads, "parts under way at most; 8");
    app->add_flag("-q,--quiet", o->quiet, "no progress and no summary");
    app->add_flag("--json", o->json);
  }
}

}  // namespace

void add_model(CLI::App& app, int& exit_code) {
  CLI::App* model = app.add_subcommand(
      "model", "encrypted models: encrypt, decrypt, ls, cat, info, fsck, digest, passwd, mount, push, pull");
  model->require_subcommand(1);
  const auto o = std::make_shared<Options>();
  add_writers(*model, o, exit_code);
  add_readers(*model, o, exit_code);
  add_transfers(*model, o, exit_code);
  auto* mount = add_verb(*model, "mount", "mount until Ctrl-C, read-only unless '-- --rw' (by cairn-cachefs)", o,
                         exit_code, run_mount_program);
  mount->add_option("volume", o->volume, "the encrypted folder, or s3://BUCKET/PREFIX")->required();
  add_store_options(*mount, o->store, false);
  mount->add_option("mountpoint", o->destination, "an empty folder")->required();
  add_key_options(*mount, o->key, false);
  mount->add_option("arguments", o->mount_arguments, "after --: further options of cairn-cachefs mount");
}

}  // namespace cairn::cli
