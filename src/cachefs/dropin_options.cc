#include "cachefs/dropin_options.h"

#include <charconv>
#include <functional>
#include <map>
#include <optional>

namespace cairn::cachefs {
namespace {

using gocryptfs::Feature;
using Action = DropinOptions::Action;

struct Option {
  bool takes_value = false;
  std::function<Result<void>(DropinOptions&, const std::string&)> apply;
};

Option flag(std::function<void(DropinOptions&, bool)> set) {
  return {false, [set](DropinOptions& o, const std::string& value) -> Result<void> {
            if (!value.empty() && value != "true" && value != "false")
              return fail(ErrorCode::invalid_argument, value, "must be true or false");
            set(o, value != "false");
            return {};
          }};
}
Option ignored() {
  return flag([](DropinOptions&, bool) {});
}
Option action(Action a) {
  return flag([a](DropinOptions& o, bool on) {
    if (on) o.action = a;
  });
}
Option text(std::function<void(DropinOptions&, const std::string&)> set) {
  return {true, [set](DropinOptions& o, const std::string& value) -> Result<void> {
            set(o, value);
            return {};
          }};
}
Option number(std::string name, int low, int high, int DropinOptions::* member) {
  return {true, [=](DropinOptions& o, const std::string& value) -> Result<void> {
            int n = 0;
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
            if (error != std::errc() || end != value.data() + value.size() || n < low || n > high)
              return fail(ErrorCode::invalid_argument, "-" + name,
                          "must be " + std::to_string(low) + " to " + std::to_string(high));
            o.*member = n;
            return {};
          }};
}
Option feature(Feature f, bool wanted) {
  return flag([=](DropinOptions& o, bool on) {
    if (on == wanted)
      o.features.set(f);
    else
      o.features.clear(f);
  });
}

void use_plain_names(DropinOptions& o, bool on) {
  if (!on) return;
  for (const Feature f : {Feature::dir_iv, Feature::eme_names, Feature::long_names, Feature::raw64})
    o.features.clear(f);
  o.features.set(Feature::plaintext_names);
}
void use_xchacha(DropinOptions& o, bool on) {
  if (!on) return;
  o.features.clear(Feature::gcm_iv128);
  o.features.set(Feature::xchacha);
}

const std::map<std::string, Option, std::less<>>& options() {
  static const std::map<std::string, Option, std::less<>> all{
      {"init", action(Action::init)},
      {"passwd", action(Action::passwd)},
      {"info", action(Action::info)},
      {"fsck", action(Action::fsck)},
      {"speed", action(Action::speed)},
      {"version", action(Action::version)},
      {"h", action(Action::help)},
      {"help", action(Action::help)},
      {"fg", flag([](DropinOptions& o, bool on) { o.foreground = on; })},
      {"f", flag([](DropinOptions& o, bool on) { o.foreground = on; })},
      {"q", flag([](DropinOptions& o, bool on) { o.quiet = on; })},
      {"quiet", flag([](DropinOptions& o, bool on) { o.quiet = on; })},
      {"ro", flag([](DropinOptions& o, bool on) { o.read_only = on; })},
      {"allow_other", flag([](DropinOptions& o, bool on) { o.allow_other = on; })},
      {"nonempty", flag([](DropinOptions& o, bool on) { o.nonempty = on; })},
      {"zerokey", flag([](DropinOptions& o, bool on) { o.zero_key = on; })},
      {"passfile", text([](DropinOptions& o, const std::string& v) { o.passfiles.emplace_back(v); })},
      {"extpass",
       text([](DropinOptions& o, const std::string& v) { o.extpass += (o.extpass.empty() ? "" : " ") + v; })},
      {"masterkey", text([](DropinOptions& o, const std::string& v) { o.master_key = v; })},
      {"config", text([](DropinOptions& o, const std::string& v) { o.config = v; })},
      {"fsname", text([](DropinOptions& o, const std::string& v) { o.name = v; })},
      {"notifypid", number("notifypid", 1, 1 << 22, &DropinOptions::notify_process)},
      {"scryptn", number("scryptn", gocryptfs::kLogNMin, gocryptfs::kLogNMax, &DropinOptions::log_n)},
      {"longnamemax", number("longnamemax", 62, 255, &DropinOptions::long_name_max)},
      {"plaintextnames", flag(use_plain_names)},
      {"deterministic-names", feature(Feature::dir_iv, false)},
      {"xchacha", flag(use_xchacha)},
      {"aessiv", feature(Feature::aes_siv, true)},
      {"raw64", feature(Feature::raw64, true)},
      {"hkdf", feature(Feature::hkdf, true)},
      // True of every mount of ours, or without meaning for one that only reads.
      {"nosyslog", ignored()},
      {"kernel_cache", ignored()},
      {"nodev", ignored()},
      {"nosuid", ignored()},
      {"exec", ignored()},
      {"noprealloc", ignored()},
      {"longnames", ignored()},
      {"openssl", ignored()},
      {"nofail", ignored()},
      {"one-file-system", ignored()},
  };
  return all;
}
// gocryptfs has them; here they are refused by name.
constexpr std::string_view kRefused[] = {"acl",
                                         "badname",
                                         "cpuprofile",
                                         "ctlsock",
                                         "d",
                                         "debug",
                                         "dev",
                                         "e",
                                         "exclude",
                                         "exclude-from",
                                         "exclude-wildcard",
                                         "ew",
                                         "fido2",
                                         "fido2-assert-option",
                                         "force_owner",
                                         "forcedecode",
                                         "fusedebug",
                                         "i",
                                         "idle",
                                         "ko",
                                         "memprofile",
                                         "noexec",
                                         "reverse",
                                         "rw",
                                         "s",
                                         "serialize_reads",
                                         "sharedstorage",
                                         "suid",
                                         "trace",
                                         "wpanic",
                                         "context"};

Result<void> apply(DropinOptions& out, std::string_view word,
                   const std::function<std::optional<std::string>()>& next_word) {
  const std::size_t equals = word.find('=');
  const std::string name(word.substr(0, equals));
  std::optional<std::string> value;
  if (equals != std::string_view::npos) value = std::string(word.substr(equals + 1));
  const auto found = options().find(name);
  if (found == options().end()) {
    if (std::ranges::find(kRefused, name) != std::end(kRefused))
      return fail(ErrorCode::unsupported, "-" + name, "this option of gocryptfs is not available here");
    return fail(ErrorCode::invalid_argument, "-" + name, "no such option");
  }
  if (found->second.takes_value && !value) value = next_word();
  if (found->second.takes_value && !value) return fail(ErrorCode::invalid_argument, "-" + name, "needs a value");
  return found->second.apply(out, value.value_or(""));
}

}  // namespace

Result<DropinOptions> parse_dropin(const std::vector<std::string>& words) {
  DropinOptions out;
  bool ended = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto next = [&]() -> std::optional<std::string> {
      return i + 1 < words.size() ? std::optional(words[++i]) : std::nullopt;
    };
    if (ended || word.size() < 2 || word[0] != '-') {
      out.paths.push_back(word);
    } else if (word == "--") {
      ended = true;
    } else if (word == "-o") {
      const auto list = next();
      if (!list) return fail(ErrorCode::invalid_argument, "-o", "needs a value");
      for (std::size_t at = 0; at <= list->size();) {
        const std::size_t comma = std::min(list->find(',', at), list->size());
        if (comma > at)
          CAIRN_CHECK(apply(out, std::string_view(*list).substr(at, comma - at), [] { return std::nullopt; }));
        at = comma + 1;
      }
    } else {
      CAIRN_CHECK(apply(out, std::string_view(word).substr(word[1] == '-' ? 2 : 1), next));
    }
  }
  if (out.long_name_max != 255) out.features.set(Feature::long_name_max);
  return out;
}

}  // namespace cairn::cachefs
