// Verifying chains; what is expected is what OPA gives.
#include <gtest/gtest.h>

#include "policy/policy.h"

namespace cairn::policy {
namespace {

constexpr const char* root =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBcTCCARegAwIBAgIUVt3n5f0JWn5xKfnVi0f9PPj1rFQwCgYIKoZIzj0EAwIw\n"
    "DTELMAkGA1UEAwwCZWMwIBcNMjYxMTIyMTIwNjUzWhgPMjEyNjEwMjkxMjA2NTNa\n"
    "MA0xCzAJBgNVBAMMAmVjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaWJQOLCZ\n"
    "T7Og3INSgwQVqeUETb1l3qlzUaOnNe+n5QaF7CI8dk0jEwwVWzd7W4jcilIEm3oA\n"
    "dtluXatyRyxDtaNTMFEwHQYDVR0OBBYEFCh5RHLu4rzMwXAZE6LXmxzVxHmaMB8G\n"
    "A1UdIwQYMBaAFCh5RHLu4rzMwXAZE6LXmxzVxHmaMA8GA1UdEwEB/wQFMAMBAf8w\n"
    "CgYIKoZIzj0EAwIDSAAwRQIhAPoTgd+hBQ2JN8LPwJ2YMXWgtHUDXXLTXOtRA+L5\n"
    "Yy3lAiBOHJOIbBskRjzFdJvwger/KJYNf8eLjZQbcpMs0kQM3A==\n"
    "-----END CERTIFICATE-----\n";
constexpr const char* between =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBXDCCAQOgAwIBAgIBAjAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJlYzAgFw0y\n"
    "NjExMjIxMjA2NTNaGA8yMTI2MTAyOTEyMDY1M1owDDEKMAgGA1UEAwwBaTBZMBMG\n"
    "ByqGSM49AgEGCCqGSM49AwEHA0IABAJ1/nEnrEjNOkEo+lTr1Pr4hqtMlxObbOWn\n"
    "4gTvNCyWjIX+uXEHeQ0sRSAnJDxVD6ASCQLCTGt8cDbbtirVVoyjUzBRMA8GA1Ud\n"
    "EwEB/wQFMAMBAf8wHQYDVR0OBBYEFH+16ZBG8ZBLxmxO5qEtZ90tuXqqMB8GA1Ud\n"
    "IwQYMBaAFCh5RHLu4rzMwXAZE6LXmxzVxHmaMAoGCCqGSM49BAMCA0cAMEQCIEvL\n"
    "o7ujwuGxBi2Z/N79iFKvQ6A8cXqgXqNmmC3IvJBhAiBgiarzzpZ64nI+LVVPTM9p\n"
    "rkb51mompKox1mRM1VimxA==\n"
    "-----END CERTIFICATE-----\n";
constexpr const char* server =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBejCCASCgAwIBAgIBAzAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFpMCAXDTI2\n"
    "MTEyMjEyMDY1M1oYDzIxMjYxMDI5MTIwNjUzWjAMMQowCAYDVQQDDAFsMFkwEwYH\n"
    "KoZIzj0CAQYIKoZIzj0DAQcDQgAE8e4eUU1GWHjsA1g2pLhKhomEEdc0Lp6NMnFA\n"
    "KBDq9ImrLS4igsb42fHXkHVrtCEaXNeq02/g/jjhjqpLaG3x9aNxMG8wEwYDVR0l\n"
    "BAwwCgYIKwYBBQUHAwEwGAYDVR0RBBEwD4INYS5leGFtcGxlLmNvbTAdBgNVHQ4E\n"
    "FgQUiPWrqOoBic0efJcLObjOm6fAMk8wHwYDVR0jBBgwFoAUf7XpkEbxkEvGbE7m\n"
    "oS1n3S25eqowCgYIKoZIzj0EAwIDSAAwRQIgfyTJyHVH58nqCp5HbZOlOHKKvXxe\n"
    "A9NTJNgv39ZyjRACIQCW+xNroYS7om067b5P5Z2XuB/MlfecUW/fgoUP9pFb3g==\n"
    "-----END CERTIFICATE-----\n";
constexpr const char* client =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBYTCCAQagAwIBAgIBAzAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFpMCAXDTI2\n"
    "MTEyMjEyMDY1M1oYDzIxMjYxMDI5MTIwNjUzWjAMMQowCAYDVQQDDAFsMFkwEwYH\n"
    "KoZIzj0CAQYIKoZIzj0DAQcDQgAE8e4eUU1GWHjsA1g2pLhKhomEEdc0Lp6NMnFA\n"
    "KBDq9ImrLS4igsb42fHXkHVrtCEaXNeq02/g/jjhjqpLaG3x9aNXMFUwEwYDVR0l\n"
    "BAwwCgYIKwYBBQUHAwIwHQYDVR0OBBYEFIj1q6jqAYnNHnyXCzm4zpunwDJPMB8G\n"
    "A1UdIwQYMBaAFH+16ZBG8ZBLxmxO5qEtZ90tuXqqMAoGCCqGSM49BAMCA0kAMEYC\n"
    "IQCynrQUBpZfEHVtybCbrIxjaVk4qtirmMDBGwJF3T7z0gIhAO1HbGwajtKQF1Be\n"
    "iZZTi7EoA7Qe+Vdl3JHH6KoKR61H\n"
    "-----END CERTIFICATE-----\n";

Json x509_value(const std::string& rules, const Json& input) {
  const auto policy = compile({{"p.rego", "package p\nimport rego.v1\n" + rules}});
  if (!policy) throw std::runtime_error(policy.error().text());
  const Document in = *Document::from_json(input);
  const auto v = policy->evaluate("data.p.x", {.input = &in, .now_ns = 1'800'000'000'000'000'000});
  if (!v) throw std::runtime_error(v.error().text());
  return v->value_or(Json("undefined"));
}

// The usage that is asked for unless told otherwise is that of servers.
TEST(BuiltinsX509, ChainsAreVerifiedAsGoDoes) {
  const std::string chain = std::string(root) + between + server;
  const auto plain = [](const std::string& pem) {
    return x509_value("x := crypto.x509.parse_and_verify_certificates(input)", pem);
  };
  EXPECT_EQ(plain(chain)[0], true);
  EXPECT_EQ(plain(chain)[1].size(), 3);
  EXPECT_EQ(plain(std::string(root) + between + client), Json::parse("[false, []]"));
  EXPECT_EQ(plain(std::string(root) + server)[0], false);
  EXPECT_EQ(plain(std::string(between) + root)[0], false);
  EXPECT_EQ(plain(server)[0], false);
  EXPECT_EQ(x509_value("x := crypto.x509.parse_certificate_request(input)", root), "undefined");
  const auto with = [&](const std::string& pem, const Json& options) {
    return x509_value("x := crypto.x509.parse_and_verify_certificates_with_options(input.pem, input.options)[0]",
                      {{"pem", pem}, {"options", options}});
  };
  const std::string other = std::string(root) + between + client;
  EXPECT_EQ(with(other, {{"KeyUsages", {"KeyUsageClientAuth"}}}), true);
  EXPECT_EQ(with(other, {{"KeyUsages", {"KeyUsageAny"}}}), true);
  EXPECT_EQ(with(chain, {{"DNSName", "a.example.com"}}), true);
  EXPECT_EQ(with(chain, {{"DNSName", "b.example.com"}}), false);
  EXPECT_EQ(with(chain, {{"CurrentTime", 1000}}), false);
  for (const Json& bad : {Json{{"X", 1}}, Json{{"KeyUsages", {"x"}}}, Json{{"DNSName", 1}}})
    EXPECT_EQ(with(chain, bad), "undefined") << bad;
}

}  // namespace
}  // namespace cairn::policy
