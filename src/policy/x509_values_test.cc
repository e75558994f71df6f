// Certificates and requests as values; what is expected is what OPA gives.
#include "policy/x509_values.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include "policy/scratch.h"

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

class X509Values : public testing::Test {
 protected:
  CallContext context() { return {arena_, problem_, options_, instructions_, nullptr, nullptr, nullptr}; }
  Json certificate(bool texts) {
    const auto all = crypto::Certificate::from_pem(everything);
    auto c = context();
    return to_json(certificate_value(c, all.value().at(0), texts));
  }
  // The same without what only repeats the encoding.
  static Json members(Json all, std::initializer_list<const char*> but) {
    for (const char* name : {"Raw", "RawTBSCertificate", "RawTBSCertificateRequest", "RawSubject", "RawIssuer",
                             "RawSubjectPublicKeyInfo", "Signature"})
      all.erase(name);
    for (const char* name : but) all.erase(name);
    return all;
  }

 private:
  Arena arena_;
  std::string problem_;
  EvalOptions options_;
  std::uint64_t instructions_ = 0;
};

TEST_F(X509Values, CertificatesHaveEveryMember) {
  const Json all = certificate(true);
  EXPECT_EQ(members(all, {"Extensions", "Issuer"}),
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
  EXPECT_EQ(all["Issuer"], all["Subject"]);
  EXPECT_EQ(all["Extensions"].size(), 9);
}

TEST_F(X509Values, TextsOfUrisAreOptional) {
  Json with = certificate(true);
  EXPECT_EQ(with.erase("URIStrings"), 1);
  EXPECT_EQ(with, certificate(false));
}

TEST_F(X509Values, RequestsHaveEveryMember) {
  const Owned<BIO, BIO_free_all> in(BIO_new_mem_buf(request, -1));
  const Owned<X509_REQ, X509_REQ_free> parsed(PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
  ASSERT_NE(parsed, nullptr);
  Bytes der(static_cast<std::size_t>(i2d_X509_REQ(parsed.get(), nullptr)));
  auto* at = der.data();
  i2d_X509_REQ(parsed.get(), &at);
  auto c = context();
  EXPECT_EQ(members(to_json(request_value(c, parsed.get(), der)), {"Subject"}),
            Json::parse(R"({"Attributes":[{"Type":[1,2,840,113549,1,9,14],"Value":[[{"Type":[2,5,29,17],
"Value":"MBGCD3JlcS5leGFtcGxlLmNvbQ=="}]]}],"DNSNames":["req.example.com"],"EmailAddresses":null,
"Extensions":[{"Critical":false,"Id":[2,5,29,17],"Value":"MBGCD3JlcS5leGFtcGxlLmNvbQ=="}],
"ExtraExtensions":null,"IPAddresses":null,"PublicKey":{"Curve":{},
"X":109428115354268523782346544850533212369302464351546922535441753315814840923273,
"Y":77425323636396169036921491338633866700068244924331056576927864207932509778421},"PublicKeyAlgorithm":3,
"SignatureAlgorithm":10,"URIs":null,"Version":0})"));
}

TEST(ExtendedUsage, IsGosNumber) {
  EXPECT_EQ(extended_usage("2.5.29.37.0"), 0);
  EXPECT_EQ(extended_usage("1.3.6.1.5.5.7.3.1"), 1);
  EXPECT_EQ(extended_usage("1.3.6.1.4.1.311.61.1.1"), 13);
  EXPECT_EQ(extended_usage("1.2.3"), -1);
}

}  // namespace
}  // namespace cairn::policy
