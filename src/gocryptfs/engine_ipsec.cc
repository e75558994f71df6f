// AES-256-GCM through intel-ipsec-mb: the key schedule and the powers of the hash key are computed once per volume and
// shared read-only; each block costs one variable-length IV set-up, one pass, one tag.
#include "gocryptfs/engine.h"

#ifdef CAIRN_IPSEC_MB
#include <intel-ipsec-mb.h>

namespace cairn::gocryptfs {
namespace {

constexpr std::size_t kNonce = 16;

// The library's table of functions for this processor; nullptr when it has none. Lives as long as the process.
const IMB_MGR* manager() {
  static const IMB_MGR* const found = [] {
    IMB_MGR* made = alloc_mb_mgr(0);
    if (made == nullptr) return made;
    IMB_ARCH arch = IMB_ARCH_NONE;
    init_mb_mgr_auto(made, &arch);
    if (imb_get_errno(made) == 0 && arch != IMB_ARCH_NONE) return made;
    free_mb_mgr(made);
    return static_cast<IMB_MGR*>(nullptr);
  }();
  return found;
}

class IpsecSession final : public Session {
 public:
  IpsecSession(const IMB_MGR* mgr, const gcm_key_data* key) : mgr_(mgr), key_(key) {}
  IpsecSession(const IpsecSession&) = delete;
  IpsecSession& operator=(const IpsecSession&) = delete;
  ~IpsecSession() override { wipe(&context_, sizeof context_); }

  bool open(ByteView stored, ByteView aad, std::uint8_t* out) override {
    const std::size_t size = stored.size() - kNonce - kTagSize;
    start(stored.first(kNonce), aad);
    IMB_AES256_GCM_DEC_UPDATE(mgr_, key_, &context_, out, stored.data() + kNonce, size);
    std::array<std::uint8_t, kTagSize> tag;
    IMB_AES256_GCM_DEC_FINALIZE(mgr_, key_, &context_, tag.data(), tag.size());
    return constant_time_equal(tag, stored.last(kTagSize));
  }
  bool seal(ByteView nonce, ByteView plain, ByteView aad, std::uint8_t* out) override {
    start(nonce, aad);
    std::copy(nonce.begin(), nonce.end(), out);
    IMB_AES256_GCM_ENC_UPDATE(mgr_, key_, &context_, out + kNonce, plain.data(), plain.size());
    IMB_AES256_GCM_ENC_FINALIZE(mgr_, key_, &context_, out + kNonce + plain.size(), kTagSize);
    return true;
  }

 private:
  void start(ByteView nonce, ByteView aad) {
    IMB_AES256_GCM_INIT_VAR_IV(mgr_, key_, &context_, nonce.data(), nonce.size(), aad.data(), aad.size());
  }
  const IMB_MGR* mgr_;
  const gcm_key_data* key_;
  gcm_context_data context_{};
};

struct IpsecEngine final : ContentCipher::Engine {
  IpsecEngine(const IMB_MGR* mgr, const Secret& key)
      : Engine(ContentMode::aes_gcm), mgr_(mgr), expanded_(sizeof(gcm_key_data)) {
    IMB_AES256_GCM_PRE(mgr_, key.view().data(), expanded());
  }
  [[nodiscard]] std::string_view name() const override {
    switch (mgr_->used_arch) {
      case IMB_ARCH_AVX512: return "ipsec-mb AVX512";
      case IMB_ARCH_AVX2: return "ipsec-mb AVX2";
      case IMB_ARCH_SSE: return "ipsec-mb SSE";
      default: return "ipsec-mb";
    }
  }
  [[nodiscard]] std::unique_ptr<Session> session() const override {
    return std::make_unique<IpsecSession>(mgr_, expanded());
  }

 private:
  // A Secret begins on a page, so the alignment of 64 holds.
  gcm_key_data* expanded() { return reinterpret_cast<gcm_key_data*>(expanded_.mutable_view().data()); }
  [[nodiscard]] const gcm_key_data* expanded() const {
    return reinterpret_cast<const gcm_key_data*>(expanded_.view().data());
  }
  const IMB_MGR* mgr_;
  Secret expanded_;
};

}  // namespace

std::unique_ptr<ContentCipher::Engine> ipsec_engine(const Secret& key) {
  const IMB_MGR* const mgr = manager();
  return mgr == nullptr ? nullptr : std::make_unique<IpsecEngine>(mgr, key);
}

}  // namespace cairn::gocryptfs

#else

namespace cairn::gocryptfs {
std::unique_ptr<ContentCipher::Engine> ipsec_engine(const Secret&) { return nullptr; }
}  // namespace cairn::gocryptfs

#endif
