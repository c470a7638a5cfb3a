// Streams that mean harm or are broken, and systems that fail: nothing escapes, nothing is left.
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "unit/store_tar_support.h"

using namespace ftpd;
using namespace ftpd::test;
namespace fs = std::filesystem;

namespace {

Error refusal(const std::string& stream, std::string_view target = "t") {
  const TreePlace place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  write_file(place.base + "/outside", "untouched");
  const auto stored = put_tree(store, tree_request(target), stream);
  REQUIRE_FALSE(stored.has_value());
  CHECK_FALSE(stored.error().text.empty());
  CHECK(tree_of(place.root).empty());
  CHECK(staging_is_clean(place));
  CHECK(contents_of(place.base).at("outside") == "untouched");
  return stored.error();
}

Reason reason_of(const std::string& stream, std::string_view target = "t") {
  return refusal(stream, target).reason;
}

std::string whole(const std::string& members) { return members + end_of_archive(); }

/// A stream of every kind of header that is taken.
std::string good_stream() {
  std::string stream = directory("./") + directory("d/") + file("d/f", std::string(1500, 'f'));
  stream += pax({{"comment", "for all"}}, 'g');
  stream += pax({{"path", std::string(150, 'p') + "/gr\xc3\xbcn"}, {"mtime", "5.25"}}) + file("x", "pax");
  stream += member({.name = "././@LongLink", .type = 'L', .content = std::string(120, 'g') + '\0'});
  stream += file("cut", "gnu") + file("empty", "") + file("last", std::string(512, 'l'));
  return whole(stream);
}

}  // namespace

TEST_CASE("names that lead out of the directory are denied, and the member is named") {
  for (const char* const name :
       {"../x", "a/../../x", "a/..", "..", "./../x", "/etc/x", "/", "//x", "a/../b"}) {
    CAPTURE(name);
    const Error error = refusal(whole(file("good", "x") + file(name, "bad")));
    CHECK(error.reason == Reason::denied);
    CHECK(error.text.find(name) != std::string::npos);
    CHECK(reason_of(whole(directory(name))) == Reason::denied);
    CHECK(reason_of(whole(pax({{"path", name}}) + file("good", "bad"))) == Reason::denied);
  }
}

TEST_CASE("names that no path may have are refused") {
  CHECK(reason_of(whole(file("", "x"))) == Reason::invalid);
  CHECK(reason_of(whole(file("a//b", "x"))) == Reason::invalid);
  CHECK(reason_of(whole(file("a/./b", "x"))) == Reason::invalid);
  CHECK(reason_of(whole(file(".", "x"))) == Reason::invalid);
  CHECK(reason_of(whole(file("./", "x"))) == Reason::invalid);
  CHECK(reason_of(whole(pax({{"path", std::string(256, 'x')}}) + file("f", "x"))) == Reason::invalid);
  std::string deep = "d";
  while (deep.size() < 5000) deep += "/d";
  CHECK(reason_of(whole(pax({{"path", deep}}) + file("f", "x"))) == Reason::invalid);
}

TEST_CASE("a name counts with its directory: what is stored can be asked for") {
  const TreePlace place;
  const auto store = place.open({.durable = false});
  std::string deep = "d";
  while (deep.size() < 4000) deep += "/d";
  const std::string stream = whole(pax({{"path", deep}}) + file("f", "x"));
  TreeRequest request = tree_request(std::string(90, 't'));
  REQUIRE(put_tree(store, request, stream).has_value());
  CHECK(store->stat(path(std::string(90, 't') + "/" + deep)).has_value());
  request.path = path(std::string(100, 't'));
  CHECK(put_tree(store, request, stream).error().reason == Reason::invalid);
  CHECK(store->remove(path(std::string(90, 't')), true).has_value());  // too deep for others
}

TEST_CASE("the daemon's own directory can't be written into, but one of that name elsewhere can") {
  for (const char* const name : {".ftpd/x", "./.ftpd/x", ".ftpd"}) {
    CAPTURE(name);
    CHECK(reason_of(whole(file(name, "x")), ".") == Reason::invalid);
    const TreePlace place;
    const auto store = place.open({.durable = false});
    REQUIRE(put_tree(store, tree_request("t"), whole(file(name, "x"))).has_value());
    CHECK(read_file(place.at("t/" + std::string(name))) == "x");
  }
}

TEST_CASE("links are denied, whatever they lead to and whatever follows") {
  const auto link = [](char type, const std::string& to) {
    return member({.name = "link", .type = type, .link = to});
  };
  for (const char type : {'1', '2'}) {
    CHECK(reason_of(whole(link(type, "/etc/passwd"))) == Reason::denied);
    CHECK(reason_of(whole(link(type, "..") + file("link/outside", "bad"))) == Reason::denied);
    CHECK(reason_of(whole(file("good", "x") + link(type, "good"))) == Reason::denied);
  }
  CHECK(reason_of(whole(pax({{"linkpath", "/etc/passwd"}}) + link('2', "short"))) == Reason::denied);
  CHECK(reason_of(whole(member({.name = "hard", .type = '1', .content = "data", .link = "f"}))) ==
        Reason::denied);
}

TEST_CASE("devices and FIFOs are denied") {
  for (const char type : {'3', '4', '6'}) {
    CAPTURE(type);
    CHECK(reason_of(whole(member({.name = "special", .type = type}))) == Reason::denied);
  }
}

TEST_CASE("what is no tar stream is refused") {
  CHECK(reason_of("") == Reason::invalid);
  CHECK(reason_of("x") == Reason::invalid);
  CHECK(reason_of(std::string(511, '\0')) == Reason::invalid);
  CHECK(reason_of(std::string(512, '\0')) == Reason::invalid);
  CHECK(reason_of(std::string(1023, '\0')) == Reason::invalid);
  CHECK(reason_of(std::string(100000, 'x')) == Reason::invalid);
  CHECK(reason_of("\x1f\x8b\x08" + std::string(1000, '\0')) == Reason::invalid);
  CHECK(reason_of("PK\x03\x04" + std::string(1000, '\0')) == Reason::invalid);
  std::string damaged = good_stream();
  damaged[512] = 'D';  // the second header's checksum is wrong now
  CHECK(reason_of(damaged) == Reason::invalid);
}

TEST_CASE("a stream that is cut off anywhere is refused") {
  const std::string stream = good_stream();
  {
    const TreePlace place;
    const auto stored = put_tree(place.open(), tree_request("t"), stream);
    REQUIRE_MESSAGE(stored.has_value(), stored.error().text);
    CHECK(stored->files == 5);
    CHECK(read_file(place.at("t/" + std::string(150, 'p') + "/gr\xc3\xbcn")) == "pax");
    CHECK(read_file(place.at("t/" + std::string(120, 'g'))) == "gnu");
  }
  for (std::size_t size = 0; size < stream.size(); size += 512) {
    CAPTURE(size);
    CHECK(reason_of(stream.substr(0, size)) == Reason::invalid);
    CHECK(reason_of(stream.substr(0, size + 100)) == Reason::invalid);
  }
}

TEST_CASE("a stream that ends with a file of zeros, and is cut off there, is refused") {
  const std::string stream = file("f", std::string(4096, '\0'));
  CHECK(reason_of(stream) == Reason::invalid);
  CHECK(reason_of(stream + std::string(512, '\0')) == Reason::invalid);
}

TEST_CASE("something behind the archive's end is refused, zeros are not") {
  CHECK(reason_of(good_stream() + "x") == Reason::invalid);
  CHECK(reason_of(good_stream() + std::string(1U << 20U, '\0') + "x") == Reason::invalid);
  CHECK(reason_of(good_stream() + good_stream()) == Reason::invalid);
  const TreePlace place;
  CHECK(put_tree(place.open(), tree_request("t"), good_stream() + std::string(100000, '\0')).has_value());
}

TEST_CASE("sizes that lie are refused or obeyed, never believed") {
  CHECK(reason_of(whole(member({.name = "f", .content = "x", .size = 5000}))) == Reason::invalid);
  CHECK(reason_of(whole(member({.name = "f", .content = "x", .size = 077777777777}))) != Reason::exists);
  CHECK(reason_of(whole(pax({{"size", "-5"}}) + file("f", "x"))) == Reason::invalid);
  CHECK(reason_of(whole(pax({{"size", "99999999999999999999"}}) + file("f", "x"))) != Reason::exists);
  const std::string map = "0,10,20,10";
  CHECK(reason_of(whole(pax({{"GNU.sparse.map", map}, {"GNU.sparse.size", "30"}, {"size", "-5"}}) +
                        file("f", "x"))) == Reason::invalid);
  // A size in the extended header counts, whatever the header itself says.
  const TreePlace place;
  const auto store = place.open({.durable = false, .max_file = 2000});
  const std::string more =
      pax({{"size", "600"}}) + member({.name = "f", .content = std::string(600, 'y'), .size = 0});
  REQUIRE(put_tree(store, tree_request("t"), whole(more + file("g", "x"))).has_value());
  CHECK(read_file(place.at("t/f")) == std::string(600, 'y'));
  CHECK(read_file(place.at("t/g")) == "x");
  const std::string too_much =
      pax({{"size", "3000"}}) + member({.name = "f", .content = std::string(3000, 'y'), .size = 0});
  CHECK(put_tree(store, tree_request("u"), whole(too_much)).error().reason == Reason::too_large);
}

TEST_CASE("holes count with their length against the limits") {
  const std::string bomb = pax({{"GNU.sparse.major", "1"},
                                {"GNU.sparse.minor", "0"},
                                {"GNU.sparse.name", "bomb"},
                                {"GNU.sparse.realsize", "1099511627776"}}) +
                           file("b", padded("1\n1099511627264\n512\n") + std::string(512, 'x'));
  const TreePlace place;
  CHECK(put_tree(place.open({.durable = false, .max_file = 1U << 30U}), tree_request("t"), whole(bomb))
            .error()
            .reason == Reason::too_large);
  CHECK(put_tree(place.open({.durable = false, .quota = 1U << 30U}), tree_request("t"), whole(bomb))
            .error()
            .reason == Reason::quota);
  CHECK(staging_is_clean(place));
}

TEST_CASE("a header without end is refused before it fills the memory") {
  CHECK(reason_of(whole(pax({{"comment", std::string(2U << 20U, 'c')}}) + file("f", "x"))) ==
        Reason::invalid);
  // A map of more holes than any file has, of four bytes each.
  std::string map = "9000000\n";
  while (map.size() < (24U << 20U)) map += "0\n0\n";
  const std::string holes = pax({{"GNU.sparse.major", "1"},
                                 {"GNU.sparse.minor", "0"},
                                 {"GNU.sparse.name", "f"},
                                 {"GNU.sparse.realsize", "10"}}) +
                            file("f", map);
  const TreePlace place;
  const auto store = place.open({.durable = false});
  auto upload = TreeUpload::begin(store, tree_request("t"));
  REQUIRE(upload.has_value());
  rusage before{};
  ::getrusage(RUSAGE_SELF, &before);
  const auto done = upload->extract(source_of(holes, 65536));
  rusage after{};
  ::getrusage(RUSAGE_SELF, &after);
  REQUIRE_FALSE(done.has_value());
  CHECK(done.error().reason == Reason::invalid);
  CHECK(after.ru_maxrss - before.ru_maxrss < 100 * 1024);
  std::string chain;
  for (int index = 0; index < 100; ++index) chain += pax({{"comment", "c"}}, 'g');
  CHECK(reason_of(whole(chain + file("f", "x"))) == Reason::invalid);
}

TEST_CASE("more directories than fit in memory are refused") {
  const TreePlace place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  auto upload = TreeUpload::begin(store, tree_request("t"));
  REQUIRE(upload.has_value());
  std::string piece;
  int next = 0;
  const auto done = upload->extract([&]() -> Result<std::span<const char>> {
    piece = pax({{"path", fmt::format("{}/{}", std::string(250, 'd'),
                                      std::string(240, 'e') + std::to_string(next++))}}) +
            directory("d");
    return std::span<const char>{piece.data(), next < 100000 ? piece.size() : 0};
  });
  REQUIRE_FALSE(done.has_value());
  CHECK(done.error().reason == Reason::too_large);
  CHECK(next < 100000);
}

TEST_CASE("an error of the source is passed on, and no call follows it") {
  const TreePlace place;
  const auto store = place.open({.durable = false});
  const std::string stream = good_stream();
  for (std::size_t good = 0; good * 512 < stream.size(); ++good) {
    CAPTURE(good);
    auto upload = TreeUpload::begin(store, tree_request("t"));
    REQUIRE(upload.has_value());
    std::size_t calls = 0;
    const auto done = upload->extract([&]() -> Result<std::span<const char>> {
      if (calls++ == good) return fail(Reason::aborted, "called off");
      return std::span<const char>{stream.data() + 512 * (calls - 1), 512};
    });
    REQUIRE_FALSE(done.has_value());
    CHECK(done.error().reason == Reason::aborted);
    CHECK(calls == good + 1);
  }
  CHECK(staging_is_clean(place));
}

TEST_CASE("whatever is changed in a stream, it is stored below its directory or refused") {
  const std::string good = good_stream();
  std::uint32_t state = 1;
  const auto random = [&state] { return state = state * 1664525U + 1013904223U; };
  const TreePlace place(Place::quick_directory());
  const auto store = place.open({.durable = false, .max_file = 1U << 20U});
  write_file(place.base + "/outside", "untouched");
  int taken = 0;
  for (int round = 0; round < 3000; ++round) {
    CAPTURE(round);
    std::string stream = good;
    const std::size_t block = random() / 512 % (stream.size() / 512) * 512;
    for (unsigned change = random() >> 30U; change < 4; ++change) {
      stream[block + (random() >> 8U) % 512] = static_cast<char>(random() >> 24U);
    }
    // With its checksum right again a header is believed.
    stream.replace(block + 148, 8, "        ");
    unsigned sum = 0;
    for (std::size_t at = block; at < block + 512; ++at) sum += static_cast<unsigned char>(stream[at]);
    stream.replace(block + 148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    const auto stored = put_tree(store, tree_request("t"), stream, round % 2 == 0 ? SIZE_MAX : 700);
    if (stored) ++taken;
    if (!stored) CHECK_FALSE(stored.error().text.empty());
    open_directories(place.root);
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(place.at("t"), error)) {
      const auto type = entry.symlink_status().type();
      const bool plain = type == fs::file_type::regular || type == fs::file_type::directory;
      CHECK(plain);
    }
    for (const auto& entry : fs::directory_iterator(place.root)) {
      const std::string name = entry.path().filename();
      const bool known = name == "t" || name == ".ftpd";
      CHECK(known);
    }
    CHECK(read_file(place.base + "/outside") == "untouched");
    fs::remove_all(place.at("t"));
  }
  CHECK(taken > 0);
  CHECK(staging_is_clean(place));
}

// --- the system fails -----------------------------------------------------------------------------
namespace {

struct Scenario {
  const char* name;
  const char* target;
  void (*prepare)(const Place&);
};

const std::string fault_stream =
    whole(directory("./", 0755) + directory("d/", 0500) + file("d/f", std::string(3000, 'n')) +
          file("e/g", "new") + file("h", "new"));

const std::map<std::string, std::string>& fault_tree() {
  static const std::map<std::string, std::string> tree{
      {"d", "<dir>"}, {"d/f", std::string(3000, 'n')}, {"e", "<dir>"}, {"e/g", "new"}, {"h", "new"}};
  return tree;
}

void nothing(const Place&) {}
void old_tree(const Place& place) {
  fs::create_directories(place.at("t/e"));
  write_file(place.at("t/e/g"), "old");
  write_file(place.at("t/h"), "old");
}

/// The `nth` call fails with `number`. False once there are fewer calls than that.
bool survives(const Scenario& scenario, unsigned nth, int number) {
  CAPTURE(scenario.name);
  CAPTURE(nth);
  CAPTURE(number);
  const TreePlace place(Place::quick_directory());
  const auto store = place.open();
  scenario.prepare(place);
  const auto before = contents_of(place.root);
  const std::size_t descriptors = open_descriptors();
  TreeRequest request = tree_request(scenario.target);
  request.parents = true;
  Result<TreeStored> result;
  bool fired = false;
  {
    const auto faults = Faults::nth(nth, number);
    result = put_tree(store, std::move(request), fault_stream, 512);
    fired = Faults::fired();
  }
  const auto now = contents_of(place.at(scenario.target));
  if (result) {
    CHECK(now == fault_tree());
  } else {
    CHECK(fired);
    CHECK_FALSE(result.error().text.empty());
    if (before.empty()) {
      // Whole, where only the flush failed, or absent with all that was made on the way.
      const bool whole_or_absent = now == fault_tree() || contents_of(place.root).empty();
      CHECK(whole_or_absent);
    } else {
      for (const auto& [name, content] : now) {
        const auto fresh = fault_tree().find(name);
        const auto old = before.find(std::string(scenario.target) + "/" + name);
        const bool is_whole = (fresh != fault_tree().end() && fresh->second == content) ||
                              (old != before.end() && old->second == content);
        CHECK(is_whole);
      }
    }
  }
  CHECK(staged_files(place) == 0);
  CHECK(staging_directories(place) <= 2);  // the store's own, and one that could not be removed
  CHECK(open_descriptors() == descriptors);
  return fired;
}

}  // namespace

TEST_CASE("whichever call of a tree's upload fails, it is there whole or not at all, and staging is clean") {
  const Scenario scenarios[] = {
      {"new", "t", nothing},
      {"with directories to make", "a/b/t", nothing},
      {"merged", "t", old_tree},
  };
  for (const Scenario& scenario : scenarios) {
    for (const int number : {ENOSPC, EIO, EMFILE, EDQUOT}) {
      unsigned nth = 1;
      while (survives(scenario, nth, number)) ++nth;
      CHECK(nth > 40);
      CHECK(nth < 300);
    }
  }
}

TEST_CASE("a merge that finds something in the way half way has replaced whole files only") {
  const TreePlace place;
  const auto store = place.open({.durable = false});
  old_tree(place);
  {
    const auto faults = Faults::always("renameat2", EIO);
    CHECK_FALSE(put_tree(store, tree_request("t"), fault_stream).has_value());
  }
  CHECK(contents_of(place.at("t")) ==
        std::map<std::string, std::string>{{"e", "<dir>"}, {"e/g", "old"}, {"h", "old"}});
}

TEST_CASE("whichever call of sending a tree fails, the stream ends with an error or is whole") {
  const TreePlace place(Place::quick_directory());
  const auto store = place.open({.durable = false});
  REQUIRE(put_tree(store, tree_request("t"), good_stream()).has_value());
  const std::string good = get_tree(*store, "t");
  const std::size_t descriptors = open_descriptors();
  for (unsigned nth = 1;; ++nth) {
    CAPTURE(nth);
    std::string stream;
    Result<TreeSent> sent;
    bool fired = false;
    {
      const auto faults = Faults::nth(nth, EIO);
      sent = send_tree(*store, path("t"), [&](std::span<const char> bytes) -> Result<void> {
        stream.append(bytes.data(), bytes.size());
        return {};
      });
      fired = Faults::fired();
    }
    const bool failed_or_whole = !sent.has_value() || stream == good;
    CHECK(failed_or_whole);
    if (!sent) CHECK(sent.error().number == EIO);
    CHECK(open_descriptors() == descriptors);
    if (!fired) break;
    CHECK(nth < 200);
  }
}

TEST_CASE("a full disk says how much is needed and how much is free") {
  const TreePlace place;
  const auto store = place.open({.durable = false});
  const std::string large = whole(file("f", std::string(2U << 20U, 'x')));
  for (const char* const call : {"fallocate", "pwrite"}) {
    CAPTURE(call);
    const auto faults = Faults::always(call, ENOSPC);
    const auto stored = put_tree(store, tree_request("t"), large);
    REQUIRE_FALSE(stored.has_value());
    CHECK(stored.error().reason == Reason::no_space);
    CHECK(stored.error().need.has_value());
    CHECK(stored.error().free.has_value());
  }
  {
    const auto faults = Faults::always("fallocate", EOPNOTSUPP);
    CHECK(put_tree(store, tree_request("t"), large).has_value());
  }
}

TEST_CASE("a file system that can't refuse a taken name takes trees all the same") {
  const TreePlace place;
  const auto store = place.open({.durable = false});
  old_tree(place);
  const auto faults = Faults::once("renameat2", EINVAL);
  REQUIRE(put_tree(store, tree_request("t"), whole(directory("d") + file("d/f", "x"))).has_value());
  CHECK(Faults::fired());
  CHECK(read_file(place.at("t/d/f")) == "x");
}
