// The verb get --resume: one file, on as many connections as it takes.
#include "client/part_file.h"
#include "client/refusal.h"
#include "client/request.h"
#include "client/retry.h"
#include "client/transfer_get.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

/// What is missing of the file, on one connection.
class RestTask final : public Task {
 public:
  RestTask(const Session& session, PartFile& part) : session_(session), part_(part), offset_(part.size()) {}

  Outcome<Supply> supply(Connection& connection) override {
    if (std::exchange(sent_, true)) return Supply::finished;
    JsonObject request = get_request(session_.options.operands[0]);
    if (offset_ > 0) request.add("offset", offset_);
    request.add("digest", "sha256").add("trailer", true);
    connection.request(std::move(request).take());
    return Supply::queued;
  }

  Outcome<void> header(const Header& header) override {
    auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    answered_ = true;
    refusal_ = std::move(*refusal);
    if (refusal_ || reply_.empty()) reply_ = simdjson::minify(header.object());
    if (auto told = told_digest(header)) told_ = std::move(told);
    if (refusal_ || std::exchange(begun_, true)) return {};
    digest_in_reply_ = told_.has_value();
    attributes_ = attributes_of(header);
    const auto size = header.size("filesize");
    if (size && *size) session_.progress.set_total(**size);
    return {};
  }
  Outcome<Next> body(std::string_view bytes) override {
    if (auto written = part_.append(bytes); !written) return std::unexpected(written.error());
    return Next::go_on;
  }
  Outcome<Next> end() override { return Next::stop; }
  void moved(const Connection&) override { session_.progress.update(part_.size()); }

  [[nodiscard]] bool answered() const { return answered_; }
  [[nodiscard]] const std::optional<Refusal>& refusal() const { return refusal_; }
  [[nodiscard]] const std::string& reply() const { return reply_; }
  [[nodiscard]] const std::optional<std::string>& told() const { return told_; }
  [[nodiscard]] bool digest_in_reply() const { return digest_in_reply_; }
  [[nodiscard]] const Attributes& attributes() const { return attributes_; }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }

 private:
  const Session& session_;
  PartFile& part_;
  std::uint64_t offset_;
  Attributes attributes_;
  std::optional<Refusal> refusal_;
  std::optional<std::string> told_;
  std::string reply_;
  bool sent_ = false;
  bool begun_ = false;
  bool answered_ = false;
  bool digest_in_reply_ = false;
};

class ResumedGet {
 public:
  ResumedGet(const Session& session, PartFile part) : session_(session), part_(std::move(part)) {}

  void run() {
    RetrySchedule schedule;
    schedule.reached(part_.size());
    for (;;) {
      const auto done = attempt();
      if (done) return;
      schedule.reached(part_.size());
      const Setback& why = done.error();
      // Where the server has never answered there is nothing that broke.
      if (!answered_ || !wait_to_retry(session_, remote(), schedule, why)) {
        session_.report.failed(remote(), why.failure, why.reply);
        return;
      }
    }
  }

 private:
  [[nodiscard]] const std::string& remote() const { return session_.options.operands[0]; }

  std::expected<void, Setback> attempt() {
    auto connection = connect(session_);
    if (!connection) return std::unexpected(setback(connection.error()));
    for (;;) {
      RestTask task{session_, part_};
      const auto done = (*connection)->run(task);
      answered_ = answered_ || task.answered();
      if (!done) return std::unexpected(setback(done.error()));
      // What is there may be of another file, or of one that has changed: then it is of no use, once.
      const bool again = task.offset() > 0 && !restarted_;
      if (const auto& refusal = task.refusal()) {
        if (!again || refusal->code != "bad_request") return std::unexpected(setback(*refusal, task.reply()));
      } else {
        const auto same = check_digest(task.told(), part_.digest());
        if (same) return keep(task);
        if (!task.told() || !again) {
          if (auto emptied = part_.start_anew(); !emptied) return std::unexpected(setback(emptied.error()));
          return std::unexpected(setback(same.error()));
        }
      }
      restarted_ = true;
      session_.report.note(remote(), "what was there is not the beginning of this file: starting again");
      if (auto emptied = part_.start_anew(); !emptied) return std::unexpected(setback(emptied.error()));
    }
  }

  std::expected<void, Setback> keep(const RestTask& task) {
    if (auto kept = part_.commit(task.attributes()); !kept) return std::unexpected(setback(kept.error()));
    if (session_.report.json()) {
      JsonObject extra;
      if (task.offset() > 0) extra.add("resumed_at", task.offset());
      if (!task.digest_in_reply()) extra.add("sha256", *task.told());
      session_.report.print_result(remote(), task.reply(), std::move(extra).take());
    }
    session_.progress.finish();
    return {};
  }

  const Session& session_;
  PartFile part_;
  bool restarted_ = false;
  bool answered_ = false;
};

}  // namespace

Outcome<void> run_resumed_get(const Session& session) {
  const std::string& remote = session.options.operands[0];
  session.progress.set_name(remote);
  auto part = PartFile::open(local_path(session.options.operands));
  if (!part) {
    session.report.failed(remote, part.error());
    return {};
  }
  ResumedGet{session, std::move(*part)}.run();
  return {};
}

}  // namespace ftpd::client
