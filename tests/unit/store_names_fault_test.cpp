// rm, mv, mkdir and sum when system calls fail, when others interfere, and with large and deep trees.
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <thread>

#include "store/names.h"
#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

/// All below the root but `.ftpd`: "path kind content", sorted.
std::vector<std::string> tree_of(const Place& place) {
  std::vector<std::string> entries;
  auto iterator = std::filesystem::recursive_directory_iterator(place.root);
  for (; iterator != std::filesystem::recursive_directory_iterator(); ++iterator) {
    const std::string name = iterator->path().lexically_relative(place.root).string();
    if (name == ".ftpd") {
      iterator.disable_recursion_pending();
      continue;
    }
    const auto type = iterator->symlink_status().type();
    std::string content;
    if (type == std::filesystem::file_type::regular) content = read_file(iterator->path().string());
    if (type == std::filesystem::file_type::symlink)
      content = std::filesystem::read_symlink(*iterator).string();
    entries.push_back(name + " " + std::to_string(static_cast<int>(type)) + " " + content);
  }
  std::ranges::sort(entries);
  return entries;
}

void furnish(const Place& place) {
  std::filesystem::create_directories(place.at("d/sub/deep"));
  std::filesystem::create_directories(place.at("e"));
  write_file(place.at("f"), "new");
  write_file(place.at("g"), "old");
  write_file(place.at("d/f"), "new in d");
  write_file(place.at("d/sub/f"), "in sub");
  write_file(place.at("e/g"), "old in e");
  REQUIRE(::symlink("../g", place.at("d/link").c_str()) == 0);
}

struct Scenario {
  const char* name;
  std::function<Result<void>(Store&)> act;
};

/// The `nth` call fails with `number`. False once there are fewer calls than that.
bool survives(const Scenario& scenario, unsigned nth, int number) {
  CAPTURE(scenario.name);
  CAPTURE(nth);
  CAPTURE(number);
  const auto finished = [&] {
    const Place place(Place::quick_directory());
    const auto store = place.open();
    furnish(place);
    REQUIRE(scenario.act(*store).has_value());
    return tree_of(place);
  }();
  const Place place(Place::quick_directory());
  auto store = place.open();
  furnish(place);
  const auto old = tree_of(place);
  const std::size_t before = open_descriptors();
  Result<void> result;
  bool fired = false;
  {
    const auto faults = Faults::nth(nth, number);
    result = scenario.act(*store);
    fired = Faults::fired();
  }
  const auto now = tree_of(place);
  if (result) {
    CHECK(now == finished);
  } else {
    CHECK(fired);
    CHECK_FALSE(result.error().text.empty());
    const bool old_or_new = now == old || now == finished;
    CHECK(old_or_new);
  }
  CHECK(staged_files(place) == 0);
  CHECK(staging_directories(place) == 1);
  const std::size_t after = open_descriptors();
  CHECK(after == before);
  return fired;
}

/// A chain of directories, `depth` of them, with a file beside each. Paths would be too long.
void make_deep(const std::string& at, int depth) {
  REQUIRE(::mkdir(at.c_str(), 0755) == 0);
  UniqueFd directory(::open(at.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < depth; ++level) {
    for (const char* const name : {"a-file", "z-file"}) {
      const UniqueFd file(::openat(directory.get(), name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
      REQUIRE(file);
    }
    REQUIRE(::mkdirat(directory.get(), "a-empty", 0755) == 0);
    REQUIRE(::mkdirat(directory.get(), "below", 0755) == 0);
    REQUIRE(::mkdirat(directory.get(), "z-empty", 0755) == 0);
    directory = UniqueFd(::openat(directory.get(), "below", O_PATH | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(directory);
  }
}

/// While it lives, only so many more descriptors can be opened.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t more) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const UniqueFd next(::open("/", O_PATH | O_CLOEXEC));
    REQUIRE(next);
    const rlimit limited{static_cast<rlim_t>(next.get()) + more, before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limited) == 0);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("whichever call of rm, mv or mkdir fails, the tree is the old one or the new one") {
  const Scenario scenarios[] = {
      {"rm f", [](Store& store) { return store.remove(path("f"), false); }},
      {"rm d/f", [](Store& store) { return store.remove(path("d/f"), false); }},
      {"rm -r d", [](Store& store) { return store.remove(path("d"), true); }},
      {"rm -r d/sub", [](Store& store) { return store.remove(path("d/sub"), true); }},
      {"rmdir d/sub/deep", [](Store& store) { return store.remove_directory(path("d/sub/deep")); }},
      {"mkdir new", [](Store& store) { return store.make_directory(path("new"), false); }},
      {"mkdir d/new", [](Store& store) { return store.make_directory(path("d/new"), false); }},
      {"mkdir -p a/b/c", [](Store& store) { return store.make_directory(path("a/b/c"), true); }},
      {"mkdir -p d/sub", [](Store& store) { return store.make_directory(path("d/sub"), true); }},
      {"mv f g", [](Store& store) { return store.rename(path("f"), path("g"), true); }},
      {"mv -n f new", [](Store& store) { return store.rename(path("f"), path("new"), false); }},
      {"mv d/f e/g", [](Store& store) { return store.rename(path("d/f"), path("e/g"), true); }},
      {"mv d e/new", [](Store& store) { return store.rename(path("d"), path("e/new"), true); }},
  };
  for (const Scenario& scenario : scenarios) {
    for (const int number : {EIO, EMFILE, ENOSPC, EINVAL, EINTR}) {
      unsigned nth = 1;
      while (survives(scenario, nth, number)) ++nth;
      CHECK(nth > 2);
      CHECK(nth < 200);
    }
  }
}

TEST_CASE("whichever call of a file's digest fails, there is the right digest or none") {
  const Place place(Place::quick_directory());
  const auto store = place.open();
  write_file(place.at("f"), "abc");
  const timespec times[2] = {{1, 0}, {1, 0}};
  REQUIRE(::utimensat(AT_FDCWD, place.at("f").c_str(), times, 0) == 0);
  const std::string right = "900150983cd24fb0d6963f7d28e17f72";
  const std::size_t before = open_descriptors();
  for (const int number : {EIO, EMFILE, ENOTSUP, EINTR}) {
    for (unsigned nth = 1;; ++nth) {
      CAPTURE(number);
      CAPTURE(nth);
      bool fired = false;
      {
        const auto faults = Faults::nth(nth, number);
        if (const auto file = store->open_file(path("f"))) {
          const int fd = file->file->get();
          struct stat status{};
          REQUIRE(::fstat(fd, &status) == 0);
          if (const auto kept = kept_digest(fd, DigestKind::md5, status)) CHECK(*kept == right);
          FileDigest digest(file->file, DigestKinds{DigestKind::md5}, file->size);
          if (const auto done = digest.step(FileDigest::usual_step)) {
            CHECK(*done);
            CHECK(digest.digests().of(DigestKind::md5) == right);
            keep_digest(fd, DigestKind::md5, right, status);
          }
        }
        fired = Faults::fired();
      }
      CHECK(open_descriptors() == before);
      if (!fired) {
        CHECK(nth > 4);
        break;
      }
    }
  }
}

TEST_CASE("a tree 1,000 deep is removed with few descriptors") {
  for (const bool in_place : {false, true}) {
    CAPTURE(in_place);
    const Place place(Place::quick_directory());
    const auto store = place.open({.durable = false});
    make_deep(place.at("deep"), 1000);
    const FewDescriptors few(24);
    Result<void> removed;
    if (in_place) {
      const auto faults = Faults::always("renameat2", EXDEV);
      removed = store->remove(path("deep"), true);
    } else {
      removed = store->remove(path("deep"), true);
    }
    CHECK(removed.has_value());
    CHECK_FALSE(std::filesystem::exists(place.at("deep")));
    CHECK(staged_files(place) == 0);
  }
}

TEST_CASE("a directory with 100,000 files is removed") {
  const Place place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  REQUIRE(::mkdir(place.at("wide").c_str(), 0755) == 0);
  const UniqueFd directory(::open(place.at("wide").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (int number = 0; number < 100'000; ++number) {
    const std::string name = "file-" + std::to_string(number);
    REQUIRE(::mknodat(directory.get(), name.c_str(), S_IFREG | 0644, 0) == 0);
  }
  CHECK(store->remove(path("wide"), true).has_value());
  CHECK_FALSE(std::filesystem::exists(place.at("wide")));
  CHECK(std::filesystem::is_empty(place.root) == false);  // .ftpd
  CHECK(staged_files(place) == 0);
}

TEST_CASE("while directories are swapped for links to the outside, removing touches nothing outside") {
  const Place place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  const std::string outside = place.base + "/outside";
  std::filesystem::create_directories(outside + "/sub/deep");
  for (const char* const name : {"/f", "/sub/f", "/sub/deep/f"}) write_file(outside + name, "precious");
  std::atomic<bool> done{false};
  std::atomic<unsigned> swaps{0};
  std::thread swapper([&] {
    std::error_code ignored;
    while (!done) {
      for (const char* const name : {"d", "d/sub", "d/sub/deep"}) {
        const std::string directory = place.at(name);
        // What is there steps aside and a link takes its name, until the directory comes back.
        std::filesystem::remove_all(place.base + "/aside", ignored);
        if (::rename(directory.c_str(), (place.base + "/aside").c_str()) != 0) continue;
        const std::string target = outside + std::string(directory).substr(place.at("d").size());
        if (::symlink(target.c_str(), directory.c_str()) == 0) {
          ++swaps;
          ::unlink(directory.c_str());
        }
        ::rename((place.base + "/aside").c_str(), directory.c_str());
      }
    }
  });
  std::error_code ignored;
  for (int round = 0; round < 300 || (swaps < 100 && round < 20'000); ++round) {
    std::filesystem::create_directories(place.at("d/sub/deep"), ignored);
    for (const char* const name : {"d/f", "d/sub/f", "d/sub/deep/f"}) {
      // Not through a link that is there for the moment.
      const UniqueFd root(::open(place.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      open_how how{};
      how.flags = O_CREAT | O_WRONLY | O_CLOEXEC;
      how.mode = 0644;
      how.resolve = RESOLVE_NO_SYMLINKS;
      const UniqueFd file(sys::openat2(root.get(), name, how));
    }
    if (round % 2 == 0) {
      static_cast<void>(store->remove(path("d"), true));
    } else {
      const UniqueFd root(::open(place.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      static_cast<void>(remove_tree(root.get(), "d"));
    }
  }
  done = true;
  swapper.join();
  CHECK(swaps.load() > 0);
  for (const char* const name : {"/f", "/sub/f", "/sub/deep/f"}) {
    CHECK(read_file(outside + name) == "precious");
  }
  std::filesystem::remove_all(place.base + "/aside", ignored);
}

TEST_CASE("a tree is removed while others add to it, and by two at once") {
  const Place place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  for (int round = 0; round < 50; ++round) {
    for (const char* const name : {"d/a/b", "d/c", "d/e/f/g"}) {
      std::filesystem::create_directories(place.at(name));
      write_file(place.at(std::string(name) + "/x"), "x");
    }
    std::atomic<int> gone{0};
    std::thread adder([&] {
      for (int number = 0; number < 20; ++number) {
        static_cast<void>(
            store->put_small(request_for("d/c/" + std::to_string(number)), std::string_view("y")));
      }
    });
    const auto remove = [&] {
      const auto removed = store->remove(path("d"), true);
      if (removed || removed.error().reason == Reason::not_found) ++gone;
    };
    std::thread one(remove);
    std::thread other(remove);
    one.join();
    other.join();
    adder.join();
    CHECK(gone.load() == 2);
    CHECK_FALSE(std::filesystem::exists(place.at("d")));
    CHECK(staged_files(place) == 0);
  }
}

TEST_CASE("of many who make or move to one name without replacing, one wins") {
  const Place place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  for (int round = 0; round < 50; ++round) {
    const std::string number = std::to_string(round);
    std::atomic<int> made{0};
    std::atomic<int> parents{0};
    std::atomic<int> moved{0};
    std::vector<std::thread> threads;
    for (int index = 0; index < 4; ++index) {
      const std::string from = "from" + std::to_string(index);
      write_file(place.at(from), from);
      threads.emplace_back([&, from] {
        if (store->make_directory(path("d" + number), false)) ++made;
        if (store->make_directory(path("p/" + number + "/q/r"), true)) ++parents;
        if (store->rename(path(from), path("to" + number), false)) ++moved;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(made.load() == 1);
    CHECK(parents.load() == 4);
    CHECK(moved.load() == 1);
  }
}

TEST_CASE("a name that is replaced over and over by mv is never missing") {
  const Place place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  write_file(place.at("f"), "whole");
  std::atomic<bool> done{false};
  std::thread mover([&] {
    for (int round = 0; round < 500; ++round) {
      write_file(place.at("next"), "whole");
      static_cast<void>(store->rename(path("next"), path("f"), true));
    }
    done = true;
  });
  bool always = true;
  do {
    const auto file = store->open_file(path("f"));
    always = always && file && read_fd(file->file->get()) == "whole";
  } while (!done);
  mover.join();
  CHECK(always);
}

TEST_CASE("what a daemon that is killed has begun to remove is gone, and cleared at the next start") {
  const Place place(Place::quick_directory());
  std::filesystem::create_directories(place.at("d/sub/deep"));
  for (int number = 0; number < 20; ++number) write_file(place.at("d/sub/" + std::to_string(number)), "x");
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto store = Store::open(place.root, {});
    static std::atomic<int> unlinked;
    sys::set_fault_hook([](const char* call) {
      if (std::string_view(call) == "unlinkat" && ++unlinked == 10) ::_exit(7);
      return 0;
    });
    static_cast<void>((*store)->remove(path("d"), true));
    ::_exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 7);
  CHECK_FALSE(std::filesystem::exists(place.at("d")));
  CHECK(staged_files(place) > 0);
  const auto store = place.open();
  CHECK(staged_files(place) == 0);
  CHECK(staging_directories(place) == 1);
}
