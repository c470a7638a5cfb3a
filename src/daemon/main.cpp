// ftpd(8): wires everything, decides nothing.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/log.h"
#include "base/sys.h"
#include "config/options.h"
#include "exec/descendants.h"
#include "exec/spawner.h"
#include "reactor/signals.h"
#include "server/role.h"
#include "server/server.h"

namespace ftpd {
namespace {

enum ExitStatus : int { stopped = 0, failed = 1, bad_usage = 2 };

/// How long commands and replies have to end once `drain_timeout` is over: a command may use its
/// kill_grace, and its last words have to go out.
Duration last_moments(const Settings& settings) {
  Duration longest{};
  for (const auto& [name, role] : settings.roles) longest = std::max(longest, role.kill_grace);
  return longest + std::chrono::seconds{1};
}

/// Drains at the first SIGTERM or SIGINT, stops at the second.
class Lifecycle {
 public:
  Lifecycle(Reactor& reactor, Server& server, const Settings& settings)
      : reactor_(reactor),
        server_(server),
        drain_timeout_(settings.server.drain_timeout),
        last_moments_(last_moments(settings)),
        timer_(reactor, Callback<void()>::to<&Lifecycle::on_timer>(*this)) {}

  void on_signal(int signal) {
    if (signal == SIGHUP) {
      log::write(log::Level::warning, "reload is not built in this version; restart to apply new settings");
      return;
    }
    if (draining_) {
      log::write(log::Level::info, "stopping at once");
      reactor_.stop();
      return;
    }
    draining_ = true;
    log::write(log::Level::info, "draining", {{"signal", ::strsignal(signal)}});
    sd_notify(0, "STOPPING=1");
    timer_.arm(deadline_after(reactor_.now(), drain_timeout_));
    server_.drain([this] { reactor_.stop(); });
  }

 private:
  void on_timer() {
    if (over_time_) {
      reactor_.stop();
      return;
    }
    over_time_ = true;
    log::write(log::Level::warning, "drain_timeout is over");
    server_.shut_down();
    timer_.arm(reactor_.now() + last_moments_);
  }

  Reactor& reactor_;
  Server& server_;
  Duration drain_timeout_;
  Duration last_moments_;
  Timer timer_;
  bool draining_ = false;
  bool over_time_ = false;
};

/// Descriptors 0, 1 and 2 exist, so that none of ours is taken for a standard stream.
void occupy_standard_streams() {
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) {
    if (sys::fcntl(fd, F_GETFD) < 0) static_cast<void>(::open("/dev/null", O_RDWR));
  }
}

/// Raises the limit of open files to what is allowed, and keeps max_connections below it.
void fit_to_open_files(ServerSettings& settings) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0 && ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  // Files, pipes and commands need descriptors, too.
  const rlim_t reserve = std::min<rlim_t>(512, limit.rlim_cur / 4 + 16);
  const rlim_t room = limit.rlim_cur > reserve ? limit.rlim_cur - reserve : 1;
  if (settings.max_connections <= room) return;
  log::write(
      log::Level::warning, "max_connections is lowered to fit the limit of open files",
      {{"max_connections", settings.max_connections}, {"lowered_to", room}, {"open_files", limit.rlim_cur}});
  settings.max_connections = static_cast<unsigned>(room);
}

int report(const Problems& problems) {
  for (const Problem& problem : problems) std::fprintf(stderr, "%s\n", problem.message().c_str());
  return bad_usage;
}

int fail_to_start(const Error& error) {
  log::write(log::Level::error, "can't start", {{"reason", error.text}});
  return failed;
}

int serve(const LoadedSettings& loaded) {
  auto roles = open_roles(loaded);
  if (!roles) return report(roles.error());
  auto settings = std::make_shared<Settings>(loaded.settings);
  log::set_level(settings->server.log);
  fit_to_open_files(settings->server);

  const auto signals = {SIGTERM, SIGINT, SIGHUP};
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the process's limit is an error of one upload (EFBIG)
  block_signals({SIGTERM, SIGINT, SIGHUP, SIGCHLD});

  auto reactor = Reactor::create();
  if (!reactor) return fail_to_start(reactor.error());
  const unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
  auto server = std::unique_ptr<Server>{};
  auto pool = std::make_unique<Offload>(std::max(4U, 2 * cpus));
  auto descendants = Descendants::create(**reactor, *pool);
  if (!descendants) return fail_to_start(descendants.error());
  // Each of its threads sleeps while a child is on its way to exec (vfork(2)), so there are more than CPUs.
  auto spawner = std::make_unique<ThreadSpawner>(4 * cpus, **descendants);

  server =
      std::make_unique<Server>(settings, std::move(*roles),
                               Server::Shared{.main_reactor = **reactor, .pool = *pool, .spawner = *spawner});
  Lifecycle lifecycle(**reactor, *server, *settings);
  auto watched = Signals::create(**reactor, signals, Signals::Handler::to<&Lifecycle::on_signal>(lifecycle));
  if (!watched) return fail_to_start(watched.error());

  int status = stopped;
  if (auto started = server->start(); !started) {
    status = fail_to_start(started.error());
  } else {
    sd_notify(0, "READY=1");
    if (auto ended = (*reactor)->run(); !ended) status = fail_to_start(ended.error());
    if (server->failed()) status = failed;
  }

  // Loops first, then whoever works for them; what comes too late is dropped while commands can still
  // be ended; the loops' memory last.
  server->stop();
  spawner.reset();
  server->forget_results();
  (*descendants)->kill_everything(Clock::now() + std::chrono::seconds{3});
  descendants->reset();
  pool.reset();
  server->forget_results();
  log::write(log::Level::info, "stopped");
  return status;
}

int check_only(const LoadedSettings& loaded) {
  if (auto roles = open_roles(loaded); !roles) return report(roles.error());
  std::puts("the settings are fine");
  return stopped;
}

int run(int argc, char** argv) {
  auto options = parse_options(argc, argv);
  if (!options) {
    std::fputs(options.error().text.c_str(), options.error().status == 0 ? stdout : stderr);
    return options.error().status;
  }
  auto loaded = load_settings(*options, check_rules);
  if (!loaded) return report(loaded.error());
  switch (options->action) {
    case Options::Action::check_config: return check_only(*loaded);
    case Options::Action::print_config:
      std::fputs(print_settings(loaded->settings).c_str(), stdout);
      return stopped;
    case Options::Action::run: return serve(*loaded);
  }
  return stopped;
}

}  // namespace
}  // namespace ftpd

int main(int argc, char** argv) {
  ftpd::occupy_standard_streams();
  ::umask(022);  // of directories made on the way, and of commands: whatever the daemon was started from
  return ftpd::run(argc, argv);
}
