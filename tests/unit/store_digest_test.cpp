// Digests: names, known vectors, steps, and what is kept with a file.
#include "store/digest.h"

#include <sys/xattr.h>
#include <time.h>

#include <cerrno>
#include <cstdio>

#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

const std::string md5_empty = "d41d8cd98f00b204e9800998ecf8427e";
const std::string md5_abc = "900150983cd24fb0d6963f7d28e17f72";
const std::string md5_million = "7707d6ae4e027c70eea2a935c2296f21";
const std::string sha256_empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const std::string sha256_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string sha256_million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

DigestKinds both() {
  DigestKinds kinds;
  kinds.add(DigestKind::md5);
  kinds.add(DigestKind::sha256);
  return kinds;
}

bool is(const Digests& digests, const std::string& md5, const std::string& sha256) {
  return digests.of(DigestKind::md5) == md5 && digests.of(DigestKind::sha256) == sha256;
}

/// A file of a place of its own, with a time that lies well back.
struct OldFile {
  explicit OldFile(std::string_view content, const std::string& below = Place::temporary_directory())
      : place(below) {
    ::mkdir(place.root.c_str(), 0755);
    write_file(at(), content);
    set_time({1234567890, 123456789});
    file = std::make_shared<const UniqueFd>(::open(at().c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(*file);
  }
  [[nodiscard]] std::string at() const { return place.at("f"); }
  [[nodiscard]] int fd() const { return file->get(); }
  [[nodiscard]] struct stat status() const {
    struct stat now{};
    REQUIRE(::fstat(fd(), &now) == 0);
    return now;
  }
  void set_time(timespec mtime) const {
    const timespec times[2] = {mtime, mtime};
    REQUIRE(::utimensat(AT_FDCWD, at().c_str(), times, 0) == 0);
  }
  [[nodiscard]] bool takes_attributes() const { return ::fsetxattr(fd(), "user.ftpd.probe", "x", 1, 0) == 0; }
  [[nodiscard]] std::string attribute(const char* name) const {
    char value[512];
    const ssize_t size = ::fgetxattr(fd(), name, value, sizeof value);
    return size < 0 ? "" : std::string(value, static_cast<std::size_t>(size));
  }
  void set_attribute(const std::string& value) const {
    REQUIRE(::fsetxattr(fd(), "user.ftpd.sha256", value.data(), value.size(), 0) == 0);
  }
  [[nodiscard]] std::optional<std::string> kept() const {
    return kept_digest(fd(), DigestKind::sha256, status());
  }

  Place place;
  std::shared_ptr<const UniqueFd> file;
};

timespec moment(long nanoseconds_from_now) {
  timespec now{};
  REQUIRE(::clock_gettime(CLOCK_REALTIME, &now) == 0);
  const long total = now.tv_nsec + nanoseconds_from_now;
  const long second = 1'000'000'000;
  const long whole = total >= 0 ? total / second : -((-total + second - 1) / second);
  return {now.tv_sec + whole, total - whole * second};
}

}  // namespace

TEST_CASE("a kind of digest has a name, and no other word is one") {
  for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
    CHECK(digest_kind_from_name(name(kind)) == kind);
  }
  CHECK(name(DigestKind::md5) == "md5");
  CHECK(name(DigestKind::sha256) == "sha256");
  for (const char* const word : {"", "MD5", "sha1", "sha25", "sha2566"}) {
    CAPTURE(word);
    CHECK_FALSE(digest_kind_from_name(word).has_value());
  }
}

TEST_CASE("a digest is read in either case, and only as long as its kind is") {
  CHECK(parse_digest(DigestKind::md5, "D41D8CD98f00b204e9800998ecf8427E") == md5_empty);
  CHECK(parse_digest(DigestKind::sha256, sha256_empty) == sha256_empty);
  CHECK_FALSE(parse_digest(DigestKind::md5, sha256_empty).has_value());
  CHECK_FALSE(parse_digest(DigestKind::sha256, md5_empty).has_value());
  CHECK_FALSE(parse_digest(DigestKind::md5, "").has_value());
  CHECK_FALSE(parse_digest(DigestKind::md5, md5_empty.substr(1)).has_value());
  for (const char wrong : {'g', 'G', '/', ':', '@', '`', ' ', '\0', '\xff'}) {
    std::string text = md5_empty;
    text[31] = wrong;
    CHECK_FALSE(parse_digest(DigestKind::md5, text).has_value());
  }
}

TEST_CASE("the digests of known bytes are the known ones, however the bytes are cut") {
  const std::string million(1'000'000, 'a');
  for (const std::size_t piece : {std::size_t{1}, std::size_t{63}, std::size_t{4096}, million.size()}) {
    CAPTURE(piece);
    Hasher empty(both());
    empty.update({});
    CHECK(is(empty.digests(), md5_empty, sha256_empty));
    Hasher abc(both());
    for (const char letter : {'a', 'b', 'c'}) abc.update({&letter, 1});
    CHECK(is(abc.digests(), md5_abc, sha256_abc));
    Hasher hasher(both());
    for (std::size_t at = 0; at < million.size(); at += piece) {
      hasher.update(std::string_view(million).substr(at, piece));
    }
    CHECK(is(hasher.digests(), md5_million, sha256_million));
  }
}

TEST_CASE("a running digest tells what it has so far and goes on, moved too") {
  Hasher hasher(both());
  hasher.update(std::string_view("ab"));
  const Digests early = hasher.digests();
  CHECK_FALSE(is(early, md5_abc, sha256_abc));
  Hasher moved(std::move(hasher));
  moved.update(std::string_view("c"));
  CHECK(is(moved.digests(), md5_abc, sha256_abc));
  CHECK(is(moved.digests(), md5_abc, sha256_abc));
}

TEST_CASE("only the kinds that are wanted are computed") {
  Hasher none{DigestKinds{}};
  none.update(std::string_view("abc"));
  CHECK(none.digests().empty());
  Hasher one{DigestKinds{DigestKind::md5}};
  one.update(std::string_view("abc"));
  CHECK(one.digests().of(DigestKind::md5) == md5_abc);
  CHECK_FALSE(one.digests().of(DigestKind::sha256).has_value());
}

TEST_CASE("a file's digest is the same in steps of any size, and the descriptor stays where it is") {
  const OldFile stored(std::string(1'000'000, 'a'));
  REQUIRE(::lseek(stored.fd(), 17, SEEK_SET) == 17);
  for (const std::size_t budget : {std::size_t{1000}, std::size_t{262'144}, FileDigest::usual_step}) {
    CAPTURE(budget);
    FileDigest digest(stored.file, both(), 1'000'000);
    std::size_t steps = 1;
    for (;; ++steps) {
      const auto done = digest.step(budget);
      REQUIRE(done.has_value());
      if (*done) break;
    }
    CHECK(steps == (1'000'000 + budget - 1) / budget);
    CHECK(is(digest.digests(), md5_million, sha256_million));
  }
  CHECK(::lseek(stored.fd(), 0, SEEK_CUR) == 17);
}

TEST_CASE("a file's digest is computed byte by byte, of a part, and of nothing") {
  const OldFile stored("abcdef");
  FileDigest part(stored.file, both(), 3);
  CHECK(part.step(1) == false);
  CHECK(part.step(1) == false);
  CHECK(part.step(1) == true);
  CHECK(part.step(1) == true);  // again does no harm
  CHECK(is(part.digests(), md5_abc, sha256_abc));
  FileDigest nothing(stored.file, both(), 0);
  CHECK(nothing.step(1) == true);
  CHECK(is(nothing.digests(), md5_empty, sha256_empty));
  FileDigest unhurried(stored.file, both(), 3);
  while (!unhurried.step(0).value()) {
  }
  CHECK(is(unhurried.digests(), md5_abc, sha256_abc));
}

TEST_CASE("a file that ends early or can't be read has no digest") {
  const OldFile stored("abc");
  FileDigest longer(stored.file, both(), 4);
  const auto ended = longer.step(100);
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().reason == Reason::system);
  CHECK(ended.error().text.find("shorter") != std::string::npos);
  FileDigest unreadable(stored.file, both(), 3);
  const auto faults = Faults::once("pread", EIO);
  const auto failed = unreadable.step(100);
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().number == EIO);
  CHECK(unreadable.step(100) == true);  // nothing was lost: the next try goes on from there
  CHECK(is(unreadable.digests(), md5_abc, sha256_abc));
}

TEST_CASE("a digest is kept with its file, each kind by itself") {
  const OldFile stored("abc");
  if (!stored.takes_attributes()) return;
  CHECK_FALSE(stored.kept().has_value());
  keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, stored.status());
  CHECK(stored.kept() == sha256_abc);
  CHECK_FALSE(kept_digest(stored.fd(), DigestKind::md5, stored.status()).has_value());
  keep_digest(stored.fd(), DigestKind::md5, md5_abc, stored.status());
  CHECK(kept_digest(stored.fd(), DigestKind::md5, stored.status()) == md5_abc);
  CHECK(stored.kept() == sha256_abc);
  const std::string inode = std::to_string(stored.status().st_ino);
  CHECK(stored.attribute("user.ftpd.sha256") == sha256_abc + " 3 1234567890.123456789 " + inode);
  CHECK(stored.status().st_mtim.tv_sec == 1234567890);  // keeping changes nothing that it depends on
  keep_digest(stored.fd(), DigestKind::md5, md5_empty, stored.status());
  CHECK(kept_digest(stored.fd(), DigestKind::md5, stored.status()) == md5_empty);  // the last one holds
}

TEST_CASE("a kept digest is dropped when the content, the time or the file is another") {
  const OldFile stored("abc");
  if (!stored.takes_attributes()) return;
  keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, stored.status());
  REQUIRE(stored.kept() == sha256_abc);
  SUBCASE("written in place") {
    const UniqueFd writer(::open(stored.at().c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(::pwrite(writer.get(), "x", 1, 0) == 1);
    CHECK_FALSE(stored.kept().has_value());
  }
  SUBCASE("longer, with the old time") {
    const UniqueFd writer(::open(stored.at().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    REQUIRE(::write(writer.get(), "x", 1) == 1);
    stored.set_time({1234567890, 123456789});
    CHECK_FALSE(stored.kept().has_value());
  }
  SUBCASE("the time by one nanosecond") {
    stored.set_time({1234567890, 123456788});
    CHECK_FALSE(stored.kept().has_value());
    stored.set_time({1234567890, 123456789});
    CHECK(stored.kept() == sha256_abc);
  }
  SUBCASE("copied to another file, attribute and time included") {
    const OldFile other("xyz");
    other.set_attribute(stored.attribute("user.ftpd.sha256"));
    CHECK_FALSE(other.kept().has_value());
  }
}

TEST_CASE("a time before 1970 is one like any other") {
  const OldFile stored("abc");
  if (!stored.takes_attributes()) return;
  stored.set_time({-5, 500'000'000});
  keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, stored.status());
  CHECK(stored.kept() == sha256_abc);
}

TEST_CASE("what was kept in no known form is absent") {
  const OldFile stored("abc");
  if (!stored.takes_attributes()) return;
  keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, stored.status());
  const std::string good = stored.attribute("user.ftpd.sha256");
  const std::string mark = good.substr(64);
  REQUIRE(stored.kept() == sha256_abc);
  const std::string broken[] = {"",
                                " ",
                                sha256_abc,
                                mark,
                                good + "\n",
                                good + " 1",
                                good.substr(1),
                                good.substr(0, good.size() - 1),
                                std::string(64, 'g') + mark,
                                std::string(64, '\0') + mark,
                                md5_abc + mark,
                                std::string(300, 'a') + mark};
  for (const std::string& value : broken) {
    CAPTURE(value);
    stored.set_attribute(value);
    CHECK_FALSE(stored.kept().has_value());
  }
  stored.set_attribute(good);
  CHECK(stored.kept() == sha256_abc);
}

TEST_CASE("nothing is kept where the file changed while its digest was computed") {
  const OldFile stored("abc");
  if (!stored.takes_attributes()) return;
  const struct stat before = stored.status();
  SUBCASE("its time") { stored.set_time({1234567891, 0}); }
  SUBCASE("its size") {
    REQUIRE(::truncate(stored.at().c_str(), 2) == 0);
    stored.set_time({1234567890, 123456789});
  }
  keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, before);
  CHECK(stored.attribute("user.ftpd.sha256").empty());
}

TEST_CASE("a digest is kept only of a file whose time is old enough to show the next write") {
  const OldFile stored("abc");
  if (!stored.takes_attributes()) return;
  const auto kept_at = [&](long nanoseconds_from_now) {
    ::fremovexattr(stored.fd(), "user.ftpd.sha256");
    stored.set_time(moment(nanoseconds_from_now));
    keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, stored.status());
    return stored.kept().has_value();
  };
  const long second = 1'000'000'000;
  CHECK_FALSE(kept_at(3600 * second));  // ahead of the clock
  CHECK_FALSE(kept_at(60 * second));
  CHECK(kept_at(-second / 10));
  CHECK(kept_at(-second));
  CHECK(kept_at(-3 * second));
  CHECK(kept_at(-3600 * second));
  // This very moment; it counts only if the machine did not make us wait so long that it is past.
  for (bool in_time = false; !in_time;) {
    const timespec before = moment(0);
    const bool kept = kept_at(0);
    const timespec after = moment(0);
    in_time = (after.tv_sec - before.tv_sec) * second + after.tv_nsec - before.tv_nsec < 15'000'000;
    if (in_time) CHECK_FALSE(kept);
  }
}

TEST_CASE("keeping a digest never fails where the file system can't, or the call does") {
  const OldFile stored("abc");
  for (const int number : {ENOTSUP, ENOSPC, EDQUOT, EACCES, EROFS, EIO}) {
    {
      const auto faults = Faults::always("fsetxattr", number);
      keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, stored.status());
    }
    CHECK_FALSE(stored.kept().has_value());
  }
  {
    const auto faults = Faults::always("fstat", EIO);
    struct stat status{};
    keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, status);
  }
  CHECK_FALSE(stored.kept().has_value());
  if (stored.takes_attributes()) {
    keep_digest(stored.fd(), DigestKind::sha256, sha256_abc, stored.status());
    REQUIRE(stored.kept() == sha256_abc);
    const auto faults = Faults::always("fgetxattr", ENOTSUP);
    CHECK_FALSE(stored.kept().has_value());
  }
  // A file system that has none: procfs.
  const UniqueFd proc(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  struct stat status{};
  REQUIRE(::fstat(proc.get(), &status) == 0);
  keep_digest(proc.get(), DigestKind::md5, md5_abc, status);
  CHECK_FALSE(kept_digest(proc.get(), DigestKind::md5, status).has_value());
}

TEST_CASE("a time of whole seconds is old enough only when its clock, perhaps a coarse one, has moved on") {
  bool in_time = false;
  while (!in_time) {
    const timespec before = moment(0);
    const bool settled = is_settled({before.tv_sec - 1, 0});
    in_time = moment(0).tv_sec == before.tv_sec;
    if (in_time) CHECK_FALSE(settled);
  }
  const time_t now = moment(0).tv_sec;
  CHECK(is_settled({now - 1, 1}));
  CHECK(is_settled({now - 3, 0}));
  CHECK(is_settled({now - 3600, 0}));
  CHECK_FALSE(is_settled({now + 60, 0}));
}
