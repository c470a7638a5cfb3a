// Which paths of a peer are taken.
#include <string>

#include "unit/store_support.h"

using namespace ftpd;

namespace {

void refused(std::string_view text, std::string_view said) {
  CAPTURE(std::string(text.substr(0, 60)));
  const auto parsed = RelPath::parse(text);
  REQUIRE_FALSE(parsed.has_value());
  CHECK(parsed.error().reason == Reason::invalid);
  CHECK(parsed.error().number == 0);
  CHECK_MESSAGE(parsed.error().text.find(said) != std::string::npos, parsed.error().text);
}

void taken(std::string_view text) {
  CAPTURE(std::string(text.substr(0, 60)));
  const auto parsed = RelPath::parse(text);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().text);
  CHECK(parsed->text() == text);
}

std::string long_path(std::size_t size) {
  std::string text;
  while (text.size() + 100 < size) text += std::string(99, 'p') + "/";
  return text + std::string(size - text.size(), 'q');
}

}  // namespace

TEST_CASE("an ordinary path is taken as it is") {
  for (const char* text :
       {"a", "a/b/c", "...", "..a", "a..", ".hidden", "a b", "a\\b", "-rf", "~", "*", "a:b"}) {
    taken(text);
  }
}

TEST_CASE("an empty path is refused") { refused("", "empty"); }

TEST_CASE("an absolute path is refused") {
  refused("/", "absolute");
  refused("/etc/passwd", "absolute");
  refused("//a", "absolute");
}

TEST_CASE("an empty component is refused") {
  refused("a//b", "empty component");
  refused("a/", "empty component");
  refused("a/b//", "empty component");
}

TEST_CASE("a dot or two are no component") {
  refused(".", "\".\"");
  refused("..", "\"..\"");
  refused("./a", "\".\"");
  refused("../a", "\"..\"");
  refused("a/.", "\".\"");
  refused("a/..", "\"..\"");
  refused("a/../../b", "\"..\"");
  refused("a/./b", "\".\"");
}

TEST_CASE("a component has at most 255 bytes") {
  taken(std::string(254, 'x'));
  taken(std::string(255, 'x'));
  refused(std::string(256, 'x'), "256 bytes");
  taken("a/" + std::string(255, 'x') + "/b");
  refused("a/" + std::string(256, 'x') + "/b", "at most 255");
  std::string wide;  // bytes count, not characters
  for (int count = 0; count < 128; ++count) wide += "\xC3\xA4";
  refused(wide, "256 bytes");
}

TEST_CASE("a path has at most 4096 bytes") {
  taken(long_path(4095));
  taken(long_path(4096));
  refused(long_path(4097), "4097 bytes; at most 4096");
}

TEST_CASE("NUL and control characters are refused, wherever they are") {
  for (int byte = 0; byte < 0x20; ++byte) {
    refused(std::string("a") + static_cast<char>(byte) + "b", "control character");
    refused(std::string("d/") + static_cast<char>(byte), "control character");
  }
  refused("a\x7f", "0x7f at byte 1");
  taken("a\x20");
  taken("a\x7e");
}

TEST_CASE("the daemon's own directory is refused as the first component only") {
  refused(".ftpd", "daemon's own");
  refused(".ftpd/staging-0/1", "daemon's own");
  taken("a/.ftpd");
  taken(".ftpd2");
  taken(".ftp");
}

TEST_CASE("well-formed UTF-8 is taken at the edges of every length") {
  for (const char* text : {"\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    taken(text);
    taken(std::string("d/") + text + ".txt");
  }
}

TEST_CASE("what is not UTF-8 is refused") {
  for (const char* text : {
           "\x80",              // a continuation without its lead
           "\xBF",              //
           "\xC0\xAF",          // overlong
           "\xC1\xBF",          //
           "\xE0\x80\xAF",      //
           "\xE0\x9F\xBF",      //
           "\xF0\x8F\xBF\xBF",  //
           "\xED\xA0\x80",      // surrogates
           "\xED\xBF\xBF",      //
           "\xF4\x90\x80\x80",  // above U+10FFFF
           "\xF5\x80\x80\x80",  //
           "\xFF",              //
           "\xC3",              // cut off
           "\xE2\x82",          //
           "\xF0\x9F\x98",      //
           "\xC3/",             //
           "\xE2\x28\xA1",      // broken in the middle
           "\xF0\x9F\x28\x80",  //
       }) {
    refused(text, "not UTF-8");
    refused(std::string("dir/x") + text, "at byte 5");
  }
}

TEST_CASE("the root is a dot, where it may be named at all") {
  REQUIRE(RelPath::parse_or_root(".").has_value());
  CHECK(RelPath::parse_or_root(".")->is_root());
  CHECK(RelPath::parse_or_root("a")->text() == "a");
  CHECK_FALSE(RelPath::parse_or_root("./").has_value());
  CHECK_FALSE(RelPath::parse_or_root("").has_value());
  CHECK_FALSE(RelPath::parse_or_root("..").has_value());
}

TEST_CASE("parent and name take a path apart") {
  const RelPath deep = test::path("a/b/c");
  CHECK(deep.parent().text() == "a/b");
  CHECK(deep.name() == "c");
  CHECK(deep.parent().parent().text() == "a");
  CHECK(test::path("a").parent().is_root());
  CHECK(test::path("a").name() == "a");
  CHECK(RelPath::root().parent().is_root());
  CHECK(RelPath::root().name() == ".");
  CHECK_FALSE(deep.is_root());
}
