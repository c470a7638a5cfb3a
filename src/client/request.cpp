// One request, one reply: the Task of the simple verbs.
#include "client/request.h"

#include "client/refusal.h"
#include "client/text.h"

namespace ftpd::client {

void add_filename(JsonObject& request, std::string_view path) {
  if (is_plain_name(path)) {
    request.add("filename", path);
  } else {
    request.add("filename_base64", base64(path));
  }
}

void add_to(JsonObject& request, std::string_view path) {
  if (is_plain_name(path)) {
    request.add("to", path);
  } else {
    request.add("to_base64", base64(path));
  }
}

Outcome<Supply> RequestTask::supply(Connection& connection) {
  if (sent_) return Supply::finished;
  sent_ = true;
  connection.request(request_);
  return Supply::queued;
}

Outcome<void> RequestTask::header(const Header& header) {
  const auto refusal = Refusal::from(header);
  if (!refusal) return std::unexpected(refusal.error());
  if (!*refusal) return reply(header);
  refused_code_ = (*refusal)->code;
  refuse((*refusal)->failure(), simdjson::minify(header.object()));
  return {};
}

Outcome<Next> RequestTask::body(std::string_view bytes) {
  if (refused()) return Next::go_on;
  if (auto taken = piece(bytes); !taken) return std::unexpected(taken.error());
  return Next::go_on;
}

Outcome<Next> RequestTask::end() {
  if (!refused()) {
    if (auto done = complete(); !done) return std::unexpected(done.error());
  }
  return Next::stop;
}

}  // namespace ftpd::client
