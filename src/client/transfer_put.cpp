// The verb put: files and trees to the server, many on one connection, replies taken as they come.
#include <algorithm>
#include <deque>

#include "client/local_files.h"
#include "client/outgoing.h"
#include "client/refusal.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

constexpr std::size_t most_in_flight = 64;

// What is left of a refused file and still worth sending, to keep the connection.
constexpr std::uint64_t cheap_to_finish = 1U << 20U;

/// Goes through the operands. It outlives the connections that a refusal may cost.
class Operands {
 public:
  explicit Operands(const Session& session) : session_(session) {}

  /// Will next() give something? What can't be sent is reported.
  [[nodiscard]] bool more() {
    while (!ahead_ && at_ < session_.options.operands.size()) {
      const std::string& local = session_.options.operands[at_++];
      auto made = open({local, remote_name(session_.options, local), parents()});
      if (made) {
        ahead_ = std::move(*made);
      } else {
        session_.report.failed(local, made.error());
      }
    }
    return ahead_ != nullptr;
  }
  [[nodiscard]] std::shared_ptr<Outgoing> next() { return more() ? std::move(ahead_) : nullptr; }

 private:
  /// A tree makes the directories above it, so what travels with it may rely on them.
  [[nodiscard]] Parents parents() const {
    return session_.options.depth == Depth::recursive ? Parents::made : Parents::expected;
  }

  Outcome<std::unique_ptr<Outgoing>> open(const LocalFile& file) {
    const Options& options = session_.options;
    if (options.depth == Depth::recursive && is_local_directory(file.local)) {
      return send_tree(options, file, session_.report);
    }
    auto opened = open_local(file.local);
    if (!opened) return std::unexpected(opened.error());
    return send_file(options, file, std::move(*opened));
  }

  const Session& session_;
  std::size_t at_ = 0;
  std::shared_ptr<Outgoing> ahead_;
};

class PutTask final : public Task {
 public:
  PutTask(const Session& session, Operands& operands, std::uint64_t done)
      : session_(session), operands_(operands), done_(done) {}

  Outcome<Supply> supply(Connection& connection) override {
    connection_ = &connection;
    if (feeding_) {
      const auto fed = feeding_->feed(connection);
      if (!fed || *fed != Supply::finished) return fed;
      done_ += feeding_->taken(connection);
      feeding_.reset();
    }
    if (in_flight_.size() >= most_in_flight) return Supply::replies;
    auto next = operands_.next();
    if (!next) return Supply::finished;
    session_.progress.set_name(next->subject());
    if (auto begun = next->begin(connection); !begun) {
      session_.report.failed(next->subject(), begun.error());
    } else {
      in_flight_.push_back(next);
      feeding_ = std::move(next);
    }
    return Supply::queued;
  }
  int input_fd() const override { return feeding_ ? feeding_->input_fd() : -1; }

  Outcome<void> header(const Header& header) override {
    auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    refusal_ = std::move(*refusal);
    confirmed_ = refusal_ ? Outcome<void>{} : in_flight_.front()->confirm(header);
    reply_ = session_.report.json() ? simdjson::minify(header.object()) : std::string{};
    return {};
  }
  Outcome<Next> body(std::string_view) override { return Next::go_on; }

  Outcome<Next> end() override {
    const auto sent = std::move(in_flight_.front());
    in_flight_.pop_front();
    const bool lost = !connection_->can_send() && in_flight_.empty();
    const auto left = sent->left(*connection_);
    const bool unfinished = lost || (feeding_ == sent && left != 0U);
    if (sent->trouble()) {
      session_.report.failed(sent->subject(), *sent->trouble());
    } else if (refusal_) {
      session_.report.failed(sent->subject(), refusal_->failure(), reply_);
    } else {
      if (unfinished && !lost) {
        return connection_failure("put " + sent->subject() + ": answered before it was sent");
      }
      accept(*sent);
      return Next::go_on;
    }
    // The server discards the rest of the body, as long as it is not too much; a stream may never end.
    const bool stop = unfinished && (lost || left.value_or(limits::max_size) > cheap_to_finish);
    return stop ? Next::stop : Next::go_on;
  }

  void moved(const Connection& connection) override {
    session_.progress.update(done_ + (feeding_ ? feeding_->taken(connection) : 0));
  }

  /// The operand that the connection was lost over, if any.
  [[nodiscard]] const Outgoing* current() const {
    return in_flight_.empty() ? nullptr : in_flight_.front().get();
  }
  [[nodiscard]] std::uint64_t done() const { return done_; }

 private:
  void accept(const Outgoing& sent) {
    if (!confirmed_) {
      session_.report.failed(sent.subject(), confirmed_.error());
    } else if (session_.report.json()) {
      session_.report.print_result(sent.subject(), reply_);
    }
  }

  const Session& session_;
  Operands& operands_;
  Connection* connection_ = nullptr;
  std::deque<std::shared_ptr<Outgoing>> in_flight_;  // oldest first
  std::shared_ptr<Outgoing> feeding_;                // whose last frame is not queued yet; the youngest
  std::optional<Refusal> refusal_;
  Outcome<void> confirmed_;
  std::string reply_;
  std::uint64_t done_;
};

/// What broke the connection, told about the operand that it broke over.
void report_broken(const Session& session, const PutTask& task, const Failure& failure) {
  const Outgoing* const current = task.current();
  const bool ours = current != nullptr && current->trouble();
  session.report.failed(current != nullptr ? current->subject() : "", ours ? *current->trouble() : failure);
}

}  // namespace

Outcome<void> run_put(const Session& session) {
  if (session.options.begin == Begin::resume) return run_resumed_put(session);
  if (session.progress.on()) {
    const bool streams = std::ranges::count(session.options.operands, "-") > 0;
    if (!streams) session.progress.set_total(total_size(session.options));
  }
  Operands operands{session};
  std::uint64_t bytes = 0;
  while (operands.more()) {
    auto connection = connect(session);
    if (!connection) return std::unexpected(connection.error());
    PutTask task{session, operands, bytes};
    const auto done = (*connection)->run(task);
    bytes = task.done();
    if (done) continue;
    report_broken(session, task, done.error());
    if (!(*connection)->file_was_short()) return {};
  }
  session.progress.update(bytes);
  session.progress.finish();
  return {};
}

}  // namespace ftpd::client
