// The verb get --follow: a file as it grows, to standard output.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "client/refusal.h"
#include "client/request.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

/// SIGINT as something to wait for. A second one ends the program as usual.
class Interrupt {
 public:
  Interrupt() {
    sigemptyset(&mask_);
    sigaddset(&mask_, SIGINT);
    if (sys::pthread_sigmask(SIG_BLOCK, mask_) == 0) fd_.reset(sys::signalfd(-1, mask_, SFD_CLOEXEC));
  }
  ~Interrupt() { release(); }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool came() {
    pollfd watched{fd_.get(), POLLIN, 0};
    if (!fd_ || sys::poll(&watched, 1, 0) <= 0) return false;
    signalfd_siginfo ignored{};
    (void)sys::read(fd_.get(), &ignored, sizeof ignored);
    release();
    return true;
  }

 private:
  void release() { sys::pthread_sigmask(SIG_UNBLOCK, mask_); }
  sigset_t mask_{};
  UniqueFd fd_;
};

class FollowTask final : public Task {
 public:
  explicit FollowTask(const Session& session) : session_(session) {
    JsonObject request;
    request.add("cmd", "get");
    add_filename(request, remote());
    request.add("follow", true).add("more", true).add("data_size", 0);
    request_ = std::move(request).take();
  }

  Outcome<Supply> supply(Connection& connection) override {
    if (!request_.empty()) {
      connection.request(std::exchange(request_, {}));
      return Supply::queued;
    }
    if (interrupted_) return Supply::replies;
    if (!interrupt_.came()) return Supply::waiting;
    interrupted_ = true;
    connection.frame(R"({"abort":true,"data_size":0})");
    return Supply::queued;
  }
  int input_fd() const override { return interrupt_.fd(); }

  Outcome<void> header(const Header& header) override {
    const auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    if (*refusal) {
      session_.report.failed(remote(), (*refusal)->failure());
      return {};
    }
    const auto truncated = header.boolean("truncated");
    if (truncated && truncated->value_or(false)) session_.report.note(remote(), "file truncated");
    return {};
  }
  Outcome<Next> body(std::string_view bytes) override {
    if (auto written = write_all(STDOUT_FILENO, bytes, "standard output"); !written) {
      return std::unexpected(written.error());
    }
    return Next::go_on;
  }
  Outcome<Next> end() override { return Next::stop; }

  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  [[nodiscard]] const std::string& remote() const { return session_.options.operands[0]; }
  const Session& session_;
  std::string request_;
  Interrupt interrupt_;
  bool interrupted_ = false;
};

}  // namespace

Outcome<int> run_follow(const Session& session) {
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  FollowTask task{session};
  const auto done = (*connection)->run(task);
  if (task.interrupted()) return exit_interrupted;
  if (!done) return std::unexpected(done.error());
  return exit_done;
}

}  // namespace ftpd::client
