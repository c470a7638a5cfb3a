// Local files on both sides of a transfer: names, walks, and files that appear when they are complete.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/sys.h"
#include "client/digest.h"
#include "client/local_files.h"
#include "client/local_tree.h"
#include "client/part_file.h"
#include "client/target.h"

using namespace ftpd;
using namespace ftpd::client;
namespace fs = std::filesystem;

namespace {

struct TemporaryDirectory {
  fs::path path;
  TemporaryDirectory() {
    std::string name = (fs::temp_directory_path() / "ftpc-test-XXXXXX").native();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  void make(const std::string& name, std::string_view content) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream{path / name} << content;
  }
  [[nodiscard]] std::string content(const std::string& name) const {
    std::ifstream in{path / name};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  [[nodiscard]] std::ptrdiff_t entries() const {
    return std::distance(fs::directory_iterator{path}, fs::directory_iterator{});
  }
};

Options put_options(std::vector<std::string> operands, std::optional<std::string> to = {}) {
  Options options;
  options.verb = Verb::put;
  options.talk = Talk::quiet;
  options.operands = std::move(operands);
  options.to = std::move(to);
  return options;
}

}  // namespace

TEST_CASE("names that a server may not give") {
  for (const char* wrong : {"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "./a"}) {
    CHECK_MESSAGE(!is_safe_name(wrong), wrong);
  }
  CHECK_FALSE(is_safe_name(std::string_view{"a\0b", 3}));
  CHECK(is_safe_name(std::string(255, 'a')));
  CHECK_FALSE(is_safe_name(std::string(256, 'a')));
  std::string path = std::string(255, 'a');
  for (int i = 0; i < 15; ++i) path += "/" + std::string(255, 'a');  // 16 * 256 - 1
  CHECK(path.size() == 4095);
  CHECK(is_safe_name(path));
  CHECK_FALSE(is_safe_name(path + "/b"));
  CHECK(is_safe_name("a/...b/.c"));
}

TEST_CASE("the name over there") {
  CHECK(base_name("a/b//") == "b");
  CHECK(base_name("/") == "");
  CHECK(base_name("x/..") == "");
  CHECK(remote_name(put_options({"d/a"}), "d/a") == "a");
  CHECK(remote_name(put_options({"d/a"}, "n"), "d/a") == "n");
  CHECK(remote_name(put_options({"d/a"}, "n/"), "d/a") == "n/a");
  CHECK(remote_name(put_options({"a", "b"}, "n"), "b") == "n/b");
  CHECK(remote_name(put_options({"."}), ".") == "");
}

TEST_CASE(
    "a walk gives directories and regular files by name, follows no link, and reports what it can't read") {
  const TemporaryDirectory directory;
  directory.make("t/b/2", "x");
  directory.make("t/b/1", "xy");
  directory.make("t/a", "x");
  directory.make("t/B", "");
  fs::create_directory(directory.path / "t/empty");
  fs::create_directory_symlink("/", directory.path / "t/link");
  fs::create_directory_symlink("t", directory.path / "top");
  REQUIRE(::mkfifo((directory.path / "t/fifo").c_str(), 0600) == 0);
  const Options options = put_options({(directory.path / "t").native()});
  Progress progress{options};
  Report report{options, progress};
  const auto walk = [&](const char* top) {
    auto tree = LocalTree::open((directory.path / top).native(), report);
    REQUIRE(tree);
    std::vector<std::string> names;
    while (auto entry = tree->next()) {
      const bool is_file = entry->kind == TreeEntry::Kind::file;
      CHECK(is_file == static_cast<bool>(entry->fd));
      CHECK(entry->path == (directory.path / top / entry->name).native());
      names.push_back(entry->name + (is_file ? "" : "/"));
    }
    return names;
  };
  const std::vector<std::string> all{"B", "a", "b/", "b/1", "b/2", "empty/"};
  CHECK(walk("t") == all);
  CHECK(walk("top") == all);
  CHECK(report.status() == exit_done);
  SUBCASE("a file that can't be opened") {
    static int opens;
    opens = 0;
    sys::set_fault_hook(
        [](const char* call) { return std::string_view{call} == "openat2" && ++opens == 2 ? EACCES : 0; });
    const auto names = walk("t");
    sys::set_fault_hook(nullptr);
    CHECK(names == std::vector<std::string>{"a", "b/", "b/1", "b/2", "empty/"});
    CHECK(report.status() == exit_refused);
  }
  CHECK_FALSE(LocalTree::open((directory.path / "none").native(), report));
  CHECK_FALSE(LocalTree::open((directory.path / "t/a").native(), report));
  Options recursive = options;
  recursive.depth = Depth::recursive;
  CHECK(total_size(recursive) == 4);
}

TEST_CASE("a file appears whole or not at all") {
  const TemporaryDirectory directory;
  const auto open = open_directory(directory.path.native());
  REQUIRE(open);
  SUBCASE("committed, with mode and time") {
    auto file = make_file(*open, "f");
    REQUIRE(file);
    REQUIRE((*file)->write("hello"));
    CHECK_FALSE(fs::exists(directory.path / "f"));
    REQUIRE((*file)->commit({04640, to_timespec(1577934245.5)}));
    CHECK(directory.content("f") == "hello");
    struct stat about{};
    REQUIRE(sys::fstatat((*open)->get(), "f", about, 0) == 0);
    CHECK((about.st_mode & 07777) == 0640);
    CHECK(about.st_mtim.tv_sec == 1577934245);
    CHECK(about.st_mtim.tv_nsec == 500'000'000);
  }
  SUBCASE("replacing what was there") {
    directory.make("f", "old");
    auto file = make_file(*open, "f");
    REQUIRE(file);
    REQUIRE((*file)->write("new"));
    CHECK(directory.content("f") == "old");
    REQUIRE((*file)->commit({}));
    CHECK(directory.content("f") == "new");
  }
  SUBCASE("given up") {
    auto file = make_file(*open, "f");
    REQUIRE(file);
    REQUIRE((*file)->write("x"));
    file->reset();
    CHECK(directory.entries() == 0);
  }
  SUBCASE("where files without a name are not known") {
    static bool first;
    first = true;
    sys::set_fault_hook([](const char* call) {
      return std::string_view{call} == "openat2" && std::exchange(first, false) ? EOPNOTSUPP : 0;
    });
    auto file = make_file(*open, "f");
    sys::set_fault_hook(nullptr);
    REQUIRE(file);
    REQUIRE((*file)->write("y"));
    REQUIRE((*file)->commit({}));
    CHECK(directory.content("f") == "y");
    CHECK(directory.entries() == 1);
  }
  SUBCASE("a full disk leaves nothing") {
    sys::set_fault_hook([](const char* call) { return std::string_view{call} == "write" ? ENOSPC : 0; });
    auto file = make_file(*open, "f");
    REQUIRE(file);
    const auto written = (*file)->write("y");
    sys::set_fault_hook(nullptr);
    CHECK_FALSE(written);
    file->reset();
    CHECK(directory.entries() == 0);
  }
}

TEST_CASE("a tree is filled below its root only") {
  const TemporaryDirectory directory, outside;
  const auto open = open_directory(directory.path.native());
  REQUIRE(open);
  auto ground = TargetTree::Ground::shared;
  SUBCASE("shared") {}
  SUBCASE("fresh") { ground = TargetTree::Ground::fresh; }
  TargetTree tree{*open, ground};
  auto file = tree.file("a/b/f");
  REQUIRE(file);
  REQUIRE((*file)->commit({}));
  CHECK(fs::exists(directory.path / "a/b/f"));
  REQUIRE(tree.directory("empty/dir", {}));
  CHECK(fs::is_directory(directory.path / "empty/dir"));
  fs::create_directory_symlink(outside.path, directory.path / "link");
  CHECK_FALSE(tree.file("link/f"));
  CHECK_FALSE(tree.directory("link/d", {}));
  CHECK_FALSE(tree.directory("link", {}));
  CHECK_FALSE(tree.file("../f"));
  CHECK_FALSE(tree.file("/etc/f"));
  CHECK_FALSE(tree.directory("..", {}));
  CHECK(outside.entries() == 0);
}

TEST_CASE("directories get their modes and times when nothing more comes") {
  const TemporaryDirectory directory;
  const auto open = open_directory(directory.path.native());
  REQUIRE(open);
  TargetTree tree{*open, TargetTree::Ground::fresh};
  REQUIRE(tree.directory("", {0711, timespec{1000, 5}}));
  REQUIRE(tree.directory("d", {0555, timespec{2000, 123456789}}));
  REQUIRE(tree.directory("d/e", {0500, timespec{3000, 0}}));
  REQUIRE(tree.file("d/e/f"));
  REQUIRE(tree.finish());
  const auto about = [&](const char* name) {
    struct stat status{};
    REQUIRE(sys::fstatat((*open)->get(), name, status, 0) == 0);
    return status;
  };
  CHECK((about("d").st_mode & 07777) == 0555);
  CHECK(about("d").st_mtim.tv_sec == 2000);
  CHECK(about("d").st_mtim.tv_nsec == 123456789);
  CHECK((about("d/e").st_mode & 07777) == 0500);
  CHECK((about(".").st_mode & 07777) == 0711);
  CHECK(about(".").st_mtim.tv_sec == 1000);
  for (const char* name : {"d", "d/e"}) fs::permissions(directory.path / name, fs::perms::owner_all);
}

TEST_CASE("a fresh directory appears when it is committed, or is gone") {
  const TemporaryDirectory directory;
  const std::string path = (directory.path / "new").native();
  {
    auto fresh = FreshDirectory::make(path);
    REQUIRE(fresh);
    TargetTree tree{fresh->open(), TargetTree::Ground::fresh};
    auto file = tree.file("a/f");
    REQUIRE(file);
    REQUIRE((*file)->write("x"));
    CHECK_FALSE(fs::exists(path));
    SUBCASE("committed") {
      REQUIRE(fresh->commit());
      CHECK(directory.content("new/a/f") == "x");
    }
    SUBCASE("given up") {}
    SUBCASE("in the way of something") {
      directory.make("new", "mine");
      CHECK_FALSE(fresh->commit());
    }
  }
  CHECK(directory.entries() == (fs::exists(path) ? 1 : 0));
  if (fs::is_regular_file(path)) CHECK(directory.content("new") == "mine");
}

TEST_CASE("what has arrived is kept beside the target until it is whole") {
  const TemporaryDirectory directory;
  const std::string path = (directory.path / "f").native();
  directory.make("f", "old");
  {
    auto part = PartFile::open(path);
    REQUIRE(part);
    CHECK(part->size() == 0);
    CHECK_MESSAGE(!PartFile::open(path), "two at once");
  }
  CHECK_MESSAGE(directory.entries() == 1, "an empty part does not stay");
  {
    auto part = PartFile::open(path);
    REQUIRE(part);
    REQUIRE(part->append("abc"));
  }
  CHECK(directory.content(".f.ftpc-part") == "abc");
  auto part = PartFile::open(path);
  REQUIRE(part);
  CHECK(part->size() == 3);
  REQUIRE(part->append("de"));
  CHECK(part->digest() == sha256_hex("abcde"));
  SUBCASE("committed") {
    REQUIRE(part->commit({0600, to_timespec(7)}));
    CHECK(directory.content("f") == "abcde");
    CHECK(directory.entries() == 1);
  }
  SUBCASE("begun anew") {
    REQUIRE(part->start_anew());
    CHECK(part->digest() == sha256_hex(""));
    REQUIRE(part->append("x"));
    CHECK(directory.content(".f.ftpc-part") == "x");
    CHECK(directory.content("f") == "old");
  }
}

TEST_CASE("a part's name fits, however long the file's is") {
  CHECK(part_name("a") == ".a.ftpc-part");
  CHECK(part_name(std::string(244, 'a')).size() == 255);
  CHECK(part_name(std::string(245, 'a')).size() == 1 + 32 + 10);
  CHECK(part_name(std::string(245, 'a')) != part_name(std::string(245, 'b')));
}
