// The messages of the data hub's ttrpc services. Field numbers: spec/guest.md §9.1.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace cairn::cdh::api {

inline constexpr std::string_view default_address = "unix:///run/confidential-containers/cdh.sock";
inline constexpr std::string_view sealed_secret_service = "api.SealedSecretService";
inline constexpr std::string_view resource_service = "api.GetResourceService";
inline constexpr std::string_view mount_service = "api.SecureMountService";
inline constexpr std::string_view image_service = "api.ImagePullService";
inline constexpr std::string_view key_provider_service = "keyprovider.KeyProviderService";

struct Empty {
  static void fields(auto&, auto&&) {}
};
// UnsealSecret, UnsealSecretOutput, GetResourceResponse, key provider input and output: one member of bytes.
struct BytesMessage {
  Bytes value;
  static void fields(auto& m, auto&& field) { field(1, m.value); }
};
struct GetResourceRequest {
  std::string resource_path;  // a full KBS URI
  static void fields(auto& m, auto&& field) { field(1, m.resource_path); }
};
struct SecureMountRequest {
  std::string volume_type;
  std::map<std::string, std::string> options;
  std::vector<std::string> flags;
  std::string mount_point;
  static void fields(auto& m, auto&& field) {
    field(1, m.volume_type);
    field(2, m.options);
    field(3, m.flags);
    field(4, m.mount_point);
  }
};
struct SecureMountResponse {
  std::string mount_path;
  static void fields(auto& m, auto&& field) { field(1, m.mount_path); }
};
struct ImagePullRequest {
  std::string image_url, bundle_path;
  static void fields(auto& m, auto&& field) {
    field(1, m.image_url);
    field(2, m.bundle_path);
  }
};
struct PrepareInjectionRequest {
  std::string resource_path, nonce;
  static void fields(auto& m, auto&& field) {
    field(1, m.resource_path);
    field(2, m.nonce);
  }
};
struct PrepareInjectionResponse {
  std::string session_id, nonce, tee_pubkey;
  Bytes evidence;
  static void fields(auto& m, auto&& field) {
    field(1, m.session_id);
    field(2, m.nonce);
    field(3, m.tee_pubkey);
    field(4, m.evidence);
  }
};
struct CommitInjectionRequest {
  std::string session_id, resource_path;
  Bytes encrypted_resource;
  static void fields(auto& m, auto&& field) {
    field(1, m.session_id);
    field(2, m.resource_path);
    field(3, m.encrypted_resource);
  }
};

}  // namespace cairn::cdh::api
