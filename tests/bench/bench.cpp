// Processes and figures of the benchmarks; sockets and frames are in socket.cpp.
#include "bench.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bench {

ssize_t check(ssize_t result, std::string_view what) {
  if (result < 0) throw Broken(fmt::format("{}: {}", what, std::strerror(errno)));
  return result;
}

UniqueFd check_fd(int fd, std::string_view what) {
  check(fd, what);
  return UniqueFd(fd);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// --- processes
// ----------------------------------------------------------------------------------------------

namespace {

constexpr milliseconds stop_limit{5000};

/// Whether the child `pid` ended within `limit`; it is left to be reaped.
bool ends_within(pid_t pid, milliseconds limit) {
  const auto pidfd = check_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), "pidfd_open");
  pollfd watch{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&watch, 1, static_cast<int>(limit.count())) == 1;
}

/// In the child: follow the parent into death, even if that came between fork and here.
void die_with_parent(pid_t parent, int signal) {
  ::prctl(PR_SET_PDEATHSIG, signal);
  if (::getppid() != parent) ::_exit(1);
}

}  // namespace

Process Process::execute(const std::vector<std::string>& argv, const std::filesystem::path& log) {
  const auto output =
      check_fd(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), log.string());
  std::vector<char*> pointers;
  for (const auto& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);

  const pid_t parent = ::getpid();
  const auto pid = static_cast<pid_t>(check(::fork(), "fork"));
  if (pid == 0) {
    die_with_parent(parent, SIGTERM);
    std::signal(SIGPIPE, SIG_DFL);
    ::dup2(output.get(), STDOUT_FILENO);
    ::dup2(output.get(), STDERR_FILENO);
    ::execvp(pointers[0], pointers.data());
    ::_exit(127);
  }
  return Process(pid);
}

Process Process::run(const std::function<void()>& body) {
  std::fflush(stdout);
  const pid_t parent = ::getpid();
  const auto pid = static_cast<pid_t>(check(::fork(), "fork"));
  if (pid == 0) {
    die_with_parent(parent, SIGKILL);
    try {
      body();
    } catch (const std::exception& error) {
      fmt::print(stderr, "bench: a peer failed: {}\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  return Process(pid);
}

bool Process::alive() const {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

void Process::join(milliseconds limit) {
  if (!ends_within(pid_, limit)) throw Broken(fmt::format("process {} did not end", pid_));
  int status = 0;
  check(::waitpid(std::exchange(pid_, -1), &status, 0), "waitpid");
  if (status != 0) throw Broken(fmt::format("a process ended with wait status {:#x}", status));
}

Process::~Process() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGTERM);
  try {
    if (!ends_within(pid_, stop_limit)) ::kill(pid_, SIGKILL);
  } catch (const Broken&) {
    ::kill(pid_, SIGKILL);
  }
  ::waitpid(pid_, nullptr, 0);
}

std::filesystem::path find_program(std::string_view program) {
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    const auto candidate = std::filesystem::path(rest.substr(0, end)) / program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

// --- files
// ------------------------------------------------------------------------------------------------

std::filesystem::path fresh_directory(const std::filesystem::path& parent) {
  static int number = 0;
  auto path = parent / fmt::format("new-{}", ++number);
  if (!std::filesystem::create_directory(path)) throw Broken(fmt::format("{} exists", path.string()));
  return path;
}

// --- figures
// ------------------------------------------------------------------------------------------------

Scale Scale::on_disk() const {
  Scale scale = *this;
  scale.rounds = std::min(rounds, 3);
  scale.budget = 4 * budget;
  return scale;
}

std::vector<Sample> interleave(const Scale& scale, const std::function<double()>& ours,
                               const std::function<double()>& peer) {
  const auto end = Clock::now() + scale.budget;
  std::vector<Sample> samples;
  for (int round = 0; round < scale.rounds && (round == 0 || Clock::now() < end); ++round) {
    Sample sample{};
    if (round % 2 == 0) {
      sample.ours = ours();
      sample.peer = peer();
    } else {
      sample.peer = peer();
      sample.ours = ours();
    }
    samples.push_back(sample);
  }
  return samples;
}

double median(std::vector<double> values) {
  if (values.empty()) throw Broken("a figure without a measurement");
  std::ranges::sort(values);
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double percentile(std::vector<double> values, double fraction) {
  if (values.empty()) throw Broken("a figure without a measurement");
  std::ranges::sort(values);
  const auto rank = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

namespace {

std::string shown(double value, Unit unit) {
  switch (unit) {
    case Unit::bytes_per_second: return fmt::format("{:.2f} GB/s", value / 1e9);
    case Unit::per_second:
      return value < 1e5 ? fmt::format("{:.0f}/s", value) : fmt::format("{:.0f}k/s", value / 1e3);
    case Unit::seconds:
      return value < 1e-3 ? fmt::format("{:.0f} us", value * 1e6) : fmt::format("{:.2f} ms", value * 1e3);
    case Unit::bytes: return fmt::format("{:.0f} B", value);
  }
  return {};
}

std::string shown(Reach reach, double bound) {
  switch (reach) {
    case Reach::none: return "-";
    case Reach::at_least: return fmt::format(">= {:.2f}", bound);
    case Reach::at_most: return fmt::format("<= {:.2f}", bound);
  }
  return {};
}

std::string_view verdict(Reach reach, double ratio, double bound) {
  switch (reach) {
    case Reach::none: return "";
    case Reach::at_least: return ratio >= bound ? "ok" : "below";
    case Reach::at_most: return ratio <= bound ? "ok" : "below";
  }
  return {};
}

constexpr std::string_view columns = "{:<38} {:>10} {:>10}  {:<16} {:>6}  {:>7}  {:<11} {}\n";

}  // namespace

void print_heading() {
  fmt::print("medians of rounds; spread: lowest and highest ratio of a round; below: the reach is missed\n");
  fmt::print(columns, "what", "ours", "peer", "(which)", "ratio", "reach", "spread", "");
}

void print(const Figure& figure) {
  std::vector<double> ours;
  std::vector<double> peer;
  std::vector<double> ratios;
  for (const auto& sample : figure.samples) {
    ours.push_back(sample.ours);
    peer.push_back(sample.peer);
    ratios.push_back(sample.ours / sample.peer);
  }
  const double ratio = median(ratios);
  fmt::print(columns, figure.what, shown(median(ours), figure.unit), shown(median(peer), figure.unit),
             figure.peer, fmt::format("{:.2f}", ratio), shown(figure.reach, figure.bound),
             fmt::format("{:.2f}-{:.2f}", std::ranges::min(ratios), std::ranges::max(ratios)),
             verdict(figure.reach, ratio, figure.bound));
  std::fflush(stdout);
}

void print_note(std::string_view text) {
  fmt::print("  note: {}\n", text);
  std::fflush(stdout);
}

}  // namespace bench
