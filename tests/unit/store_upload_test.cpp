// An upload: it appears whole under its name or not at all.
#include <sys/sysmacros.h>

#include <array>
#include <cerrno>

#include "base/unique_fd.h"
#include "store/destination.h"
#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

mode_t mode_of(const std::string& name) {
  struct stat status{};
  REQUIRE(::lstat(name.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

Reason start_refusal(Store& store, UploadRequest request) {
  const auto small = store.put_small(request, std::string_view("new"));
  const auto upload = store.begin_upload(std::move(request));
  REQUIRE_FALSE(upload.has_value());
  REQUIRE_FALSE(small.has_value());
  CHECK(small.error().reason == upload.error().reason);
  return upload.error().reason;
}

UploadRequest keeping(std::string_view name) {
  UploadRequest request = request_for(name);
  request.replace = false;
  return request;
}
UploadRequest with_parents(std::string_view name) {
  UploadRequest request = request_for(name);
  request.parents = true;
  return request;
}

Destination made(int root, std::string_view name) {
  auto destination = Destination::open_or_make(root, path(name), Flush::yes);
  REQUIRE_MESSAGE(destination.has_value(), destination.error().text);
  return std::move(*destination);
}

/// How many directories it flushes.
int flushes_of(const Destination& destination) {
  static std::atomic<int> flushes;
  flushes = 0;
  sys::set_fault_hook([](const char* call) {
    if (std::string_view(call) == "fsync") ++flushes;
    return 0;
  });
  const auto flushed = destination.flush();
  sys::set_fault_hook(nullptr);
  REQUIRE_MESSAGE(flushed.has_value(), flushed.error().text);
  return flushes;
}

}  // namespace

TEST_CASE("an upload appears at the commit, whole, with its mode and time") {
  const Place place;
  const auto store = place.open();
  std::filesystem::create_directories(place.at("d"));
  UploadRequest request = sized("d/f", 10);
  request.mode = 0751;
  request.mtime = timespec{1234567890, 250000000};
  auto upload = store->begin_upload(std::move(request));
  REQUIRE(upload.has_value());
  CHECK(upload->write(std::string_view("01234")).has_value());
  CHECK(upload->written() == 5);
  CHECK(upload->write(std::string_view("")).has_value());
  CHECK(upload->write(std::string_view("56789")).has_value());
  CHECK(upload->written() == 10);
  CHECK(staged_files(place) == 1);
  CHECK(std::filesystem::is_empty(place.at("d")));
  CHECK(upload->commit().has_value());
  CHECK(read_file(place.at("d/f")) == "0123456789");
  CHECK(mode_of(place.at("d/f")) == 0751);
  CHECK(store->stat(path("d/f"))->mtime.tv_sec == 1234567890);
  CHECK(store->stat(path("d/f"))->mtime.tv_nsec == 250000000);
  CHECK(staged_files(place) == 0);
}

TEST_CASE("the mode does not depend on the umask") {
  const Place place;
  const auto store = place.open();
  const mode_t before = ::umask(077);
  CHECK(put(*store, request_for("a"), "x").has_value());
  CHECK(store->put_small(request_for("b"), std::string_view("x")).has_value());
  ::umask(before);
  CHECK(mode_of(place.at("a")) == 0644);
  CHECK(mode_of(place.at("b")) == 0644);
}

TEST_CASE("an upload that is given up leaves nothing and the old file alone") {
  const Place place;
  const auto store = place.open();
  write_file(place.at("f"), "old");
  const std::size_t before = open_descriptors();
  {
    auto upload = store->begin_upload(sized("f", 1000000));
    REQUIRE(upload.has_value());
    CHECK(upload->write(std::string_view("new")).has_value());
    auto moved = std::move(*upload);
    CHECK(moved.written() == 3);
    CHECK(staged_files(place) == 1);
    auto other = store->begin_upload(request_for("g"));
    REQUIRE(other.has_value());
    *other = std::move(moved);
    CHECK(staged_files(place) == 1);
  }
  CHECK(staged_files(place) == 0);
  CHECK(open_descriptors() == before);
  CHECK(read_file(place.at("f")) == "old");
  CHECK_FALSE(std::filesystem::exists(place.at("g")));
}

TEST_CASE("an empty file, one of unknown size and a reserved one are stored") {
  const Place place;
  const auto store = place.open({.durable = false});
  CHECK(put(*store, sized("empty", 0), "").has_value());
  CHECK(std::filesystem::file_size(place.at("empty")) == 0);
  CHECK(put(*store, request_for("unknown"), "abc").has_value());
  for (const std::size_t size :
       {std::size_t{65535}, std::size_t{65536}, std::size_t{65537}, std::size_t{300000}}) {
    const std::string content(size, 'c');
    CHECK(put(*store, sized("f", size), content).has_value());
    CHECK(read_file(place.at("f")) == content);
  }
}

TEST_CASE("more or less than was announced is refused") {
  const Place place;
  const auto store = place.open();
  write_file(place.at("f"), "old");
  for (const std::uint64_t size : {std::uint64_t{4}, std::uint64_t{100000}}) {
    auto upload = store->begin_upload(sized("f", size));
    REQUIRE(upload.has_value());
    CHECK(upload->write(std::string_view("abc")).has_value());
    CHECK(upload->write(std::string(size - 2, 'x')).error().reason == Reason::invalid);
    CHECK(upload->written() == 3);
    CHECK(upload->commit().error().reason == Reason::invalid);
  }
  CHECK(store->put_small(sized("f", 4), std::string_view("abc")).error().reason == Reason::invalid);
  CHECK(read_file(place.at("f")) == "old");
  CHECK(staged_files(place) == 0);
}

TEST_CASE("what can't take a file's place is said at the start") {
  const Place place;
  const auto store = place.open();
  std::filesystem::create_directories(place.at("d/sub"));
  write_file(place.at("f"), "old");
  REQUIRE(::symlink("f", place.at("link").c_str()) == 0);
  REQUIRE(::symlink("nowhere", place.at("d/dangling").c_str()) == 0);
  REQUIRE(::symlink("d", place.at("way").c_str()) == 0);
  REQUIRE(::mkfifo(place.at("fifo").c_str(), 0644) == 0);
  CHECK(start_refusal(*store, request_for("d")) == Reason::is_directory);
  CHECK(start_refusal(*store, request_for("d/sub")) == Reason::is_directory);
  CHECK(start_refusal(*store, request_for(".")) == Reason::is_directory);
  CHECK(start_refusal(*store, request_for("link")) == Reason::denied);
  CHECK(start_refusal(*store, request_for("d/dangling")) == Reason::denied);
  CHECK(start_refusal(*store, request_for("fifo")) == Reason::denied);
  CHECK(start_refusal(*store, request_for("way/f")) == Reason::denied);
  CHECK(start_refusal(*store, with_parents("way/new/f")) == Reason::denied);
  CHECK(start_refusal(*store, request_for("no/f")) == Reason::not_found);
  CHECK(start_refusal(*store, request_for("f/f")) == Reason::not_directory);
  CHECK(start_refusal(*store, with_parents("f/f")) == Reason::not_directory);
  CHECK(start_refusal(*store, keeping("f")) == Reason::exists);
  CHECK(start_refusal(*store, keeping("d")) == Reason::is_directory);
  UploadRequest odd = request_for("g");
  odd.mode = 04755;
  CHECK(start_refusal(*store, odd) == Reason::invalid);
  CHECK(read_file(place.at("f")) == "old");
  CHECK(staged_files(place) == 0);
}

TEST_CASE("a name that is taken meanwhile is judged again at the commit") {
  const Place place;
  const auto store = place.open();
  const auto begin = [&](UploadRequest request) {
    auto upload = store->begin_upload(std::move(request));
    REQUIRE(upload.has_value());
    REQUIRE(upload->write(std::string_view("new")).has_value());
    return std::move(*upload);
  };
  auto over_file = begin(keeping("file"));
  auto over_directory = begin(request_for("directory"));
  auto over_link = begin(request_for("link"));
  write_file(place.at("file"), "old");
  ::mkdir(place.at("directory").c_str(), 0755);
  REQUIRE(::symlink("file", place.at("link").c_str()) == 0);
  CHECK(over_file.commit().error().reason == Reason::exists);
  CHECK(over_directory.commit().error().reason == Reason::is_directory);
  CHECK(over_link.commit().error().reason == Reason::denied);
  CHECK(read_file(place.at("file")) == "old");
}

TEST_CASE("the rename itself refuses what the check before it could not see") {
  const Place place;
  const auto store = place.open();
  write_file(place.at("file"), "old");
  ::mkdir(place.at("directory").c_str(), 0755);
  {
    const auto faults = Faults::once("fstatat", ENOENT);  // as if the name came right behind the look
    CHECK(store->put_small(keeping("file"), std::string_view("new")).error().reason == Reason::exists);
  }
  {
    const auto faults = Faults::once("fstatat", ENOENT);
    CHECK(store->put_small(request_for("directory"), std::string_view("new")).error().reason ==
          Reason::is_directory);
  }
  CHECK(read_file(place.at("file")) == "old");
  CHECK(staged_files(place) == 0);
}

TEST_CASE("a directory swapped for a link between begin and commit is noticed") {
  const Place place;
  const auto store = place.open();
  std::filesystem::create_directories(place.at("d/e"));
  std::filesystem::create_directories(place.base + "/outside/e");
  for (const bool parents : {false, true}) {
    CAPTURE(parents);
    UploadRequest request = request_for("d/e/f");
    request.parents = parents;
    auto upload = store->begin_upload(std::move(request));
    REQUIRE(upload.has_value());
    REQUIRE(upload->write(std::string_view("new")).has_value());
    std::filesystem::rename(place.at("d"), place.at("moved"));
    REQUIRE(::symlink("../outside", place.at("d").c_str()) == 0);
    const auto committed = upload->commit();
    REQUIRE_FALSE(committed.has_value());
    CHECK(committed.error().reason == Reason::denied);
    CHECK(std::filesystem::is_empty(place.base + "/outside/e"));
    CHECK(std::filesystem::is_empty(place.at("moved/e")));
    std::filesystem::remove(place.at("d"));
    std::filesystem::rename(place.at("moved"), place.at("d"));
  }
  CHECK(staged_files(place) == 0);
}

TEST_CASE("missing directories are made at the commit, and only then") {
  const Place place;
  const auto store = place.open();
  const mode_t before = ::umask(022);
  {
    auto upload = store->begin_upload(with_parents("a/b/c/f"));
    REQUIRE(upload.has_value());
    CHECK_FALSE(std::filesystem::exists(place.at("a")));
  }
  CHECK_FALSE(std::filesystem::exists(place.at("a")));
  CHECK(put(*store, with_parents("a/b/c/f"), "deep").has_value());
  CHECK(read_file(place.at("a/b/c/f")) == "deep");
  CHECK(mode_of(place.at("a/b")) == 0755);
  CHECK(store->put_small(with_parents("a/x/y/f"), std::string_view("small")).has_value());
  CHECK(read_file(place.at("a/x/y/f")) == "small");
  CHECK(put(*store, with_parents("f"), "flat").has_value());
  {
    const auto faults = Faults::always("renameat2", EIO);
    CHECK_FALSE(put(*store, with_parents("a/q/r/f"), "x").has_value());
  }
  CHECK_FALSE(std::filesystem::exists(place.at("a/q")));
  ::umask(before);
}

TEST_CASE("a directory that another upload took back is made again") {
  const Place place;
  const auto store = place.open();
  const auto faults = Faults::once("renameat2", ENOENT);
  CHECK(put(*store, with_parents("a/b/f"), "x").has_value());
  CHECK(read_file(place.at("a/b/f")) == "x");
}

TEST_CASE("a full disk is told before the body is read") {
  const Place place;
  const auto store = place.open();
  {
    const auto faults = Faults::always("fallocate", ENOSPC);
    const auto upload = store->begin_upload(sized("f", 1000000));
    REQUIRE_FALSE(upload.has_value());
    CHECK(upload.error().reason == Reason::no_space);
    CHECK(upload.error().number == ENOSPC);
    CHECK(upload.error().text.find("1000000 bytes are needed") != std::string::npos);
    CHECK(upload.error().need == 1000000);
    CHECK(upload.error().free.has_value());
    CHECK(put(*store, sized("small", 5), "small").has_value());
  }
  for (const int number : {EOPNOTSUPP, ENOSYS}) {
    const auto faults = Faults::always("fallocate", number);
    CHECK(put(*store, sized("f", 100000), std::string(100000, 'x')).has_value());
  }
  for (const std::uint64_t size : {(std::uint64_t{1} << 53U) - 1, std::uint64_t{1} << 63U, UINT64_MAX}) {
    const auto upload = store->begin_upload(sized("g", size));
    REQUIRE_FALSE(upload.has_value());
    const bool told = upload.error().reason == Reason::too_large || upload.error().reason == Reason::no_space;
    CHECK(told);
  }
  CHECK(staged_files(place) == 0);
}

TEST_CASE("a file system that can't refuse a name when it renames does it by a link") {
  const Place place;
  const auto store = place.open();
  const auto faults = Faults::always("renameat2", EINVAL);
  CHECK(put(*store, keeping("f"), "first").has_value());
  CHECK(put(*store, keeping("f"), "second").error().reason == Reason::exists);
  CHECK(put(*store, request_for("g"), "x").error().reason == Reason::invalid);
  CHECK(read_file(place.at("f")) == "first");
  CHECK(std::filesystem::hard_link_count(place.at("f")) == 1);
  CHECK(staged_files(place) == 0);
}

TEST_CASE("another file system below the root is said so") {
  const Place place;
  const auto store = place.open();
  const auto faults = Faults::always("renameat2", EXDEV);
  const auto stored = put(*store, request_for("f"), "x");
  CHECK(stored.error().reason == Reason::unsupported);
  CHECK(stored.error().text.find("another file system") != std::string::npos);
}

TEST_CASE("an old file's other names and readers keep the old content") {
  const Place place;
  const auto store = place.open();
  write_file(place.at("f"), "old");
  std::filesystem::create_hard_link(place.at("f"), place.at("other"));
  const auto reader = store->open_file(path("f"));
  CHECK(store->put_small(request_for("f"), std::string_view("new")).has_value());
  CHECK(read_file(place.at("other")) == "old");
  CHECK(read_fd(reader->file->get()) == "old");
  CHECK(read_file(place.at("f")) == "new");
}

TEST_CASE("bytes go from a pipe to the file, as many as there are") {
  const Place place;
  const auto store = place.open();
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd from{ends[0]};
  UniqueFd into{ends[1]};
  auto upload = store->begin_upload(sized("f", 50000));
  REQUIRE(upload.has_value());
  REQUIRE(upload->write(std::string_view("head")).has_value());
  CHECK(*upload->write_from_pipe(from.get(), 100) == 0);  // empty: no wait, no error
  const std::string body(40000, 'b');
  REQUIRE(::write(into.get(), body.data(), body.size()) == 40000);
  CHECK(*upload->write_from_pipe(from.get(), 39990) == 39990);
  CHECK(*upload->write_from_pipe(from.get(), 1000) == 10);
  CHECK(upload->written() == 40004);
  CHECK(upload->write_from_pipe(from.get(), 9997).error().reason == Reason::invalid);
  into.reset();
  CHECK(*upload->write_from_pipe(from.get(), 10) == 0);
  REQUIRE(upload->write(std::string(9996, 't')).has_value());
  REQUIRE(upload->commit().has_value());
  CHECK(read_file(place.at("f")) == "head" + body + std::string(9996, 't'));
}

TEST_CASE("an error of the disk reaches the caller of a pipe's write") {
  const Place place;
  const auto store = place.open();
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd from{ends[0]};
  const UniqueFd into{ends[1]};
  REQUIRE(::write(into.get(), "abc", 3) == 3);
  auto upload = store->begin_upload(request_for("f"));
  REQUIRE(upload.has_value());
  {
    const auto faults = Faults::once("splice", ENOSPC);
    CHECK(upload->write_from_pipe(from.get(), 3).error().reason == Reason::no_space);
  }
  CHECK(upload->written() == 0);
  CHECK(*upload->write_from_pipe(from.get(), 3) == 3);
}

TEST_CASE("what is stored in a directory that another upload has just made is flushed up to the root") {
  const Place place;
  ::mkdir(place.root.c_str(), 0755);
  const UniqueFd root{::open(place.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const Destination maker = made(root.get(), "a/b/f");
  const Destination finder = made(root.get(), "a/b/g");
  CHECK(flushes_of(finder) == 3);
  CHECK(flushes_of(made(root.get(), "h")) == 1);  // the root is all that it depends on
  SUBCASE("until that one has flushed them") { CHECK(flushes_of(maker) == 3); }
  SUBCASE("until that one gave up, and left what is used") {
    write_file(place.at("a/b/g"), "x");
    maker.remove_made();
    CHECK(std::filesystem::exists(place.at("a/b/g")));
  }
  SUBCASE("until that one gave up, and removed them") {
    maker.remove_made();
    CHECK_FALSE(std::filesystem::exists(place.at("a")));
    std::filesystem::create_directories(place.at("a/b"));
  }
  CHECK(flushes_of(made(root.get(), "a/b/i")) == 1);
}

TEST_CASE("a directory that was renamed before its maker has flushed it is flushed all the same") {
  const Place place;
  ::mkdir(place.root.c_str(), 0755);
  const UniqueFd root{::open(place.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const Destination maker = made(root.get(), "a/b/f");
  std::filesystem::rename(place.at("a"), place.at("other"));
  CHECK(maker.flush().has_value());
  CHECK(flushes_of(made(root.get(), "other/b/g")) == 1);
}
