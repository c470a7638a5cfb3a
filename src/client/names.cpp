// The verbs that act on names over there: sum, rm, mv, mkdir, rmdir; and df.
#include <fmt/format.h>

#include <deque>

#include "client/refusal.h"
#include "client/request.h"
#include "client/text.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

constexpr std::size_t most_in_flight = 64;

struct NameRequest {
  std::string subject;  // for messages and results
  std::string json;
};

/// Pipelines requests that are answered by a header alone. Each that is refused is told, and the others
/// are made.
class NamesTask : public Task {
 public:
  NamesTask(Report& report, std::deque<NameRequest> requests)
      : report_(report), requests_(std::move(requests)) {}

  Outcome<Supply> supply(Connection& connection) final {
    if (requests_.empty()) return Supply::finished;
    if (in_flight_.size() >= most_in_flight) return Supply::replies;
    connection.request(requests_.front().json);
    in_flight_.push_back(std::move(requests_.front().subject));
    requests_.pop_front();
    return Supply::queued;
  }

  Outcome<void> header(const Header& header) final {
    const auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    const std::string& subject = in_flight_.front();
    if (*refusal) {
      report_.failed(subject, (*refusal)->failure(), simdjson::minify(header.object()));
    } else if (report_.json()) {
      report_.print_result(subject, simdjson::minify(header.object()));
    } else {
      return done(subject, header);
    }
    return {};
  }
  Outcome<Next> body(std::string_view) final { return Next::go_on; }
  Outcome<Next> end() final {
    in_flight_.pop_front();
    return Next::go_on;
  }

 protected:
  [[nodiscard]] virtual Outcome<void> done(const std::string&, const Header&) { return {}; }
  Report& report() { return report_; }

 private:
  Report& report_;
  std::deque<NameRequest> requests_;
  std::deque<std::string> in_flight_;
};

class SumTask final : public NamesTask {
 public:
  SumTask(Report& report, std::deque<NameRequest> requests, std::string_view digest)
      : NamesTask(report, std::move(requests)), digest_(digest) {}

 private:
  Outcome<void> done(const std::string& subject, const Header& header) override {
    const auto hex = header.string(digest_);
    if (!hex || !*hex) return connection_failure(fmt::format("a reply without {}", digest_));
    report().print(fmt::format("{}  {}\n", printable(**hex), printable(subject)));
    return {};
  }
  std::string_view digest_;
};

/// One request for each operand; `add` gives it what the verb has beside the name.
template <class Add>
std::deque<NameRequest> requests_for(const Options& options, Add&& add) {
  std::deque<NameRequest> requests;
  for (const std::string& path : options.operands) {
    JsonObject request;
    request.add("cmd", name(options.verb));
    add_filename(request, path);
    add(request);
    requests.push_back({path, std::move(request).take()});
  }
  return requests;
}

Outcome<void> run_names(const Session& session, NamesTask& task) {
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  // A digest or a removal takes as long as it takes; that a peer has vanished is noticed all the same.
  (*connection)->set_patience(Duration::zero());
  return (*connection)->run(task);
}

Outcome<void> run_silent(const Session& session, std::deque<NameRequest> requests) {
  NamesTask task{session.report, std::move(requests)};
  return run_names(session, task);
}

/// Room, as people read it.
class RoomTask final : public NamesTask {
 public:
  explicit RoomTask(Report& report) : NamesTask(report, {{"", R"({"cmd":"df"})"}}) {}

 private:
  Outcome<void> done(const std::string&, const Header& header) override {
    const auto total = size(header, "total");
    for (const char* const key : {"total", "free"}) {
      if (const auto bytes = size(header, key)) print(key, *bytes, total);
    }
    const auto quota = size(header, "quota");
    if (!quota) return {};
    if (*quota == 0) {
      report().print(fmt::format("{:<11} none\n", "quota:"));
    } else {
      print("quota", *quota, std::nullopt);
    }
    if (const auto used = size(header, "quota_used")) print("quota_used", *used, quota);
    return {};
  }

  static std::optional<std::uint64_t> size(const Header& header, std::string_view key) {
    const auto field = header.size(key);
    return field ? *field : std::nullopt;
  }
  void print(std::string_view key, std::uint64_t bytes, std::optional<std::uint64_t> whole) {
    std::string line = fmt::format("{:<11} {:>10}", fmt::format("{}:", key), human_size(bytes));
    if (whole && *whole > 0 && key != "total") {
      line += fmt::format(" {:>3.0f}%", 100.0 * static_cast<double>(bytes) / static_cast<double>(*whole));
    }
    report().print(line + "\n");
  }
};

}  // namespace

Outcome<void> run_sum(const Session& session) {
  const std::string_view digest = session.options.digest == DigestKind::md5 ? "md5" : "sha256";
  SumTask task{session.report,
               requests_for(session.options, [&](JsonObject& request) { request.add("digest", digest); }),
               digest};
  return run_names(session, task);
}

Outcome<void> run_rm(const Session& session) {
  const bool all = session.options.depth == Depth::recursive;
  return run_silent(session, requests_for(session.options, [all](JsonObject& request) {
                      if (all) request.add("recursive", true);
                    }));
}

Outcome<void> run_mv(const Session& session) {
  const auto& operands = session.options.operands;
  JsonObject request;
  request.add("cmd", "mv");
  add_filename(request, operands[0]);
  add_to(request, operands[1]);
  if (session.options.existing == Existing::kept) request.add("overwrite", "fail");
  return run_silent(session, {{operands[0], std::move(request).take()}});
}

Outcome<void> run_mkdir(const Session& session) {
  const bool parents = session.options.parents == Parents::made;
  return run_silent(session, requests_for(session.options, [parents](JsonObject& request) {
                      if (parents) request.add("parents", true);
                    }));
}

Outcome<void> run_rmdir(const Session& session) {
  return run_silent(session, requests_for(session.options, [](JsonObject&) {}));
}

Outcome<void> run_df(const Session& session) {
  RoomTask task{session.report};
  return run_names(session, task);
}

}  // namespace ftpd::client
