// The error codes and their names, in one table.
#include "ftpd/status.h"

#include <array>

namespace ftpd {

namespace {

constexpr std::array all = {
    Status::bad_frame,       Status::bad_request,    Status::unknown_command, Status::unsupported,
    Status::auth_required,   Status::auth_failed,    Status::denied,          Status::not_found,
    Status::exists,          Status::is_directory,   Status::not_directory,   Status::not_empty,
    Status::too_large,       Status::quota_exceeded, Status::no_space,        Status::checksum_mismatch,
    Status::offset_mismatch, Status::busy,           Status::timeout,         Status::aborted,
    Status::io_error,        Status::shutting_down,
};

}  // namespace

std::string_view name(Status status) {
  switch (status) {
    case Status::bad_frame: return "bad_frame";
    case Status::bad_request: return "bad_request";
    case Status::unknown_command: return "unknown_command";
    case Status::unsupported: return "unsupported";
    case Status::auth_required: return "auth_required";
    case Status::auth_failed: return "auth_failed";
    case Status::denied: return "denied";
    case Status::not_found: return "not_found";
    case Status::exists: return "exists";
    case Status::is_directory: return "is_directory";
    case Status::not_directory: return "not_directory";
    case Status::not_empty: return "not_empty";
    case Status::too_large: return "too_large";
    case Status::quota_exceeded: return "quota_exceeded";
    case Status::no_space: return "no_space";
    case Status::checksum_mismatch: return "checksum_mismatch";
    case Status::offset_mismatch: return "offset_mismatch";
    case Status::busy: return "busy";
    case Status::timeout: return "timeout";
    case Status::aborted: return "aborted";
    case Status::io_error: return "io_error";
    case Status::shutting_down: return "shutting_down";
  }
  return "io_error";  // no enumerator: a wrong cast of ours, never what a peer sent
}

std::optional<Status> status_from_name(std::string_view text) {
  for (const Status status : all) {
    if (name(status) == text) return status;
  }
  return std::nullopt;
}

bool retry_may_help(Status status) {
  switch (status) {
    case Status::busy:
    case Status::timeout:
    case Status::no_space:
    case Status::quota_exceeded:
    case Status::io_error:
    case Status::shutting_down: return true;
    case Status::bad_frame:
    case Status::bad_request:
    case Status::unknown_command:
    case Status::unsupported:
    case Status::auth_required:
    case Status::auth_failed:
    case Status::denied:
    case Status::not_found:
    case Status::exists:
    case Status::is_directory:
    case Status::not_directory:
    case Status::not_empty:
    case Status::too_large:
    case Status::checksum_mismatch:  // the same digest is announced again, and is wrong again
    case Status::offset_mismatch:
    case Status::aborted: return false;
  }
  return false;
}

}  // namespace ftpd
