// Directories as tar streams: they survive the way out and in; what comes in merges; limits.
#include <array>
#include <cerrno>

#include "unit/store_tar_support.h"

using namespace ftpd;
using namespace ftpd::test;
namespace fs = std::filesystem;

namespace {

void set_time(const std::string& name, time_t seconds, long nanoseconds = 0) {
  const timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
  REQUIRE(::utimensat(AT_FDCWD, name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

mode_t mode_of(const std::string& name) {
  struct stat status{};
  REQUIRE(::lstat(name.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

/// A tree that is hard to carry.
void make_hard_tree(const Place& place) {
  const auto at = [&](const std::string& name) { return place.at("from/" + name); };
  fs::create_directories(at("empty"));
  fs::create_directories(at("a/b/c/d/e/f"));
  fs::create_directories(at("a.b"));  // sorts between "a" and what is in it
  write_file(at("a/b/c/d/e/f/deep"), "deep");
  write_file(at("zero"), "");
  write_file(at("one block"), std::string(512, 'b'));
  write_file(at("large"), std::string((5U << 20U) + 3, 'L'));
  write_file(at("executable"), "#!/bin/sh\n");
  ::chmod(at("executable").c_str(), 0755);
  write_file(at("secret"), "s");
  ::chmod(at("secret").c_str(), 0400);
  ::chmod(at("empty").c_str(), 0700);
  const std::string long_name(200, 'n');
  write_file(at(std::string(255, 'x')), "long name");
  fs::create_directories(at(long_name + "/" + long_name));
  write_file(at(long_name + "/" + long_name + "/" + long_name), "long path");
  for (const std::string name :
       {"b\xff\xfe"
        "d",
        "gr\xc3\xbc\xc3\x9f", "decomposed u\xcc\x88", "line\nbreak", "-rf", " ", "\xe6\x96\x87"}) {
    write_file(at(name), "name " + name);
    fs::create_directories(at("dir" + name));
    write_file(at("dir" + name + "/" + name), "in " + name);
  }
  set_time(at("zero"), 0);
  set_time(at("large"), 4000000000, 123456789);
  set_time(at("executable"), -5);
  set_time(at("a/b/c"), 1234567890, 500000000);
  set_time(at("empty"), 77);
}

}  // namespace

TEST_CASE("a hard tree survives the way out and in") {
  for (const char* const locale : {"C", "C.UTF-8"}) {
    CAPTURE(locale);
    const std::string former = std::setlocale(LC_ALL, nullptr);
    REQUIRE(std::setlocale(LC_ALL, locale) != nullptr);
    const TreePlace place;
    const auto store = place.open();
    make_hard_tree(place);
    TreeSent sent;
    const std::string stream = get_tree(*store, "from", &sent);
    const auto stored = put_tree(store, tree_request("to"), stream);
    REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
    const auto expected = tree_of(place.at("from"));
    CHECK(tree_of(place.at("to")) == expected);
    CHECK(stored->files == sent.files);
    CHECK(stored->directories == sent.directories);
    CHECK(stored->bytes == sent.bytes);
    CHECK(sent.files + sent.directories == expected.size());
    CHECK(sent.skipped == 0);
    CHECK(staging_is_clean(place));
    std::setlocale(LC_ALL, former.c_str());
  }
}

TEST_CASE("a stream may come in pieces of any size") {
  const TreePlace place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  std::string stream = directory("d/") + file("d/f", std::string(3000, 'f'));
  const std::string long_path = std::string(200, 'p') + "/" + std::string(200, 'q');
  stream += pax({{"path", long_path}}) + file("short", "long") + end_of_archive();
  stream += std::string(10240 - stream.size() % 10240, '\0');  // as tar(1) pads
  for (const std::size_t piece : {1, 2, 3, 511, 512, 513, 1000, 1024, 4096}) {
    CAPTURE(piece);
    const std::string name = "t" + std::to_string(piece);
    const auto stored = put_tree(store, tree_request(name), stream, piece);
    REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
    CHECK(stored->files == 2);
    CHECK(read_file(place.at(name + "/" + long_path)) == "long");
    CHECK(read_file(place.at(name + "/d/f")) == std::string(3000, 'f'));
  }
}

TEST_CASE("an archive without members is an empty directory") {
  const TreePlace place;
  const auto store = place.open();
  const auto stored = put_tree(store, tree_request("t"), end_of_archive());
  REQUIRE(stored.has_value());
  CHECK(stored->files + stored->directories == 0);
  CHECK(fs::is_directory(place.at("t")));
  CHECK(get_tree(*store, "t").size() == 1024);
  CHECK(put_tree(store, tree_request("u"), get_tree(*store, "t")).has_value());
}

TEST_CASE("names lose \"./\" and what is \".\" sets mode and time of the directory") {
  const TreePlace place;
  const auto store = place.open();
  const std::string stream = member({.name = "./", .type = '5', .mode = 0711, .mtime = 5}) +
                             directory("./d/") + file("./d/f", "1") + file("././g", "2") + end_of_archive();
  const auto stored = put_tree(store, tree_request("t"), stream);
  REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
  CHECK(stored->directories == 1);
  CHECK(contents_of(place.at("t")) ==
        std::map<std::string, std::string>{{"d", "<dir>"}, {"d/f", "1"}, {"g", "2"}});
  CHECK(mode_of(place.at("t")) == 0711);
  struct stat status{};
  REQUIRE(::stat(place.at("t").c_str(), &status) == 0);
  CHECK(status.st_mtime == 5);
}

TEST_CASE("modes have permission bits only, and a directory that forbids its owner is filled all the same") {
  const TreePlace place;
  const auto store = place.open();
  const std::string stream = directory("./", 0555) + directory("closed/", 02000) +
                             file("closed/f", "x", 06755) + directory("plain/", 01777) + file("f", "x", 0) +
                             end_of_archive();
  for (const char* const name : {"t", "u"}) {
    CAPTURE(name);
    if (*name == 'u') fs::create_directory(place.at("u"));  // one is moved whole, one is merged
    const auto stored = put_tree(store, tree_request(name), stream);
    REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
    const auto at = [&](const std::string& below) { return place.at(name + below); };
    CHECK(mode_of(at("")) == (*name == 't' ? 0555 : 0755));
    CHECK(mode_of(at("/closed")) == 0);
    CHECK(mode_of(at("/plain")) == 0777);
    CHECK(mode_of(at("/f")) == 0);
    ::chmod(at("").c_str(), 0755);
    ::chmod(at("/closed").c_str(), 0755);
    CHECK(mode_of(at("/closed/f")) == 0755);
  }
  CHECK(staging_is_clean(place));
}

TEST_CASE("directories that the stream does not name are made") {
  const TreePlace place;
  const auto store = place.open();
  const auto stored =
      put_tree(store, tree_request("t"), file("a/b/c", "x") + file("a/d", "y") + end_of_archive());
  REQUIRE(stored.has_value());
  CHECK(stored->directories == 2);
  CHECK(contents_of(place.at("t")) ==
        std::map<std::string, std::string>{{"a", "<dir>"}, {"a/b", "<dir>"}, {"a/b/c", "x"}, {"a/d", "y"}});
}

TEST_CASE("of members with one name the later one counts") {
  const TreePlace place;
  const auto store = place.open();
  const std::string stream = file("f", "old old", 0600) + file("was a directory/gone", "") +
                             file("f", "new", 0640) + directory("d", 0700) + directory("d", 0750) +
                             directory("e") + file("e", "a file now") + file("g", "was a file") +
                             directory("g") + file("g/h", "h") + end_of_archive();
  const auto stored = put_tree(store, tree_request("t"), stream);
  REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
  CHECK(stored->files == 4);
  CHECK(stored->directories == 3);
  CHECK(stored->bytes == 3 + 10 + 1);
  CHECK(read_file(place.at("t/f")) == "new");
  CHECK(mode_of(place.at("t/f")) == 0640);
  CHECK(mode_of(place.at("t/d")) == 0750);
  CHECK(read_file(place.at("t/e")) == "a file now");
  CHECK(read_file(place.at("t/g/h")) == "h");
  const auto filled =
      put_tree(store, tree_request("u"), file("d/f", "x") + file("d", "y") + end_of_archive());
  CHECK(filled.error().reason == Reason::is_directory);
  const auto below = put_tree(store, tree_request("u"), file("d", "x") + file("d/f", "y") + end_of_archive());
  CHECK(below.error().reason == Reason::not_directory);
  CHECK_FALSE(fs::exists(place.at("u")));
  CHECK(staging_is_clean(place));
}

TEST_CASE("sparse files keep their holes") {
  const TreePlace place;
  const auto store = place.open();
  // GNU sparse 1.0: the map is the beginning of the content. Data, a hole, data, a hole.
  const std::string map = padded("2\n0\n512\n1048576\n512\n");
  const std::string stream =
      pax({{"GNU.sparse.major", "1"},
           {"GNU.sparse.minor", "0"},
           {"GNU.sparse.name", "holes"},
           {"GNU.sparse.realsize", "4194304"}}) +
      file("GNUSparseFile.0/holes", map + std::string(512, 'a') + std::string(512, 'z')) + file("next", "n") +
      end_of_archive();
  const auto stored = put_tree(store, tree_request("t"), stream);
  REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
  CHECK(stored->bytes == 4194304 + 1);
  std::string expected(4194304, '\0');
  expected.replace(0, 512, 512, 'a');
  expected.replace(1048576, 512, 512, 'z');
  CHECK(read_file(place.at("t/holes")) == expected);
  CHECK(read_file(place.at("t/next")) == "n");
  struct stat status{};
  REQUIRE(::stat(place.at("t/holes").c_str(), &status) == 0);
  CHECK(status.st_blocks * 512 < 1048576);
}

// --- the target -----------------------------------------------------------------------------------
TEST_CASE("a tree merges into a directory that is there") {
  for (const bool durable : {false, true}) {
    const TreePlace place;
    const auto store = place.open({.durable = durable});
    fs::create_directories(place.at("t/both/deep"));
    ::chmod(place.at("t/both").c_str(), 0700);
    write_file(place.at("t/kept"), "kept");
    write_file(place.at("t/both/replaced"), "old");
    write_file(place.at("t/both/kept"), "kept");
    const std::string stream = directory("both/", 0755) + file("both/replaced", "new") +
                               file("both/deep/f", "1") + directory("fresh/") + file("fresh/g", "2") +
                               file("top", "3") + end_of_archive();
    const auto stored = put_tree(store, tree_request("t"), stream);
    REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
    CHECK(contents_of(place.at("t")) == std::map<std::string, std::string>{{"both", "<dir>"},
                                                                           {"both/deep", "<dir>"},
                                                                           {"both/deep/f", "1"},
                                                                           {"both/kept", "kept"},
                                                                           {"both/replaced", "new"},
                                                                           {"fresh", "<dir>"},
                                                                           {"fresh/g", "2"},
                                                                           {"kept", "kept"},
                                                                           {"top", "3"}});
    CHECK(mode_of(place.at("t/both")) == 0700);
    CHECK(staging_is_clean(place));
  }
}

TEST_CASE("the root itself can be the target, and keeps its mode") {
  const TreePlace place;
  const auto store = place.open();
  const auto stored =
      put_tree(store, tree_request("."), directory("./", 0777) + file("f", "x") + end_of_archive());
  REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
  CHECK(read_file(place.at("f")) == "x");
  CHECK(mode_of(place.root) == 0755);
  TreeSent sent;
  get_tree(*store, ".", &sent);
  CHECK(sent.files == 1);
  CHECK(sent.directories == 0);  // `.ftpd` is not sent
}

TEST_CASE("what is in the way is found before anything is moved") {
  struct Obstacle {
    const char* name;
    void (*make)(const std::string&);
    Reason reason;
  };
  const Obstacle obstacles[] = {
      {"t/z/file", [](const std::string& at) { fs::create_directories(at); }, Reason::is_directory},
      {"t/z/directory", [](const std::string& at) { write_file(at, "x"); }, Reason::not_directory},
      {"t/z/file", [](const std::string& at) { fs::create_symlink("/etc/passwd", at); }, Reason::denied},
      {"t/z/directory", [](const std::string& at) { fs::create_directory_symlink("/tmp", at); },
       Reason::denied},
      {"t/z/file", [](const std::string& at) { ::mkfifo(at.c_str(), 0600); }, Reason::denied},
      {"t/z/directory", [](const std::string& at) { ::mkfifo(at.c_str(), 0600); }, Reason::denied},
      {"t/z",
       [](const std::string& at) {
         fs::remove(at);
         fs::create_directory_symlink("/tmp", at);
       },
       Reason::denied},
  };
  const std::string stream = file("a", "1") + file("z/b", "2") + file("z/file", "3") +
                             directory("z/directory") + file("zz", "4") + end_of_archive();
  for (const Obstacle& obstacle : obstacles) {
    CAPTURE(obstacle.name);
    const TreePlace place;
    const auto store = place.open();
    fs::create_directories(place.at("t/z"));
    obstacle.make(place.at(obstacle.name));
    const auto before = tree_of(place.root);
    const auto stored = put_tree(store, tree_request("t"), stream);
    REQUIRE_FALSE(stored.has_value());
    CHECK(stored.error().reason == obstacle.reason);
    CHECK(tree_of(place.root) == before);
    CHECK(staging_is_clean(place));
  }
}

TEST_CASE("without replacing, a file that is there refuses the whole stream, a directory does not") {
  const TreePlace place;
  const auto store = place.open();
  TreeRequest request = tree_request("t");
  request.replace = false;
  fs::create_directories(place.at("t/d"));
  write_file(place.at("t/d/old"), "old");
  CHECK(put_tree(store, request, file("d/new", "new") + end_of_archive()).has_value());
  const auto before = tree_of(place.root);
  const auto stored =
      put_tree(store, request, file("a", "1") + file("d/old", "2") + file("z", "3") + end_of_archive());
  REQUIRE_FALSE(stored.has_value());
  CHECK(stored.error().reason == Reason::exists);
  CHECK(tree_of(place.root) == before);
}

TEST_CASE("a target that can't be one is told at the start") {
  const TreePlace place;
  const auto store = place.open();
  write_file(place.at("file"), "x");
  fs::create_directory_symlink("/tmp", place.at("link"));
  ::mkfifo(place.at("fifo").c_str(), 0600);
  const auto refusal = [&](const char* name) {
    const auto upload = TreeUpload::begin(store, tree_request(name));
    REQUIRE_FALSE(upload.has_value());
    return upload.error().reason;
  };
  CHECK(refusal("file") == Reason::not_directory);
  CHECK(refusal("link") == Reason::denied);
  CHECK(refusal("fifo") == Reason::denied);
  CHECK(refusal("missing/t") == Reason::not_found);
  CHECK(refusal("file/t") == Reason::not_directory);
  CHECK(refusal("link/t") == Reason::denied);
  TreeRequest huge = tree_request("t");
  huge.stream_size = 1ULL << 60U;
  const auto upload = TreeUpload::begin(store, huge);
  REQUIRE_FALSE(upload.has_value());
  CHECK(upload.error().reason == Reason::no_space);
  CHECK(upload.error().need == 1ULL << 60U);
  CHECK(upload.error().free.has_value());
  CHECK(staging_directories(place) == 1);
}

TEST_CASE("directories on the way are made when asked for, and only for an upload that succeeds") {
  const TreePlace place;
  const auto store = place.open();
  TreeRequest request = tree_request("a/b/t");
  request.parents = true;
  CHECK_FALSE(put_tree(store, request, "no tar at all").has_value());
  CHECK_FALSE(fs::exists(place.at("a")));
  REQUIRE(put_tree(store, request, file("f", "x") + end_of_archive()).has_value());
  CHECK(read_file(place.at("a/b/t/f")) == "x");
}

TEST_CASE("a target that appears meanwhile is merged into, one that vanishes is made") {
  const TreePlace place;
  const auto store = place.open();
  auto late = TreeUpload::begin(store, tree_request("t"));
  REQUIRE(late.has_value());
  const std::string stream = file("f", "late") + file("g", "late") + end_of_archive();
  REQUIRE(late->extract(source_of(stream)).has_value());
  REQUIRE(put_tree(store, tree_request("t"), file("f", "early") + file("h", "early") + end_of_archive())
              .has_value());
  REQUIRE(late->commit().has_value());
  CHECK(contents_of(place.at("t")) ==
        std::map<std::string, std::string>{{"f", "late"}, {"g", "late"}, {"h", "early"}});
  auto again = TreeUpload::begin(store, tree_request("t"));
  REQUIRE(again.has_value());
  REQUIRE(again->extract(source_of(stream)).has_value());
  fs::remove_all(place.at("t"));
  REQUIRE(again->commit().has_value());
  CHECK(contents_of(place.at("t")) == std::map<std::string, std::string>{{"f", "late"}, {"g", "late"}});
}

TEST_CASE("nothing is seen before the commit, and nothing is left without it") {
  const TreePlace place;
  const auto store = place.open();
  {
    auto upload = TreeUpload::begin(store, tree_request("t"));
    REQUIRE(upload.has_value());
    REQUIRE(upload->extract(source_of(file("a/b", "x") + end_of_archive())).has_value());
    CHECK(contents_of(place.root).empty());
    CHECK(staged_files(place) == 1);
    CHECK(store->list(RelPath::root(), true, 10)->empty());
  }
  CHECK(contents_of(place.root).empty());
  CHECK(staging_is_clean(place));
}

TEST_CASE("a tree that a dead daemon left is removed by the next") {
  const TreePlace place;
  fs::create_directories(place.at(".ftpd/staging-0123456789abcdef/tree/a/b"));
  write_file(place.at(".ftpd/staging-0123456789abcdef/tree/a/b/f"), "x");
  const auto store = place.open();
  CHECK_FALSE(fs::exists(place.at(".ftpd/staging-0123456789abcdef")));
}

// --- limits ---------------------------------------------------------------------------------------
TEST_CASE("a member over max_file is refused before it is written") {
  const TreePlace place;
  const auto store = place.open({.max_file = 1000});
  CHECK(put_tree(store, tree_request("t"), file("f", std::string(1000, 'x')) + end_of_archive()).has_value());
  const auto over = put_tree(store, tree_request("u"),
                             file("a", "x") + file("f", std::string(1001, 'x')) + end_of_archive());
  REQUIRE_FALSE(over.has_value());
  CHECK(over.error().reason == Reason::too_large);
  CHECK_FALSE(fs::exists(place.at("u")));
  CHECK(staging_is_clean(place));
}

TEST_CASE("the members count against the quota as they come, and are given back with the upload") {
  const TreePlace place;
  const auto store = place.open({.quota = 10000});
  const std::string half = file("f", std::string(5000, 'x')) + end_of_archive();
  REQUIRE(put_tree(store, tree_request("t"), half).has_value());
  CHECK(store->quota().used() == 5000);
  std::string bomb;
  for (int index = 0; index < 100; ++index) bomb += file("f" + std::to_string(index), std::string(100, 'x'));
  const auto over = put_tree(store, tree_request("u"), bomb + end_of_archive());
  REQUIRE_FALSE(over.has_value());
  CHECK(over.error().reason == Reason::quota);
  CHECK(over.error().need.has_value());
  CHECK(over.error().free.has_value());
  CHECK_FALSE(fs::exists(place.at("u")));
  CHECK(staging_is_clean(place));
  CHECK(store->quota().used() == 5000);
  REQUIRE(put_tree(store, tree_request("t"), half).has_value());  // replaces
  CHECK(store->quota().used() == 5000);
  const std::string twice =
      file("f", std::string(2000, 'x')) + file("f", std::string(1000, 'y')) + end_of_archive();
  REQUIRE(put_tree(store, tree_request("v"), twice).has_value());
  CHECK(store->quota().used() == 6000);
}

TEST_CASE("a hundred thousand tiny members are stored") {
  const TreePlace place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  constexpr int count = 100000;
  int next = 0;
  std::string piece;
  auto upload = TreeUpload::begin(store, tree_request("t"));
  REQUIRE(upload.has_value());
  const auto extracted = upload->extract([&]() -> Result<std::span<const char>> {
    piece.clear();
    for (int index = 0; index < 100 && next < count; ++index, ++next) {
      piece += file(fmt::format("d{}/f{}", next / 1000, next), "x");
    }
    if (piece.empty() && next == count) {
      piece = end_of_archive();
      ++next;
    }
    return std::span<const char>{piece.data(), piece.size()};
  });
  REQUIRE_MESSAGE(extracted.has_value(), extracted.error().text);
  const auto stored = upload->commit();
  REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
  CHECK(stored->files == count);
  CHECK(stored->directories == 100);
  TreeSent sent;
  CHECK(send_tree(*store, path("t"), [](std::span<const char>) -> Result<void> { return {}; })->files ==
        count);
}

// --- sending --------------------------------------------------------------------------------------
TEST_CASE("links and special files are skipped and counted") {
  const TreePlace place;
  const auto store = place.open();
  fs::create_directories(place.at("t/d"));
  write_file(place.at("t/f"), "x");
  fs::create_symlink("f", place.at("t/link"));
  fs::create_directory_symlink("/etc", place.at("t/d/link"));
  ::mkfifo(place.at("t/fifo").c_str(), 0600);
  TreeSent sent;
  const std::string stream = get_tree(*store, "t", &sent);
  CHECK(sent.files == 1);
  CHECK(sent.directories == 1);
  CHECK(sent.skipped == 3);
  REQUIRE(put_tree(store, tree_request("u"), stream).has_value());
  CHECK(contents_of(place.at("u")) == std::map<std::string, std::string>{{"d", "<dir>"}, {"f", "x"}});
}

TEST_CASE("what is no directory can't be sent as one") {
  const TreePlace place;
  const auto store = place.open();
  write_file(place.at("f"), "x");
  fs::create_directories(place.at("d"));
  fs::create_directory_symlink("d", place.at("link"));
  const auto refusal = [&](const char* name) {
    const auto sent = send_tree(*store, path(name), [](std::span<const char>) -> Result<void> { return {}; });
    REQUIRE_FALSE(sent.has_value());
    return sent.error().reason;
  };
  CHECK(refusal("f") == Reason::not_directory);
  CHECK(refusal("missing") == Reason::not_found);
  CHECK(refusal("link") == Reason::not_directory);
  CHECK(refusal("link/x") == Reason::denied);
}

TEST_CASE("a sink that fails ends the stream with its error, and is called no more") {
  const TreePlace place;
  const auto store = place.open();
  fs::create_directories(place.at("t"));
  for (int index = 0; index < 10; ++index) write_file(place.at("t/f" + std::to_string(index)), "x");
  for (int good = 0; good < 12; ++good) {
    int calls = 0;
    const auto sent = send_tree(*store, path("t"), [&](std::span<const char>) -> Result<void> {
      if (calls++ == good) return fail(Reason::aborted, "gone");
      return {};
    });
    REQUIRE_FALSE(sent.has_value());
    CHECK(sent.error().reason == Reason::aborted);
    CHECK(calls == good + 1);
  }
}

TEST_CASE("a file that shrinks while it is sent ends the stream with an error") {
  const TreePlace place;
  const auto store = place.open();
  fs::create_directories(place.at("t"));
  write_file(place.at("t/f"), std::string(4U << 20U, 'x'));
  bool cut = false;
  const auto sent = send_tree(*store, path("t"), [&](std::span<const char>) -> Result<void> {
    if (!std::exchange(cut, true)) fs::resize_file(place.at("t/f"), 1000);
    return {};
  });
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error().reason == Reason::system);
}
