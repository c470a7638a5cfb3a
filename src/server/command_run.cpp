// One command from the queue to its end.
#include "server/command_run.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <array>
#include <csignal>

#include "base/sys.h"

namespace ftpd {

std::string_view name(RunReason reason) {
  switch (reason) {
    case RunReason::exited: return "exited";
    case RunReason::signalled: return "signalled";
    case RunReason::timeout: return "timeout";
    case RunReason::cancelled: return "cancelled";
    case RunReason::shutdown: return "shutdown";
  }
  return "";
}

CommandRun::CommandRun(LoopServices& services, RunOwner& owner, Plan plan)
    : services_(services),
      owner_(owner),
      plan_(std::move(plan)),
      output_{OutputStream::standard_output, &Child::output, Spool{services.pool}},
      errors_{OutputStream::standard_error, &Child::errors, Spool{services.pool}},
      timer_(services.reactor, Callback<void()>::to<&CommandRun::on_timer>(*this)) {}

CommandRun::~CommandRun() = default;

// --- getting started

void CommandRun::start() {
  if (auto slot = plan_.role->commands->try_take()) {
    spawn(std::move(*slot));
    return;
  }
  timer_.arm(services_.reactor.now() + plan_.role->settings.queue_timeout);  // zero: busy at once
  place_ = plan_.role->commands->wait(services_.reactor,
                                      [this](CommandQueue::Slot slot) { spawn(std::move(slot)); });
}

void CommandRun::spawn(CommandQueue::Slot slot) {
  state_ = State::STARTING;
  slot_ = std::move(slot);
  timer_.disarm();
  services_.counters.commands_started.add();
  started_ = services_.reactor.now();
  starting_ =
      services_.spawner.start(services_.reactor, std::move(plan_.command),
                              [this](Result<std::unique_ptr<Child>> child) { on_started(std::move(child)); });
}

void CommandRun::on_started(Result<std::unique_ptr<Child>> child) {
  if (!child) {
    fail_with(failure_of(child.error()));
    return;
  }
  state_ = State::RUNNING;
  child_ = std::move(*child);
  child_->set_kill_grace(plan_.role->settings.kill_grace);
  if (plan_.timeout != Duration::zero()) timer_.arm(started_ + plan_.timeout);
  using Handler = Watch::Handler;
  Reactor& reactor = services_.reactor;
  auto watched =
      ended_watch_.start(reactor, child_->pidfd(), EPOLLIN, Handler::to<&CommandRun::on_ended>(*this));
  if (watched) {
    watched = output_.watch.start(reactor, child_->output.get(), EPOLLIN,
                                  Handler::to<&CommandRun::on_output>(*this));
  }
  if (watched && child_->errors) {
    watched = errors_.watch.start(reactor, child_->errors.get(), EPOLLIN,
                                  Handler::to<&CommandRun::on_errors>(*this));
  }
  if (watched && child_->input) {
    watched = input_watch_.start(reactor, child_->input.get(), 0, Handler::to<&CommandRun::on_input>(*this));
  }
  if (!watched) {
    fail_with(failure_of(watched.error()));
    return;
  }
  if (output_paused_) pause_output();
  if (ending_early_) {
    signal_tree(SIGTERM);
    timer_.arm(reactor.now() + plan_.role->settings.kill_grace);
  }
  write_input();
}

void CommandRun::fail_with(const Failure& failure) {
  state_ = State::DONE;
  slot_ = {};
  owner_.on_run_failed(failure);
}

void CommandRun::detach() {
  timer_.disarm();
  place_ = {};
  starting_.abandon();
  signalling_.abandon();
  for (Watch* const watch : {&output_.watch, &errors_.watch, &input_watch_, &ended_watch_}) watch->stop();
}

// --- standard input

std::size_t CommandRun::input_room() const { return pending_input_.empty() ? most_pending_input : 0; }

void CommandRun::feed(std::string_view bytes) {
  pending_input_ += bytes;
  write_input();
}

void CommandRun::end_input() {
  input_ends_ = true;
  write_input();
}

void CommandRun::write_input() {
  if (state_ == State::QUEUED || state_ == State::STARTING) return;
  const bool had_none = pending_input_.empty();
  while (child_ != nullptr && child_->input && !pending_input_.empty()) {
    const ssize_t written = sys::write(child_->input.get(), pending_input_.data(), pending_input_.size());
    if (written < 0 && errno == EAGAIN) {
      input_watch_.set_interest(EPOLLOUT);
      return;
    }
    if (written < 0) {  // EPIPE: the command reads no more
      close_pipe(child_->input, input_watch_);
      break;
    }
    pending_input_.erase(0, static_cast<std::size_t>(written));
  }
  if (child_ == nullptr || !child_->input) {
    pending_input_.clear();  // nobody takes it: the body is read and dropped
  } else {
    input_watch_.set_interest(0);
    if (input_ends_) close_pipe(child_->input, input_watch_);
  }
  if (!had_none) owner_.on_run_input_room();
}

void CommandRun::on_input(std::uint32_t /*events*/) { write_input(); }

// --- output

void CommandRun::on_output(std::uint32_t /*events*/) {
  if (take(output_)) return;
  finish_if_done();
}

void CommandRun::on_errors(std::uint32_t /*events*/) {
  if (take(errors_)) return;
  finish_if_done();
}

bool CommandRun::take(Outlet& outlet) {
  constexpr std::size_t splice_size = 1U << 20U;
  UniqueFd& pipe = child_.get()->*outlet.pipe;
  const std::uint64_t kept = output_.spool.size() + errors_.spool.size();
  const std::uint64_t room =
      plan_.role->settings.max_output - std::min(kept, plan_.role->settings.max_output);
  if (outlet.spool.in_file() && room > 0 && !truncated_) {
    const auto moved = outlet.spool.splice_from(
        pipe.get(), static_cast<std::size_t>(std::min<std::uint64_t>(room, splice_size)));
    if (moved) {
      if (*moved == 0) close_pipe(pipe, outlet.watch);
      return *moved > 0;
    }
    if (moved.error().number == EAGAIN) return false;
    truncated_ = true;  // the spool can take no more: say so, and let the command go on
  }
  thread_local std::array<char, 64 * 1024> scratch;
  const ssize_t got = sys::read(pipe.get(), scratch.data(), scratch.size());
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) {
    close_pipe(pipe, outlet.watch);
    return false;
  }
  const std::string_view bytes{scratch.data(), static_cast<std::size_t>(got)};
  if (plan_.output == Output::live) {
    owner_.on_run_output(outlet.stream, bytes);
  } else {
    keep(outlet, bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(room, bytes.size()))));
    if (bytes.size() > room) truncated_ = true;
  }
  return true;
}

void CommandRun::keep(Outlet& outlet, std::string_view bytes) {
  if (bytes.empty() || truncated_) return;
  const bool was_in_file = outlet.spool.in_file();
  if (!outlet.spool.append(bytes)) {
    truncated_ = true;
    return;
  }
  if (!was_in_file && outlet.spool.in_file()) {
    // Much output: larger moves from now on (refused over pipe-user-pages-soft, which is fine).
    static_cast<void>(sys::fcntl((child_.get()->*outlet.pipe).get(), F_SETPIPE_SZ, 1L << 20U));
  }
}

void CommandRun::pause_output() {
  output_paused_ = true;
  if (output_.watch.started()) output_.watch.set_interest(0);
  if (errors_.watch.started()) errors_.watch.set_interest(0);
}

void CommandRun::resume_output() {
  output_paused_ = false;
  if (output_.watch.started()) output_.watch.set_interest(EPOLLIN);
  if (errors_.watch.started()) errors_.watch.set_interest(EPOLLIN);
}

void CommandRun::close_pipe(UniqueFd& pipe, Watch& watch) {
  watch.stop();
  pipe.reset();
}

// --- the end

void CommandRun::on_ended(std::uint32_t /*events*/) {
  const auto status = child_->reap();
  if (!status) return;
  ended_watch_.stop();
  state_ = State::DRAINING;
  if (!ending_early_) {
    reason_ = status->signalled ? RunReason::signalled : RunReason::exited;
  }
  exit_ = *status;
  if (child_->input) close_pipe(child_->input, input_watch_);
  if (!pending_input_.empty()) {
    pending_input_.clear();
    owner_.on_run_input_room();
  }
  // What holds the pipes open now are descendants: they have kill_grace, then they are killed.
  timer_.arm(services_.reactor.now() + plan_.role->settings.kill_grace);
  finish_if_done();
}

void CommandRun::finish_if_done() {
  if (state_ == State::DRAINING && !child_->output && !child_->errors) finish();
}

void CommandRun::finish() {
  state_ = State::DONE;
  timer_.disarm();
  slot_ = {};
  const auto duration = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_);
  owner_.on_run_end({.reason = reason_,
                     .value = exit_.value,
                     .truncated = truncated_,
                     .duration_ms = static_cast<std::uint64_t>(duration.count())});
}

void CommandRun::end_early(RunReason reason) {
  if (ending_early_ || state_ == State::DONE || state_ == State::DRAINING) return;
  ending_early_ = true;
  reason_ = reason;
  if (state_ == State::QUEUED) {
    place_ = {};
    started_ = services_.reactor.now();
    finish();
    return;
  }
  if (state_ == State::STARTING) return;  // on_started() goes on with it
  signal_tree(SIGTERM);
  timer_.arm(services_.reactor.now() + plan_.role->settings.kill_grace);
}

void CommandRun::signal_tree(int signal) {
  signalling_ = services_.pool.submit(
      services_.reactor,
      [tree = child_->tree(), signal] {
        tree.signal_all(signal);
        return signal;
      },
      [this](int sent) {
        if (sent != SIGKILL || state_ != State::DRAINING) return;
        // Everything that could write is dead: what the pipes still hold is all there is.
        while (child_->output && take(output_)) {
        }
        while (child_->errors && take(errors_)) {
        }
        finish();
      });
}

void CommandRun::on_timer() {
  switch (state_) {
    case State::QUEUED:
      place_ = {};
      fail_with({.status = Status::busy,
                 .message = "max_exec commands are running, and none has ended within queue_timeout",
                 .retry_after_ms = 1000});
      return;
    case State::RUNNING:
      if (!ending_early_) {
        end_early(RunReason::timeout);
        return;
      }
      [[fallthrough]];
    case State::DRAINING:
      // One that has not begun yet is not replaced, or a slow pool would never come to any.
      if (!killed_ || !signalling_.pending()) signal_tree(SIGKILL);
      killed_ = true;
      // Again and again until the end: a tree may grow while it is killed.
      timer_.arm(services_.reactor.now() + std::chrono::seconds{1});
      return;
    case State::STARTING:
    case State::DONE: return;
  }
}

}  // namespace ftpd
