// Every system call of an upload fails once; many write one name while others read it.
#include <array>
#include <cerrno>
#include <functional>
#include <thread>

#include "base/unique_fd.h"
#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

const std::string new_content(70000, 'n');

Result<Stored> in_steps(Store& store, UploadRequest request) {
  auto upload = store.begin_upload(std::move(request));
  if (!upload) return std::unexpected(std::move(upload.error()));
  const std::string_view content = new_content;
  for (const std::string_view part : {content.substr(0, 100), content.substr(100)}) {
    if (auto written = upload->write(part); !written) return std::unexpected(std::move(written.error()));
  }
  return upload->commit();
}
Result<Stored> at_once(Store& store, UploadRequest request) {
  return store.put_small(std::move(request), new_content);
}
Result<Stored> in_a_batch(Store& store, UploadRequest request) {
  Later later(store.shared_from_this(), 1);
  later.put(std::move(request), new_content);
  return later.wait().front();
}
Result<Stored> from_a_pipe(Store& store, UploadRequest request) {
  auto upload = store.begin_upload(std::move(request));
  if (!upload) return std::unexpected(std::move(upload.error()));
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd from{ends[0]};
  const UniqueFd into{ends[1]};
  for (std::string_view left = new_content; !left.empty();) {
    const std::size_t size = std::min<std::size_t>(left.size(), 60000);
    REQUIRE(::write(into.get(), left.data(), size) == static_cast<ssize_t>(size));
    auto moved = upload->write_from_pipe(from.get(), size);
    if (!moved) return std::unexpected(std::move(moved.error()));
    REQUIRE(*moved == size);
    left.remove_prefix(size);
  }
  return upload->commit();
}
/// All the ways to have digests: as the bytes pass, and told late.
Result<Stored> with_digests(Store& store, UploadRequest request) {
  request.compute = DigestKinds(DigestKind::md5);
  auto upload = store.begin_upload(std::move(request));
  if (!upload) return std::unexpected(std::move(upload.error()));
  if (auto written = upload->write(new_content); !written) return std::unexpected(std::move(written.error()));
  upload->expect(DigestKind::sha256, digest_of(DigestKind::sha256, new_content));
  return upload->commit();
}

struct Scenario {
  const char* name;
  std::function<Result<Stored>(Store&, UploadRequest)> put;
  std::function<void(const Place&)> prepare;
  const char* target;
  const char* absent;  // must not be there after a failure, or null
};

void nothing(const Place&) {}
void old_file(const Place& place) { write_file(place.at("f"), "old"); }
void no_staging(const Place& place) {
  old_file(place);
  std::filesystem::remove_all(place.at(".ftpd"));
}
void old_deep_file(const Place& place) {
  std::filesystem::create_directories(place.at("d"));
  write_file(place.at("d/f"), "old");
}

/// The `nth` call fails with `number`. False once there are fewer calls than that.
bool survives(const Scenario& scenario, unsigned nth, int number) {
  CAPTURE(std::string(scenario.name));
  CAPTURE(nth);
  CAPTURE(number);
  const Place place(Place::quick_directory());
  const auto store = place.open();
  scenario.prepare(place);
  const bool was_there = std::filesystem::exists(place.at(scenario.target));
  UploadRequest request = request_for(scenario.target);
  request.size = new_content.size();
  request.mtime = timespec{1000, 0};
  request.parents = true;
  const std::size_t before = open_descriptors();
  Result<Stored> result;
  bool fired = false;
  {
    const auto faults = Faults::nth(nth, number);
    result = scenario.put(*store, std::move(request));
    fired = Faults::fired();
  }
  const std::string now = read_file(place.at(scenario.target));
  if (result) {
    CHECK(now == new_content);
  } else {
    CHECK(fired);
    CHECK_FALSE(result.error().text.empty());
    const bool full = result.error().reason == Reason::no_space || result.error().reason == Reason::quota;
    if (full) CHECK(result.error().need.has_value());
    const bool whole = now == new_content || now == (was_there ? "old" : "");
    CHECK(whole);
    if (now != new_content) {
      CHECK(std::filesystem::exists(place.at(scenario.target)) == was_there);
      if (scenario.absent != nullptr) CHECK_FALSE(std::filesystem::exists(place.at(scenario.absent)));
    }
  }
  CHECK(staged_files(place) == 0);
  CHECK(staging_directories(place) <= 1);
  // The staging directory and .ftpd may be open anew, never more.
  const std::size_t after = open_descriptors();
  CHECK(after <= before);
  return fired;
}

}  // namespace

TEST_CASE("whichever call of an upload fails, the old file or the new one is there whole and nothing else") {
  const Scenario scenarios[] = {
      {"replace, in steps", in_steps, old_file, "f", nullptr},
      {"replace, at once", at_once, old_file, "f", nullptr},
      {"new, in steps", in_steps, nothing, "f", nullptr},
      {"new, at once", at_once, nothing, "f", nullptr},
      {"replace, in a batch", in_a_batch, old_file, "f", nullptr},
      {"replace, from a pipe", from_a_pipe, old_file, "f", nullptr},
      {"replace, with digests", with_digests, old_file, "f", nullptr},
      {"staging is gone", in_steps, no_staging, "f", nullptr},
      {"in a directory", in_steps, old_deep_file, "d/f", nullptr},
      {"directories to make, in steps", in_steps, nothing, "a/b/f", "a"},
      {"directories to make, at once", at_once, nothing, "a/b/f", "a"},
      {"directories to make, in a batch", in_a_batch, nothing, "a/b/f", "a"},
  };
  for (const Scenario& scenario : scenarios) {
    for (const int number : {ENOSPC, EIO, EMFILE, EDQUOT}) {
      unsigned nth = 1;
      while (survives(scenario, nth, number)) ++nth;
      CHECK(nth > 5);
      CHECK(nth < 100);
    }
  }
}

TEST_CASE("whichever call of opening a root fails, it opens or leaks nothing") {
  const std::size_t before = open_descriptors();
  for (unsigned nth = 1;; ++nth) {
    CAPTURE(nth);
    const Place place(Place::quick_directory());
    bool fired = false;
    {
      const auto faults = Faults::nth(nth, EIO);
      const auto store = Store::open(place.root, {});
      fired = Faults::fired();
      if (!store) CHECK(store.error().number == EIO);
    }
    CHECK(open_descriptors() == before);
    const auto store = place.open();
    CHECK(store->put_small(request_for("f"), std::string_view("x")).has_value());
    CHECK(staging_directories(place) == 1);
    if (!fired) break;
  }
}

TEST_CASE("a flush that fails is an error") {
  const Place place;
  const auto store = place.open();
  {
    const auto faults = Faults::once("fsync", EIO);  // of the file: nothing appears
    CHECK(store->put_small(request_for("f"), std::string_view("x")).error().number == EIO);
  }
  CHECK_FALSE(std::filesystem::exists(place.at("f")));
  {
    const auto faults = Faults::always("fsync", EIO);
    CHECK_FALSE(store->put_small(request_for("f"), std::string_view("x")).has_value());
    CHECK(place.open({.durable = false})->put_small(request_for("g"), std::string_view("x")).has_value());
  }
}

TEST_CASE("whoever reads a name that is being replaced sees one whole version") {
  const Place place;
  const auto store = place.open({.durable = false});
  write_file(place.at("f"), std::string(1000, 'a'));
  std::atomic<int> writers{2};
  std::atomic<bool> failed{false};
  const auto write_many = [&](char letter, std::size_t size, auto put) {
    const std::string content(size, letter);
    for (int round = 0; round < 100; ++round) {
      if (!put(content)) failed = true;
    }
    --writers;
  };
  std::thread small(write_many, 'a', 1000U, [&](const std::string& content) {
    return store->put_small(request_for("f"), content).has_value();
  });
  std::thread large(write_many, 'b', 100000U, [&](const std::string& content) {
    UploadRequest request = request_for("f");
    request.size = content.size();
    auto upload = store->begin_upload(std::move(request));
    if (!upload) return false;
    const std::string_view all = content;
    return upload->write(all.substr(0, 60000)) && upload->write(all.substr(60000)) && upload->commit();
  });
  unsigned reads = 0;
  do {
    const auto file = store->open_file(path("f"));
    if (!file) {
      failed = true;
      break;
    }
    const std::string content = read_fd(file->file->get());
    const bool whole = content == std::string(1000, 'a') || content == std::string(100000, 'b');
    if (!whole || content.size() != file->size) failed = true;
    ++reads;
  } while (writers.load() > 0);
  small.join();
  large.join();
  CHECK_FALSE(failed.load());
  CHECK(reads > 0);
  CHECK(staged_files(place) == 0);
}

TEST_CASE("of many who put a new name without replacing, one wins") {
  const Place place;
  const auto store = place.open({.durable = false});
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> won{0};
    std::atomic<int> lost{0};
    std::vector<std::thread> threads;
    for (int index = 0; index < 4; ++index) {
      threads.emplace_back([&] {
        UploadRequest request = request_for("d" + std::to_string(round) + "/f");
        request.replace = false;
        request.parents = true;
        const auto stored = store->put_small(std::move(request), std::string_view("x"));
        if (stored) ++won;
        if (!stored && stored.error().reason == Reason::exists) ++lost;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(won.load() == 1);
    CHECK(lost.load() == 3);
  }
}
