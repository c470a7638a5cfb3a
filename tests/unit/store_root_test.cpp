// Opening a root: what is made, what is refused, what a dead process left.
#include <sys/file.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/unique_fd.h"
#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

Error refusal(const std::string& directory) {
  auto store = Store::open(directory, {});
  REQUIRE_FALSE(store.has_value());
  return std::move(store.error());
}

mode_t mode_of(const std::string& name) {
  struct stat status{};
  REQUIRE(::stat(name.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a missing root is made, for its owner to write") {
  const Place place;
  const mode_t before = ::umask(0);
  const auto store = place.open();
  ::umask(before);
  CHECK(mode_of(place.root) == 0755);
  CHECK(store->directory() == place.root);
  CHECK(mode_of(place.at(".ftpd")) == 0700);
  CHECK(staging_directories(place) == 1);
}

TEST_CASE("a root whose parent is missing is an error that says what to do") {
  const Place place;
  const Error error = refusal(place.base + "/a/b");
  CHECK(error.reason == Reason::not_found);
  CHECK(has(error.text, "mkdir -p"));
  CHECK_FALSE(std::filesystem::exists(place.base + "/a"));
}

TEST_CASE("a root that is a file is an error") {
  const Place place;
  write_file(place.root, "x");
  const Error error = refusal(place.root);
  CHECK(error.reason == Reason::not_directory);
  CHECK(has(error.text, "not a directory"));
}

TEST_CASE("a root that others can write is refused, with the way out") {
  const Place place;
  ::mkdir(place.root.c_str(), 0755);
  for (const mode_t mode : {0777U, 01777U, 0775U, 0757U, 0720U, 0702U}) {
    CAPTURE(mode);
    ::chmod(place.root.c_str(), mode);
    CHECK(refusal(place.root).reason == Reason::denied);
  }
  ::chmod(place.root.c_str(), 0777);
  CHECK(refusal(place.root).text == "root \"" + place.root +
                                        "\" can be written by others (mode 0777); chmod go-w it, or set "
                                        "allow_writable_root = true");
  CHECK_FALSE(std::filesystem::exists(place.at(".ftpd")));
  CHECK(Store::open(place.root, {.allow_writable_root = true}).has_value());
  for (const mode_t mode : {0755U, 0700U, 01755U, 02755U}) {
    CAPTURE(mode);
    ::chmod(place.root.c_str(), mode);
    CHECK(Store::open(place.root, {}).has_value());
  }
}

TEST_CASE("the administrator may name the root through a link") {
  const Place place;
  ::mkdir((place.base + "/real").c_str(), 0755);
  REQUIRE(::symlink("real", place.root.c_str()) == 0);
  const auto store = place.open();
  REQUIRE(store->put_small(request_for("f"), std::string_view("x")).has_value());
  CHECK(read_file(place.base + "/real/f") == "x");
}

TEST_CASE("a root that can't be written is fine until the first upload") {
  const Place place;
  ::mkdir(place.root.c_str(), 0755);
  std::shared_ptr<Store> store;
  {
    const auto faults = Faults::always("mkdirat", EROFS);
    store = place.open();
    const auto upload = store->begin_upload(request_for("f"));
    REQUIRE_FALSE(upload.has_value());
    CHECK(upload.error().reason == Reason::denied);
    CHECK(upload.error().number == EROFS);
    CHECK(has(upload.error().text, ".ftpd"));
  }
  CHECK(store->put_small(request_for("f"), std::string_view("x")).has_value());
}

TEST_CASE("a link in place of the staging is not followed") {
  const Place place;
  ::mkdir(place.root.c_str(), 0755);
  ::mkdir((place.base + "/elsewhere").c_str(), 0755);
  REQUIRE(::symlink("../elsewhere", place.at(".ftpd").c_str()) == 0);
  const auto store = place.open();
  const auto upload = store->begin_upload(request_for("f"));
  REQUIRE_FALSE(upload.has_value());
  CHECK(upload.error().reason == Reason::denied);
  CHECK(std::filesystem::is_empty(place.base + "/elsewhere"));
}

TEST_CASE("what a dead process staged is removed, what a living one stages is kept") {
  const Place place;
  const auto living = place.open();
  auto upload = living->begin_upload(request_for("living"));
  REQUIRE(upload.has_value());
  const std::string dead = place.at(".ftpd/staging-dead");
  ::mkdir(dead.c_str(), 0700);
  write_file(dead + "/0", "half");
  write_file(dead + "/1", "half");
  std::filesystem::create_directories(dead + "/tree/a/b");
  write_file(dead + "/tree/a/b/f", "half");
  const std::string held = place.at(".ftpd/staging-held");
  ::mkdir(held.c_str(), 0700);
  write_file(held + "/0", "half");
  const UniqueFd lock{::open(held.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  REQUIRE(::flock(lock.get(), LOCK_EX | LOCK_NB) == 0);
  write_file(place.at(".ftpd/other"), "not staging");

  const auto second = place.open();
  CHECK_FALSE(std::filesystem::exists(dead));
  CHECK(std::filesystem::exists(held + "/0"));
  CHECK(std::filesystem::exists(place.at(".ftpd/other")));
  CHECK(staging_directories(place) == 3);
  REQUIRE(upload->write(std::string_view("whole")).has_value());
  CHECK(upload->commit().has_value());
  CHECK(read_file(place.at("living")) == "whole");
}

TEST_CASE("a process that dies in the middle of an upload leaves nothing once the root is opened again") {
  const Place place;
  ::mkdir(place.root.c_str(), 0755);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto store = Store::open(place.root, {});
    if (!store) ::_exit(1);
    auto upload = (*store)->begin_upload(request_for("f"));
    if (!upload || !upload->write(std::string_view("half"))) ::_exit(2);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  CHECK(staged_files(place) == 1);
  const auto store = place.open();
  CHECK(staged_files(place) == 0);
  CHECK(staging_directories(place) == 1);
  CHECK_FALSE(std::filesystem::exists(place.at("f")));
}

TEST_CASE("a store takes its empty staging directory with it, but not before its uploads") {
  const Place place;
  auto store = place.open();
  {
    auto upload = store->begin_upload(request_for("f"));
    REQUIRE(upload.has_value());
    store.reset();
    CHECK(staging_directories(place) == 1);
    CHECK(upload->write(std::string_view("late")).has_value());
    CHECK(upload->commit().has_value());
  }
  CHECK(staging_directories(place) == 0);
  CHECK(read_file(place.at("f")) == "late");
}

TEST_CASE("staging that somebody removes is made again") {
  const Place place;
  const auto store = place.open();
  std::filesystem::remove_all(place.at(".ftpd"));
  CHECK(store->put_small(request_for("f"), std::string_view("one")).has_value());
  std::filesystem::remove_all(place.at(".ftpd"));
  auto upload = store->begin_upload(request_for("f"));
  REQUIRE(upload.has_value());
  std::filesystem::remove_all(place.at(".ftpd"));
  CHECK_FALSE(upload->commit().has_value());
  CHECK(read_file(place.at("f")) == "one");
}

TEST_CASE("a staging directory that can't be opened or found again is not left behind") {
  for (const char* call : {"openat2", "flock", "fstatat", "fstat", "mkdirat"}) {
    CAPTURE(call);
    const Place place;
    ::mkdir(place.root.c_str(), 0755);
    const auto store = place.open();
    std::filesystem::remove_all(place.at(".ftpd"));
    {
      const auto faults = Faults::once(call, EIO);
      static_cast<void>(store->begin_upload(request_for("f")));
    }
    CHECK(staging_directories(place) <= 1);
    CHECK(staged_files(place) == 0);
  }
}

TEST_CASE("the kind of file system and its free space are known") {
  const Place place;
  const auto store = place.open();
  const auto free = store->free_space();
  REQUIRE(free.has_value());
  CHECK(*free > 0);
  if (::access("/dev/shm", W_OK) == 0) {
    std::string pattern = "/dev/shm/ftpd-store-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    const auto in_memory = Store::open(pattern, {});
    CHECK((in_memory.has_value() && (*in_memory)->in_memory()));
    std::filesystem::remove_all(pattern);
  }
}

TEST_CASE("what a process staged that died while another lives is removed by that one") {
  const Place place;
  const auto store = place.open();
  auto upload = store->begin_upload(request_for("f"));
  REQUIRE(upload.has_value());
  REQUIRE(upload->write(std::string_view("whole")).has_value());
  const std::string dead = place.at(".ftpd/staging-deadbeef00000000");
  ::mkdir(dead.c_str(), 0700);
  write_file(dead + "/0", "half");
  store->drop_expired();
  CHECK_FALSE(std::filesystem::exists(dead));
  CHECK(staging_directories(place) == 1);
  CHECK(upload->commit().has_value());
  CHECK(read_file(place.at("f")) == "whole");
}
