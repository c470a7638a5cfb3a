// What is held when something fails, and how long.
#include <sys/wait.h>

#include <cerrno>

#include "unit/store_held_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

std::chrono::system_clock::time_point in_hours(int hours) {
  return std::chrono::system_clock::now() + std::chrono::hours{hours};
}

}  // namespace

TEST_CASE("a flush that fails drops what is held, a full disk does not") {
  const Place place;
  const auto store = place.open();
  {
    auto upload = begin(*store, keyed("f"));
    REQUIRE(upload.write(std::string_view("0123")).has_value());
    {
      const auto faults = Faults::once("write", ENOSPC);
      const auto full = upload.write(std::string_view("4567"));
      REQUIRE_FALSE(full.has_value());
      CHECK(full.error().reason == Reason::no_space);
      CHECK(full.error().need == 4);
      CHECK(full.error().free.has_value());
    }
  }
  CHECK(held_size(*store) == 4);
  {
    const auto faults = Faults::once("fallocate", ENOSPC);
    const Error full = refusal(*store, keyed("f", 4, 1U << 20U));
    CHECK(full.reason == Reason::no_space);
    CHECK(full.need == 1U << 20U);
  }
  CHECK(held_size(*store) == 4);
  {
    auto upload = begin(*store, keyed("f", 4));
    const auto faults = Faults::once("fsync", EIO);
    CHECK(upload.commit().error().number == EIO);
  }
  CHECK(held_directory(place).empty());
}

TEST_CASE("what is held goes when it is too old, and only then") {
  const Place place;
  const auto store = place.open({.partial_ttl = std::chrono::hours{24}});
  leave(*store, keyed("f"), "0123");
  store->drop_expired();
  CHECK(held_size(*store) == 4);
  store->drop_expired(in_hours(23));
  CHECK(held_size(*store) == 4);
  {
    auto upload = begin(*store, keyed("f", 4));
    store->drop_expired(in_hours(25));  // in somebody's hands
    CHECK(held_size(*store) == 4);
    CHECK(upload.write(std::string_view("4")).has_value());
  }
  place.open({.partial_ttl = Duration::zero()})->drop_expired(in_hours(25));  // without a limit
  CHECK(held_size(*store) == 5);
  store->drop_expired(in_hours(25));
  CHECK(held_directory(place).empty());
  CHECK(held_size(*store) == 0);
}

TEST_CASE("the time that a client gives a file says nothing of how long it is held") {
  const Place place;
  const auto store = place.open({.partial_ttl = std::chrono::hours{24}});
  for (const time_t time : {time_t{1'000'000'000}, time_t{95'000'000'000}}) {
    leave(*store, keyed("f"), "0123");
    // As a process leaves it that is killed between the seal and the rename.
    const timespec times[2] = {{0, UTIME_OMIT}, {time, 0}};
    REQUIRE(::utimensat(AT_FDCWD, held_path(place).c_str(), times, 0) == 0);
    store->drop_expired();
    CHECK(held_size(*store) == 4);
    store->drop_expired(in_hours(25));
    CHECK(held_size(*store) == 0);
  }
}

TEST_CASE("what is held is taken up again whatever mode it was given") {
  const Place place;
  const auto store = place.open();
  leave(*store, keyed("f"), "0123");
  REQUIRE(::chmod(held_path(place).c_str(), 0) == 0);
  auto upload = begin(*store, keyed("f", 4));
  CHECK(upload.write(std::string_view("4")).has_value());
  CHECK(upload.commit().has_value());
  CHECK(read_file(place.at("f")) == "01234");
}

TEST_CASE("what no upload can use is dropped, what can't be looked at is not") {
  const Place place;
  const auto store = place.open();
  const std::string name(32, 'a');
  const auto held = [&](const char* which) { return place.at(".ftpd/held-") + which; };
  for (const char* which : {"empty", "two", "odd", "deep", "hollow"}) ::mkdir(held(which).c_str(), 0700);
  write_file(held("two") + "/" + name, "x");
  write_file(held("two") + "/" + std::string(32, 'b'), "x");
  write_file(held("odd") + "/name", "x");
  std::filesystem::create_directories(held("deep") + "/" + name + "/d");
  write_file(held("deep") + "/" + name + "/d/f", "x");
  write_file(held("hollow") + "/" + name, "");
  ::mkdir(held("good").c_str(), 0700);
  write_file(held("good") + "/" + name, "x");
  write_file(held("file"), "no directory");
  for (const char* call : {"fstatat", "getdents64", "openat2", "flock"}) {
    CAPTURE(call);
    const auto faults = Faults::always(call, EIO);
    store->drop_expired();
    CHECK(read_file(held("good") + "/" + name) == "x");
  }
  store->drop_expired();
  for (const char* which : {"empty", "two", "odd", "deep", "hollow"}) {
    CAPTURE(std::string(which));
    CHECK_FALSE(std::filesystem::exists(held(which)));
  }
  CHECK(read_file(held("good") + "/" + name) == "x");
  CHECK(std::filesystem::exists(held("file")));
}

TEST_CASE("a directory that somebody removes under an upload that is about to lock it is made again") {
  const Place place;
  const auto store = place.open();
  static std::string home;
  home = place.at(".ftpd");
  // While it is opened the directory is still there; before it is locked it is not.
  sys::set_fault_hook([](const char* call) {
    static bool done = false;
    if (std::strcmp(call, "flock") == 0 && !done) {
      done = true;
      for (const auto& entry : std::filesystem::directory_iterator(home)) {
        if (entry.path().filename().string().starts_with("held-")) ::rmdir(entry.path().c_str());
      }
    }
    return 0;
  });
  auto upload = store->begin_upload(keyed("f"));
  sys::set_fault_hook(nullptr);
  REQUIRE(upload.has_value());
  CHECK_FALSE(held_directory(place).empty());
  REQUIRE(upload->write(std::string_view("x")).has_value());
  CHECK(upload->commit().has_value());
}

TEST_CASE("a process that is killed leaves what it has written") {
  const Place place;
  ::mkdir(place.root.c_str(), 0755);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto store = Store::open(place.root, {});
    if (!store) ::_exit(1);
    auto upload = (*store)->begin_upload(keyed("f", {}, 1U << 20U));
    if (!upload || !upload->write(std::string(100000, 'x'))) ::_exit(2);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  const auto store = place.open();
  CHECK(held_size(*store) == 100000);
  CHECK(staging_directories(place) == 2);  // the store's own, and this
  auto upload = begin(*store, keyed("f", 100000, 100001));
  REQUIRE(upload.write(std::string_view("y")).has_value());
  REQUIRE(upload.commit().has_value());
  CHECK(read_file(place.at("f")) == std::string(100000, 'x') + "y");
}

TEST_CASE(
    "whichever call of a resumed upload fails, the old file or the new one is there, and the held is a "
    "prefix") {
  const std::string content(80000, 'n');
  for (const int number : {ENOSPC, EIO, EMFILE, EDQUOT}) {
    unsigned nth = 1;
    for (;; ++nth) {
      CAPTURE(number);
      CAPTURE(nth);
      const Place place(Place::quick_directory());
      const auto store = place.open();
      write_file(place.at("f"), "old");
      leave(*store, keyed("f", {}, content.size()), content.substr(0, 70000));
      const std::size_t before = open_descriptors();
      bool stored = false;
      bool fired = false;
      {
        const auto faults = Faults::nth(nth, number);
        UploadRequest request = keyed("f", 70000, content.size());
        request.mtime = timespec{1000, 0};
        request.expected.set(DigestKind::sha256, digest_of(DigestKind::sha256, content));
        auto upload = store->begin_upload(std::move(request));
        if (upload && upload->write(std::string_view(content).substr(70000))) {
          stored = upload->commit().has_value();
        }
      }
      fired = Faults::fired();
      CHECK(open_descriptors() == before);
      const std::string now = read_file(place.at("f"));
      CHECK(now == (stored || now != "old" ? content : "old"));
      if (!stored) {
        CHECK(fired);
        if (const auto held = store->held(key)) {
          const std::string kept = read_fd(held->file->get());
          CHECK(kept == content.substr(0, kept.size()));
          CHECK(kept.size() == held->size);
          CHECK(kept.size() >= 70000);
        }
      }
      store->drop_expired();
      CHECK(staging_directories(place) <= 2);
      if (!fired) break;
    }
    CHECK(nth > 15);
    CHECK(nth < 100);
  }
}
