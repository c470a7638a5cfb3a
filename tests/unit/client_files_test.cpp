// Local files on both sides of a transfer: names, walks, and files that appear when they are complete.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/sys.h"
#include "client/local_files.h"
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

TEST_CASE("a walk gives regular files by name, follows no link, and reports what is missing") {
  const TemporaryDirectory directory;
  directory.make("t/b/2", "x");
  directory.make("t/b/1", "x");
  directory.make("t/a", "x");
  fs::create_directory(directory.path / "t/empty");
  fs::create_directory_symlink("/", directory.path / "t/link");
  const std::string top = (directory.path / "t").native();
  Options options = put_options({top, (directory.path / "none").native()});
  options.depth = Depth::recursive;
  Progress progress{options};
  Report report{options, progress};
  LocalFiles files{options, report};
  std::vector<std::string> names;
  while (files.more()) names.push_back(files.next()->remote);
  CHECK(names == std::vector<std::string>{"t/a", "t/b/1", "t/b/2"});
  CHECK(report.status() == exit_refused);
  CHECK(total_size(options) == 3);
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
    REQUIRE((*file)->commit(04640, 1577934245.5));
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
    REQUIRE((*file)->commit({}, {}));
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
    REQUIRE((*file)->commit({}, {}));
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
  TargetTree tree{*open};
  auto file = tree.file("a/b/f");
  REQUIRE(file);
  REQUIRE((*file)->commit({}, {}));
  CHECK(fs::exists(directory.path / "a/b/f"));
  REQUIRE(tree.directory("empty/dir"));
  CHECK(fs::is_directory(directory.path / "empty/dir"));
  fs::create_directory_symlink(outside.path, directory.path / "link");
  CHECK_FALSE(tree.file("link/f"));
  CHECK_FALSE(tree.directory("link/d"));
  CHECK_FALSE(tree.file("../f"));
  CHECK_FALSE(tree.file("/etc/f"));
  CHECK_FALSE(tree.directory(".."));
  CHECK(outside.entries() == 0);
}
