// A Trustee in a temporary folder, asked in process. For tests.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/encoding.h"
#include "base/file.h"
#include "base/test_folder.h"
#include "kbs_protocol/rcar.h"
#include "kbs_protocol/tee_key.h"
#include "trustee/trustee.h"

namespace cairn::trustee::test {

inline Json json_of(const net::Response& response) { return parse_json(response.body).value_or(Json()); }

class TrusteeTest : public testing::Test {
 protected:
  TrusteeTest() {
    config.data = folder / "data";
    config.sample = true;
  }
  void SetUp() override { open(); }
  void open() {
    trustee.reset();
    auto opened = Trustee::open(config, at);
    ASSERT_TRUE(opened) << opened.error().text();
    trustee = *std::move(opened);
    key = crypto::PrivateKey::from_pem(as_text(read_secret(config.data / "private.key")->view())).value();
  }

  net::Response ask(std::string method, std::string target, std::string_view body = {}, net::Headers headers = {}) {
    net::RequestHead head;
    head.method = std::move(method);
    head.target = std::move(target);
    head.headers = std::move(headers);
    return trustee->gateway({head, head.path(), body, at}, "192.0.2.7");
  }
  net::Headers admin() const { return {{"Authorization", "Bearer " + admin_token(key, at).value()}}; }
  net::Response as_admin(std::string method, std::string target, std::string_view body = {}) {
    return ask(std::move(method), std::move(target), body, admin());
  }
  void register_values(const Json& values) {
    const Json message = {{"type", "cairn"}, {"payload", compact_json({{"values", values}, {"mode", "merge"}})}};
    const auto response = as_admin("POST", "/api/rvps/register", compact_json({{"message", compact_json(message)}}));
    ASSERT_EQ(response.status, 200) << response.body;
  }
  void store(const std::string& path, std::string_view bytes) {
    ASSERT_EQ(as_admin("POST", "/api/kbs/v0/resource/" + path, bytes).status, 200);
  }

  // One client's session: cookie and challenge.
  struct Session {
    net::Headers cookie;
    cairn::kbs::Challenge challenge;
  };
  Session authenticate(cairn::kbs::Profile profile, std::string_view tee) {
    const auto response = ask("POST", "/api/kbs/v0/auth", cairn::kbs::auth_body(profile, tee));
    EXPECT_EQ(response.status, 200) << response.body;
    const std::string cookie(response.headers.get("Set-Cookie").value_or(""));
    return {{{"Cookie", cookie.substr(0, cookie.find(';'))}},
            cairn::kbs::parse_challenge(profile, response.body).value()};
  }

  TestFolder folder;
  Config config;
  Time at = now();
  std::unique_ptr<Trustee> trustee;
  crypto::PrivateKey key;
};

}  // namespace cairn::trustee::test
