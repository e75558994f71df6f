// A bounded map by SHA-256 digest that forgets what was used longest ago.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>

#include "base/bytes.h"

namespace cairn::tdx {

template <class T>
class Lru {
 public:
  explicit Lru(std::size_t capacity) : capacity_(capacity) {}

  // The entry, now the newest; nullptr if absent.
  [[nodiscard]] std::shared_ptr<const T> find(const Digest<32>& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return order_.front().second;
  }
  void insert(const Digest<32>& key, std::shared_ptr<const T> value) {
    if (capacity_ == 0 || index_.contains(key)) return;
    if (order_.size() == capacity_) {
      index_.erase(order_.back().first);
      order_.pop_back();
    }
    order_.emplace_front(key, std::move(value));
    index_.emplace(key, order_.begin());
  }
  [[nodiscard]] std::size_t size() const { return order_.size(); }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  // The key is a digest; its first bytes are as good as any hash of it. Collisions would need SHA-256 work only in
  // these 8 bytes and slow one bucket down, no more.
  struct First8 {
    std::size_t operator()(const Digest<32>& d) const {
      std::uint64_t out = 0;
      std::memcpy(&out, d.data(), sizeof out);
      return static_cast<std::size_t>(out);
    }
  };
  using Entry = std::pair<Digest<32>, std::shared_ptr<const T>>;
  std::size_t capacity_;
  std::list<Entry> order_;  // newest first
  std::unordered_map<Digest<32>, typename std::list<Entry>::iterator, First8> index_;
};

}  // namespace cairn::tdx
