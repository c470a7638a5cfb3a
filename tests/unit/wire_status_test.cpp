// The table of error codes.
#include <doctest/doctest.h>

#include <set>
#include <string_view>

#include "ftpd/status.h"

using namespace ftpd;

TEST_CASE("every code is found again by its name") {
  std::set<std::string_view> names;
  for (auto at = static_cast<int>(Status::bad_frame); at <= static_cast<int>(Status::shutting_down); ++at) {
    const auto status = static_cast<Status>(at);
    CHECK(status_from_name(name(status)) == status);
    names.insert(name(status));
  }
  CHECK(names.size() == 22);
}

TEST_CASE("an unknown code is nothing") {
  CHECK(!status_from_name(""));
  CHECK(!status_from_name("bad_fram"));
  CHECK(!status_from_name("Bad_frame"));
}

TEST_CASE("retry is offered where the same request may work later") {
  for (const Status status : {Status::busy, Status::timeout, Status::no_space, Status::quota_exceeded,
                              Status::io_error, Status::shutting_down}) {
    CHECK(retry_may_help(status));
  }
  for (const Status status : {Status::bad_frame, Status::denied, Status::not_found, Status::aborted,
                              Status::checksum_mismatch, Status::too_large}) {
    CHECK(!retry_may_help(status));
  }
}
