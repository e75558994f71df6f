#include "cli/trustee/trustee.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>

#include "base/encoding.h"
#include "base/file.h"
#include "cli/trustee/admin_client.h"
#include "kbs_protocol/client.h"
#include "policy/defaults.h"

namespace cairn::cli {
namespace {

// Every option of every verb: CLI11 fills what the verb used.
struct Options {
  std::string url = "http://127.0.0.1:8081/api", cert_file, key_file;
  std::string path, file, built_in, id = "default", name, repository, type, tee_key_file, token_file;
  bool merge = false;
};
using Verb = std::function<net::Task<>(AdminClient&, const Options&)>;

Result<std::unique_ptr<AdminClient>> client_of(const Options& options) {
  AdminOptions admin{.url = options.url, .extra_roots_pem = {}};
  if (!options.cert_file.empty()) {
    CAIRN_TRY(admin.extra_roots_pem, read_text(options.cert_file));
  }
  std::optional<crypto::PrivateKey> key;
  if (!options.key_file.empty()) {
    CAIRN_TRY(const Secret pem, read_secret(options.key_file));
    CAIRN_TRY(key, crypto::PrivateKey::from_pem(as_text(pem.view())));
  }
  return std::make_unique<AdminClient>(std::move(admin), std::move(key));
}

Result<> run_verb(const Options& options, const Verb& verb) {
  CAIRN_TRY(const auto client, client_of(options));
  return net::run_task([&](net::Runtime&) -> net::Task<> { return verb(*client, options); });
}

void print(const Json& json) { std::cout << json.dump(2) << "\n"; }

net::Task<> print_json(net::Task<Json> task) {
  CAIRN_CO_TRY(const Json json, co_await std::move(task));
  print(json);
  co_return Result<>{};
}
net::Task<> print_text(net::Task<std::string> task) {
  CAIRN_CO_TRY(const std::string text, co_await std::move(task));
  std::cout << text;
  co_return Result<>{};
}

net::Task<> set_resource(AdminClient& client, const Options& o) {
  CAIRN_CO_TRY(const Secret bytes, read_secret(o.file, kConfigFileMax));
  co_return co_await client.set_resource(o.path, bytes);
}
using BuiltIns = std::map<std::string, std::string_view (*)()>;
const BuiltIns& resource_policies() {
  static const BuiltIns all = {{"affirming", policy::defaults::resource_affirming},
                               {"deny-all", policy::defaults::deny_all},
                               {"trustee-1.5.2", policy::defaults::resource_a},
                               {"trustee-1.9.0", policy::defaults::resource_b}};
  return all;
}
const BuiltIns& attestation_policies() {
  static const BuiltIns all = {{"trustee-1.5.2", policy::defaults::simple},
                               {"trustee-1.5.2-ear", policy::defaults::ear_a},
                               {"trustee-1.9.0", policy::defaults::ear_b}};
  return all;
}
// The text of --policy-file, or of --built-in.
Result<std::string> policy_text(const Options& o, const BuiltIns& all) {
  if (o.built_in.empty() == o.file.empty())
    return fail(ErrorCode::invalid_argument, "give either --policy-file or --built-in");
  if (!o.file.empty()) return read_text(o.file);
  const auto found = all.find(o.built_in);
  if (found != all.end()) return std::string(found->second());
  std::string names;
  for (const auto& [name, text] : all) names += (names.empty() ? "" : ", ") + name;
  return fail(ErrorCode::invalid_argument, o.built_in, "built-in policies are " + names);
}

net::Task<> set_resource_policy(AdminClient& client, const Options& o) {
  CAIRN_CO_TRY(std::string text, policy_text(o, resource_policies()));
  co_return co_await client.set_resource_policy(std::move(text));
}
net::Task<> set_attestation_policy(AdminClient& client, const Options& o) {
  CAIRN_CO_TRY(std::string text, policy_text(o, attestation_policies()));
  co_return co_await client.set_attestation_policy(o.id, std::move(text));
}
net::Task<> register_values(AdminClient& client, const Options& o) {
  CAIRN_CO_TRY(const std::string text, read_text(o.file));
  CAIRN_CO_TRY(Json values, parse_json(text));
  if (!values.is_object())
    co_return fail(ErrorCode::malformed, o.file, "the file is no object of names and lists of values");
  co_return co_await client.register_reference_values(std::move(values), o.merge);
}

// Passport mode: a token and the key it names, no evidence of our own. Prints base64 as kbs-client does.
net::Task<> get_resource(AdminClient&, const Options& o) {
  CAIRN_CO_TRY(const Secret pem, read_secret(o.tee_key_file));
  CAIRN_CO_TRY(std::string token, read_text(o.token_file));
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  CAIRN_CO_TRY(const auto key, crypto::PrivateKey::from_pem(as_text(pem.view())));
  const auto profile = key.type() == crypto::KeyType::rsa ? kbs::Profile::p1 : kbs::Profile::p2;
  CAIRN_CO_TRY(auto tee_key, kbs::TeeKey::from_pem(profile, as_text(pem.view())));
  kbs::ClientOptions options;
  options.url = o.url;
  options.profile = profile;
  if (!o.cert_file.empty()) {
    CAIRN_CO_TRY(options.extra_roots, read_text(o.cert_file));
  }
  CAIRN_CO_TRY(auto client, kbs::Client::with_token(std::move(options), std::move(token), std::move(tee_key)));
  CAIRN_CO_TRY(auto uri, kbs::ResourceUri::from_path(o.path));
  CAIRN_CO_TRY(const Secret bytes, co_await client->resource(std::move(uri)));
  std::cout << base64(bytes.view()) << "\n";
  co_return Result<>{};
}

// Collects the verbs; each becomes a subcommand whose callback runs it.
class Builder {
 public:
  Builder(std::shared_ptr<Options> options, int& exit_code) : options_(std::move(options)), exit_code_(&exit_code) {}

  CLI::App* add(CLI::App& parent, const char* name, const char* help, Verb verb) const {
    auto* app = parent.add_subcommand(name, help);
    app->callback([options = options_, exit_code = exit_code_, verb = std::move(verb)] {
      const auto done = run_verb(*options, verb);
      if (!done) std::fprintf(stderr, "cairn trustee: %s\n", done.error().text().c_str());
      *exit_code = done ? 0 : 1;
    });
    return app;
  }

 private:
  std::shared_ptr<Options> options_;
  int* exit_code_;
};

void add_config_verbs(CLI::App& config, const Builder& builder, Options& o) {
  auto* verb = builder.add(config, "set-resource", "Store a resource", set_resource);
  verb->add_option("--path", o.path, "repository/type/tag")->required();
  verb->add_option("--resource-file", o.file, "File whose bytes are the resource")->required();
  verb = builder.add(config, "delete-resource", "Delete a resource",
                     [](AdminClient& c, const Options& options) { return c.delete_resource(options.path); });
  verb->add_option("--path", o.path, "repository/type/tag")->required();
  verb = builder.add(config, "list-resources", "List the resources", [](AdminClient& c, const Options& options) {
    return print_json(c.list_resources(options.repository, options.type));
  });
  verb->add_option("--repository", o.repository, "Only this repository");
  verb->add_option("--type", o.type, "Only this type");
  verb = builder.add(config, "set-resource-policy", "Replace the policy that decides who gets resources",
                     set_resource_policy);
  verb->add_option("--policy-file", o.file, "Rego text");
  verb->add_option("--built-in", o.built_in, "affirming, deny-all, trustee-1.9.0 or trustee-1.5.2");
  builder.add(config, "get-resource-policy", "Print the resource policy",
              [](AdminClient& c, const Options&) { return print_text(c.resource_policy()); });
  verb = builder.add(config, "set-attestation-policy", "Store an attestation policy", set_attestation_policy);
  verb->add_option("--policy-file", o.file, "Rego text");
  verb->add_option("--built-in", o.built_in, "trustee-1.5.2, trustee-1.5.2-ear or trustee-1.9.0");
  verb->add_option("--id", o.id, "Policy id (default: default)");
  verb->add_option("--type", o.type, "rego")->check(CLI::IsMember({"rego"}));
  verb =
      builder.add(config, "get-attestation-policy", "Print an attestation policy",
                  [](AdminClient& c, const Options& options) { return print_text(c.attestation_policy(options.id)); });
  verb->add_option("--id", o.id, "Policy id (default: default)");
  verb = builder.add(config, "delete-attestation-policy", "Delete an attestation policy",
                     [](AdminClient& c, const Options& options) { return c.delete_attestation_policy(options.id); });
  verb->add_option("--id", o.id, "Policy id")->required();
  builder.add(config, "list-attestation-policies", "List the attestation policies and their hashes",
              [](AdminClient& c, const Options&) { return print_json(c.list_attestation_policies()); });
  verb = builder.add(config, "register-reference-values", "Register what machines may measure", register_values);
  verb->add_option("--file", o.file, "JSON: {\"name\": [values]}")->required();
  verb->add_flag("--merge", o.merge, "Add to the values that a name has instead of replacing them");
  verb = builder.add(config, "delete-reference-value", "Delete all values of a name",
                     [](AdminClient& c, const Options& options) { return c.delete_reference_value(options.name); });
  verb->add_option("--name", o.name, "Name")->required();
}

}  // namespace

void add_trustee(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  auto& o = *options;
  app.require_subcommand(1);
  app.add_option("--url", o.url, "Address of the Trustee (default http://127.0.0.1:8081/api)");
  app.add_option("--cert-file", o.cert_file, "Certificates trusted for https, PEM");
  const Builder builder(options, exit_code);
  builder.add(app, "status", "Health of the four parts",
              [](AdminClient& c, const Options&) { return print_json(c.health()); });
  builder.add(app, "query-reference-values", "Print the registered reference values",
              [](AdminClient& c, const Options&) { return print_json(c.reference_values()); });
  auto* get = builder.add(app, "get-resource", "Fetch a resource with a token that was issued before; prints base64",
                          get_resource);
  get->add_option("--path", o.path, "repository/type/tag")->required();
  get->add_option("--tee-key-file", o.tee_key_file, "Private key that the token names, PEM")->required();
  get->add_option("--attestation-token", o.token_file, "File with the token")->required();
  auto* config = app.add_subcommand("config", "What only an administrator may do");
  config->require_subcommand(1);
  config->add_option("--auth-private-key", o.key_file, "The administrator's Ed25519 key, PEM")->required();
  add_config_verbs(*config, builder, o);
}

}  // namespace cairn::cli
