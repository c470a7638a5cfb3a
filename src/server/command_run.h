// One command from the queue to its end: its turn, its child, its pipes, its deadlines.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "exec/spawner.h"
#include "reactor/timer.h"
#include "server/command_queue.h"
#include "server/operation.h"
#include "server/spool.h"

namespace ftpd {

enum class RunReason : std::uint8_t { exited, signalled, timeout, cancelled, shutdown };

[[nodiscard]] std::string_view name(RunReason reason);

struct RunEnd {
  RunReason reason = RunReason::exited;
  int value = 0;  // exit status or signal
  bool truncated = false;
  std::uint64_t duration_ms = 0;
};

enum class OutputStream : std::uint8_t { standard_output, standard_error };

/// Where a run's events go. Called on the loop; the owner may destroy the run in on_run_failed() and
/// on_run_end() only through Reactor::defer.
class RunOwner {
 public:
  /// It never started: `busy`, `not_found`, `denied` …
  virtual void on_run_failed(const Failure& failure) = 0;
  /// Live runs only: output as it comes. An owner with more than enough unsent calls pause_output().
  virtual void on_run_output(OutputStream stream, std::string_view bytes) = 0;
  /// All output has been taken, and the command has ended.
  virtual void on_run_end(const RunEnd& end) = 0;
  /// feed() has room again.
  virtual void on_run_input_room() = 0;

 protected:
  ~RunOwner() = default;
};

/// Destroyed before its end, it takes the command and all its descendants along (Child).
class CommandRun {
 public:
  enum class Output : std::uint8_t {
    kept,  // spooled, stdout and stderr apart, up to max_output together
    live,  // given to the owner as it comes
  };
  struct Plan {
    Command command;
    std::shared_ptr<const Role> role;
    Duration timeout{};  // zero: none
    Output output = Output::kept;
  };

  CommandRun(LoopServices& services, RunOwner& owner, Plan plan);
  ~CommandRun();
  CommandRun(const CommandRun&) = delete;
  CommandRun& operator=(const CommandRun&) = delete;

  /// Takes its turn (or a place in the queue), then starts the command.
  void start();

  /// The owner goes before the run does: it is told nothing more. What runs goes on until the run is
  /// destroyed.
  void detach();

  // Standard input. feed() takes all it is given; give it no more than input_room().
  [[nodiscard]] std::size_t input_room() const;
  void feed(std::string_view bytes);
  void end_input();

  /// Ends the command for this reason: SIGTERM, after kill_grace SIGKILL, to every descendant. Only
  /// the first reason counts.
  void end_early(RunReason reason);

  /// Live runs: stop taking output, go on taking it.
  void pause_output();
  void resume_output();

  [[nodiscard]] Spool& stdout_spool() { return output_.spool; }
  [[nodiscard]] Spool& stderr_spool() { return errors_.spool; }

 private:
  /// QUEUED -> STARTING -> RUNNING -> (the child has ended) DRAINING -> DONE
  enum class State : std::uint8_t { QUEUED, STARTING, RUNNING, DRAINING, DONE };

  static constexpr std::size_t most_pending_input = 64 * 1024;

  void spawn(CommandQueue::Slot slot);
  void on_started(Result<std::unique_ptr<Child>> child);
  void on_output(std::uint32_t events);
  void on_errors(std::uint32_t events);
  void on_input(std::uint32_t events);
  void on_ended(std::uint32_t events);
  void on_timer();

  /// One of the command's output pipes, and where its bytes go.
  struct Outlet {
    OutputStream stream;
    UniqueFd Child::* pipe;
    Spool spool;
    Watch watch{};
  };
  /// False: nothing more to read now.
  [[nodiscard]] bool take(Outlet& outlet);
  void keep(Outlet& outlet, std::string_view bytes);
  void close_pipe(UniqueFd& pipe, Watch& watch);
  void signal_tree(int signal);
  void finish_if_done();
  void finish();
  void fail_with(const Failure& failure);
  void write_input();

  LoopServices& services_;
  RunOwner& owner_;
  Plan plan_;
  State state_ = State::QUEUED;
  RunReason reason_ = RunReason::exited;
  ExitStatus exit_;
  bool ending_early_ = false;
  bool killed_ = false;
  bool truncated_ = false;
  bool input_ends_ = false;
  bool output_paused_ = false;
  CommandQueue::Place place_;
  CommandQueue::Slot slot_;
  Job starting_;
  Job signalling_;
  std::unique_ptr<Child> child_;
  Outlet output_;
  Outlet errors_;
  Watch input_watch_;
  Watch ended_watch_;
  Timer timer_;
  TimePoint started_;
  std::string pending_input_;
};

}  // namespace ftpd
