// For tests of this area: temporary folders, plain trees, and the shared volumes.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "base/test_folder.h"
#include "cachefs/store/check.h"
#include "cachefs/store/encrypt.h"
#include "crypto/hash.h"
#include "crypto/random.h"

namespace cairn::cachefs::test {

namespace fs = std::filesystem;

inline void put(const fs::path& path, ByteView bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(out.flush()) << path;
}
inline void put(const fs::path& path, std::string_view text) { put(path, as_bytes(text)); }

inline Secret password() { return Secret(as_bytes("pw")); }

inline EncryptOptions encrypting(const fs::path& from, const fs::path& to) {
  EncryptOptions out;
  out.source = from;
  out.destination = to;
  out.password = password();
  out.name = "m";
  out.log_n = gocryptfs::kLogNMin;
  out.threads = 2;
  return out;
}

// A small model: awkward sizes and names, folders, a link, an executable.
inline void make_plain(const fs::path& at) {
  for (const std::size_t size : {0UL, 1UL, 4095UL, 4096UL, 4097UL, 131071UL, 131073UL, 300000UL})
    put(at / ("size" + std::to_string(size)), crypto::random_bytes(size));
  put(at / std::string(255, 'L'), "long name");
  put(at / "sub" / std::string(200, 'd') / "inner", "inner");
  put(at / "-dash \" quote\n.\xe6\xa8\xa1", "odd");
  put(at / "run.sh", "#!/bin/sh\n");
  fs::permissions(at / "run.sh", fs::perms::owner_all);
  fs::create_directories(at / "empty");
  fs::create_symlink("../size4097", at / "sub" / "link");
}

inline OpenVolume open_volume(const fs::path& at, std::string_view pw = "pw") {
  auto out = open_local({.source = at, .config = {}, .all_features = true}, as_bytes(pw));
  EXPECT_TRUE(out) << out.error().text();
  return std::move(*out);
}

inline Result<Bytes> read_all(const OpenVolume& v, std::string_view path,
                              gocryptfs::Holes holes = gocryptfs::Holes::allow) {
  const auto id = v.tree.find(path);
  if (!id) return fail(ErrorCode::not_found, std::string(path), "not in the tree");
  CAIRN_TRY(const CipherFile file, CipherFile::open(*v.source, v.tree, *id, v.volume));
  Bytes out(file.size());
  CAIRN_TRY(const std::size_t got, file.read(0, out, holes));
  out.resize(got);
  return out;
}

// One of the shared archives, unpacked into `into`; "" where the shared data is missing.
inline fs::path unpack(const TestFolder& into, const std::string& archive) {
  const fs::path tar = fs::path(CAIRN_SHARED_DATA) / "gocryptfs" / (archive + ".tar.gz");
  if (!fs::exists(tar)) return {};
  const fs::path target = into / "unpacked";
  fs::create_directories(target);
  EXPECT_EQ(std::system(("tar xzf '" + tar.string() + "' -C '" + target.string() + "'").c_str()), 0);
  // An archive holds one folder, mostly of its own name.
  for (const auto& entry : fs::directory_iterator(target)) {
    const fs::path moved = target.parent_path() / fs::path(archive).filename();
    fs::rename(entry.path(), moved);
    return moved;
  }
  return {};
}

}  // namespace cairn::cachefs::test

#define UNPACK_OR_SKIP(path, dir, archive)                        \
  const auto path = ::cairn::cachefs::test::unpack(dir, archive); \
  if (path.empty()) GTEST_SKIP() << "shared data not present"
