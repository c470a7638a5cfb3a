// Digests, and what makes a transfer go on.
#include <doctest/doctest.h>

#include "client/digest.h"
#include "client/resume_put.h"
#include "client/retry.h"

using namespace ftpd;
using namespace ftpd::client;
using namespace std::chrono_literals;

TEST_CASE("a digest can be looked at while it runs") {
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 digest;
  CHECK(digest.hex() == sha256_hex(""));
  digest.update("a");
  CHECK(digest.hex() == sha256_hex("a"));
  digest.update("bc");
  CHECK(digest.hex() == sha256_hex("abc"));
  CHECK(digest.hex() == sha256_hex("abc"));
}

TEST_CASE("a server's digest agrees, differs, or is missing") {
  const std::string ours = sha256_hex("abc");
  std::string upper = ours;
  for (char& digit : upper) digit = static_cast<char>(std::toupper(static_cast<unsigned char>(digit)));
  CHECK(check_digest(ours, ours));
  CHECK(check_digest(upper, ours));
  for (const std::string& wrong : {sha256_hex("abd"), std::string{}, ours.substr(1), ours + "0"}) {
    CHECK_FALSE(check_digest(wrong, ours));
  }
  const auto hostile = check_digest("\x1b[2J", ours);
  REQUIRE_FALSE(hostile);
  CHECK(hostile.error().text.find('\x1b') == std::string::npos);
  CHECK_FALSE(check_digest(std::nullopt, ours));
}

TEST_CASE("waits double up to a limit, and are counted anew when the transfer moves on") {
  RetrySchedule schedule;
  for (const auto wait : {200ms, 400ms, 800ms, 1600ms, 3200ms}) CHECK(schedule.next() == wait);
  CHECK_FALSE(schedule.next());
  schedule.reached(0);
  CHECK_FALSE(schedule.next());
  schedule.reached(10);
  CHECK(schedule.next() == 200ms);
  schedule.reached(10);
  CHECK(schedule.next() == 400ms);
  schedule.reached(9);
  CHECK(schedule.next() == 800ms);
  schedule.reached(11);
  CHECK(schedule.next() == 200ms);
}

TEST_CASE("what is worth another try") {
  Refusal refusal;
  for (const char* code : {"busy", "shutting_down", "timeout"}) {
    refusal.code = code;
    CHECK(setback(refusal, {}).cure == Setback::Cure::retry);
  }
  for (const char* code : {"denied", "no_space", "checksum_mismatch"}) {
    refusal.code = code;
    CHECK(setback(refusal, {}).cure == Setback::Cure::none);
  }
  CHECK(setback(Failure{Failure::Who::connection, ""}).cure == Setback::Cure::retry);
  CHECK(setback(Failure{Failure::Who::local, ""}).cure == Setback::Cure::none);
}

TEST_CASE("an upload's name stands for the file as it is and for where it goes") {
  struct stat about{};
  about.st_size = 5;
  about.st_ino = 7;
  about.st_mtim = {1000, 1};
  const std::string name = upload_name("r", "/l", about);
  CHECK(name.size() == 5 + 32);
  CHECK(name.starts_with("ftpc-"));
  CHECK(name.find_first_not_of("0123456789abcdef", 5) == std::string::npos);
  CHECK(upload_name("r", "/l", about) == name);
  CHECK(upload_name("r/", "l", about) != name);
  CHECK(upload_name("s", "/l", about) != name);
  CHECK(upload_name("r", "/m", about) != name);
  for (auto change :
       {+[](struct stat& a) { ++a.st_size; }, +[](struct stat& a) { ++a.st_ino; },
        +[](struct stat& a) { ++a.st_mtim.tv_sec; }, +[](struct stat& a) { ++a.st_mtim.tv_nsec; }}) {
    struct stat other = about;
    change(other);
    CHECK(upload_name("r", "/l", other) != name);
  }
}
