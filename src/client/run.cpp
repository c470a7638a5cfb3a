// From options to an exit status.
#include "client/run.h"

#include "client/verbs.h"

namespace ftpd::client {
namespace {

Outcome<int> without_status(Outcome<void> done) {
  if (!done) return std::unexpected(std::move(done.error()));
  return exit_done;
}

/// The exit status of a command that ran, or that says more than the report; else 0.
Outcome<int> run_verb(const Session& session) {
  const bool frames = session.options.dialect == OldDialect::none;
  switch (session.options.verb) {
    case Verb::put: return without_status(frames ? run_put(session) : run_old_put(session));
    case Verb::get:
      return session.options.growth == Growth::followed ? run_follow(session)
                                                        : without_status(run_get(session));
    case Verb::ls: return without_status(run_ls(session));
    case Verb::stat: return without_status(run_stat(session));
    case Verb::sum: return without_status(run_sum(session));
    case Verb::rm: return without_status(run_rm(session));
    case Verb::mv: return without_status(run_mv(session));
    case Verb::mkdir: return without_status(run_mkdir(session));
    case Verb::rmdir: return without_status(run_rmdir(session));
    case Verb::df: return without_status(run_df(session));
    case Verb::exec: return frames ? run_exec(session) : without_status(run_old_exec(session));
    case Verb::ping: return without_status(run_ping(session));
    case Verb::hello: return without_status(run_hello(session));
    case Verb::stats: return without_status(run_stats(session));
    case Verb::raw: return without_status(run_raw(session));
  }
  return exit_usage;
}

}  // namespace

Outcome<std::unique_ptr<Connection>> connect(const Session& session) {
  auto socket = dial(session.options.address);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return std::make_unique<Connection>(std::move(*socket), session.options.address);
}

int run(const Options& options) {
  Progress progress{options};
  Report report{options, progress};
  const auto status = run_verb({options, report, progress});
  if (!status) report.failed({}, status.error());
  if (const auto written = report.flush(); !written) report.explain({}, written.error());
  return status && *status != exit_done ? *status : report.status();
}

}  // namespace ftpd::client
