// The verb put: files to the server, many on one connection, replies taken as they come.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>

#include "base/sys.h"
#include "client/local_files.h"
#include "client/refusal.h"
#include "client/request.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

constexpr std::size_t most_in_flight = 64;

// A small file travels in one write with its header and its neighbours.
constexpr std::uint64_t small_file = 32U * 1024;

// What is left of a refused file and still worth sending, to keep the connection.
constexpr std::uint64_t cheap_to_finish = 1U << 20U;

class PutTask final : public Task {
 public:
  PutTask(const Session& session, LocalFiles& files, std::uint64_t done)
      : session_(session), files_(files), done_(done) {}

  Outcome<Supply> supply(Connection& connection) override {
    connection_ = &connection;
    account();
    if (stream_) return feed();
    if (in_flight_.size() >= most_in_flight) return Supply::replies;
    const auto file = files_.next();
    if (!file) return Supply::finished;
    auto opened = open_local(*file);
    if (!opened) {
      session_.report.failed(file->local, opened.error());
    } else if (auto begun = begin(*file, std::move(*opened)); !begun) {
      session_.report.failed(file->local, begun.error());
    }
    return Supply::queued;
  }
  int input_fd() const override { return stream_.get(); }

  Outcome<void> header(const Header& header) override {
    auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    refusal_ = std::move(*refusal);
    reply_ = session_.report.json() ? simdjson::minify(header.object()) : std::string{};
    return {};
  }
  Outcome<void> body(std::string_view) override { return {}; }

  Outcome<Next> end() override {
    const bool lost = !connection_->can_send();
    const bool unfinished = in_flight_.size() == 1 && (stream_ || lost || connection_->file_remaining() > 0);
    const std::string local = std::move(in_flight_.front());
    in_flight_.pop_front();
    if (!refusal_) {
      if (unfinished && !lost) return connection_failure("put " + local + ": answered before it was sent");
      if (session_.report.json()) session_.report.print_result(local, reply_);
      return Next::go_on;
    }
    session_.report.failed(local, refusal_->failure(), reply_);
    // The server discards the rest of the body, as long as it is not too much; a stream may never end.
    stopped_ = unfinished && (stream_ || lost || connection_->file_remaining() > cheap_to_finish);
    return stopped_ ? Next::stop : Next::go_on;
  }

  void moved(const Connection&) override {
    account();
    session_.progress.update(done_);
  }

  /// A refused file was not sent to its end: the rest needs another connection.
  [[nodiscard]] bool stopped() const { return stopped_; }
  /// The file that the connection was lost over, empty if none.
  [[nodiscard]] std::string current() const {
    return in_flight_.empty() ? std::string{} : in_flight_.front();
  }
  [[nodiscard]] std::uint64_t done() const { return done_; }

 private:
  [[nodiscard]] JsonObject request_for(const LocalFile& file, const OpenFile& opened) const {
    JsonObject request;
    request.add("cmd", "put");
    add_filename(request, file.remote);
    request.add("mode", opened.mode);
    if (opened.mtime) request.add("mtime", *opened.mtime);
    if (session_.options.depth == Depth::recursive) request.add("parents", true);
    return request;
  }

  Outcome<void> begin(const LocalFile& file, OpenFile opened) {
    JsonObject request = request_for(file, opened);
    session_.progress.set_name(file.local);
    if (!opened.size) {
      request.add("more", true).add("data_size", 0);
      stream_ = std::move(opened.fd);
    } else if (*opened.size <= small_file) {
      return begin_small(file, std::move(request), opened);
    } else {
      request.add("data_size", *opened.size);
      connection_->body(std::move(opened.fd), *opened.size);
      file_left_ = *opened.size;
    }
    connection_->request(std::move(request).take());
    in_flight_.push_back(file.local);
    return {};
  }

  Outcome<void> begin_small(const LocalFile& file, JsonObject request, const OpenFile& opened) {
    std::array<char, small_file> bytes;
    std::size_t size = 0;
    while (size < *opened.size) {
      const ssize_t count = sys::read(opened.fd.get(), bytes.data() + size, *opened.size - size);
      if (count < 0) return system_failure(errno, "reading the file");
      if (count == 0) break;  // it became shorter: then that is the file
      size += static_cast<std::size_t>(count);
    }
    request.add("data_size", std::uint64_t{size});
    connection_->request(std::move(request).take());
    connection_->body({bytes.data(), size});
    in_flight_.push_back(file.local);
    done_ += size;
    return {};
  }

  /// One piece of a stream whose size is not known, if there is one now.
  Outcome<Supply> feed() {
    pollfd watched{stream_.get(), POLLIN, 0};
    if (sys::poll(&watched, 1, 0) < 0) return system_failure(errno, "poll");
    if (watched.revents == 0) return Supply::waiting;
    std::array<char, 64U * 1024> piece;
    const ssize_t count = sys::read(stream_.get(), piece.data(), piece.size());
    if (count < 0 && errno == EAGAIN) return Supply::waiting;
    if (count <= 0) {
      if (count < 0) {
        session_.report.failed(in_flight_.back(), system_failure(errno, "reading it").error());
        connection_->frame(R"({"abort":true,"data_size":0})");
      } else {
        connection_->frame(R"({"data_size":0})");
      }
      stream_.reset();
      return Supply::queued;
    }
    JsonObject frame;
    frame.add("more", true).add("data_size", std::int64_t{count});
    connection_->frame(std::move(frame).take());
    connection_->body({piece.data(), static_cast<std::size_t>(count)});
    done_ += static_cast<std::uint64_t>(count);
    return Supply::queued;
  }

  /// What of a large file went out since the last time.
  void account() {
    const std::uint64_t left = connection_->file_remaining();
    done_ += file_left_ - std::min(left, file_left_);
    file_left_ = left;
  }

  const Session& session_;
  LocalFiles& files_;
  Connection* connection_ = nullptr;
  UniqueFd stream_;
  std::deque<std::string> in_flight_;  // local names, oldest first
  std::optional<Refusal> refusal_;
  std::string reply_;
  std::uint64_t done_;
  std::uint64_t file_left_ = 0;
  bool stopped_ = false;
};

}  // namespace

Outcome<void> run_put(const Session& session) {
  if (session.progress.on()) {
    const bool streams = std::ranges::count(session.options.operands, "-") > 0;
    if (!streams) session.progress.set_total(total_size(session.options));
  }
  LocalFiles files{session.options, session.report};
  std::uint64_t bytes = 0;
  while (files.more()) {
    auto connection = connect(session);
    if (!connection) return std::unexpected(connection.error());
    PutTask task{session, files, bytes};
    const auto done = (*connection)->run(task);
    bytes = task.done();
    if (done) continue;
    const bool only_this_file = (*connection)->file_was_short();
    session.report.failed(task.current(), done.error());
    if (!only_this_file) return {};
  }
  session.progress.update(bytes);
  session.progress.finish();
  return {};
}

}  // namespace ftpd::client
