// Building replies.
#include "server/reply.h"

#include <fmt/format.h>

namespace ftpd {
namespace {

// A message may quote what the peer sent; a reply's header has a limit, so the quote gets one too.
constexpr std::size_t longest_message = 512;

std::string_view shortened(std::string_view message) {
  if (message.size() <= longest_message) return message;
  std::size_t end = longest_message;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0U) == 0x80U) --end;  // whole characters
  return message.substr(0, end);
}

}  // namespace

Status status_of(const Error& error) {
  switch (error.reason) {
    case Reason::invalid: return Status::bad_request;
    case Reason::not_found: return Status::not_found;
    case Reason::exists: return Status::exists;
    case Reason::is_directory: return Status::is_directory;
    case Reason::not_directory: return Status::not_directory;
    case Reason::not_empty: return Status::not_empty;
    case Reason::denied: return Status::denied;
    case Reason::too_large: return Status::too_large;
    case Reason::quota: return Status::quota_exceeded;
    case Reason::checksum: return Status::checksum_mismatch;
    case Reason::offset: return Status::offset_mismatch;
    case Reason::no_space: return Status::no_space;
    case Reason::busy: return Status::busy;
    case Reason::timeout: return Status::timeout;
    case Reason::aborted: return Status::aborted;
    case Reason::unsupported: return Status::unsupported;
    case Reason::system: return Status::io_error;
  }
  return Status::io_error;
}

Failure failure_of(const Error& error) {
  Failure failure{.status = status_of(error),
                  .message = error.text,
                  .number = error.number,
                  .need = error.need,
                  .free = error.free,
                  .offset = error.offset};
  if (failure.status == Status::busy) failure.retry_after_ms = 1000;
  return failure;
}

JsonObject begin_reply(const RequestId& id) {
  JsonObject reply;
  reply.add("ok", true);
  if (id.present()) reply.add_json("id", id.json());
  return reply;
}

std::string finish_reply(JsonObject reply, std::uint64_t data_size) {
  reply.add("data_size", data_size);
  std::string frame;
  append_frame(frame, std::move(reply).take());
  return frame;
}

void add_failure(JsonObject& reply, const Failure& failure) {
  reply.add("error", name(failure.status));
  reply.add("message", shortened(failure.message));
  if (const std::string_view symbol = errno_name(failure.number); !symbol.empty()) reply.add("errno", symbol);
  if (failure.need) reply.add("need", *failure.need);
  if (failure.free) reply.add("free", *failure.free);
  if (failure.offset) reply.add("offset", *failure.offset);
  if (failure.retry_after_ms) reply.add("retry_after_ms", *failure.retry_after_ms);
  reply.add("retry", retry_may_help(failure.status));
}

std::string failure_reply(const RequestId& id, const Failure& failure) {
  JsonObject reply;
  reply.add("ok", false);
  if (id.present()) reply.add_json("id", id.json());
  add_failure(reply, failure);
  return finish_reply(std::move(reply));
}

std::string failure_line(const Failure& failure) {
  return fmt::format("ftpd: {}: {}\n", name(failure.status), shortened(failure.message));
}

}  // namespace ftpd
