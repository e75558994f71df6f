// A source over a store in this process: what is asked for, what is refused, and what several threads get of it.
#include "cachefs/objects/object_source.h"

#include <gtest/gtest.h>

#include <atomic>
#include <charconv>
#include <future>
#include <thread>

#include "base/clock.h"
#include "base/encoding.h"
#include "cachefs/store/test_data.h"
#include "net/http_server.h"

namespace cairn::cachefs {
namespace {

using namespace test;
using net::Response;

// Objects in memory under http://127.0.0.1:PORT/bucket/; signatures are not checked here.
class FakeStore {
 public:
  FakeStore() {
    thread_ =
        std::thread([this] { EXPECT_TRUE(runtime_.run([this](net::Runtime& r) -> net::Task<> { return serve(r); })); });
    port_ = bound_.get_future().get();
  }
  FakeStore(const FakeStore&) = delete;
  FakeStore& operator=(const FakeStore&) = delete;
  ~FakeStore() {
    runtime_.request_stop();
    thread_.join();
  }
  [[nodiscard]] StoreOptions options() const {
    StoreOptions out;
    out.endpoint = "http://127.0.0.1:" + std::to_string(port_);
    out.anonymous = true;
    out.timeout_s = 5;
    return out;
  }
  [[nodiscard]] std::shared_ptr<const Source> open(const StoreOptions& options) const {
    return ObjectSource::open("s3://bucket/m", options).value();
  }

  std::map<std::string, Bytes> objects;  // before the first request
  // What becomes of an answer; called by the server's loop with the number of the range request.
  std::function<net::Task<>(std::size_t number, Response&)> change = {};
  std::atomic<std::size_t> ranges = 0;

 private:
  net::Task<> serve(net::Runtime& r) {
    net::HttpServer server(r, net::responder([this](net::Exchange& e) { return answer(e); }));
    CAIRN_CO_TRY(const auto bound, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
    bound_.set_value(bound.port);
    CAIRN_CO_CHECK(co_await r.stop_requested());
    co_return co_await server.stop(net::Milliseconds(0));
  }
  net::Task<Response> answer(net::Exchange& e) {
    const net::RequestHead& request = e.request();
    std::string key = percent_decode(request.path()).value();
    if (key == "/bucket/") co_return list();
    key.erase(0, std::string_view("/bucket/").size());
    const auto found = objects.find(key);
    if (found == objects.end()) co_return Response::text(404, "");
    if (!request.headers.has("range")) co_return Response::text(200, std::string(as_text(found->second)));
    Response out = range(found->second, std::string(request.headers.get("range").value()));
    if (request.headers.get("if-match") != "\"" + key + "\"") out = Response::text(412, "");
    const std::size_t number = ranges++;
    if (change) CAIRN_CO_CHECK(co_await change(number, out));
    co_return out;
  }
  static Response range(const Bytes& object, const std::string& text) {
    std::uint64_t first = 0, last = 0;
    const char* at = text.data() + std::string_view("bytes=").size();
    at = std::from_chars(at, text.data() + text.size(), first).ptr + 1;
    (void)std::from_chars(at, text.data() + text.size(), last);
    Response out{206, {}, {}};
    out.headers.set("Content-Range", "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
                                         std::to_string(object.size()));
    out.body = as_text(ByteView(object).subspan(first, last + 1 - first));
    return out;
  }
  [[nodiscard]] Response list() const {
    std::string rows;
    for (const auto& [key, bytes] : objects)
      rows += "<Contents><Key>" + key + "</Key><LastModified>2026-01-31T12:00:00Z</LastModified><ETag>\"" + key +
              "\"</ETag><Size>" + std::to_string(bytes.size()) + "</Size></Contents>";
    return Response::text(200, "<ListBucketResult><IsTruncated>false</IsTruncated>" + rows + "</ListBucketResult>");
  }

  net::Runtime runtime_{{.loops = 1, .workers = 1, .signals = false}};
  std::promise<std::uint16_t> bound_;
  std::thread thread_;
  std::uint16_t port_ = 0;
};

net::Task<> nothing() { co_return Result<>{}; }

class ObjectSources : public testing::Test {
 protected:
  void SetUp() override {
    big_ = crypto::random_bytes(11 * kStorePieceBytes / 2);
    store_.objects = {{"m/gocryptfs.conf", to_bytes("{}")},
                      {"m/gocryptfs.diriv", Bytes(16, 1)},
                      {"m/big", big_},
                      {"m/dir/small", Bytes(1000, 2)}};
  }
  [[nodiscard]] std::unique_ptr<SourceFile> file(const Source& source, const std::string& folder,
                                                 const std::string& name) const {
    const auto opened = source.folder(folder).value();
    const auto entries = opened->list(100).value();
    for (const DirEntry& e : entries)
      if (e.name == name)
        return source.file(join(folder, name), {e.status.st_ino, static_cast<std::uint64_t>(e.status.st_size)}).value();
    return nullptr;
  }
  Bytes big_;
  FakeStore store_;
};

TEST_F(ObjectSources, ListsAndReads) {
  const auto source = store_.open(store_.options());
  EXPECT_EQ(source->config_text().value(), "{}");
  ASSERT_TRUE(source->root_status());
  const auto top = source->folder("").value();
  EXPECT_EQ(top->read_small("gocryptfs.diriv", 16).value(), Bytes(16, 1));
  EXPECT_FALSE(top->read_small("gocryptfs.diriv", 15));
  EXPECT_FALSE(top->read_small("missing", 15));
  const auto small = file(*source, "dir", "small");
  Bytes out(2000);
  EXPECT_EQ(small->read(out, 0, "").value(), 1000U);
  EXPECT_EQ(small->read(out, 1000, "").value(), 0U);
  const auto big = file(*source, "", "big");
  out.resize(big_.size());
  EXPECT_EQ(big->read(out, 0, "").value(), big_.size());
  EXPECT_EQ(out, big_);
  source->rest();
  EXPECT_EQ(big->read(out, 0, "").value(), big_.size());  // it goes on afterwards
  EXPECT_FALSE(source->file("big", {1, 1}));
  EXPECT_EQ(source->attributes("big").error().code, ErrorCode::not_found);
}

TEST_F(ObjectSources, ManyThreadsInLittleMemory) {
  StoreOptions options = store_.options();
  options.memory_mib = kStoreMemoryMibMin;
  store_.change = [](std::size_t number, Response&) -> net::Task<> {
    if (number % 5 == 0) co_return co_await net::sleep_for(net::Milliseconds(20));
    co_return Result<>{};
  };
  const auto source = store_.open(options);
  const auto big = file(*source, "", "big");
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 6; ++t)
      threads.emplace_back([&, t] {
        Bytes out(300'000);
        for (unsigned i = 0; i < 60; ++i) {
          const std::size_t at = (t < 2 ? i * out.size() : (i * 7919U + t * 104'729U) * 4096U) % big_.size();
          const auto got = big->read(out, at, "");
          const std::size_t wanted = std::min(out.size(), big_.size() - at);
          if (!got || *got != wanted || !equal(ByteView(out).first(wanted), ByteView(big_).subspan(at, wanted)))
            ++wrong;
          if (i % 20 == t) (void)big->distrust(at, 1);
        }
      });
  }
  EXPECT_EQ(wrong, 0);
}

TEST_F(ObjectSources, AnswersThatAreNotWhatWasAskedForAreNoData) {
  // The store may still answer a request that was given up, in its own thread.
  using Change = void (*)(Response&);
  const auto wrong = std::make_shared<std::atomic<Change>>([](Response&) {});
  store_.change = [wrong](std::size_t, Response& r) {
    wrong->load()(r);
    return nothing();
  };
  const std::pair<ErrorCode, Change> cases[] = {
      {ErrorCode::unavailable, [](Response& r) { r.body.pop_back(); }},
      {ErrorCode::malformed, [](Response& r) { r.body.push_back('x'); }},
      {ErrorCode::unsupported, [](Response& r) { r.status = 200; }},
      {ErrorCode::conflict, [](Response& r) { r.headers.set("Content-Range", "bytes 0-9/10"); }},
      {ErrorCode::conflict, [](Response& r) { r.headers.remove("Content-Range"); }},
      {ErrorCode::conflict, [](Response& r) { r.headers.set("ETag", "\"other\""); }},
      {ErrorCode::conflict, [](Response& r) { r.status = 412; }},
      {ErrorCode::permission_denied, [](Response& r) { r.status = 403; }},
      {ErrorCode::not_found, [](Response& r) { r.status = 404; }},
      {ErrorCode::unavailable, [](Response& r) { r.status = 500; }}};
  StoreOptions options = store_.options();
  options.timeout_s = 1;
  const auto source = store_.open(options);
  const auto big = file(*source, "", "big");
  Bytes out(100'000);
  for (const auto& [code, change] : cases) {
    *wrong = change;
    const auto got = big->read(out, 0, "");
    ASSERT_FALSE(got);
    EXPECT_TRUE(got.error().code == code ||
                (code == ErrorCode::unavailable && got.error().code == ErrorCode::timed_out))
        << got.error().text();
  }
  *wrong = [](Response&) {};
  EXPECT_EQ(big->read(out, 0, "").value(), out.size());
}

TEST_F(ObjectSources, PassingFaultsAreTriedAgain) {
  store_.change = [](std::size_t number, Response& r) -> net::Task<> {
    if (number % 2 == 0) r.status = 503;
    co_return Result<>{};
  };
  const auto source = store_.open(store_.options());
  const auto big = file(*source, "", "big");
  Bytes out(big_.size());
  ASSERT_TRUE(big->read(out, 0, ""));
  EXPECT_EQ(out, big_);
}

TEST_F(ObjectSources, ASlowAnswerIsOvertaken) {
  std::atomic<bool> slow = true;
  store_.change = [&](std::size_t, Response& r) -> net::Task<> {
    if (r.headers.get("Content-Range")->starts_with("bytes 4194304-") && slow.exchange(false))
      co_return co_await net::sleep_for(net::Milliseconds(4000));
    co_return Result<>{};
  };
  const auto source = store_.open(store_.options());
  const auto big = file(*source, "", "big");
  Bytes out(big_.size());
  const std::int64_t started = monotonic_ms();
  ASSERT_TRUE(big->read(out, 0, ""));
  EXPECT_LT(monotonic_ms() - started, 3500);
  EXPECT_EQ(out, big_);
  for (const SourceCounter& c : source->counters())
    if (c.name == std::string_view("store_hedges_won")) {
      EXPECT_EQ(c.value, 1U);
    }
}

TEST_F(ObjectSources, ReadsInOrderAreFetchedAheadAndSmallOnesNotWhole) {
  const auto source = store_.open(store_.options());
  const auto big = file(*source, "", "big");
  Bytes out(18);
  const std::size_t before = store_.ranges;
  ASSERT_TRUE(big->read(out, 0, ""));
  ASSERT_TRUE(big->read(out, 3 * kStorePieceBytes, ""));
  EXPECT_EQ(store_.ranges, before + 2);  // one request each, of 18 bytes
  out.resize(300'000);
  ASSERT_TRUE(big->read(out, 0, ""));
  const std::int64_t until = monotonic_ms() + 5000;
  while (store_.ranges < before + 2 + 6 && monotonic_ms() < until) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(store_.ranges, before + 2 + 6);  // all its pieces
}

TEST_F(ObjectSources, AnEndedLoopCancelsWhatIsUnderWay) {
  store_.change = [](std::size_t, Response&) -> net::Task<> {
    co_return co_await net::sleep_for(net::Milliseconds(3000));
  };
  StoreTarget target = resolve_store("s3://bucket/m", store_.options()).value();
  StoreLoop* const loop = StoreLoop::start(target).value().release();  // ends while another thread waits
  std::optional<Result<void>> end;
  std::jthread waiting([&] {
    Bytes out(18);
    const ObjectRange range{.key = "m/big", .etag = "\"m/big\"", .object_size = big_.size(), .offset = 0};
    end = loop->call<void>([&](S3Client& client) { return client.get_range(range, out, 10'000ms); });
  });
  while (store_.ranges == 0) std::this_thread::sleep_for(1ms);
  const std::int64_t started = monotonic_ms();
  delete loop;
  waiting.join();
  EXPECT_LT(monotonic_ms() - started, 2000);
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace cairn::cachefs
