// The text dialect: each line is a command for the shell. See ftpd-protocol(7), "Text dialect".
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "ftpd/text_line.h"
#include "server/command_run.h"
#include "server/connection.h"
#include "server/session.h"

namespace ftpd {

/// Owned by its Connection. One command runs at a time; lines that arrive meanwhile wait their turn.
class TextSession final : public Session, public RunOwner {
 public:
  explicit TextSession(Connection& connection);

  void consume(Buffer& input, Turn& turn) override;
  [[nodiscard]] bool wants_input() const override { return true; }
  void on_end_of_input(Buffer& input) override;
  void on_reset() override;
  void on_output_room() override;
  void on_stall() override;
  void on_shutdown() override;
  [[nodiscard]] Awaiting awaiting() const override;
  [[nodiscard]] bool idle() const override { return run_ == nullptr; }

 private:
  void on_idle();
  void mind_the_clock(std::string_view unread);
  /// False: no line, nothing to do now.
  bool act(const TextLines::Outcome& outcome);
  void run_line(std::string_view line);
  void note(const Failure& failure);
  void say(const Failure& failure);
  void reply(std::string bytes);
  void send_spooled(const Spool& spool);
  void refuse_and_close(const Failure& failure);
  void drop_run();

  void on_run_failed(const Failure& failure) override;
  void on_run_output(OutputStream stream, std::string_view bytes) override;
  void on_run_end(const RunEnd& end) override;
  void on_run_input_room() override {}

  Connection& connection_;
  TextLines lines_;
  Timer idle_clock_;
  std::size_t clock_set_at_ = 0;  // how much was unread when the clock was set
  std::string line_;              // that runs, for the log
  std::unique_ptr<CommandRun> run_;
};

}  // namespace ftpd
