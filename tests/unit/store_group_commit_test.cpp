// Small files that wait together: stored like one alone, each for itself, with fewer flushes.
#include <array>
#include <cerrno>
#include <future>

#include "store/group_commit.h"
#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

/// Keeps the one thread of a pool busy, so that what is asked for meanwhile waits together.
class Blocked {
 public:
  explicit Blocked(Offload& pool) {
    std::promise<void> begun;
    pool.push([&begun, gate = gate_.get_future()] {
      begun.set_value();
      gate.wait();
    });
    begun.get_future().wait();
  }
  ~Blocked() { gate_.set_value(); }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;

 private:
  std::promise<void> gate_;
};

/// Counts the calls of each name while it lives.
class Calls {
 public:
  Calls() {
    counts().clear();
    sys::set_fault_hook([](const char* call) {
      const std::lock_guard lock(mutex());
      ++counts()[call];
      return 0;
    });
  }
  ~Calls() { sys::set_fault_hook(nullptr); }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;
  [[nodiscard]] static std::map<std::string, int> all() {
    const std::lock_guard lock(mutex());
    return counts();
  }

 private:
  static std::mutex& mutex() {
    static std::mutex the_mutex;
    return the_mutex;
  }
  static std::map<std::string, int>& counts() {
    static std::map<std::string, int> the_counts;
    return the_counts;
  }
};

UploadRequest keeping(std::string_view name) {
  UploadRequest request = request_for(name);
  request.replace = false;
  return request;
}

}  // namespace

TEST_CASE("files that wait together are all stored, each with what it asked for") {
  const Place place;
  const auto store = place.open();
  ::mkdir(place.at("d").c_str(), 0755);
  Later later(store, 1);
  const std::size_t before = open_descriptors();
  {
    const Blocked blocked(later.pool());
    for (int index = 0; index < 200; ++index) {
      UploadRequest request = request_for((index % 2 == 0 ? "d/" : "") + std::to_string(index));
      request.mode = index % 3 == 0 ? 0600 : 0644;
      if (index % 5 == 0) request.mtime = timespec{1000 + index, 0};
      if (index % 7 == 0) request.compute = DigestKinds(DigestKind::md5);
      later.put(std::move(request), "content " + std::to_string(index));
    }
  }
  const auto results = later.wait();
  REQUIRE(results.size() == 200);
  for (int index = 0; index < 200; ++index) {
    const std::string name = (index % 2 == 0 ? "d/" : "") + std::to_string(index);
    const std::string content = "content " + std::to_string(index);
    const auto& stored = results[static_cast<std::size_t>(index)];
    REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
    CHECK(stored->size == content.size());
    CHECK(stored->digests.of(DigestKind::md5).has_value() == (index % 7 == 0));
    if (index % 7 == 0) CHECK(*stored->digests.of(DigestKind::md5) == digest_of(DigestKind::md5, content));
    CHECK(read_file(place.at(name)) == content);
    const auto entry = store->stat(path(name));
    CHECK(entry->mode == (index % 3 == 0 ? 0600 : 0644));
    if (index % 5 == 0) CHECK(entry->mtime.tv_sec == 1000 + index);
  }
  CHECK(staged_files(place) == 0);
  CHECK(open_descriptors() == before);
}

TEST_CASE("those that wait together flush their directory once, and one alone costs no more than it did") {
  const Place place;  // on a disk, else there is nothing to share
  const auto store = place.open();
  if (store->in_memory()) return;
  Later later(store, 1);
  {
    const Calls calls;
    {
      const Blocked blocked(later.pool());
      for (int index = 0; index < 64; ++index) later.put(request_for(std::to_string(index)), "x");
    }
    for (const auto& stored : later.wait()) CHECK(stored.has_value());
    CHECK(Calls::all()["fsync"] == 64 + 1);
    CHECK(Calls::all()["renameat2"] == 64);
  }
  {
    Later alone(store, 1);
    const Calls calls;
    alone.put(request_for("alone"), "x");
    CHECK(alone.wait().front().has_value());
    const auto later_calls = Calls::all();
    const Calls again;
    CHECK(store->put_small(request_for("alone"), std::string_view("x")).has_value());
    CHECK(Calls::all() == later_calls);
  }
}

TEST_CASE("one that fails fails alone") {
  const Place place;
  const auto store = place.open({.max_file = 100});
  ::mkdir(place.at("directory").c_str(), 0755);
  write_file(place.at("taken"), "old");
  Later later(store, 1);
  {
    const Blocked blocked(later.pool());
    later.put(request_for("a"), "a");
    later.put(keeping("taken"), "new");
    later.put(request_for("directory"), "x");
    later.put(request_for("no/where"), "x");
    later.put(request_for("large"), std::string(101, 'x'));
    later.put(sized("short", 3), "x");
    UploadRequest wrong = request_for("wrong");
    wrong.expected.set(DigestKind::md5, std::string(32, '0'));
    later.put(std::move(wrong), "x");
    UploadRequest odd = request_for("odd");
    odd.mode = 04755;
    later.put(std::move(odd), "x");
    later.put(request_for("."), "x");
    later.put(request_for("z"), "z");
  }
  const auto results = later.wait();
  const std::optional<Reason> expected[] = {{},
                                            Reason::exists,
                                            Reason::is_directory,
                                            Reason::not_found,
                                            Reason::too_large,
                                            Reason::invalid,
                                            Reason::checksum,
                                            Reason::invalid,
                                            Reason::is_directory,
                                            {}};
  REQUIRE(results.size() == std::size(expected));
  for (std::size_t index = 0; index < results.size(); ++index) {
    CAPTURE(index);
    REQUIRE(results[index].has_value() == !expected[index].has_value());
    if (expected[index]) CHECK(results[index].error().reason == *expected[index]);
  }
  CHECK(read_file(place.at("a")) == "a");
  CHECK(read_file(place.at("z")) == "z");
  CHECK(read_file(place.at("taken")) == "old");
  CHECK(staged_files(place) == 0);
}

TEST_CASE("of two with one name in a batch the later stays, or is refused") {
  const Place place;
  const auto store = place.open({.quota = 1000});
  Later later(store, 1);
  {
    const Blocked blocked(later.pool());
    later.put(request_for("f"), std::string(200, '1'));
    later.put(request_for("f"), std::string(300, '2'));
    later.put(keeping("g"), std::string(400, '1'));
    later.put(keeping("g"), "2");
  }
  const auto results = later.wait();
  CHECK(results[0].has_value());
  CHECK(results[1].has_value());
  CHECK(results[2].has_value());
  REQUIRE_FALSE(results[3].has_value());
  CHECK(results[3].error().reason == Reason::exists);
  CHECK(read_file(place.at("f")) == std::string(300, '2'));
  CHECK(read_file(place.at("g")) == std::string(400, '1'));
  CHECK(store->space()->quota_used == 700);
}

TEST_CASE("directories that are missing are made for the first, and there for the rest") {
  const Place place;
  const auto store = place.open();
  Later later(store, 1);
  {
    const Blocked blocked(later.pool());
    for (int index = 0; index < 20; ++index) {
      UploadRequest request = request_for("a/b/" + std::to_string(index));
      request.parents = true;
      later.put(std::move(request), std::to_string(index));
    }
  }
  for (const auto& stored : later.wait()) CHECK(stored.has_value());
  for (int index = 0; index < 20; ++index) {
    CHECK(read_file(place.at("a/b/" + std::to_string(index))) == std::to_string(index));
  }
}

TEST_CASE("a store that flushes nothing stores the same") {
  for (const std::string& below : {Place::temporary_directory(), Place::quick_directory()}) {
    const Place place(below);
    const auto store = place.open({.durable = below == Place::quick_directory()});
    Later later(store);
    for (int index = 0; index < 300; ++index) later.put(request_for(std::to_string(index)), "x");
    for (const auto& stored : later.wait()) CHECK(stored.has_value());
    CHECK(store->list(path("."), false, 1000)->size() == 300);
  }
}

TEST_CASE("the store lives until all is stored, whoever else lets go of it") {
  const Place place;
  std::atomic<int> done{0};
  {
    Offload pool(2);
    auto store = place.open();
    for (int index = 0; index < 100; ++index) {
      store->put_small_later(pool, {request_for(std::to_string(index)), "x", [&done](Result<Stored> stored) {
                                      if (stored) ++done;
                                    }});
    }
    store.reset();
  }
  CHECK(done == 100);
  CHECK(staging_directories(place) == 0);
}

TEST_CASE("a batch holds a bounded number of descriptors and leaves threads to others") {
  const Place place;
  const auto store = place.open();
  const std::size_t before = open_descriptors();
  std::atomic<std::size_t> most{0};
  std::atomic<bool> others_ran{false};
  Later later(store, 2);
  for (int index = 0; index < 1000; ++index) later.put(request_for(std::to_string(index)), "x");
  later.pool().push([&others_ran] { others_ran = true; });
  static std::atomic<std::size_t>* the_most = nullptr;
  the_most = &most;
  sys::set_fault_hook([](const char* call) {
    if (std::strcmp(call, "renameat2") == 0) {
      const std::size_t now = open_descriptors();
      if (now > the_most->load()) the_most->store(now);
    }
    return 0;
  });
  for (const auto& stored : later.wait()) CHECK(stored.has_value());
  sys::set_fault_hook(nullptr);
  CHECK(most - before <= GroupCommit::most_drainers * (2 * GroupCommit::batch_size) + 10);
  CHECK(others_ran);
}

TEST_CASE(
    "whichever call of a batch fails, each file is there whole or not at all, and only those told are "
    "stored") {
  const std::string content(5000, 'n');
  for (const int number : {ENOSPC, EIO, EMFILE, EDQUOT}) {
    for (unsigned nth = 1;; ++nth) {
      CAPTURE(number);
      CAPTURE(nth);
      const Place place;  // on a disk: in memory there are no batches
      const auto store = place.open();
      ::mkdir(place.at("d").c_str(), 0755);
      write_file(place.at("f"), "old");
      const std::size_t before = open_descriptors();
      bool fired = false;
      {
        Later later(store, 1);
        std::vector<Result<Stored>> results;
        {
          const Faults faults = Faults::nth(nth, number);
          {
            const Blocked blocked(later.pool());
            for (const char* name : {"f", "d/g", "d/h"}) {
              UploadRequest request = request_for(name);
              request.mtime = timespec{1000, 0};
              later.put(std::move(request), content);
            }
          }
          results = later.wait();
          fired = Faults::fired();
        }
        const char* const names[] = {"f", "d/g", "d/h"};
        for (std::size_t index = 0; index < results.size(); ++index) {
          const std::string now = read_file(place.at(names[index]));
          if (results[index]) {
            CHECK(now == content);
          } else {
            CHECK(fired);
            CHECK_FALSE(results[index].error().text.empty());
            const bool whole = now == content || now == (index == 0 ? "old" : "");
            CHECK(whole);
            if (now.empty()) CHECK_FALSE(std::filesystem::exists(place.at(names[index])));
          }
        }
      }
      CHECK(staged_files(place) == 0);
      CHECK(open_descriptors() <= before);
      if (!fired) {
        CHECK(nth > 25);
        break;
      }
    }
  }
}
