// What the client says: results on standard output, everything else on standard error.
#pragma once

#include <string>
#include <string_view>

#include "client/options.h"
#include "client/outcome.h"
#include "client/progress.h"
#include "ftpd/json_write.h"
#include "ftpd/message.h"

namespace ftpd::client {

/// All of `bytes` to a descriptor of ours; it may block.
[[nodiscard]] Outcome<void> write_all(int fd, std::string_view bytes, std::string_view what);

/// Buffered standard output; flushed by flush() and at 64 KiB.
class Report {
 public:
  Report(const Options& options, Progress& progress) : options_(options), progress_(progress) {}

  [[nodiscard]] bool json() const { return options_.form == Form::json; }

  /// Text as it is. A failure to write is kept for flush().
  void print(std::string_view text);
  /// One JSON object on a line: the verb, `subject` where there is one, a reply's fields (as JSON), and
  /// those of `extra`.
  void print_result(std::string_view subject, std::string_view reply_json,
                    std::string_view extra_json = "{}");
  /// The fields of a reply or a body, `key: value`, one a line; those of the framing left out.
  void print_fields(simdjson::dom::object object);

  /// `ftpc: VERB SUBJECT: TEXT` on standard error (without a subject, what broke a connection is said
  /// alone), and in JSON where that was asked for: `reply_json`, the server's own words, where there are
  /// some. Remembers the worst status.
  void failed(std::string_view subject, const Failure& failure, std::string_view reply_json = {});
  /// The same on standard error alone: the JSON result has been printed.
  void explain(std::string_view subject, const Failure& failure);
  /// Something worth knowing that is no failure.
  void note(std::string_view subject, std::string_view text);

  [[nodiscard]] Outcome<void> flush();
  /// What failed() has seen: the exit status.
  [[nodiscard]] int status() const { return status_; }

 private:
  void say(std::string_view subject, std::string_view text);
  void say_line(std::string_view line);
  const Options& options_;
  Progress& progress_;
  std::string out_;
  Outcome<void> written_;
  int status_ = exit_done;
};

}  // namespace ftpd::client
