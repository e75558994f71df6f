// Reading certificates, requests and chains; what is expected is what OPA gives.
#include <gtest/gtest.h>

#include "policy/policy.h"

namespace cairn::policy {
namespace {

constexpr const char* everything =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIC7jCCApWgAwIBAgIUaPKjh57L7yKbsbcg2g7AOgsBOTswCgYIKoZIzj0EAwIw\n"
    "QjELMAkGA1UEBhMCREUxDDAKBgNVBAoMA09yZzELMAkGA1UECwwCdTExCzAJBgNV\n"
    "BAMMAm1lMQswCQYDVQQFEwI3NzAgFw0yNjExMjIxMjA2NTNaGA8yMTI2MTAyOTEy\n"
    "MDY1M1owQjELMAkGA1UEBhMCREUxDDAKBgNVBAoMA09yZzELMAkGA1UECwwCdTEx\n"
    "CzAJBgNVBAMMAm1lMQswCQYDVQQFEwI3NzBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
    "A0IABGliUDiwmU+zoNyDUoMEFanlBE29Zd6pc1GjpzXvp+UGhewiPHZNIxMMFVs3\n"
    "e1uI3IpSBJt6AHbZbl2rckcsQ7WjggFlMIIBYTASBgNVHRMBAf8ECDAGAQH/AgEA\n"
    "MA4GA1UdDwEB/wQEAwIChDAjBgNVHSUEHDAaBggrBgEFBQcDAQYIKwYBBQUHAwIG\n"
    "BCoDBAUwHQYDVR0OBBYEFCh5RHLu4rzMwXAZE6LXmxzVxHmaMEgGA1UdEQRBMD+C\n"
    "DWEuZXhhbXBsZS5jb22BBWFAYi5jhg9odHRwczovL3gveT96PTGHBAoBAgOHECAB\n"
    "DbgAAAAAAAAAAAAAAAEwMgYDVR0eAQH/BCgwJqAWMA2CC2V4YW1wbGUuY29tMAWB\n"
    "A2IuY6EMMAqHCAoAAAD/AAAAMB0GA1UdHwQWMBQwEqAQoA6GDGh0dHA6Ly9jcmwv\n"
    "eDBABggrBgEFBQcBAQQ0MDIwGAYIKwYBBQUHMAGGDGh0dHA6Ly9vY3NwLzAWBggr\n"
    "BgEFBQcwAoYKaHR0cDovL2NhLzAYBgNVHSAEETAPMAUGAyoDBDAGBgRVHSAAMAoG\n"
    "CCqGSM49BAMCA0cAMEQCIAYWJav6x5+L8D/ztk19q4q3eKgpa/vVxYrZ83k5n8wq\n"
    "AiAt+xvXGBWWPh0k0ZBdp3DQoOIxOtVAK/6YW4Y5y2e4YA==\n"
    "-----END CERTIFICATE-----\n";
constexpr const char* request =
    "-----BEGIN CERTIFICATE REQUEST-----\n"
    "MIH2MIGdAgEAMA4xDDAKBgNVBAMMA2NzcjBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
    "A0IABPHuHlFNRlh47ANYNqS4SoaJhBHXNC6ejTJxQCgQ6vSJqy0uIoLG+Nnx15B1\n"
    "a7QhGlzXqtNv4P444Y6qS2ht8fWgLTArBgkqhkiG9w0BCQ4xHjAcMBoGA1UdEQQT\n"
    "MBGCD3JlcS5leGFtcGxlLmNvbTAKBggqhkjOPQQDAgNIADBFAiBzA5iEDzr5oFh7\n"
    "Nuj2EuArnNwmqpIcUrkRfCzL+ijpQAIhAKso7ac3guJLaGueQSvI7EaJPYS4cOVA\n"
    "b8OV3eQbCm3q\n"
    "-----END CERTIFICATE REQUEST-----\n";
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

const std::string members = R"(
fixed := {"Raw", "RawTBSCertificate", "RawTBSCertificateRequest", "RawSubject", "RawIssuer", "RawSubjectPublicKeyInfo", "Signature"}
)";

TEST(X509, CertificatesHaveEveryMember) {
  const Json x = x509_value(
      members + "x := object.remove(crypto.x509.parse_certificates(input)[0], fixed | {\"Extensions\", \"Issuer\"})",
      everything);
  EXPECT_EQ(x,
            Json::parse(R"({"AuthorityKeyId":null,"BasicConstraintsValid":true,"CRLDistributionPoints":["http://crl/x"],
"DNSNames":["a.example.com"],"EmailAddresses":["a@b.c"],"ExcludedDNSDomains":null,"ExcludedEmailAddresses":null,
"ExcludedIPRanges":[{"IP":"10.0.0.0","Mask":"/wAAAA=="}],"ExcludedURIDomains":null,"ExtKeyUsage":[1,2],
"ExtraExtensions":null,"IPAddresses":["10.1.2.3","2001:db8::1"],"InhibitAnyPolicy":0,
"InhibitAnyPolicyZero":false,"InhibitPolicyMapping":0,"InhibitPolicyMappingZero":false,"IsCA":true,
"IssuingCertificateURL":["http://ca/"],"KeyUsage":33,"MaxPathLen":0,"MaxPathLenZero":true,
"NotAfter":"2126-10-29T12:06:53Z","NotBefore":"2026-11-22T12:06:53Z","OCSPServer":["http://ocsp/"],
"PermittedDNSDomains":["example.com"],"PermittedDNSDomainsCritical":true,"PermittedEmailAddresses":["b.c"],
"PermittedIPRanges":null,"PermittedURIDomains":null,"Policies":["1.2.3.4","2.5.29.32.0"],
"PolicyIdentifiers":[[1,2,3,4],[2,5,29,32,0]],"PolicyMappings":null,"PublicKey":{"Curve":{},
"X":47666553781654041007671640873071501860922747899616395370045706905726619215110,
"Y":60574821058293302005651879933335447550449958918230293446746210999594635772853},"PublicKeyAlgorithm":3,
"RequireExplicitPolicy":0,"RequireExplicitPolicyZero":false,
"SerialNumber":599146065955527042401531671717228962210495150395,"SignatureAlgorithm":10,
"Subject":{"CommonName":"me","Country":["DE"],"ExtraNames":null,"Locality":null,"Names":[{"Type":[2,5,4,6],
"Value":"DE"},{"Type":[2,5,4,10],"Value":"Org"},{"Type":[2,5,4,11],"Value":"u1"},{"Type":[2,5,4,3],
"Value":"me"},{"Type":[2,5,4,5],"Value":"77"}],"Organization":["Org"],"OrganizationalUnit":["u1"],
"PostalCode":null,"Province":null,"SerialNumber":"77","StreetAddress":null},
"SubjectKeyId":"KHlEcu7ivMzBcBkTotebHNXEeZo=","URIStrings":["https://x/y?z=1"],"URIs":[{"ForceQuery":false,
"Fragment":"","Host":"x","OmitHost":false,"Opaque":"","Path":"/y","RawFragment":"","RawPath":"",
"RawQuery":"z=1","Scheme":"https","User":null}],"UnhandledCriticalExtensions":null,
"UnknownExtKeyUsage":[[1,2,3,4,5]],"Version":3})"));
}

TEST(X509, RequestsHaveEveryMember) {
  const Json x = x509_value(
      members + "x := object.remove(crypto.x509.parse_certificate_request(input), fixed | {\"Subject\"})", request);
  EXPECT_EQ(x, Json::parse(R"({"Attributes":[{"Type":[1,2,840,113549,1,9,14],"Value":[[{"Type":[2,5,29,17],
"Value":"MBGCD3JlcS5leGFtcGxlLmNvbQ=="}]]}],"DNSNames":["req.example.com"],"EmailAddresses":null,
"Extensions":[{"Critical":false,"Id":[2,5,29,17],"Value":"MBGCD3JlcS5leGFtcGxlLmNvbQ=="}],
"ExtraExtensions":null,"IPAddresses":null,"PublicKey":{"Curve":{},
"X":109428115354268523782346544850533212369302464351546922535441753315814840923273,
"Y":77425323636396169036921491338633866700068244924331056576927864207932509778421},"PublicKeyAlgorithm":3,
"SignatureAlgorithm":10,"URIs":null,"Version":0})"));
  EXPECT_EQ(x509_value("x := crypto.x509.parse_certificate_request(input)", root), Json("undefined"));
}

// The usage that is asked for unless told otherwise is that of servers.
TEST(X509, ChainsAreVerifiedAsGoDoes) {
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
