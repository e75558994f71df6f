// Who signs tokens: a certificate authority of this Trustee and one signer per kind of token, made at first start and
// kept. spec/trustee.md §4.2 (what TNG expects of /certificate and x5c).
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "crypto/jose.h"

namespace cairn::trustee::as {

// A signing key with its certificate chain, leaf first.
struct Signer {
  crypto::PrivateKey key;
  crypto::JwsAlg alg;
  std::vector<crypto::Certificate> chain;  // [leaf, CA]; empty for keys without one
  Json jwk;                                // as it goes into token headers
};

// Files below its folder: ca.key, ca.pem, simple.key, simple.pem, ear.key, ear.pem; keys 0600. Any thread.
class Authority {
 public:
  // Makes what is missing; renews a leaf that has less than 30 days left. The CA lives ten years, leafs one.
  // conflict when key and certificate in the folder do not belong together.
  [[nodiscard]] static Result<std::unique_ptr<Authority>> open(std::filesystem::path folder, Time now,
                                                               crypto::X5cForm x5c = crypto::X5cForm::base64url);

  [[nodiscard]] std::shared_ptr<const Signer> simple(Time now);  // RS384
  [[nodiscard]] std::shared_ptr<const Signer> ear(Time now);     // ES256
  [[nodiscard]] const crypto::Certificate& ca() const { return ca_; }

 private:
  struct Slot {
    std::string name;
    crypto::JwsAlg alg;
    std::shared_ptr<const Signer> signer;
  };
  Authority(std::filesystem::path folder, crypto::X5cForm x5c) : folder_(std::move(folder)), x5c_(x5c) {}
  [[nodiscard]] Result<void> load_ca(Time now);
  [[nodiscard]] Result<std::shared_ptr<const Signer>> load_signer(const Slot& slot, Time now);
  [[nodiscard]] std::shared_ptr<const Signer> current(Slot& slot, Time now);

  std::filesystem::path folder_;
  crypto::X5cForm x5c_;
  crypto::PrivateKey ca_key_;
  crypto::Certificate ca_;
  std::mutex mutex_;
  Slot simple_{"simple", crypto::JwsAlg::rs384, nullptr};
  Slot ear_{"ear", crypto::JwsAlg::es256, nullptr};
};

// The private key in `file`, made at its first use (0600).
[[nodiscard]] Result<crypto::PrivateKey> load_or_make_key(const std::filesystem::path& file, crypto::KeyType type);

}  // namespace cairn::trustee::as
