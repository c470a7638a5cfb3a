// The verbs that ask one small thing: ping, hello, stat, stats.
#include <fmt/format.h>

#include <algorithm>

#include "client/request.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

constexpr std::size_t largest_document = 16U << 20U;

/// The reply's own fields are the answer.
class FieldsTask final : public RequestTask {
 public:
  using RequestTask::RequestTask;

 private:
  Outcome<void> reply(const Header& header) override {
    if (report().json()) {
      report().print_result(subject(), simdjson::minify(header.object()));
    } else {
      report().print_fields(header.object());
    }
    return {};
  }
};

/// The reply's body, one JSON object, is the answer.
class DocumentTask final : public RequestTask {
 public:
  using RequestTask::RequestTask;

 private:
  Outcome<void> reply(const Header&) override { return {}; }
  Outcome<void> piece(std::string_view bytes) override {
    if (document_.size() + bytes.size() > largest_document) {
      return connection_failure("a reply of more than 16 MiB: that is no answer to this");
    }
    document_ += bytes;
    return {};
  }
  Outcome<void> complete() override {
    HeaderParser parser;
    const auto parsed = parser.parse(document_, false);
    if (!parsed) return connection_failure("the reply's body is no JSON object: " + parsed.error());
    if (report().json()) {
      report().print_result(subject(), simdjson::minify(parsed->object()));
    } else {
      report().print_fields(parsed->object());
    }
    return {};
  }
  std::string document_;
};

class PingTask final : public RequestTask {
 public:
  PingTask(Report& report, std::string peer, unsigned number)
      : RequestTask(report, {}, R"({"cmd":"ping"})"), peer_(std::move(peer)), number_(number) {}
  [[nodiscard]] double milliseconds() const { return milliseconds_; }

 private:
  Outcome<void> reply(const Header& header) override {
    const std::chrono::duration<double, std::milli> took = Clock::now() - begin_;
    milliseconds_ = took.count();
    if (report().json()) {
      JsonObject extra;
      extra.add("number", number_).add("ms", milliseconds_);
      report().print_result({}, simdjson::minify(header.object()), std::move(extra).take());
    } else {
      report().print(fmt::format("{}: {}: {:.3f} ms\n", peer_, number_, milliseconds_));
    }
    return report().flush();
  }
  std::string peer_;
  unsigned number_;
  TimePoint begin_ = Clock::now();
  double milliseconds_ = 0;
};

Outcome<void> ask(const Session& session, RequestTask& task) {
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  return (*connection)->run(task);
}

}  // namespace

Outcome<void> run_stat(const Session& session) {
  JsonObject request;
  request.add("cmd", "stat");
  add_filename(request, session.options.operands[0]);
  FieldsTask task{session.report, session.options.operands[0], std::move(request).take()};
  return ask(session, task);
}

Outcome<void> run_hello(const Session& session) {
  FieldsTask task{session.report, {}, R"({"cmd":"hello"})"};
  return ask(session, task);
}

Outcome<void> run_stats(const Session& session) {
  DocumentTask task{session.report, {}, R"({"cmd":"stats"})"};
  return ask(session, task);
}

Outcome<void> run_ping(const Session& session) {
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  double least = 0, most = 0, sum = 0;
  const unsigned count = session.options.count;
  for (unsigned number = 1; number <= count; ++number) {
    PingTask task{session.report, session.options.address, number};
    if (auto done = (*connection)->run(task); !done) return done;
    if (task.refused()) return {};
    least = number == 1 ? task.milliseconds() : std::min(least, task.milliseconds());
    most = std::max(most, task.milliseconds());
    sum += task.milliseconds();
  }
  if (count > 1 && !session.report.json()) {
    session.report.print(fmt::format("{} replies, least {:.3f}, mean {:.3f}, most {:.3f} ms\n", count, least,
                                     sum / count, most));
  }
  return {};
}

}  // namespace ftpd::client
