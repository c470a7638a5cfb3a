// Runs commands on a driven reactor: what the tests of this layer share.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/sys.h"
#include "exec/child.h"
#include "exec/descendants.h"
#include "exec/spawner.h"
#include "reactor/offload.h"
#include "reactor/reactor.h"
#include "reactor/signals.h"

namespace ftpd::test {

inline UniqueFd open_directory(const char* path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  return UniqueFd(sys::openat2(AT_FDCWD, path, how));
}

inline Command command(std::vector<std::string> argv) {
  Command made;
  made.argv = std::move(argv);
  made.environment = command_environment({});
  made.directory = open_directory("/");
  return made;
}
inline Command shell(std::string script) { return command({"/bin/sh", "-c", std::move(script)}); }

inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// Also true of a zombie.
inline bool exists(pid_t pid) { return sys::kill(pid, 0) == 0; }

/// Everything that a daemon has around its commands, on this thread.
class Daemon {
 public:
  Daemon() {
    block_signals({SIGCHLD});
    auto made = Reactor::create();
    REQUIRE(made);
    reactor_ = std::move(*made);
    pool_ = std::make_unique<Offload>(2);
    auto created = Descendants::create(*reactor_, *pool_);
    REQUIRE(created);
    descendants_ = std::move(*created);
    spawner_ = std::make_unique<ThreadSpawner>(2, *descendants_);
  }
  ~Daemon() { descendants_->kill_everything(Clock::now() + std::chrono::seconds(20)); }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  Reactor& reactor() { return *reactor_; }
  Offload& pool() { return *pool_; }
  Descendants& descendants() { return *descendants_; }
  ThreadSpawner& spawner() { return *spawner_; }

  /// Turns the loop until `done()`; false where that takes longer than any machine should.
  template <class Done>
  bool drive(Done done, Duration limit = std::chrono::seconds(30)) {
    const TimePoint until = Clock::now() + limit;
    while (!done()) {
      if (Clock::now() >= until) return false;
      REQUIRE(reactor_->turn(Clock::now() + std::chrono::milliseconds(5)));
    }
    return true;
  }

  Result<std::unique_ptr<Child>> start(Command wanted) {
    Result<std::unique_ptr<Child>> result = fail(Reason::aborted, "never started");
    const Job job =
        spawner_->start(*reactor_, std::move(wanted),
                        [&](Result<std::unique_ptr<Child>> started) { result = std::move(started); });
    REQUIRE(drive([&] { return !job.pending(); }));
    return result;
  }

 private:
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<Offload> pool_;
  std::unique_ptr<Descendants> descendants_;
  std::unique_ptr<ThreadSpawner> spawner_;
};

/// One command with its pipes: reads them to their ends, feeds the input, reaps.
class Run {
 public:
  Run(Daemon& daemon, std::unique_ptr<Child> child, std::string input = {})
      : child_(std::move(child)), feed_(std::move(input)) {
    using Handler = Watch::Handler;
    Reactor& reactor = daemon.reactor();
    REQUIRE(ended_.start(reactor, child_->pidfd(), EPOLLIN, Handler::to<&Run::on_end>(*this)));
    REQUIRE(out_.start(reactor, child_->output.get(), EPOLLIN, Handler::to<&Run::on_output>(*this)));
    if (child_->errors) {
      REQUIRE(err_.start(reactor, child_->errors.get(), EPOLLIN, Handler::to<&Run::on_errors>(*this)));
    }
    if (child_->input) {
      REQUIRE(in_.start(reactor, child_->input.get(), EPOLLOUT, Handler::to<&Run::on_input>(*this)));
    }
  }

  [[nodiscard]] bool ended() const { return status.has_value(); }
  [[nodiscard]] bool finished() const { return ended() && !out_.started() && !err_.started(); }
  [[nodiscard]] Child& child() { return *child_; }
  void destroy_child() {
    for (Watch* watch : {&ended_, &out_, &err_, &in_}) watch->stop();
    child_.reset();
  }

  std::string output;
  std::string errors;
  std::optional<ExitStatus> status;

 private:
  void on_end(std::uint32_t) {
    status = child_->reap();
    if (status) ended_.stop();
  }
  void on_output(std::uint32_t) { take(out_, child_->output, output); }
  void on_errors(std::uint32_t) { take(err_, child_->errors, errors); }
  static void take(Watch& watch, UniqueFd& pipe, std::string& into) {
    std::array<char, 65536> bytes;
    const ssize_t size = sys::read(pipe.get(), bytes.data(), bytes.size());
    if (size > 0) into.append(bytes.data(), static_cast<std::size_t>(size));
    if (size == 0) watch.stop();
  }
  void on_input(std::uint32_t) {
    const ssize_t size = sys::write(child_->input.get(), feed_.data(), feed_.size());
    if (size > 0) feed_.erase(0, static_cast<std::size_t>(size));
    if (!feed_.empty() && size >= 0) return;
    in_.stop();
    child_->input.reset();
  }

  std::unique_ptr<Child> child_;
  std::string feed_;
  Watch ended_;
  Watch out_;
  Watch err_;
  Watch in_;
};

struct Outcome {
  std::string output;
  std::string errors;
  ExitStatus status;
};

inline Outcome run(Daemon& daemon, Command wanted, std::string input = {}) {
  auto started = daemon.start(std::move(wanted));
  REQUIRE(started);
  Run running(daemon, std::move(*started), std::move(input));
  REQUIRE(daemon.drive([&] { return running.finished(); }));
  return {running.output, running.errors, *running.status};
}

}  // namespace ftpd::test
