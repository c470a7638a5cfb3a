// The benchmark program: chooses rows, and leaves neither files nor processes behind, even when interrupted.
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>

#include "rows.h"

namespace {

using namespace std::chrono_literals;

constexpr bench::Scale full_scale{.rounds = 7,
                                  .bytes = 1ULL << 30,
                                  .window = 1000ms,
                                  .budget = 15s,
                                  .load_window = 5s,
                                  .load_rounds = 5,
                                  .idle_connections = 10000,
                                  .small_files = 10000,
                                  .digest_bytes = 1ULL << 30,
                                  .disk_bytes = 16ULL << 30};
constexpr bench::Scale brief_scale{.rounds = 3,
                                   .bytes = 1ULL << 28,
                                   .window = 300ms,
                                   .budget = 2s,
                                   .load_window = 1500ms,
                                   .load_rounds = 2,
                                   .idle_connections = 2000,
                                   .small_files = 2000,
                                   .digest_bytes = 1ULL << 29,
                                   .disk_bytes = 4ULL << 30};

struct Row {
  std::string_view name;
  void (*measure)(const bench::Settings&);
};
constexpr std::array rows{Row{"upload", bench::upload_row},
                          Row{"download", bench::download_row},
                          Row{"output", bench::output_row},
                          Row{"ping", bench::ping_row},
                          Row{"exec", bench::exec_row},
                          Row{"latency", bench::latency_row},
                          Row{"memory", bench::memory_row},
                          Row{"small", bench::small_row},
                          Row{"small-peers", bench::small_peers_row},
                          Row{"small-durable", bench::small_durable_row},
                          Row{"tree", bench::tree_row},
                          Row{"sha256", bench::sha256_row},
                          Row{"latency-durable", bench::latency_durable_row}};

constexpr std::string_view usage = R"(usage: bench [--short] (--ftpd PATH | --calibrate) [ROW...]
  rows: upload download output ping exec latency memory
        small small-peers small-durable tree sha256 latency-durable (default: all)
  --short      small and quick: shows that everything works, not what it can do
  --calibrate  the peer of the transfers stands in for ftpd: how far the machine's noise moves a ratio of 1
  exit status: 0 measured (a missed reach is printed, `below`), 1 a measurement is broken, 2 usage
)";

struct Request {
  bench::Settings settings;
  std::vector<Row> rows;
};

std::optional<Request> parse(std::span<char*> arguments) {
  Request request{.settings = {.scale = full_scale, .ftpd = {}, .directory = {}, .disk = {}}, .rows = {}};
  bool subject_named = false;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const auto row = std::ranges::find(rows, argument, &Row::name);
    if (argument == "--short") {
      request.settings.scale = brief_scale;
    } else if (argument == "--ftpd" && i + 1 < arguments.size()) {
      request.settings.ftpd = arguments[++i];
      subject_named = true;
    } else if (argument == "--calibrate") {
      subject_named = true;
    } else if (row != rows.end()) {
      request.rows.push_back(*row);
    } else {
      return std::nullopt;
    }
  }
  if (request.rows.empty()) request.rows.assign(rows.begin(), rows.end());
  return subject_named ? std::optional(request) : std::nullopt;
}

/// Every row even if an earlier one broke: one broken measurement does not hide the others.
int measure(const Request& request) {
  int status = 0;
  bench::print_heading();
  for (const auto& row : request.rows) {
    try {
      row.measure(request.settings);
    } catch (const std::exception& error) {
      std::fflush(stdout);
      fmt::print(stderr, "bench: {}: broken measurement: {}\n", row.name, error.what());
      status = 1;
    }
  }
  return status;
}

/// On a memory file system where there is one: a disk would be all that is measured.
std::filesystem::path make_directory() {
  std::string path =
      ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/ftpd-bench-XXXXXX" : "/tmp/ftpd-bench-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) throw bench::Broken("mkdtemp");
  return path;
}

bool in_memory(const std::filesystem::path& path) {
  struct statfs status{};
  return ::statfs(path.c_str(), &status) == 0 &&
         (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

/// In TMPDIR, or else beside the daemon's program, or else in /var/tmp: the first that is on a disk. Empty
/// when none is.
std::filesystem::path make_disk_directory(const std::filesystem::path& program) {
  const char* temporary = std::getenv("TMPDIR");
  const std::array<std::filesystem::path, 3> candidates{temporary == nullptr ? "" : temporary,
                                                        program.parent_path(), "/var/tmp"};
  for (const auto& parent : candidates) {
    if (parent.empty() || in_memory(parent)) continue;
    std::string path = parent / "ftpd-bench-XXXXXX";
    if (::mkdtemp(path.data()) != nullptr) return std::filesystem::absolute(path);
  }
  return {};
}

/// Waits until no process that a measurement left to us (it was killed, say) is there any more.
void reap_orphans() {
  const auto end = bench::Clock::now() + 10s;
  while (true) {
    const pid_t pid = ::waitpid(-1, nullptr, WNOHANG);
    if (pid < 0 && errno == ECHILD) return;
    if (pid > 0) continue;
    if (bench::Clock::now() > end) break;
    std::this_thread::sleep_for(10ms);
  }
  fmt::print(stderr, "bench: a process is left behind\n");
}

void remove_directory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) fmt::print(stderr, "bench: {} is left behind: {}\n", directory.string(), error.message());
}

volatile std::sig_atomic_t measuring_pid = 0;

extern "C" void stop_measuring(int) {
  if (measuring_pid > 0) ::kill(measuring_pid, SIGKILL);
}

/// The measurement runs in a child; whatever ends it (a signal to us, too), its processes follow it into
/// death and this one removes its files.
int supervise(Request& request) {
  request.settings.directory = make_directory();
  request.settings.disk = make_disk_directory(request.settings.ftpd);
  bench::check(::prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
  const auto child = bench::Process::run([&] { ::_exit(measure(request)); }).release();
  measuring_pid = child;
  struct sigaction action{};
  action.sa_handler = stop_measuring;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);

  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  measuring_pid = 0;
  reap_orphans();
  remove_directory(request.settings.directory);
  if (!request.settings.disk.empty()) remove_directory(request.settings.disk);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  auto request = parse(std::span(argv, static_cast<std::size_t>(argc)));
  if (!request) {
    fmt::print(stderr, "{}", usage);
    return 2;
  }
  try {
    return supervise(*request);
  } catch (const bench::Broken& error) {
    fmt::print(stderr, "bench: {}\n", error.what());
    return 1;
  }
}
