// An upload that breaks off is held, told, and gone on with.
#include <array>

#include "base/unique_fd.h"
#include "unit/store_held_support.h"

using namespace ftpd;
using namespace ftpd::test;

TEST_CASE("an upload with a key that breaks off is held and can be finished after a restart") {
  const Place place;
  const std::size_t before = open_descriptors();
  {
    const auto store = place.open();
    CHECK(held_size(*store) == 0);
    leave(*store, keyed("f", {}, 10), "0123");
  }
  CHECK(open_descriptors() == before);
  CHECK_FALSE(std::filesystem::exists(place.at("f")));
  const auto store = place.open();
  const auto held = store->held(key);
  REQUIRE(held.has_value());
  CHECK(held->size == 4);
  CHECK(read_fd(held->file->get()) == "0123");
  auto upload = begin(*store, keyed("f", 4, 10));
  CHECK(upload.written() == 4);
  REQUIRE(upload.write(std::string_view("456789")).has_value());
  const auto stored = upload.commit();
  REQUIRE(stored.has_value());
  CHECK(stored->size == 10);
  CHECK(read_file(place.at("f")) == "0123456789");
  CHECK(held_size(*store) == 0);
  CHECK(held_directory(place).empty());
  struct stat status{};
  REQUIRE(::stat(place.at("f").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0644);
}

TEST_CASE("what is held is as long as what was written, not as what was reserved, and keeps no more room") {
  const Place place;
  const auto store = place.open();
  constexpr std::uint64_t size = 8U << 20U;
  {
    auto upload = begin(*store, keyed("f", {}, size));
    REQUIRE(upload.write(std::string(5000, 'x')).has_value());
    CHECK(held_size(*store) == 5000);
    struct stat status{};
    REQUIRE(::stat(held_path(place).c_str(), &status) == 0);
    CHECK(status.st_blocks * 512L >= static_cast<long>(size));
  }
  struct stat status{};
  REQUIRE(::stat(held_path(place).c_str(), &status) == 0);
  CHECK(status.st_size == 5000);
  CHECK(status.st_blocks * 512L < 100000);
  {
    auto upload = begin(*store, keyed("f", 5000, size));
    REQUIRE(::stat(held_path(place).c_str(), &status) == 0);
    CHECK(status.st_size == 5000);
    CHECK(status.st_blocks * 512L >= static_cast<long>(size));
  }
}

TEST_CASE("an offset that is not what is held is refused with what is") {
  const Place place;
  const auto store = place.open();
  const Error nothing = refusal(*store, keyed("f", 4));
  CHECK(nothing.reason == Reason::offset);
  CHECK(nothing.offset == 0);
  CHECK(held_directory(place).empty());
  leave(*store, keyed("f"), "0123");
  for (const std::uint64_t wrong : {0U, 3U, 5U}) {
    const Error error = refusal(*store, keyed("f", wrong));
    CHECK(error.reason == Reason::offset);
    CHECK(error.offset == 4);
    CHECK(held_size(*store) == 4);
  }
  CHECK(refusal(*store, keyed("f", 4, 3)).reason == Reason::invalid);  // shorter than what is held
  CHECK(held_size(*store) == 4);
  auto whole = begin(*store, keyed("f", 4, 4));
  CHECK(whole.commit().has_value());
  CHECK(read_file(place.at("f")) == "0123");
}

TEST_CASE("where nothing is held an upload may begin at offset 0") {
  const Place place;
  const auto store = place.open();
  auto upload = begin(*store, keyed("f", 0, 3));
  REQUIRE(upload.write(std::string_view("abc")).has_value());
  CHECK(upload.commit().has_value());
  CHECK(read_file(place.at("f")) == "abc");
}

TEST_CASE("without an offset what is held is thrown away, but who reads it reads on") {
  const Place place;
  const auto store = place.open();
  leave(*store, keyed("f"), "old bytes");
  const auto reader = store->held(key);
  leave(*store, keyed("f"), "new");
  CHECK(held_size(*store) == 3);
  CHECK(read_file(held_path(place)) == "new");
  CHECK(read_fd(reader->file->get()) == "old bytes");
}

TEST_CASE("a key belongs to one filename and to one owner") {
  const Place place;
  const auto store = place.open();
  leave(*store, keyed("f"), "0123");
  CHECK(refusal(*store, keyed("g", 4)).reason == Reason::invalid);
  CHECK(refusal(*store, keyed("g", 0)).reason == Reason::invalid);
  CHECK(refusal(*store, keyed("g")).reason == Reason::invalid);
  CHECK(refusal(*store, keyed("g")).text.find("\"one\" was begun for another filename") != std::string::npos);
  CHECK(held_size(*store) == 4);
  for (const UploadKey& other : {UploadKey{"lab\nbob", "one"}, UploadKey{"lab\nalice", "two"}}) {
    CHECK(held_size(*store, other) == 0);
    UploadRequest request = keyed("f", 4);
    request.held = other;
    CHECK(refusal(*store, request).offset == 0);
  }
  // What is left by a process that was killed before the first byte keeps nobody away.
  std::filesystem::resize_file(held_path(place), 0);
  leave(*store, keyed("g"), "g");
  CHECK(held_size(*store) == 1);
}

TEST_CASE("one upload at once has a key") {
  const Place place;
  const auto store = place.open();
  const auto other_daemon = place.open();
  {
    auto upload = begin(*store, keyed("f"));
    CHECK(refusal(*store, keyed("f")).reason == Reason::busy);
    CHECK(refusal(*other_daemon, keyed("f", 0)).reason == Reason::busy);
    REQUIRE(upload.write(std::string_view("0123")).has_value());
    CHECK(refusal(*store, keyed("f", 4)).reason == Reason::busy);
    CHECK(held_size(*other_daemon) == 4);
  }
  leave(*other_daemon, keyed("f", 4), "4");
  CHECK(held_size(*store) == 5);
}

TEST_CASE("an upload that breaks off before its first byte leaves nothing") {
  const Place place;
  const auto store = place.open();
  {
    const auto upload = begin(*store, keyed("f", {}, 1U << 20U));
  }
  CHECK(held_directory(place).empty());
  CHECK(held_size(*store) == 0);
}

TEST_CASE("an upload that is called off is not held") {
  const Place place;
  const auto store = place.open();
  const std::size_t before = open_descriptors();
  {
    auto upload = begin(*store, keyed("f"));
    REQUIRE(upload.write(std::string_view("0123")).has_value());
    upload.drop();
  }
  CHECK(held_directory(place).empty());
  leave(*store, keyed("f"), "0123");
  begin(*store, keyed("f", 4)).drop();
  CHECK(held_directory(place).empty());
  CHECK(open_descriptors() == before);
}

TEST_CASE("the digest of the whole file is compared when an upload was resumed") {
  const Place place;
  const auto store = place.open();
  const std::string content = "0123456789";
  const std::string right = digest_of(DigestKind::sha256, content);
  leave(*store, keyed("f"), "0123");
  {
    UploadRequest request = keyed("f", 4);
    request.expected.set(DigestKind::sha256, right);
    auto upload = begin(*store, request);
    REQUIRE(upload.write(std::string_view("45678x")).has_value());
    const auto stored = upload.commit();
    REQUIRE_FALSE(stored.has_value());
    CHECK(stored.error().reason == Reason::checksum);
  }
  CHECK(held_directory(place).empty());  // nobody knows which part of it is wrong
  leave(*store, keyed("f"), "0123");
  UploadRequest request = keyed("f", 4);
  request.compute = DigestKinds(DigestKind::md5);
  request.expected.set(DigestKind::sha256, right);
  auto upload = begin(*store, request);
  REQUIRE(upload.write(std::string_view("456789")).has_value());
  const auto stored = upload.commit();
  REQUIRE(stored.has_value());
  CHECK(stored->digests.of(DigestKind::md5) == digest_of(DigestKind::md5, content));
  CHECK_FALSE(stored->digests.of(DigestKind::sha256).has_value());
}

TEST_CASE("a commit that is refused keeps what arrived, to be resumed") {
  const Place place;
  const auto store = place.open();
  for (const bool sealed : {false, true}) {
    CAPTURE(sealed);
    UploadRequest request = keyed("f");
    request.replace = false;
    request.mode = 0;
    request.mtime = timespec{1000, 0};
    {
      auto upload = begin(*store, request);
      REQUIRE(upload.write(std::string_view("0123")).has_value());
      if (!sealed) write_file(place.at("f"), "somebody's");
      const auto faults = sealed ? Faults::once("renameat2", EEXIST) : Faults::once("none", 0);
      CHECK(upload.commit().error().reason == Reason::exists);
    }
    CHECK(held_size(*store) == 4);
    struct stat held{};
    REQUIRE(::stat(held_path(place).c_str(), &held) == 0);
    CHECK((held.st_mode & 07777) == 0600);  // who goes on must be able to open it
    store->drop_expired();                  // the file's own time is none that counts
    std::filesystem::remove(place.at("f"));
    request.offset = 4;
    auto upload = begin(*store, request);
    REQUIRE(upload.write(std::string_view("45")).has_value());
    REQUIRE(upload.commit().has_value());
    struct stat status{};
    REQUIRE(::stat(place.at("f").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0);
    CHECK(status.st_mtim.tv_sec == 1000);
    CHECK(status.st_size == 6);
    std::filesystem::remove(place.at("f"));
  }
}

TEST_CASE("bytes go on from a pipe behind what is held") {
  const Place place;
  const auto store = place.open();
  leave(*store, keyed("f"), "0123");
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd from{ends[0]};
  const UniqueFd into{ends[1]};
  REQUIRE(::write(into.get(), "456", 3) == 3);
  auto upload = begin(*store, keyed("f", 4));
  CHECK(*upload.write_from_pipe(from.get(), 3) == 3);
  REQUIRE(upload.commit().has_value());
  CHECK(read_file(place.at("f")) == "0123456");
}
