// The verb put --resume: each file on as many connections as it takes.
#include "client/resume_put.h"

#include <fmt/format.h>

#include <cerrno>
#include <filesystem>

#include "base/sys.h"
#include "client/outgoing.h"
#include "client/refusal.h"
#include "client/request.h"
#include "client/retry.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

constexpr std::size_t piece_size = 256U * 1024;

/// A question that a header answers.
class Question final : public Task {
 public:
  explicit Question(std::string request) : request_(std::move(request)) {}
  Outcome<Supply> supply(Connection& connection) override {
    if (request_.empty()) return Supply::finished;
    connection.request(std::exchange(request_, {}));
    return Supply::queued;
  }
  Outcome<void> header(const Header& header) override {
    auto refused = Refusal::from(header);
    if (!refused) return std::unexpected(refused.error());
    refusal = std::move(*refused);
    reply = simdjson::minify(header.object());
    sha256 = told_digest(header);
    const auto field = header.size("offset");
    if (field && *field) offset = **field;
    return {};
  }
  Outcome<Next> body(std::string_view) override { return Next::go_on; }
  Outcome<Next> end() override { return Next::stop; }

  std::optional<Refusal> refusal;
  std::string reply;
  std::optional<std::string> sha256;
  std::uint64_t offset = 0;

 private:
  std::string request_;
};

/// One request's way out, and its answer.
class SendTask final : public Task {
 public:
  SendTask(const Session& session, Outgoing& sent, std::uint64_t before)
      : session_(session), sent_(sent), before_(before) {}

  Outcome<Supply> supply(Connection& connection) override {
    connection_ = &connection;
    if (!std::exchange(begun_, true)) {
      if (auto begun = sent_.begin(connection); !begun) return std::unexpected(begun.error());
      return Supply::queued;
    }
    if (complete_) return Supply::finished;
    const auto fed = sent_.feed(connection);
    complete_ = fed && *fed == Supply::finished;
    return fed;
  }
  Outcome<void> header(const Header& header) override {
    auto refused = Refusal::from(header);
    if (!refused) return std::unexpected(refused.error());
    refusal_ = std::move(*refused);
    confirmed_ = refusal_ ? Outcome<void>{} : sent_.confirm(header);
    reply_ = simdjson::minify(header.object());
    return {};
  }
  Outcome<Next> body(std::string_view) override { return Next::go_on; }
  Outcome<Next> end() override {
    if (!refusal_ && sent_.left(*connection_) != 0U) {
      return connection_failure("answered before it was sent");
    }
    return Next::stop;
  }
  void moved(const Connection& connection) override {
    session_.progress.update(before_ + sent_.taken(connection));
  }

  /// Everything was on its way: it may have been stored though no answer came.
  [[nodiscard]] bool complete() const { return complete_; }
  [[nodiscard]] const std::optional<Refusal>& refusal() const { return refusal_; }
  [[nodiscard]] const Outcome<void>& confirmed() const { return confirmed_; }
  [[nodiscard]] const std::string& reply() const { return reply_; }

 private:
  const Session& session_;
  Outgoing& sent_;
  std::uint64_t before_;
  Connection* connection_ = nullptr;
  std::optional<Refusal> refusal_;
  Outcome<void> confirmed_;
  std::string reply_;
  bool begun_ = false;
  bool complete_ = false;
};

/// The digest of a file's first `size` bytes; nothing where it is shorter.
Outcome<std::optional<Sha256>> hash_beginning(int file, std::uint64_t size) {
  Sha256 hash;
  const auto piece = std::make_unique<char[]>(piece_size);
  for (std::uint64_t at = 0; at < size;) {
    const std::size_t most = std::min<std::uint64_t>(size - at, piece_size);
    const ssize_t count = sys::pread(file, piece.get(), most, static_cast<off_t>(at));
    if (count < 0) return system_failure(errno, "reading it");
    if (count == 0) return std::nullopt;
    hash.update({piece.get(), static_cast<std::size_t>(count)});
    at += static_cast<std::uint64_t>(count);
  }
  return std::optional{std::move(hash)};
}

/// The operands one after the other, on a connection that is made again when it breaks.
class ResumedPut {
 public:
  explicit ResumedPut(const Session& session) : session_(session) {}

  /// False: the connection can't be had any more.
  bool send(const LocalFile& file) {
    RetrySchedule schedule;
    anew_ = complete_ = false;
    for (;;) {
      const auto done = attempt(file, schedule);
      if (done) {
        before_ += *done;
        return true;
      }
      const Setback& why = done.error();
      if (why.failure.who == Failure::Who::connection || why.cure == Setback::Cure::retry) {
        connection_.reset();
      }
      // Where the server has never answered there is nothing that broke.
      if (answered_ && wait_to_retry(session_, file.local, schedule, why)) continue;
      session_.report.failed(file.local, why.failure, why.reply);
      return why.failure.who != Failure::Who::connection;
    }
  }

  void finish() {
    session_.progress.update(before_);
    session_.progress.finish();
  }

 private:
  template <class T>
  using Attempt = std::expected<T, Setback>;

  /// The file's size.
  Attempt<std::uint64_t> attempt(const LocalFile& file, RetrySchedule& schedule) {
    session_.progress.set_name(file.local);
    for (;;) {
      auto opened = open_local(file.local);
      if (!opened) return std::unexpected(setback(opened.error()));
      if (!opened->size) {
        return std::unexpected(setback({Failure::Who::local, "no regular file: it can't be read again"}));
      }
      const std::uint64_t size = *opened->size;
      if (!connection_) {
        auto connection = connect(session_);
        if (!connection) return std::unexpected(setback(connection.error()));
        connection_ = std::move(*connection);
      }
      auto point = find_point(file, *opened);
      if (!point) return std::unexpected(point.error());
      if (!*point) return size;  // it is there already
      const std::uint64_t offset = (*point)->offset;
      schedule.reached(offset);
      const auto outgoing = send_rest(file, std::move(*opened), std::move(**point));
      const auto sent = deliver(file, *outgoing, offset);
      if (!sent) return std::unexpected(sent.error());
      if (*sent == Next::stop) return size;
    }
  }

  /// Next::go_on: what was held over there is of no use, everything begins anew.
  Attempt<Next> deliver(const LocalFile& file, Outgoing& outgoing, std::uint64_t offset) {
    SendTask task{session_, outgoing, before_ + offset};
    const auto done = connection_->run(task);
    complete_ = task.complete();
    if (!done && connection_->file_was_short()) connection_.reset();
    if (!done) return std::unexpected(setback(outgoing.trouble().value_or(done.error())));
    answered_ = true;
    if (const auto& refusal = task.refusal()) {
      // The rest of what was refused may still be on its way.
      if (!task.complete()) connection_.reset();
      if (offset == 0 || anew_ ||
          (refusal->code != "checksum_mismatch" && refusal->code != "offset_mismatch")) {
        return std::unexpected(setback(*refusal, task.reply()));
      }
      anew_ = true;
      session_.report.note(file.local, "what the server held could not be used: starting again");
      return Next::go_on;
    }
    if (!task.confirmed()) return std::unexpected(setback(task.confirmed().error()));
    if (session_.report.json()) {
      JsonObject extra;
      if (offset > 0) extra.add("resumed_at", offset);
      session_.report.print_result(file.local, task.reply(), std::move(extra).take());
    }
    return Next::stop;
  }

  /// How much of the file is held over there and is what it should be. Nothing: all of it has been stored.
  Attempt<std::optional<ResumePoint>> find_point(const LocalFile& file, const OpenFile& opened) {
    std::error_code error;
    const auto absolute = std::filesystem::absolute(file.local, error);
    ResumePoint point{upload_name(file.remote, absolute.native(), opened.about), 0, {}};
    JsonObject request;
    request.add("cmd", "stat").add("upload", point.upload).add("digest", "sha256");
    auto held = ask(std::move(request).take());
    if (!held) return std::unexpected(held.error());
    if (held->refusal) {
      if (held->refusal->code != "not_found") return std::unexpected(setback(*held->refusal, held->reply));
      if (!complete_) return point;
      return stored(file, opened, std::move(point));
    }
    if (anew_ || held->offset == 0 || held->offset > *opened.size || !held->sha256) return point;
    auto beginning = hash_beginning(opened.fd.get(), held->offset);
    if (!beginning) return std::unexpected(setback(beginning.error()));
    if (!*beginning || (*beginning)->hex() != *held->sha256) {
      session_.report.note(file.local,
                           "what the server holds is not the beginning of this file: starting again");
      return point;
    }
    point.offset = held->offset;
    point.before = std::move(**beginning);
    return point;
  }

  /// Everything was sent, no answer came, and nothing is held: then it may be in its place.
  Attempt<std::optional<ResumePoint>> stored(const LocalFile& file, const OpenFile& opened,
                                             ResumePoint point) {
    complete_ = false;
    JsonObject request;
    request.add("cmd", "sum");
    add_filename(request, file.remote);
    request.add("digest", "sha256");
    auto sum = ask(std::move(request).take());
    if (!sum) return std::unexpected(sum.error());
    if (sum->refusal || !sum->sha256) return point;
    const auto whole = hash_beginning(opened.fd.get(), *opened.size);
    if (!whole) return std::unexpected(setback(whole.error()));
    if (!*whole || !check_digest(sum->sha256, (*whole)->hex())) return point;
    if (session_.report.json()) session_.report.print_result(file.local, sum->reply);
    return std::nullopt;
  }

  Attempt<Question> ask(std::string request) {
    Question question{std::move(request)};
    // The server may have much to read before it knows a digest.
    connection_->set_patience(Duration::zero());
    const auto done = connection_->run(question);
    connection_->set_patience(Connection::usual_patience);
    if (!done) return std::unexpected(setback(done.error()));
    answered_ = true;
    return question;
  }

  const Session& session_;
  std::unique_ptr<Connection> connection_;
  std::uint64_t before_ = 0;  // bytes of the files that are done
  bool answered_ = false;     // the server has spoken at least once
  bool anew_ = false;         // what is held for the present file is not asked for again
  bool complete_ = false;     // the present file was sent to its end, and no answer came
};

}  // namespace

std::string upload_name(std::string_view remote, std::string_view absolute, const struct stat& about) {
  // A NUL keeps the parts apart: no name holds one.
  std::string key{remote};
  key += '\0';
  key += absolute;
  key += '\0';
  key +=
      fmt::format("{} {} {}.{:09}", about.st_size, about.st_ino, about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
  return "ftpc-" + sha256_hex(key).substr(0, 32);
}

Outcome<void> run_resumed_put(const Session& session) {
  if (session.progress.on()) session.progress.set_total(total_size(session.options));
  ResumedPut put{session};
  for (const std::string& local : session.options.operands) {
    if (!put.send({local, remote_name(session.options, local)})) return {};
  }
  put.finish();
  return {};
}

}  // namespace ftpd::client
