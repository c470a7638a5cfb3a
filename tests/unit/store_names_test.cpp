// rmdir, mkdir and mv: what each does and what it refuses.
#include <cerrno>

#include "unit/store_furnished.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

RelPath bytes(std::string_view name) {
  auto parsed = RelPath::parse_bytes(name);
  REQUIRE(parsed.has_value());
  return std::move(*parsed);
}

const std::string hard_names[] = {
    "\xff\xfe not UTF-8", "new\nline", "\x01", std::string(255, 'n'), " ", "-rf", "*", "...", "\\", ".ftpd2"};

}  // namespace

// --- rmdir ----------------------------------------------------------------------------------------
TEST_CASE("rmdir removes an empty directory and nothing else") {
  const Furnished root;
  const auto why = [&](std::string_view name) { return refusal(root.store->remove_directory(path(name))); };
  CHECK(root.store->remove_directory(path("empty")).has_value());
  CHECK_FALSE(root.has("empty"));
  CHECK(root.store->remove_directory(path("d/sub/deeper")).has_value());
  CHECK(why("empty") == Reason::not_found);
  CHECK(why("d") == Reason::not_empty);
  CHECK(why("f") == Reason::not_directory);
  CHECK(why("link") == Reason::denied);
  CHECK(why("fifo") == Reason::denied);
  CHECK(why("link/d") == Reason::denied);
  CHECK(why("f/d") == Reason::not_directory);
  CHECK(why(".") == Reason::invalid);
  const auto faults = Faults::once("unlinkat", EEXIST);  // what some file systems say
  CHECK(why("d") == Reason::not_empty);
}

// --- mkdir ----------------------------------------------------------------------------------------
TEST_CASE("mkdir makes one directory, 0755 less the umask") {
  const Furnished root;
  const mode_t mask = ::umask(0022);
  CHECK(root.store->make_directory(path("new"), false).has_value());
  ::umask(0077);
  CHECK(root.store->make_directory(path("d/new"), false).has_value());
  CHECK(root.store->make_directory(path("p/q"), true).has_value());
  ::umask(mask);
  CHECK(root.store->stat(path("new"))->mode == 0755);
  CHECK(root.store->stat(path("d/new"))->mode == 0700);
  CHECK(root.store->stat(path("p"))->mode == 0700);
  CHECK(root.store->stat(path("p/q"))->mode == 0700);
}

TEST_CASE("mkdir says why it makes none") {
  const Furnished root;
  const auto why = [&](std::string_view name) {
    return refusal(root.store->make_directory(path(name), false));
  };
  for (const char* const name : {"d", "f", "link", "dangling", "fifo"}) CHECK(why(name) == Reason::exists);
  CHECK(why("missing/new") == Reason::not_found);
  CHECK(why("f/new") == Reason::not_directory);
  CHECK(why("link/new") == Reason::denied);
  CHECK(why(".") == Reason::invalid);
  CHECK(refusal(root.store->make_directory(path("."), true)) == Reason::invalid);
}

TEST_CASE("mkdir with `parents` makes what is missing, and is content with a directory that is there") {
  const Furnished root;
  const auto make = [&](std::string_view name) { return root.store->make_directory(path(name), true); };
  CHECK(make("a/b/c/d").has_value());
  CHECK(root.store->stat(path("a/b/c/d"))->type == EntryType::directory);
  CHECK(make("a/b/c/d").has_value());
  CHECK(make("d").has_value());
  CHECK(make("top").has_value());
  CHECK(refusal(make("f")) == Reason::exists);
  CHECK(refusal(make("d/f")) == Reason::exists);
  CHECK(refusal(make("link")) == Reason::exists);
  CHECK(refusal(make("dangling")) == Reason::exists);
  CHECK(refusal(make("f/a/b")) == Reason::not_directory);
  CHECK(refusal(make("link/a/b")) == Reason::denied);
  CHECK(root.outside_is_whole());
}

TEST_CASE("mkdir that fails leaves nothing that it made") {
  const Furnished root;
  {
    const auto faults = Faults::always("fsync", EIO);
    CHECK(root.store->make_directory(path("new"), false).error().number == EIO);
    CHECK(root.store->make_directory(path("a/b/c"), true).error().number == EIO);
  }
  CHECK_FALSE(root.has("new"));
  CHECK_FALSE(root.has("a"));
}

TEST_CASE("mkdir with `parents` begins again when a directory that it made is removed under it") {
  const Furnished root;
  static std::string victim;
  static std::atomic<int> calls;
  for (const int nth : {2, 3}) {
    CAPTURE(nth);
    victim = root.at(nth == 2 ? "a" : "a/b");
    calls = 1 - nth;
    sys::set_fault_hook([](const char* call) {
      if (std::string_view(call) == "mkdirat" && calls++ == 0) ::rmdir(victim.c_str());
      return 0;
    });
    const auto made = root.store->make_directory(path("a/b/c"), true);
    sys::set_fault_hook(nullptr);
    CHECK(made.has_value());
    CHECK(root.has("a/b/c"));
    CHECK(root.remove_all("a").has_value());
  }
}

// --- mv -------------------------------------------------------------------------------------------
TEST_CASE("mv moves a file, a directory, and a link or special file itself") {
  const Furnished root;
  CHECK(root.move("f", "moved").has_value());
  CHECK(read_file(root.at("moved")) == "file");
  CHECK_FALSE(root.has("f"));
  CHECK(root.move("d/f", "empty/f").has_value());
  CHECK(read_file(root.at("empty/f")) == "in d");
  CHECK(root.move("d/sub", "empty/sub").has_value());
  CHECK(read_file(root.at("empty/sub/f")) == "in sub");
  CHECK_FALSE(root.has("d/sub"));
  CHECK(root.move("link", "d/link2").has_value());
  CHECK(std::filesystem::read_symlink(root.at("d/link2")) == "../outside");
  CHECK(root.move("fifo", "d/fifo").has_value());
  CHECK(root.store->stat(path("d/fifo"))->type == EntryType::other);
  CHECK(root.outside_is_whole());
}

TEST_CASE("mv replaces a file by a file, unless that is refused") {
  const Furnished root;
  CHECK(refusal(root.move("f", "g", false)) == Reason::exists);
  CHECK(read_file(root.at("f")) == "file");
  CHECK(read_file(root.at("g")) == "other file");
  CHECK(root.move("f", "g", true).has_value());
  CHECK(read_file(root.at("g")) == "file");
  CHECK_FALSE(root.has("f"));
  CHECK(root.move("g", "new", false).has_value());
  CHECK(read_file(root.at("new")) == "file");
}

TEST_CASE("mv never replaces a directory, a link or a special file") {
  const Furnished root;
  for (const bool replace : {true, false}) {
    CAPTURE(replace);
    for (const char* const from : {"f", "d", "dangling"}) {
      CAPTURE(from);
      CHECK(refusal(root.move(from, "empty", replace)) == Reason::is_directory);
      CHECK(refusal(root.move(from, "link", replace)) == Reason::denied);
      CHECK(refusal(root.move(from, "fifo", replace)) == Reason::denied);
    }
    CHECK(refusal(root.move("d/f", "d", replace)) == Reason::is_directory);
    // The name is taken: that is what is wrong, not that the file is no directory.
    CHECK(refusal(root.move("d", "f", replace)) == Reason::exists);
  }
  CHECK(read_file(root.at("f")) == "file");
  CHECK(read_file(root.at("d/f")) == "in d");
}

TEST_CASE("mv says why it does not move") {
  const Furnished root;
  CHECK(refusal(root.move("missing", "new")) == Reason::not_found);
  CHECK(refusal(root.move("missing", "missing")) == Reason::not_found);
  CHECK(refusal(root.move("f", "missing/new")) == Reason::not_found);
  CHECK(refusal(root.move("f", "f/new")) == Reason::not_directory);
  CHECK(refusal(root.move("f", "g/new")) == Reason::not_directory);
  CHECK(refusal(root.move("f/f", "new")) == Reason::not_directory);
  CHECK(refusal(root.move("link/precious", "new")) == Reason::denied);
  CHECK(refusal(root.move("f", "link/new")) == Reason::denied);
  CHECK(refusal(root.move(".", "new")) == Reason::invalid);
  CHECK(refusal(root.move("f", ".")) == Reason::invalid);
  const auto faults = Faults::always("renameat2", EXDEV);
  const auto moved = root.move("f", "d/new");
  CHECK(refusal(moved) == Reason::unsupported);
  CHECK(moved.error().text.find("another file system") != std::string::npos);
  CHECK(root.outside_is_whole());
}

TEST_CASE("mv refuses to move a directory into itself, and takes a like name for what it is") {
  const Furnished root;
  CHECK(refusal(root.move("d", "d/new")) == Reason::invalid);
  CHECK(refusal(root.move("d", "d/sub/deeper/new")) == Reason::invalid);
  CHECK(refusal(root.move("d", "d/missing/new")) == Reason::invalid);
  CHECK(root.move("d", "d2").has_value());
  CHECK(root.move("d2/sub", "d2x").has_value());
  CHECK(root.move("d2x", "d2/sub2").has_value());
  CHECK(read_file(root.at("d2/sub2/f")) == "in sub");
}

TEST_CASE("mv of something onto itself does nothing, and the name is taken") {
  const Furnished root;
  for (const char* const name : {"f", "d", "link", "fifo", "d/f"}) {
    CHECK(root.move(name, name, true).has_value());
    CHECK(refusal(root.move(name, name, false)) == Reason::exists);
    CHECK(root.has(name));
  }
  CHECK(read_file(root.at("f")) == "file");
}

TEST_CASE("mv between two names of one file leaves the new one") {
  const Furnished root;
  REQUIRE(::link(root.at("f").c_str(), root.at("second").c_str()) == 0);
  CHECK(refusal(root.move("f", "second", false)) == Reason::exists);
  CHECK(root.move("f", "second").has_value());
  CHECK_FALSE(root.has("f"));
  CHECK(read_file(root.at("second")) == "file");
}

TEST_CASE("mv flushes both directories where the store is durable") {
  const Furnished durable;
  const Furnished quick({.durable = false});
  static std::atomic<int> flushes;
  const auto count = [](const Furnished& root, std::string_view from, std::string_view to) {
    flushes = 0;
    sys::set_fault_hook([](const char* call) {
      if (std::string_view(call) == "fsync") ++flushes;
      return 0;
    });
    CHECK(root.move(from, to).has_value());
    sys::set_fault_hook(nullptr);
    return flushes.load();
  };
  CHECK(count(durable, "f", "moved") == 1);
  CHECK(count(durable, "moved", "d/moved") == 2);
  CHECK(count(quick, "f", "d/moved") == 0);
  const auto faults = Faults::always("fsync", EIO);
  CHECK(durable.move("d/moved", "empty/moved").error().number == EIO);
  CHECK(durable.has("empty/moved"));
  static std::atomic<int> failing;
  for (failing = 1; failing <= 2; ++failing) {
    flushes = 0;
    sys::set_fault_hook(
        [](const char* call) { return std::string_view(call) == "fsync" && ++flushes == failing ? EIO : 0; });
    const auto moved = failing == 1 ? durable.move("g", "d/g") : durable.move("d/g", "g");
    sys::set_fault_hook(nullptr);
    CHECK(moved.error().number == EIO);
    CHECK(flushes.load() == 2);
  }
}

TEST_CASE("mv without replacing works where the file system can't refuse a name that is taken") {
  const Furnished root;
  {
    const auto faults = Faults::once("renameat2", EINVAL);
    CHECK(root.move("f", "new", false).has_value());
  }
  CHECK(read_file(root.at("new")) == "file");
  CHECK_FALSE(root.has("f"));
  {
    const auto faults = Faults::once("renameat2", EINVAL);
    CHECK(root.move("d", "new-d", true).has_value());
  }
  CHECK(read_file(root.at("new-d/f")) == "in d");
  {
    const auto faults = Faults::once("renameat2", EINVAL);
    CHECK(root.move("dangling", "new-link", false).has_value());
  }
  CHECK(std::filesystem::read_symlink(root.at("new-link")) == "nowhere");
  // The old name can't be dropped: then there is no new one either.
  static std::atomic<int> calls;
  calls = 0;
  sys::set_fault_hook([](const char* call) {
    if (std::string_view(call) == "renameat2") return EINVAL;
    return std::string_view(call) == "unlinkat" && ++calls == 1 ? EIO : 0;
  });
  const auto moved = root.move("g", "new-g", false);
  sys::set_fault_hook(nullptr);
  CHECK(moved.error().number == EIO);
  CHECK(read_file(root.at("g")) == "other file");
  CHECK_FALSE(root.has("new-g"));
}

// --- names ----------------------------------------------------------------------------------------
TEST_CASE("hard names are removed, made and moved like others") {
  const Furnished root;
  for (const std::string& hard : hard_names) {
    CAPTURE(hard);
    const RelPath name = bytes(hard);
    const RelPath below = bytes(hard + "/" + hard);
    const RelPath aside = bytes("d/" + hard);
    CHECK(root.store->make_directory(below, true).has_value());
    CHECK(refusal(root.store->make_directory(below, false)) == Reason::exists);
    write_file(root.at(below.text() + "/" + hard), "hard");
    CHECK(refusal(root.store->remove_directory(name)) == Reason::not_empty);
    CHECK(root.store->rename(below, aside, false).has_value());
    CHECK(read_file(root.at(aside.text() + "/" + hard)) == "hard");
    CHECK(root.store->remove_directory(name).has_value());
    CHECK(root.store->rename(bytes("d/" + hard + "/" + hard), name, false).has_value());
    CHECK(root.store->remove(name, false).has_value());
    CHECK(root.store->remove(aside, true).has_value());
    CHECK_FALSE(root.has(hard));
  }
  CHECK(root.has("f"));
  CHECK(root.has("d/f"));
}
