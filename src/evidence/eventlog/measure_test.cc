#include "evidence/eventlog/measure.h"

#include "evidence/eventlog/test_support.h"

namespace cairn::eventlog {
namespace {

const std::string kBoot = "00000000-0000-4000-8000-000000000001";
Digest<48> subject(std::string_view text) { return crypto::sha384(as_bytes(text)); }

std::vector<AaelEvent> good_run() {
  auto run = MeasureRun::begin(kBoot).value();
  std::vector<AaelEvent> events{run.begin_event()};
  events.push_back(run.add(Kind::engine, "llama-server", subject("engine")).value());
  events.push_back(run.add(Kind::model, "org/model:1", subject("model")).value());
  events.push_back(run.ready().value());
  return events;
}

TEST(Measure, ARunReadsBack) {
  auto events = good_run();
  events.insert(events.begin() + 1, {"other.domain", "load", "x"});
  const auto read = read_measurements(events);
  ASSERT_TRUE(read) << read.error().text();
  ASSERT_EQ(read->complete.size(), 1U);
  EXPECT_EQ(read->foreign.size(), 1U);
  EXPECT_EQ(read->find(Kind::model, "org+model:1"), subject("model"));
  EXPECT_FALSE(read->find(Kind::model, "other"));
}

TEST(Measure, TheInventoryOfGpusStandsOnceBeforeTheFirstRun) {
  const AaelEvent inventory = to_event({Kind::gpu, std::string(gpu_inventory), subject("gpus")});
  auto events = good_run();
  events.insert(events.begin(), inventory);
  const auto read = read_measurements(events);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->inventory, subject("gpus"));
  ASSERT_EQ(read->complete.size(), 1U);
  EXPECT_FALSE(read->find(Kind::gpu, gpu_inventory)) << "of no run";
  EXPECT_TRUE(MeasureRun::begin("boot", std::span(events).first(1)));
  for (std::size_t at = 0; at <= events.size(); ++at) {
    auto twice = events;
    twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(at), inventory);
    EXPECT_FALSE(read_measurements(twice)) << at;
    auto late = good_run();
    if (at == 0 || at > late.size()) continue;
    late.insert(late.begin() + static_cast<std::ptrdiff_t>(at), inventory);
    EXPECT_FALSE(read_measurements(late)) << at;
  }
  const AaelEvent other = to_event({Kind::gpu, "GPU-0", subject("gpu")});
  EXPECT_FALSE(read_measurements(std::vector{other}, false)) << "any other subject belongs into a run";
  auto run = MeasureRun::begin("boot").value();
  EXPECT_FALSE(run.add(Kind::gpu, gpu_inventory, subject("gpus")));
}

TEST(Measure, EveryDropSwapAndRepeatIsFound) {
  const auto events = good_run();
  for (std::size_t i = 0; i < events.size(); ++i) {
    auto dropped = events;
    dropped.erase(dropped.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(read_measurements(dropped)) << i;
    auto repeated = events;
    repeated.insert(repeated.begin() + static_cast<std::ptrdiff_t>(i), events[i]);
    EXPECT_FALSE(read_measurements(repeated)) << i;
    if (i + 1 == events.size()) continue;
    auto swapped = events;
    std::swap(swapped[i], swapped[i + 1]);
    EXPECT_FALSE(read_measurements(swapped)) << i;
  }
  auto changed = events;
  changed[1].content.back() = changed[1].content.back() == '0' ? '1' : '0';
  EXPECT_FALSE(read_measurements(changed));
}

TEST(Measure, Grammar) {
  const AaelEvent good = to_event({Kind::engine, "e", subject("x")});
  EXPECT_TRUE(from_event(good));
  const auto with = [&](auto change) {
    AaelEvent e = good;
    change(e);
    return from_event(e).has_value();
  };
  EXPECT_FALSE(with([](auto& e) { e.domain = "measure.cairn.v2"; }));
  EXPECT_FALSE(with([](auto& e) { e.operation = "engine"; }));
  EXPECT_FALSE(with([](auto& e) { e.operation = "motor/e"; }));
  EXPECT_FALSE(with([](auto& e) { e.operation = "engine/a b"; }));
  EXPECT_FALSE(with([](auto& e) { e.operation = "engine/a/b"; }));
  EXPECT_FALSE(with([](auto& e) { e.operation = "engine/"; }));
  EXPECT_FALSE(with([](auto& e) { e.operation = "engine/" + std::string(129, 'a'); }));
  EXPECT_TRUE(with([](auto& e) { e.operation = "engine/" + std::string(128, 'a'); }));
  EXPECT_FALSE(with([](auto& e) { e.content.pop_back(); }));
  EXPECT_FALSE(with([](auto& e) { e.content = e.content.substr(7); }));
  EXPECT_FALSE(with([](auto& e) { e.content = "sha384:" + std::string(96, 'A'); }));
  EXPECT_EQ(measurement_name("a/b c").error().code, ErrorCode::invalid_argument);
}

TEST(Measure, TheWriterKeepsTheOrder) {
  auto run = MeasureRun::begin(kBoot).value();
  EXPECT_FALSE(run.add(Kind::ready, "1", subject("x")));
  EXPECT_FALSE(run.add(Kind::reload, "m", subject("x")));
  ASSERT_TRUE(run.add(Kind::model, "m", subject("x")));
  EXPECT_EQ(run.add(Kind::model, "m", subject("y")).error().code, ErrorCode::already_exists);
  ASSERT_TRUE(run.ready());
  EXPECT_FALSE(run.ready());
  EXPECT_FALSE(run.add(Kind::engine, "e", subject("x")));
  EXPECT_TRUE(run.add(Kind::unload, "m", subject("x")));
}

TEST(Measure, LaterEventsReplaceModels) {
  auto run = MeasureRun::begin(kBoot).value();
  std::vector<AaelEvent> events{run.begin_event(), run.add(Kind::model, "m", subject("1")).value(),
                                run.ready().value()};
  events.push_back(run.add(Kind::unload, "m", subject("1")).value());
  EXPECT_FALSE(read_measurements(events)->find(Kind::model, "m"));
  events.push_back(run.add(Kind::reload, "m", subject("2")).value());
  EXPECT_EQ(read_measurements(events)->find(Kind::model, "m"), subject("2"));
  EXPECT_EQ(read_measurements(events)->later.size(), 2U);
}

TEST(Measure, RestartsNeedPermission) {
  auto events = good_run();
  auto second = MeasureRun::begin(kBoot, events).value();
  EXPECT_EQ(second.number(), 2U);
  events.push_back(second.begin_event());
  EXPECT_FALSE(read_measurements(events, false));
  EXPECT_FALSE(read_measurements(events, true, true));  // not ready yet
  EXPECT_TRUE(read_measurements(events, false, true)->open);
  events.push_back(second.add(Kind::model, "m2", subject("m2")).value());
  events.push_back(second.ready().value());
  const auto read = read_measurements(events, true, true);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->complete.size(), 2U);
  EXPECT_EQ(read->find(Kind::model, "m2"), subject("m2"));
  EXPECT_FALSE(read->find(Kind::engine, "llama-server"));
}

TEST(Measure, InteropDoubles) {
  EXPECT_EQ(pai_load_model_event("m", {}).text(),
            "trustiflux.alibaba.com pai/load-model {\"hash\":\"" + std::string(96, '0') + "\",\"model-id\":\"m\"}");
  EXPECT_EQ(file_event("/usr/bin/x", {}).text(), "file /usr/bin/x " + std::string(64, '0'));
  EXPECT_TRUE(check_event(pai_load_model_event("m", {})));
}

Manifest two_files() {
  Manifest m{.kind = "model", .name = "demo", .files = {}};
  m.files.push_back({.path = "b/c", .size = 1, .sha384 = subject("c"), .verity = {}, .executable = true});
  m.files.push_back(
      {.path = "a", .size = 2, .sha384 = {}, .verity = crypto::sha256(as_bytes("a")), .executable = false});
  return m;
}

TEST(Manifest, BothWaysSorted) {
  const auto text = manifest_text(two_files());
  ASSERT_TRUE(text) << text.error().text();
  EXPECT_LT(text->find("\"a\""), text->find("\"b/c\""));
  const auto again = parse_manifest(*text);
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(manifest_text(*again).value(), *text);
  EXPECT_FALSE(parse_manifest(*text + " "));
  EXPECT_FALSE(parse_manifest("{\"schema\":\"cairn.manifest/1\"}"));
  for (std::size_t n = 0; n < text->size(); ++n) EXPECT_FALSE(parse_manifest(std::string_view(*text).substr(0, n)));
}

TEST(Manifest, RefusesBadEntries) {
  const std::vector<std::string> paths{
      "", "/a", "a/", "a//b", "./a", "a/..", "..", "\xff", "a/./b", std::string("a\0b", 3), std::string(256, 'x')};
  for (const std::string& path : paths) {
    auto m = two_files();
    m.files[0].path = path;
    EXPECT_FALSE(manifest_text(m)) << path;
  }
  auto m = two_files();
  m.files[0].path = "a";
  EXPECT_FALSE(manifest_text(m));
  m = two_files();
  m.files[0].verity = Digest<32>{};
  EXPECT_FALSE(manifest_text(m));
  m.files[0].verity.reset();
  m.files[0].sha384.reset();
  EXPECT_FALSE(manifest_text(m));
}

TEST(Measure, SharedWorkedExample) {
  NEEDS_SHARED_DATA();
  const auto example = shared_json("guest/aael/cairn-measure-example.json");
  auto run = MeasureRun::begin(example["boot_id"].get<std::string>()).value();
  std::vector<AaelEvent> events{run.begin_event()};
  const auto add = [&](Kind kind, std::string_view name, const std::string& text) {
    events.push_back(run.add(kind, name, subject_digest(text)).value());
  };
  add(Kind::kernel, "cmdline", example["kernel_cmdline"]);
  for (const auto kind : {Kind::engine, Kind::ui}) {
    const std::string text = example["manifests"][std::string(name(kind))];
    EXPECT_EQ(manifest_text(parse_manifest(text).value()).value(), text);
    add(kind, "demo-" + std::string(name(kind)), text);
  }
  ConfigDocument config{.argv = {"engine", "--port", "8000"},
                        .environment = {{"LANG", "C"}},
                        .read_only_mounts = {},
                        .ports = {},
                        .tng_config = {},
                        .trustee_address = {},
                        .tdx_ra_enable = true,
                        .gpu_ra_enable = true,
                        .model_decryption_key_id = {}};
  EXPECT_EQ(config_text(config).value(), example["config_document"].get<std::string>());
  add(Kind::config, "engine", example["config_document"]);
  add(Kind::model, "demo-1b", example["manifests"]["model"]);
  events.push_back(run.ready().value());

  std::string text = init_line({}) + "\n";
  Bytes tcg2;
  for (const auto& event : events) {
    text += event.text() + "\n";
    append(tcg2, tagged_event_record(event));
  }
  EXPECT_EQ(text, example["aael_text"].get<std::string>());
  EXPECT_EQ(hex(tcg2), example["aael_tcg2_hex"].get<std::string>());
  const auto log = parse_text_log(text).value();
  EXPECT_EQ(hex(replay_text_log(log).value()), example["rtmr3_after_text"].get<std::string>());
  const auto records = parse_records(tcg2).value();
  EXPECT_EQ(hex(replay_rtmrs(records).value()[3].view()), example["rtmr3_after_tcg2"].get<std::string>());
  EXPECT_TRUE(read_measurements(log.events));
  EXPECT_TRUE(read_measurements(aael_events(records).value()));
}

}  // namespace
}  // namespace cairn::eventlog
