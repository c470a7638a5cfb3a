// How much one file, and all below a root, may take; and what is told where there is no room.
#include <sys/fsuid.h>

#include <array>
#include <cerrno>
#include <functional>
#include <thread>

#include "base/unique_fd.h"
#include "store/tree_size.h"
#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

std::shared_ptr<Store> open_limited(const Place& place, std::uint64_t quota) {
  return place.open({.durable = false, .quota = quota});
}

std::uint64_t used(const Store& store) {
  const auto space = store.space();
  REQUIRE_MESSAGE(space.has_value(), space.error().text);
  return space->quota_used;
}

Result<Stored> small(Store& store, std::string_view name, std::size_t size) {
  return store.put_small(request_for(name), std::string(size, 'x'));
}

/// Counting is paid for with time: after some of it the tree is counted again.
bool eventually(const std::function<bool()>& holds) {
  for (int attempt = 0; attempt < 2000; ++attempt) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return false;
}

void check_refused(const Result<Stored>& stored, std::uint64_t need, std::uint64_t free) {
  REQUIRE_FALSE(stored.has_value());
  CHECK(stored.error().reason == Reason::quota);
  CHECK(stored.error().need == need);
  CHECK(stored.error().free == free);
  CHECK(stored.error().text.find(std::to_string(need) + " bytes are needed, " + std::to_string(free)) !=
        std::string::npos);
}

UploadRequest keyed(std::string_view name, std::optional<std::uint64_t> offset = {},
                    std::optional<std::uint64_t> size = {}) {
  UploadRequest request = request_for(name);
  request.held = UploadKey{"lab", "one"};
  request.offset = offset;
  request.size = size;
  return request;
}

/// Root may read anything: while this lives, this thread opens files as nobody, if it is root's.
struct AsNobody {
  AsNobody() {
    if (::geteuid() == 0) ::setfsuid(65534);
  }
  ~AsNobody() {
    if (::geteuid() == 0) ::setfsuid(0);
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;
};

}  // namespace

TEST_CASE("a file takes a root up to its quota and not beyond") {
  const Place place;
  const auto store = open_limited(place, 1000);
  CHECK(small(*store, "a", 600).has_value());
  check_refused(small(*store, "b", 401), 401, 400);
  CHECK(small(*store, "b", 400).has_value());
  CHECK(used(*store) == 1000);
  check_refused(small(*store, "c", 1), 1, 0);
  CHECK(small(*store, "empty", 0).has_value());
  const auto space = store->space();
  CHECK(space->quota == 1000);
  CHECK(space->total > 0);
  CHECK(space->free <= space->total);
  const std::string content(1001, 'x');
  check_refused(put(*store, sized("large", 1001), content), 1001, 0);
  CHECK_FALSE(store->check_upload(sized("c", 1)).has_value());
  CHECK(store->check_upload(sized("empty", 0)).has_value());
  CHECK(staged_files(place) == 0);
}

TEST_CASE("a file that is replaced leaves its room to the one that comes") {
  const Place place;
  const auto store = open_limited(place, 1000);
  CHECK(small(*store, "a", 900).has_value());
  CHECK(small(*store, "a", 1000).has_value());
  CHECK(used(*store) == 1000);
  check_refused(small(*store, "a", 1001), 1001, 1000);
  CHECK(put(*store, sized("a", 500), std::string(500, 'y')).has_value());
  CHECK(used(*store) == 500);
  CHECK(small(*store, "b", 500).has_value());
  // One that has another name leaves nothing.
  std::filesystem::create_hard_link(place.at("a"), place.at("link"));
  check_refused(small(*store, "a", 1), 1, 0);
}

TEST_CASE("uploads under way count with what they announced") {
  const Place place;
  const auto store = open_limited(place, 1000);
  {
    auto upload = store->begin_upload(sized("a", 700));
    REQUIRE(upload.has_value());
    CHECK(used(*store) == 700);
    check_refused(small(*store, "b", 301), 301, 300);
    CHECK(small(*store, "b", 300).has_value());
    REQUIRE(upload->write(std::string(700, 'x')).has_value());
    CHECK(upload->commit().has_value());
  }
  CHECK(used(*store) == 1000);
  CHECK_FALSE(store->begin_upload(sized("c", 1)).has_value());
  REQUIRE(store->remove(path("a"), false).has_value());
  CHECK(store->begin_upload(sized("c", 700)).has_value());  // and is given up at once
  CHECK(used(*store) == 300);
}

TEST_CASE("an upload of unknown size is stopped where the quota ends, and takes no more than it needs") {
  const Place place;
  const auto store = open_limited(place, 3000000);
  {
    auto upload = store->begin_upload(request_for("f"));
    REQUIRE(upload.has_value());
    CHECK(used(*store) == 0);
    REQUIRE(upload->write(std::string(10, 'x')).has_value());
    CHECK(used(*store) == 1048576);
    REQUIRE(upload->write(std::string(2999989, 'x')).has_value());
    CHECK(upload->write(std::string(2, 'x')).error().reason == Reason::quota);
    CHECK(upload->write(std::string(1, 'x')).has_value());
    CHECK(upload->commit().has_value());
  }
  CHECK(used(*store) == 3000000);
  CHECK(put(*store, request_for("f"), "short").has_value());
  CHECK(used(*store) == 5);
}

TEST_CASE("a credit that somebody else has used up is noticed at the commit") {
  const Place place;
  const auto store = open_limited(place, 100);
  CHECK(small(*store, "f", 100).has_value());
  auto upload = store->begin_upload(sized("f", 100));
  REQUIRE(upload.has_value());
  REQUIRE(upload->write(std::string(100, 'y')).has_value());
  CHECK(small(*store, "f", 1).has_value());
  CHECK(small(*store, "g", 99).has_value());
  check_refused(upload->commit(), 100, 1);
  CHECK(read_file(place.at("f")) == "x");
}

TEST_CASE("what others change is counted before anything is refused") {
  const Place place;
  ::mkdir(place.root.c_str(), 0755);
  std::filesystem::create_directories(place.at("a/b/c"));
  write_file(place.at("a/b/c/f"), std::string(400, 'x'));
  write_file(place.at("a/f"), std::string(300, 'x'));
  std::filesystem::create_hard_link(place.at("a/f"), place.at("again"));
  REQUIRE(::symlink("a/f", place.at("link").c_str()) == 0);
  REQUIRE(::mkfifo(place.at("fifo").c_str(), 0644) == 0);
  const auto store = open_limited(place, 1000);
  check_refused(small(*store, "f", 301), 301, 300);
  CHECK(small(*store, "f", 300).has_value());
  std::filesystem::remove_all(place.at("a/b"));
  CHECK(eventually([&] { return small(*store, "g", 400).has_value(); }));
  CHECK(used(*store) == 1000);
}

TEST_CASE("what others add is noticed though there seemed to be room") {
  const Place place;
  const auto store = open_limited(place, 100'000);
  REQUIRE(small(*store, "f", 10).has_value());
  write_file(place.at("behind"), std::string(100'000, 'x'));
  std::size_t size = 10;
  CHECK(eventually([&] { return !small(*store, "f", ++size).has_value(); }));
}

TEST_CASE("what we remove ourselves is known at once") {
  const Place place;
  const auto store = open_limited(place, 1000);
  for (int round = 0; round < 50; ++round) {
    REQUIRE(small(*store, "f", 1000).has_value());
    REQUIRE(store->remove(path("f"), false).has_value());
  }
}

TEST_CASE("a very deep tree is counted") {
  const Place place;
  const auto store = open_limited(place, 1000);
  const std::string component(200, 'd');
  UniqueFd directory{::open(place.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  for (int depth = 0; depth < 40; ++depth) {  // twice as deep as a path can be long
    REQUIRE(::mkdirat(directory.get(), component.c_str(), 0755) == 0);
    directory.reset(::openat(directory.get(), component.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(directory);
  }
  const UniqueFd file{::openat(directory.get(), "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644)};
  REQUIRE(::write(file.get(), "12345", 5) == 5);
  CHECK(used(*store) == 5);
}

TEST_CASE("a count that fails refuses what it should have judged, and nothing is lost") {
  const Place place;
  const auto store = open_limited(place, 1000);
  {
    const auto faults = Faults::once("getdents64", EIO);
    CHECK(small(*store, "f", 10).error().number == EIO);
  }
  CHECK(small(*store, "f", 1000).has_value());
  CHECK(used(*store) == 1000);
}

TEST_CASE("what is held counts, and only the rest of a resumed upload is asked for") {
  const Place place;
  const auto store = open_limited(place, 1000);
  {
    auto upload = store->begin_upload(keyed("f", {}, 900));
    REQUIRE(upload.has_value());
    REQUIRE(upload->write(std::string(600, 'x')).has_value());
    CHECK(used(*store) == 900);
    check_refused(small(*store, "g", 101), 101, 100);
  }
  CHECK(used(*store) == 600);
  CHECK(used(*open_limited(place, 1000)) == 600);  // by its own count
  CHECK(small(*store, "g", 100).has_value());
  const auto too_much = store->begin_upload(keyed("f", 600, 901));
  REQUIRE_FALSE(too_much.has_value());
  CHECK(too_much.error().reason == Reason::quota);
  CHECK(too_much.error().need == 301);
  CHECK(too_much.error().free == 300);
  CHECK(used(*store) == 700);
  {
    auto upload = store->begin_upload(keyed("f", 600, 900));
    REQUIRE(upload.has_value());
    REQUIRE(upload->write(std::string(200, 'x')).has_value());
    write_file(place.at("more"), "12345");
    CHECK(eventually([&] { return used(*store) != 1000; }));  // counted again in the middle of it
    CHECK(used(*store) == 1005);
    std::filesystem::remove(place.at("more"));
    CHECK(eventually([&] { return used(*store) == 1000; }));
    REQUIRE(upload->write(std::string(100, 'x')).has_value());
    CHECK(upload->commit().has_value());
  }
  CHECK(used(*store) == 1000);
  CHECK(used(*open_limited(place, 1000)) == 1000);
  std::filesystem::remove(place.at("f"));
}

TEST_CASE("what is thrown away or called off or too old counts no more") {
  const Place place;
  const auto store = open_limited(place, 1000);
  const auto leave = [&](std::size_t size) {
    auto upload = store->begin_upload(keyed("f", {}, size));
    REQUIRE_MESSAGE(upload.has_value(), upload.error().text);
    REQUIRE(upload->write(std::string(size, 'x')).has_value());
  };
  for (int round = 0; round < 20; ++round) leave(1000);  // each throws the one before away
  {
    auto upload = store->begin_upload(keyed("f", 1000, 1000));
    REQUIRE(upload.has_value());
    upload->drop();
  }
  CHECK(small(*store, "g", 1000).has_value());
  REQUIRE(store->remove(path("g"), false).has_value());
  leave(1000);
  store->drop_expired(std::chrono::system_clock::now() + std::chrono::hours{25});
  CHECK(small(*store, "g", 1000).has_value());
}

TEST_CASE("uploads that are taken up and left by many at once leave the books right") {
  const Place place(Place::quick_directory());
  const auto store = open_limited(place, 1'000'000);
  std::vector<std::jthread> clients;
  for (int client = 0; client < 6; ++client) {
    clients.emplace_back([&store, client] {
      for (int round = 0; round < 150; ++round) {
        const UploadKey key{"lab", std::to_string((round + client) % 3)};
        const auto held = store->held(key);
        UploadRequest request = request_for("f" + key.name);
        request.held = key;
        request.offset = held ? held->size : 0;
        auto upload = store->begin_upload(std::move(request));
        if (!upload) continue;  // in another's hands, or just changed
        static_cast<void>(upload->write(std::string(100, 'x')));
        if (round % 7 == 0) upload->drop();
        if (round % 7 == 3) static_cast<void>(upload->commit());
      }
    });
  }
  clients.clear();
  std::uint64_t real = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(place.root)) {
    if (entry.is_regular_file()) real += entry.file_size();
  }
  CHECK(eventually([&] { return used(*store) == real; }));
}

TEST_CASE("many at once never go beyond a quota, and use all of it") {
  const Place place(Place::quick_directory());
  const auto store = open_limited(place, 100000);
  std::atomic<int> stored{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int index = 0; index < 50; ++index) {
        const std::string name = std::to_string(thread) + "-" + std::to_string(index);
        if (index % 2 == 0) {
          if (small(*store, name, 1000)) ++stored;
        } else if (put(*store, sized(name, 1000), std::string(1000, 'x'))) {
          ++stored;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(stored == 100);
  CHECK(used(*store) == 100000);
  CHECK(used(*open_limited(place, 1)) == 100000);
}

TEST_CASE("without a quota nothing is counted but when it is asked for") {
  const Place place;
  const auto store = place.open({.durable = false});
  {
    const auto faults = Faults::always("getdents64", EIO);
    CHECK(small(*store, "f", 10).has_value());
    CHECK(put(*store, request_for("g"), "12345").has_value());
    CHECK_FALSE(store->space().has_value());
  }
  CHECK(used(*store) == 15);
  CHECK(store->space()->quota == 0);
}

TEST_CASE("a file is as large as one may be, and no larger") {
  const Place place;
  const auto store = place.open({.durable = false, .max_file = 1000});
  const std::string content(1001, 'x');
  const std::string_view all = content;
  CHECK(put(*store, sized("a", 1000), all.substr(1)).has_value());
  CHECK(put(*store, request_for("b"), all.substr(1)).has_value());
  CHECK(store->put_small(request_for("c"), all.substr(1)).has_value());
  const Error at_begin = store->begin_upload(sized("d", 1001)).error();
  CHECK(at_begin.reason == Reason::too_large);
  CHECK(at_begin.text == "\"d\" would have 1001 bytes or more; at most 1000 are allowed in one file");
  CHECK(store->check_upload(sized("d", 1001)).error().reason == Reason::too_large);
  CHECK(store->put_small(request_for("d"), all).error().reason == Reason::too_large);
  {
    auto upload = store->begin_upload(request_for("d"));
    REQUIRE(upload.has_value());
    CHECK(upload->write(all.substr(0, 600)).has_value());
    CHECK(upload->write(all.substr(0, 401)).error().reason == Reason::too_large);
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    const UniqueFd from{ends[0]};
    const UniqueFd into{ends[1]};
    REQUIRE(::write(into.get(), content.data(), 401) == 401);
    CHECK(upload->write_from_pipe(from.get(), 401).error().reason == Reason::too_large);
    CHECK(*upload->write_from_pipe(from.get(), 400) == 400);
    CHECK(upload->commit().has_value());
  }
  CHECK(std::filesystem::file_size(place.at("d")) == 1000);
}

TEST_CASE("wherever a disk is full, it is told what is needed and what is free") {
  const Place place;
  const auto store = place.open();
  for (const char* call : {"write", "openat2", "fallocate", "fsync", "renameat2"}) {
    for (const int number : {ENOSPC, EDQUOT}) {
      CAPTURE(std::string(call));
      CAPTURE(number);
      const Reason reason = number == ENOSPC ? Reason::no_space : Reason::quota;
      const std::string content(100000, 'x');
      {
        const auto faults = Faults::once(call, number);
        const auto stored = put(*store, sized("f", content.size()), content);
        REQUIRE_FALSE(stored.has_value());
        CHECK(stored.error().reason == reason);
        CHECK(stored.error().need == content.size());
        CHECK(stored.error().free.value_or(0) > 0);
      }
      if (std::strcmp(call, "fallocate") == 0) continue;  // nothing to reserve for a small one
      {
        const auto faults = Faults::once(call, number);
        const auto stored = small(*store, "f", 77);
        REQUIRE_FALSE(stored.has_value());
        CHECK(stored.error().reason == reason);
        CHECK(stored.error().need == 77);
        CHECK(stored.error().free.value_or(0) > 0);
      }
    }
  }
}

TEST_CASE("a directory that can't be read counts nothing and hinders no upload") {
  const Place place;
  const auto store = open_limited(place, 1000);
  REQUIRE(::chmod(place.at(".ftpd").c_str(), 0755) == 0);
  std::filesystem::create_directories(place.at("closed"));
  write_file(place.at("closed/f"), "hidden");
  write_file(place.at("g"), "seen");
  const UniqueFd root{::open(place.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  CHECK(tree_size(root.get(), {}) == 10U);
  for (const mode_t mode : {0000U, 0111U, 0444U}) {
    CAPTURE(mode);
    REQUIRE(::chmod(place.at("closed").c_str(), mode) == 0);
    const AsNobody nobody;
    const auto size = tree_size(root.get(), {});
    REQUIRE_MESSAGE(size.has_value(), size.error().text);
    CHECK(*size == 4);
  }
  ::chmod(place.at("closed").c_str(), 0755);
}
