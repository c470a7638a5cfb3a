// What each verb of the command line does, one function each.
#pragma once

#include <memory>

#include "client/connection.h"
#include "client/options.h"
#include "client/outcome.h"
#include "client/progress.h"
#include "client/report.h"

namespace ftpd::client {

/// What a verb works with; borrowed from main().
struct Session {
  const Options& options;
  Report& report;
  Progress& progress;
};

/// A connection to the address of the options, for the frame dialect.
[[nodiscard]] Outcome<std::unique_ptr<Connection>> connect(const Session& session);

// Each does its whole work. What fails for one file, or is refused, goes to the report and the work goes
// on; a Failure is what ended it.
[[nodiscard]] Outcome<void> run_put(const Session& session);
[[nodiscard]] Outcome<void> run_get(const Session& session);
[[nodiscard]] Outcome<void> run_ls(const Session& session);
[[nodiscard]] Outcome<void> run_stat(const Session& session);
[[nodiscard]] Outcome<void> run_sum(const Session& session);
[[nodiscard]] Outcome<void> run_rm(const Session& session);
[[nodiscard]] Outcome<void> run_mv(const Session& session);
[[nodiscard]] Outcome<void> run_mkdir(const Session& session);
[[nodiscard]] Outcome<void> run_rmdir(const Session& session);
[[nodiscard]] Outcome<void> run_df(const Session& session);
[[nodiscard]] Outcome<void> run_ping(const Session& session);
[[nodiscard]] Outcome<void> run_hello(const Session& session);
[[nodiscard]] Outcome<void> run_stats(const Session& session);
[[nodiscard]] Outcome<void> run_raw(const Session& session);
// put and get where --resume says so.
[[nodiscard]] Outcome<void> run_resumed_put(const Session& session);
[[nodiscard]] Outcome<void> run_resumed_get(const Session& session);
/// get -r.
[[nodiscard]] Outcome<void> run_get_tree(const Session& session);
/// get --follow; exit_interrupted where the user ended it.
[[nodiscard]] Outcome<int> run_follow(const Session& session);
/// The command's exit status where it ran.
[[nodiscard]] Outcome<int> run_exec(const Session& session);

// The same for servers that know no frames.
[[nodiscard]] Outcome<void> run_old_put(const Session& session);
[[nodiscard]] Outcome<void> run_old_exec(const Session& session);

}  // namespace ftpd::client
