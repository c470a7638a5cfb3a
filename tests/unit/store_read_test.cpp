// Reading below a root: files, directories, links, special files, listings.
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

Reason open_refusal(const Store& store, std::string_view name) {
  const auto file = store.open_file(path(name));
  REQUIRE_FALSE(file.has_value());
  return file.error().reason;
}

std::vector<std::string> names(const std::vector<Entry>& entries) {
  std::vector<std::string> all;
  for (const Entry& entry : entries) all.push_back(entry.name);
  return all;
}

std::vector<std::string> listed(const Store& store, std::string_view name, bool recursive) {
  const auto entries = store.list(path(name), recursive, 1000);
  REQUIRE_MESSAGE(entries.has_value(), entries.error().text);
  return names(*entries);
}

using Names = std::vector<std::string>;

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

TEST_CASE("a file is opened with what is known of it") {
  const Place place;
  const auto store = place.open();
  ::mkdir(place.at("d").c_str(), 0755);
  write_file(place.at("d/f"), "content");
  ::chmod(place.at("d/f").c_str(), 0640);
  const timespec times[2] = {{1, 0}, {1234567890, 500000000}};
  ::utimensat(AT_FDCWD, place.at("d/f").c_str(), times, 0);
  const auto file = store->open_file(path("d/f"));
  REQUIRE(file.has_value());
  CHECK(file->size == 7);
  CHECK(file->mode == 0640);
  CHECK(file->mtime.tv_sec == 1234567890);
  CHECK(file->mtime.tv_nsec == 500000000);
  CHECK(read_fd(file->file->get()) == "content");
  CHECK((::fcntl(file->file->get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("only a regular file is opened as a file") {
  const Place place;
  const auto store = place.open();
  ::mkdir(place.at("d").c_str(), 0755);
  write_file(place.at("f"), "x");
  CHECK(open_refusal(*store, "missing") == Reason::not_found);
  CHECK(open_refusal(*store, "d/missing") == Reason::not_found);
  CHECK(open_refusal(*store, "missing/f") == Reason::not_found);
  CHECK(open_refusal(*store, "d") == Reason::is_directory);
  CHECK(open_refusal(*store, ".") == Reason::is_directory);
  CHECK(open_refusal(*store, "f/f") == Reason::not_directory);
}

TEST_CASE("a FIFO, a socket and a device are denied without a wait") {
  const Place place;
  const auto store = place.open();
  ::mkdir(place.at("d").c_str(), 0755);
  REQUIRE(::mkfifo(place.at("d/fifo").c_str(), 0644) == 0);
  REQUIRE(::mkfifo(place.at("fifo").c_str(), 0644) == 0);
  CHECK(open_refusal(*store, "d/fifo") == Reason::denied);
  CHECK(open_refusal(*store, "fifo") == Reason::denied);
  REQUIRE(::mknod(place.at("socket").c_str(), S_IFSOCK | 0644, 0) == 0);
  CHECK(open_refusal(*store, "socket") == Reason::denied);
  if (::mknod(place.at("device").c_str(), S_IFCHR | 0644, ::makedev(1, 5)) == 0) {
    CHECK(open_refusal(*store, "device") == Reason::denied);
    CHECK(store->stat(path("device"))->type == EntryType::other);
  }
  CHECK(store->stat(path("d/fifo"))->type == EntryType::other);
}

TEST_CASE("a link is never followed, wherever it is and wherever it leads") {
  const Place place;
  const auto store = place.open();
  ::mkdir((place.base + "/outside").c_str(), 0755);
  write_file(place.base + "/outside/f", "secret");
  ::mkdir(place.at("d").c_str(), 0755);
  write_file(place.at("d/f"), "x");
  REQUIRE(::symlink("d", place.at("inner").c_str()) == 0);
  REQUIRE(::symlink("../outside", place.at("up").c_str()) == 0);
  REQUIRE(::symlink((place.base + "/outside").c_str(), place.at("absolute").c_str()) == 0);
  REQUIRE(::symlink("d/f", place.at("file").c_str()) == 0);
  REQUIRE(::symlink("nowhere", place.at("dangling").c_str()) == 0);
  REQUIRE(::symlink("/proc/self/root", place.at("magic").c_str()) == 0);
  REQUIRE(::symlink("f", place.at("d/link").c_str()) == 0);
  for (const char* name :
       {"inner/f", "up/f", "absolute/f", "file", "dangling", "magic/etc/passwd", "d/link"}) {
    CAPTURE(name);
    const auto file = store->open_file(path(name));
    REQUIRE_FALSE(file.has_value());
    CHECK(file.error().reason == Reason::denied);
    CHECK(file.error().text.find("link") != std::string::npos);
  }
  CHECK(store->stat(path("up/f")).error().reason == Reason::denied);
  CHECK(store->open_directory(path("inner")).error().reason == Reason::denied);
  CHECK(store->list(path("up/x"), false, 10).error().reason == Reason::denied);
  for (const char* name : {"inner", "file", "dangling", "d/link"}) {
    CAPTURE(name);
    const auto entry = store->stat(path(name));
    REQUIRE(entry.has_value());
    CHECK(entry->type == EntryType::symlink);
    CHECK(store->list(path(name), false, 10).error().reason == Reason::not_directory);
  }
}

TEST_CASE("stat tells type, size, time and mode") {
  const Place place;
  const auto store = place.open();
  ::mkdir(place.at("d").c_str(), 0750);
  ::chmod(place.at("d").c_str(), 0750);
  write_file(place.at("d/f"), "12345");
  ::chmod(place.at("d/f").c_str(), 04711);
  const auto file = store->stat(path("d/f"));
  REQUIRE(file.has_value());
  CHECK(file->type == EntryType::file);
  CHECK(file->size == 5);
  CHECK(file->mode == 0711);
  CHECK(store->stat(path("d"))->type == EntryType::directory);
  CHECK(store->stat(path("d"))->mode == 0750);
  CHECK(store->stat(path("."))->type == EntryType::directory);
  CHECK(store->stat(path("no")).error().reason == Reason::not_found);
  CHECK(store->stat(path("d/no")).error().reason == Reason::not_found);
  CHECK(store->stat(path("d/f/no")).error().reason == Reason::not_directory);
  CHECK(name(EntryType::file) == "file");
  CHECK(name(EntryType::directory) == "directory");
  CHECK(name(EntryType::symlink) == "symlink");
  CHECK(name(EntryType::other) == "other");
}

TEST_CASE("a directory is opened for a command to work in") {
  const Place place;
  const auto store = place.open();
  ::mkdir(place.at("d").c_str(), 0755);
  write_file(place.at("f"), "x");
  const auto directory = store->open_directory(path("d"));
  REQUIRE(directory.has_value());
  CHECK(store->open_directory(path(".")).has_value());
  CHECK(store->open_directory(path("f")).error().reason == Reason::not_directory);
  CHECK(store->open_directory(path("no")).error().reason == Reason::not_found);
}

TEST_CASE("a rename race that the kernel reports is tried again") {
  const Place place;
  const auto store = place.open();
  write_file(place.at("f"), "x");
  {
    const auto faults = Faults::once("openat2", EAGAIN);
    CHECK(store->open_file(path("f")).has_value());
  }
  const auto faults = Faults::always("openat2", EAGAIN);
  CHECK(store->open_file(path("f")).error().reason == Reason::busy);
}

TEST_CASE("a listing is sorted by bytes and tells what each entry is") {
  const Place place;
  const auto store = place.open();
  for (const char* name : {"b", "B", "a", "\xC3\xA4", "a.b", "bad\xFF"}) write_file(place.at(name), "xyz");
  ::mkdir(place.at("dir").c_str(), 0755);
  REQUIRE(::symlink("a", place.at("link").c_str()) == 0);
  REQUIRE(::mkfifo(place.at("pipe").c_str(), 0600) == 0);
  const auto entries = store->list(path("."), false, 1000);
  REQUIRE(entries.has_value());
  CHECK(names(*entries) == Names{"B", "a", "a.b", "b", "bad\xFF", "dir", "link", "pipe", "\xC3\xA4"});
  const auto type_of = [&](std::string_view name) {
    return std::ranges::find(*entries, name, &Entry::name)->type;
  };
  CHECK(type_of("a") == EntryType::file);
  CHECK(type_of("dir") == EntryType::directory);
  CHECK(type_of("link") == EntryType::symlink);
  CHECK(type_of("pipe") == EntryType::other);
  CHECK(entries->front().size == 3);
  CHECK(listed(*store, "dir", false).empty());
}

TEST_CASE("a recursive listing names everything relative to its directory and follows no link") {
  const Place place;
  const auto store = place.open();
  std::filesystem::create_directories(place.at("top/a/x"));
  std::filesystem::create_directories(place.at("top/.ftpd"));
  write_file(place.at("top/a/f"), "");
  write_file(place.at("top/a.b"), "");
  write_file(place.at("top/a/x/deep"), "");
  REQUIRE(::symlink("..", place.at("top/loop").c_str()) == 0);
  const Names expected{".ftpd", "a", "a.b", "a/f", "a/x", "a/x/deep", "loop"};
  CHECK(listed(*store, "top", true) == expected);
  Names from_root{"top"};
  for (const std::string& name : expected) from_root.push_back("top/" + name);
  CHECK(listed(*store, ".", true) == from_root);
  CHECK(listed(*store, ".", false) == Names{"top"});
  CHECK(store->list(path("top/a.b"), true, 10).error().reason == Reason::not_directory);
  CHECK(store->list(path("none"), true, 10).error().reason == Reason::not_found);
}

TEST_CASE("a listing has as many entries as are allowed, or none") {
  const Place place;
  const auto store = place.open();
  std::filesystem::create_directories(place.at("d"));
  for (const char* name : {"1", "2", "d/3", "d/4"}) write_file(place.at(name), "");
  CHECK(store->list(path("."), false, 3)->size() == 3);
  CHECK(store->list(path("."), false, 2).error().reason == Reason::too_large);
  CHECK(store->list(path("."), true, 6)->size() == 5);
  CHECK(store->list(path("."), true, 5)->size() == 5);
  CHECK(store->list(path("."), true, 4).error().reason == Reason::too_large);
  CHECK(store->list(path("."), true, 0).error().reason == Reason::too_large);
}

TEST_CASE("a large directory is listed whole") {
  const Place place;
  const auto store = place.open();
  for (int index = 0; index < 1500; ++index) write_file(place.at("file-number-" + std::to_string(index)), "");
  CHECK(store->list(path("."), false, 1500)->size() == 1500);
}

TEST_CASE("a deep tree is listed, a bottomless one is refused") {
  const Place place;
  const auto store = place.open();
  const std::size_t before = open_descriptors();
  std::string deep;
  for (int level = 0; level < 100; ++level) deep += "d/";
  std::filesystem::create_directories(place.at(deep));
  CHECK(store->list(path("."), true, 1000)->size() == 100);

  UniqueFd at{::open(place.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const std::string wide(250, 'w');
  for (int level = 0; level < 18; ++level) {
    REQUIRE(::mkdirat(at.get(), wide.c_str(), 0755) == 0);
    at = UniqueFd{::openat(at.get(), wide.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  }
  at.reset();
  CHECK(store->list(path("."), true, 1000).error().reason == Reason::too_large);
  CHECK(open_descriptors() == before);
}

TEST_CASE("what vanishes while it is listed is left out") {
  const Place place;
  const auto store = place.open();
  std::filesystem::create_directories(place.at("d"));
  write_file(place.at("d/f"), "");
  write_file(place.at("d/g"), "");
  {
    const auto faults = Faults::once("fstatat", ENOENT);
    CHECK(store->list(path("d"), false, 10)->size() == 1);
  }
  for (unsigned nth = 1;; ++nth) {
    const auto faults = Faults::nth(nth, EIO);
    const auto entries = store->list(path("."), true, 10);
    if (!Faults::fired()) break;
    CHECK(entries.error().number == EIO);
  }
}

TEST_CASE("a recursive listing names a directory that can't be read and goes on") {
  const Place place;
  const auto store = place.open();
  std::filesystem::create_directories(place.at("a/closed"));
  write_file(place.at("a/closed/f"), "hidden");
  std::filesystem::create_directories(place.at("b"));
  write_file(place.at("b/g"), "seen");
  for (const mode_t mode : {0000U, 0111U, 0444U}) {
    CAPTURE(mode);
    REQUIRE(::chmod(place.at("a/closed").c_str(), mode) == 0);
    const AsNobody nobody;
    CHECK(listed(*store, ".", true) == std::vector<std::string>{"a", "a/closed", "b", "b/g"});
    CHECK(store->list(path("a/closed"), true, 10).error().reason == Reason::denied);
  }
  ::chmod(place.at("a/closed").c_str(), 0755);
}
