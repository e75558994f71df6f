#include "cli/up/tamper.h"

#include <array>

#include "base/file.h"
#include "base/json.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {
constexpr std::array<std::string_view, 11> kNames = {"none",   "model", "engine", "measurement", "eventlog", "quote",
                                                     "replay", "root",  "tcb",    "key",         "mitm"};
constexpr std::size_t kLargestCopied = std::size_t{64} << 30;
}  // namespace

std::string_view name(Tamper tamper) { return kNames[static_cast<std::size_t>(tamper)]; }

Result<Tamper> tamper_named(std::string_view wanted) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == wanted) return static_cast<Tamper>(i);
  const auto near = nearest(wanted, tamper_names());
  std::string all;
  for (const auto& n : tamper_names()) all += (all.empty() ? "" : ", ") + n;
  return fail(ErrorCode::invalid_argument, "--tamper",
              "unknown \"" + std::string(wanted) + "\"" + (near.empty() ? "" : "; did you mean " + near + "?") +
                  " One of " + all);
}

std::vector<std::string> tamper_names() { return {kNames.begin() + 1, kNames.end()}; }

Result<void> copy_with_a_flipped_bit(const fs::path& folder, const fs::path& destination) {
  std::error_code ec;
  fs::path largest;
  std::uintmax_t size = 0;
  CAIRN_CHECK(make_dirs(destination, 0700));
  for (const auto& entry : fs::recursive_directory_iterator(folder, ec)) {
    const auto target = destination / entry.path().lexically_relative(folder);
    if (entry.is_directory()) {
      CAIRN_CHECK(make_dirs(target, 0700));
      continue;
    }
    if (!entry.is_regular_file()) continue;
    fs::create_hard_link(entry.path(), target, ec);
    if (ec) fs::copy_file(entry.path(), target, ec);
    if (ec) return fail(errno_error(ec.value(), entry.path().string(), "cannot copy"));
    if (entry.file_size() > size) size = entry.file_size(), largest = target;
  }
  if (largest.empty() || size > kLargestCopied)
    return fail(ErrorCode::invalid_argument, folder.string(), "nothing to alter");
  // A copy of its own, so that the original keeps every bit.
  const fs::path part = largest.string() + ".altered";
  fs::copy_file(largest, part, ec);
  if (ec) return fail(errno_error(ec.value(), largest.string(), "cannot copy"));
  std::FILE* file = std::fopen(part.c_str(), "r+b");
  if (file == nullptr) return fail(errno_error(errno, part.string(), "cannot open"));
  const auto middle = static_cast<long>(size / 2);
  std::fseek(file, middle, SEEK_SET);
  const int byte = std::fgetc(file);
  std::fseek(file, middle, SEEK_SET);
  std::fputc(byte ^ 1, file);
  std::fclose(file);
  fs::rename(part, largest, ec);
  return {};
}

Result<void> drop_an_event(const fs::path& log) {
  CAIRN_TRY(std::string text, read_text(log));
  if (text.ends_with('\n')) text.pop_back();
  const std::size_t last = text.rfind('\n');
  const std::size_t before = last == std::string::npos || last == 0 ? std::string::npos : text.rfind('\n', last - 1);
  if (before == std::string::npos) return fail(ErrorCode::not_found, log.string(), "no event to drop");
  text.erase(before, last - before);
  return write_text(log, text + "\n", 0600);
}

}  // namespace cairn::cli
