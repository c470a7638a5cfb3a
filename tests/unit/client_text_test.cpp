// Conversions of text, and the bar.
#include <doctest/doctest.h>

#include <csignal>

#include "client/progress.h"
#include "client/text.h"

using namespace ftpd::client;
using namespace std::chrono_literals;

TEST_CASE("a server's control characters and broken UTF-8 are made harmless") {
  CHECK(printable("plain \xc3\xa4") == "plain \xc3\xa4");
  CHECK(printable("a\x1b[31mb\nc\x7f") == "a?[31mb?c?");
  CHECK(printable("\xc2\x9b") == "?");
  CHECK(printable("\xff\xc3") == "??");
  CHECK_FALSE(is_plain_name("a\tb"));
  CHECK_FALSE(is_plain_name("\xff"));
  CHECK(is_plain_name("\xc3\xa4"));
}

TEST_CASE("base64 goes both ways and refuses what is malformed") {
  for (const std::string bytes : {"", "a", "ab", "abc", "abcd", "\xff\x01"}) {
    CHECK(from_base64(base64(bytes)) == bytes);
  }
  CHECK(base64("ab") == "YWI=");
  CHECK_FALSE(from_base64("YWI"));
  CHECK_FALSE(from_base64("Y=I="));
  CHECK_FALSE(
      from_base64("YW=="
                  "YWI="));
  CHECK_FALSE(from_base64("Y*I="));
}

TEST_CASE("sizes and times as people read them") {
  CHECK(human_size(0) == "0 B");
  CHECK(human_size(999) == "999 B");
  CHECK(human_size(1536) == "1.5 KiB");
  CHECK(human_size(1048575) == "1.0 MiB");
  CHECK(human_time(7s) == "0:07");
  CHECK(human_time(3h + 4min + 5s) == "3:04:05");
  CHECK(human_mode("directory", 0750) == "drwxr-x---");
  CHECK(human_date(1e300).empty());
}

TEST_CASE("spans of time") {
  CHECK(parse_span("250ms") == 250ms);
  CHECK(parse_span("5") == 5s);
  CHECK(parse_span("2m") == 120s);
  for (const char* wrong : {"", "0", "-1s", "1x", "s", "1e3", "nan", "inf", "99999999999h"}) {
    CHECK_MESSAGE(!parse_span(wrong), wrong);
  }
}

TEST_CASE("signals by name") {
  CHECK(signal_number("SIGSEGV") == SIGSEGV);
  CHECK(signal_number("SIGRTMIN") == SIGRTMIN);
  CHECK(signal_number("SIGRTMIN+3") == SIGRTMIN + 3);
  for (const char* wrong : {"", "SEGV", "SIG", "SIGNONE", "SIGRTMIN+", "SIGRTMIN+99", "SIGRTMIN-1"}) {
    CHECK_MESSAGE(signal_number(wrong) == 0, wrong);
  }
}

TEST_CASE("a shell reads a quoted word as the word") {
  CHECK(shell_quoted("ls") == "ls");
  CHECK(shell_quoted("") == "''");
  CHECK(shell_quoted("it's $x") == "'it'\\''s $x'");
}

TEST_CASE("the bar shows share, bytes, rate and time left, and fits its columns") {
  const std::string line = progress_line({"file.bin", 512 * 1024, 1024 * 1024, 2s}, 79);
  CHECK(line.find("file.bin") == 0);
  CHECK(line.find("50%") != std::string::npos);
  CHECK(line.find("512.0 KiB") != std::string::npos);
  CHECK(line.find("256.0 KiB/s") != std::string::npos);
  CHECK(line.find("0:02") != std::string::npos);
  for (std::size_t columns = 0; columns < 100; ++columns) {
    CHECK(progress_line({std::string(200, 'n'), 1, 3, 1s}, columns).size() <= columns);
    CHECK(progress_line({"n", 5, std::nullopt, 0s}, columns).size() <= columns);
  }
  CHECK(progress_line({"empty", 0, 0, 0s}, 79).find("100%") != std::string::npos);
  CHECK(progress_line({"grown", 9, 3, 1s}, 79).find("100%") != std::string::npos);
}
