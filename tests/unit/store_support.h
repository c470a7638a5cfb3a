// What the store's tests share: a root of their own, faults on demand, plain file access.
#pragma once

#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/sys.h"
#include "store/store.h"

namespace ftpd::test {

/// A directory of its own, and `root` in it (made by the first open()).
struct Place {
  Place() : Place(temporary_directory()) {}
  explicit Place(const std::string& below) {
    std::string pattern = below + "/ftpd-store-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    base = pattern;
    root = base + "/root";
  }
  ~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(base, ignored);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  [[nodiscard]] static std::string temporary_directory() {
    const char* const set = std::getenv("TMPDIR");
    return set != nullptr ? set : "/tmp";
  }
  /// For tests with hundreds of flushes: in memory where that can be had.
  [[nodiscard]] static std::string quick_directory() {
    return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : temporary_directory();
  }

  [[nodiscard]] std::shared_ptr<Store> open(Store::Options options = {}) const {
    auto store = Store::open(root, options);
    REQUIRE_MESSAGE(store.has_value(), store.error().text);
    return std::move(*store);
  }
  [[nodiscard]] std::string at(const std::string& name) const { return root + "/" + name; }

  std::string base;
  std::string root;
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void write_file(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}
inline std::string read_fd(int fd) {
  std::string content;
  char buffer[8192];
  for (ssize_t count = 0; (count = ::read(fd, buffer, sizeof buffer)) > 0;) {
    content.append(buffer, static_cast<std::size_t>(count));
  }
  return content;
}

inline RelPath path(std::string_view text) {
  auto parsed = RelPath::parse_or_root(text);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().text);
  return std::move(*parsed);
}
inline UploadRequest request_for(std::string_view name) {
  UploadRequest request;
  request.path = path(name);
  return request;
}

inline UploadRequest sized(std::string_view name, std::uint64_t size) {
  UploadRequest request = request_for(name);
  request.size = size;
  return request;
}
/// Begun, written, committed.
inline Result<Stored> put(Store& store, UploadRequest request, std::string_view content) {
  auto upload = store.begin_upload(std::move(request));
  if (!upload) return std::unexpected(std::move(upload.error()));
  if (auto written = upload->write(content); !written) return std::unexpected(std::move(written.error()));
  return upload->commit();
}

inline std::string digest_of(DigestKind kind, std::string_view bytes) {
  Hasher hasher{DigestKinds(kind)};
  hasher.update(bytes);
  return *hasher.digests().of(kind);
}

/// A pool and what it is asked to store; waits for all of it.
class Later {
 public:
  explicit Later(std::shared_ptr<Store> store, unsigned threads = 4)
      : store_(std::move(store)), pool_(threads) {}

  void put(UploadRequest request, std::string bytes) {
    const std::size_t index = asked_++;
    store_->put_small_later(pool_,
                            {std::move(request), std::move(bytes), [this, index](Result<Stored> result) {
                               const std::lock_guard lock(mutex_);
                               results_[index] = std::move(result);
                               changed_.notify_all();
                             }});
  }
  /// In the order in which they were asked for.
  [[nodiscard]] std::vector<Result<Stored>> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return results_.size() == asked_; });
    std::vector<Result<Stored>> all;
    for (auto& [index, result] : results_) all.push_back(std::move(result));
    return all;
  }
  [[nodiscard]] Offload& pool() { return pool_; }

 private:
  std::shared_ptr<Store> store_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t asked_ = 0;
  std::map<std::size_t, Result<Stored>> results_;
  Offload pool_;  // joins before the rest goes
};

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* const directory = ::opendir("/proc/self/fd");
  REQUIRE(directory != nullptr);
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

/// Files in all the staging directories of `place`.
inline std::size_t staged_files(const Place& place) {
  std::size_t count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(place.at(".ftpd"), error)) {
    if (!entry.is_directory()) ++count;
  }
  return count;
}
inline std::size_t staging_directories(const Place& place) {
  std::size_t count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(place.at(".ftpd"), error)) {
    if (entry.is_directory()) ++count;
  }
  return count;
}

/// While it lives, system calls fail on demand. One at a time.
class Faults {
 public:
  /// The `nth` call (from 1) fails with `number`, whatever it is.
  static Faults nth(unsigned nth, int number) { return Faults{"", nth, number, Reach::one}; }
  /// The next call of that name fails; those after it do not.
  static Faults once(const char* call, int number) { return Faults{call, 1, number, Reach::one}; }
  /// Every call of that name fails.
  static Faults always(const char* call, int number) { return Faults{call, 1, number, Reach::all}; }

  ~Faults() { sys::set_fault_hook(nullptr); }
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  [[nodiscard]] static bool fired() { return plan().seen.load() >= plan().nth; }

 private:
  enum class Reach { one, all };
  struct Plan {
    std::string call;
    unsigned nth = 0;
    int number = 0;
    Reach reach = Reach::one;
    std::atomic<unsigned> seen{0};
  };
  static Plan& plan() {
    static Plan the_plan;
    return the_plan;
  }
  Faults(std::string call, unsigned nth, int number, Reach reach) {
    plan().call = std::move(call);
    plan().nth = nth;
    plan().number = number;
    plan().reach = reach;
    plan().seen = 0;
    sys::set_fault_hook([](const char* name) {
      if (!plan().call.empty() && plan().call != name) return 0;
      const unsigned seen = ++plan().seen;
      const bool hit = plan().reach == Reach::all ? seen >= plan().nth : seen == plan().nth;
      return hit ? plan().number : 0;
    });
  }
};

}  // namespace ftpd::test
