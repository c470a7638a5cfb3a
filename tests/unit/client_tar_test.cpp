// Tar streams, both ways.
#include <doctest/doctest.h>

#include <utility>

#include "client/tar_stream.h"

using namespace ftpd::client;

namespace {

struct stat about_file(std::size_t size, unsigned mode = 0644) {
  struct stat about{};
  about.st_size = static_cast<off_t>(size);
  about.st_mode = S_IFREG | mode;
  about.st_mtim = {1577934245, 123456789};
  return about;
}

void add(TarWriter& writer, const std::string& name, std::string_view content) {
  REQUIRE(writer.file(name, about_file(content.size(), 0640)));
  REQUIRE(writer.data(content));
}

/// A source that gives a stream in pieces of `size`.
TarSource in_pieces(const std::string& stream, std::size_t size) {
  return [&stream, size, at = std::size_t{0}]() mutable -> Outcome<std::string_view> {
    const std::string_view piece = std::string_view{stream}.substr(at, size);
    at += piece.size();
    return piece;
  };
}

std::string content_of(TarReader& reader) {
  std::string content;
  for (;;) {
    const auto bytes = reader.data();
    REQUIRE(bytes);
    if (bytes->empty()) return content;
    content += *bytes;
  }
}

const std::vector<std::string> hard_names{
    "plain",
    "with space\nand newline",
    "\xc3\xa4\xe2\x82\xac",        // UTF-8
    "\xff\xfe not UTF-8",          //
    std::string(255, 'x'),         // longer than ustar's field
    "d/" + std::string(200, 'y'),  //
    "d\\n",
    "-rf",
    "[a,b]",
    "100%",
};

}  // namespace

TEST_CASE("names, modes, times and contents survive, however the stream is split") {
  std::string stream;
  {
    TarWriter writer{stream};
    struct stat about = about_file(0, 0711);
    REQUIRE(writer.directory("d", about));
    for (const std::string& name : hard_names) add(writer, name, name + name);
    add(writer, "empty", "");
    add(writer, "large", std::string(700000, 'z'));
    REQUIRE(writer.finish());
  }
  for (const std::size_t size : {std::size_t{1}, std::size_t{511}, std::size_t{4096}, stream.size()}) {
    TarReader reader{in_pieces(stream, size)};
    const auto directory = reader.next();
    REQUIRE(directory);
    REQUIRE(*directory);
    CHECK((*directory)->kind == TarEntry::Kind::directory);
    CHECK((*directory)->name == "d/");
    CHECK((*directory)->mode == 0711);
    for (const std::string& name : hard_names) {
      const auto entry = reader.next();
      REQUIRE(entry);
      REQUIRE(*entry);
      CHECK((*entry)->kind == TarEntry::Kind::file);
      CHECK((*entry)->name == name);
      CHECK((*entry)->mode == 0640);
      REQUIRE((*entry)->mtime);
      CHECK((*entry)->mtime->tv_sec == 1577934245);
      CHECK((*entry)->mtime->tv_nsec == 123456789);
      CHECK(content_of(reader) == name + name);
    }
    const auto empty = reader.next();
    REQUIRE((empty && *empty));
    CHECK(content_of(reader).empty());
    const auto large = reader.next();  // and its content is skipped
    REQUIRE((large && *large));
    CHECK((*large)->size == 700000);
    const auto end = reader.next();
    REQUIRE(end);
    CHECK_FALSE(*end);
  }
}

TEST_CASE("a tree without anything in it is a stream, too") {
  std::string stream;
  TarWriter writer{stream};
  REQUIRE(writer.finish());
  CHECK(stream.size() >= 1024);
  TarReader reader{in_pieces(stream, stream.size())};
  const auto end = reader.next();
  REQUIRE(end);
  CHECK_FALSE(*end);
}

TEST_CASE("a stream that is cut off or is no tar fails, and a failure of the source is handed on") {
  std::string stream;
  TarWriter writer{stream};
  add(writer, "f", std::string(100000, 'x'));
  REQUIRE(writer.finish());
  const auto read_all = [](TarReader& reader) -> Outcome<void> {
    const auto entry = reader.next();
    if (!entry) return std::unexpected(entry.error());
    for (;;) {
      const auto bytes = reader.data();
      if (!bytes) return std::unexpected(bytes.error());
      if (bytes->empty()) return {};
    }
  };
  SUBCASE("cut off in a file") {
    stream.resize(50000);
    TarReader reader{in_pieces(stream, 4096)};
    CHECK_FALSE(read_all(reader));
  }
  SUBCASE("no tar") {
    stream.assign(5000, 'x');
    TarReader reader{in_pieces(stream, 4096)};
    const auto done = read_all(reader);
    REQUIRE_FALSE(done);
    CHECK(done.error().text.find("tar stream") != std::string::npos);
  }
  SUBCASE("a broken source") {
    TarReader reader{[&stream, given = false]() mutable -> Outcome<std::string_view> {
      if (std::exchange(given, true)) return connection_failure("gone");
      return std::string_view{stream}.substr(0, 2000);
    }};
    const auto done = read_all(reader);
    REQUIRE_FALSE(done);
    CHECK(done.error().who == Failure::Who::connection);
    CHECK(done.error().text == "gone");
  }
}

TEST_CASE("a file may not be packed shorter or longer than announced") {
  std::string stream;
  TarWriter writer{stream};
  REQUIRE(writer.file("f", about_file(3)));
  CHECK(writer.data("abc"));
  CHECK_FALSE(writer.data("d"));
}
