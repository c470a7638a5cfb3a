// Commands as they start, what they are given, and how they end.
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <sstream>

#include "exec/process_table.h"
#include "unit/exec_harness.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
}

struct TemporaryDirectory {
  TemporaryDirectory() {
    const char* const base = std::getenv("TMPDIR");
    path = std::string(base == nullptr ? "/tmp" : base) + "/ftpd-exec-XXXXXX";
    REQUIRE(::mkdtemp(path.data()) != nullptr);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

}  // namespace

TEST_CASE("standard output and standard error arrive apart") {
  Daemon daemon;
  const Outcome outcome = run(daemon, shell("echo one; echo two >&2; echo three"));
  CHECK(outcome.output == "one\nthree\n");
  CHECK(outcome.errors == "two\n");
  CHECK_FALSE(outcome.status.signalled);
  CHECK(outcome.status.value == 0);
}

TEST_CASE("merged, both arrive in the order written") {
  Daemon daemon;
  Command merged = shell("i=0; while [ $i -lt 200 ]; do echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); done");
  merged.merge = true;
  auto started = daemon.start(std::move(merged));
  REQUIRE(started);
  CHECK_FALSE((*started)->errors);
  CHECK_FALSE((*started)->input);
  Run running(daemon, std::move(*started));
  REQUIRE(daemon.drive([&] { return running.finished(); }));
  std::string expected;
  for (int i = 0; i < 200; ++i) expected += std::to_string(i) + "\n";
  CHECK(running.output == expected);
}

TEST_CASE("an output much larger than a pipe arrives whole") {
  Daemon daemon;
  const Outcome outcome = run(daemon, shell("head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2"));
  CHECK(outcome.output.size() == 5000000);
  CHECK(outcome.errors.size() == 3000000);
}

TEST_CASE("input larger than a pipe is fed and its end is seen") {
  Daemon daemon;
  std::string input(1 << 20, 'x');
  input += "end";
  Command cat = command({"cat"});
  cat.standard_input = true;
  const Outcome outcome = run(daemon, std::move(cat), input);
  CHECK(outcome.output == input);
}

TEST_CASE("without input a command reads /dev/null") {
  Daemon daemon;
  const Outcome outcome = run(daemon, shell("readlink /proc/$$/fd/0; cat; true"));
  CHECK(outcome.output == "/dev/null\n");
}

TEST_CASE("every exit status arrives") {
  Daemon daemon;
  std::deque<Run> runs;
  for (int status = 0; status < 256; ++status) {
    auto started = daemon.start(shell("exit " + std::to_string(status)));
    REQUIRE(started);
    runs.emplace_back(daemon, std::move(*started));
  }
  REQUIRE(daemon.drive([&] { return std::ranges::all_of(runs, &Run::finished); }));
  for (int status = 0; status < 256; ++status) {
    CHECK_FALSE(runs[static_cast<std::size_t>(status)].status->signalled);
    CHECK(runs[static_cast<std::size_t>(status)].status->value == status);
  }
}

TEST_CASE("the signal that ended a command arrives") {
  Daemon daemon;
  for (const int number : {SIGSEGV, SIGKILL, SIGTERM, SIGPIPE, SIGABRT, SIGRTMIN + 3}) {
    CAPTURE(number);
    const Outcome outcome =
        run(daemon, shell("ulimit -c 0; kill -" + std::to_string(number) + " $$; sleep 100"));
    CHECK(outcome.status.signalled);
    CHECK(outcome.status.value == number);
  }
}

TEST_CASE("reap answers nothing while the command runs, and the same ever after") {
  Daemon daemon;
  Command cat = command({"cat"});
  cat.standard_input = true;
  auto started = daemon.start(std::move(cat));
  REQUIRE(started);
  Child& child = **started;
  CHECK_FALSE(child.reap());
  child.input.reset();
  std::optional<ExitStatus> status;
  REQUIRE(daemon.drive([&] { return (status = child.reap()).has_value(); }));
  CHECK(status->value == 0);
  CHECK(child.reap()->value == 0);
}

TEST_CASE("what can't be started says why") {
  Daemon daemon;
  const TemporaryDirectory directory;
  const std::string script = directory.path + "/script";
  std::ofstream(script) << "no interpreter named";
  const std::size_t descriptors = open_descriptors();
  const auto reason = [&](Command wanted) {
    auto started = daemon.start(std::move(wanted));
    REQUIRE_FALSE(started);
    return started.error().reason;
  };
  CHECK(reason(command({"/no/such/program"})) == Reason::not_found);
  CHECK(reason(command({"no-such-program-anywhere"})) == Reason::not_found);
  CHECK(reason(command({script + "/below"})) == Reason::not_found);
  CHECK(reason(command({script})) == Reason::denied);
  CHECK(reason(command({directory.path})) == Reason::denied);
  REQUIRE(::chmod(script.c_str(), 0755) == 0);
  CHECK(reason(command({script})) == Reason::denied);
  CHECK(reason(command({})) == Reason::invalid);
  CHECK(reason(command({std::string("/bin/true\0x", 11)})) == Reason::invalid);
  CHECK(reason(command({"/bin/true", std::string(256 << 10, 'x')})) == Reason::too_large);
  Command nowhere = command({"/bin/true"});
  nowhere.directory.reset();
  CHECK(reason(std::move(nowhere)) == Reason::invalid);
  CHECK(open_descriptors() == descriptors);
  CHECK(daemon.descendants().alive() == 0);
}

TEST_CASE("a command runs in its directory, and finds its program from there") {
  Daemon daemon;
  const TemporaryDirectory directory;
  std::ofstream(directory.path + "/program") << "#!/bin/sh\npwd -P\n";
  REQUIRE(::chmod((directory.path + "/program").c_str(), 0755) == 0);
  Command here = command({"./program"});
  here.directory = open_directory(directory.path.c_str());
  CHECK(run(daemon, std::move(here)).output == std::filesystem::canonical(directory.path).string() + "\n");
}

TEST_CASE("no descriptor of the daemon is inherited") {
  Daemon daemon;
  const UniqueFd kept(::dup(STDOUT_FILENO));  // without close-on-exec
  const UniqueFd high(sys::fcntl(STDOUT_FILENO, F_DUPFD, 500));
  REQUIRE(high);
  Command lister = shell("ls /proc/$$/fd; true");
  lister.standard_input = true;
  CHECK(run(daemon, std::move(lister)).output == "0\n1\n2\n");
}

TEST_CASE("the command's ends of its pipes are blocking, the daemon's are not") {
  Daemon daemon;
  Command shown = shell("for fd in 0 1 2; do grep flags /proc/$$/fdinfo/$fd; done");
  shown.standard_input = true;
  auto started = daemon.start(std::move(shown));
  REQUIRE(started);
  for (const UniqueFd* fd : {&(*started)->input, &(*started)->output, &(*started)->errors}) {
    CHECK((sys::fcntl(fd->get(), F_GETFL) & O_NONBLOCK) != 0);
    CHECK((sys::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
  Run running(daemon, std::move(*started));
  REQUIRE(daemon.drive([&] { return running.finished(); }));
  const auto flags = lines(running.output);
  REQUIRE(flags.size() == 3);
  for (const std::string& line : flags) {
    const auto value = std::stoul(line.substr(line.find_first_of("0123456789")), nullptr, 8);
    CHECK((value & O_NONBLOCK) == 0);
  }
}

TEST_CASE("a daemon without standard descriptors starts commands all the same") {
  std::array<UniqueFd, 3> saved;
  for (int fd = 0; fd < 3; ++fd) {
    saved[static_cast<std::size_t>(fd)].reset(sys::fcntl(fd, F_DUPFD_CLOEXEC, 100));
    ::close(fd);
  }
  Outcome outcome;
  {
    Daemon daemon;
    // The reactor took the numbers; free them again for the pipes.
    Command cat = shell("cat; echo error >&2");
    cat.standard_input = true;
    outcome = run(daemon, std::move(cat), "input");
  }
  for (int fd = 0; fd < 3; ++fd) {
    if (saved[static_cast<std::size_t>(fd)]) ::dup2(saved[static_cast<std::size_t>(fd)].get(), fd);
  }
  CHECK(outcome.output == "input");
  CHECK(outcome.errors == "error\n");
}

TEST_CASE("pipes that get the numbers of the standard descriptors are moved away from them") {
  Daemon daemon;
  std::array<UniqueFd, 3> saved;
  for (int fd = 0; fd < 3; ++fd) {
    saved[static_cast<std::size_t>(fd)].reset(sys::fcntl(fd, F_DUPFD_CLOEXEC, 100));
    ::close(fd);
  }
  Command cat = shell("cat; echo error >&2; ls /proc/$$/fd; true");
  cat.standard_input = true;
  const Outcome outcome = run(daemon, std::move(cat), "input\n");
  for (int fd = 0; fd < 3; ++fd) {
    if (saved[static_cast<std::size_t>(fd)]) ::dup2(saved[static_cast<std::size_t>(fd)].get(), fd);
  }
  CHECK(outcome.output == "input\n0\n1\n2\n");
  CHECK(outcome.errors == "error\n");
}

TEST_CASE("a command starts with no signal blocked and none ignored") {
  Daemon daemon;  // SIGCHLD is blocked here, SIGPIPE ignored by main
  const Outcome outcome = run(daemon, command({"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}));
  const auto sets = lines(outcome.output);
  REQUIRE(sets.size() == 2);
  CHECK(sets[0] == "SigBlk:\t0000000000000000");
  // 32 and 33 are the C library's own, which it resets in its own way.
  const auto ignored = std::stoull(sets[1].substr(sets[1].find('\t') + 1), nullptr, 16);
  CHECK((ignored & ~0x180000000ULL) == 0);
}

TEST_CASE("the environment is exactly what the command says, and the mark") {
  Daemon daemon;
  Command env = command({"/usr/bin/env"});
  env.environment = {"A=1", "FTPD_COMMAND=forged", "B=two words", "EMPTY="};
  auto first = lines(run(daemon, std::move(env)).output);
  REQUIRE(first.size() == 4);
  CHECK(first[0] == "A=1");
  CHECK(first[1] == "B=two words");
  CHECK(first[2] == "EMPTY=");
  CHECK(first[3].starts_with("FTPD_COMMAND="));
  CHECK(first[3].size() == std::string("FTPD_COMMAND=").size() + 32);
  CHECK(first[3].find_first_not_of("0123456789abcdef", 13) == std::string::npos);
  const auto second = lines(run(daemon, command({"/usr/bin/env"})).output);
  CHECK(std::ranges::find(second, first[3]) == second.end());
}

TEST_CASE("a command leads a session and a group of its own") {
  Daemon daemon;
  auto started = daemon.start(command({"cat", "/proc/self/stat"}));
  REQUIRE(started);
  const pid_t pid = (*started)->pid();
  Run running(daemon, std::move(*started));
  REQUIRE(daemon.drive([&] { return running.finished(); }));
  const auto stat = parse_stat(running.output);
  REQUIRE(stat);
  CHECK(stat->pid == pid);
  CHECK(stat->group == pid);
  CHECK(stat->session == pid);
  CHECK(stat->parent == ::getpid());
}

TEST_CASE("the base environment holds a few names of the daemon's own, and later ones replace") {
  ::setenv("FTPD_TEST_SECRET", "x", 1);
  ::setenv("LANG", "C.UTF-8", 1);
  const auto base = command_environment({});
  CHECK(std::ranges::find(base, "LANG=C.UTF-8") != base.end());
  for (const std::string& entry : base) {
    const std::string name = entry.substr(0, entry.find('='));
    CAPTURE(name);
    CHECK((name == "PATH" || name == "LANG" || name == "HOME" || name == "USER" || name == "SHELL" ||
           name == "TZ"));
  }
  const auto added = command_environment({{"LANG", "C"}, {"NEW", "1"}, {"NEW", "2"}, {"LANGUAGE", "x"}});
  CHECK(std::ranges::find(added, "LANG=C") != added.end());
  CHECK(std::ranges::find(added, "LANG=C.UTF-8") == added.end());
  CHECK(std::ranges::find(added, "NEW=2") != added.end());
  CHECK(std::ranges::find(added, "NEW=1") == added.end());
  CHECK(added.size() == base.size() + 2);

  const std::string path = std::getenv("PATH");
  ::unsetenv("PATH");
  CHECK(std::ranges::any_of(command_environment({}),
                            [](const std::string& entry) { return entry.starts_with("PATH=/"); }));
  ::setenv("PATH", path.c_str(), 1);
}

TEST_CASE("signals have the names that people know") {
  CHECK(signal_name(SIGSEGV) == "SIGSEGV");
  CHECK(signal_name(SIGKILL) == "SIGKILL");
  CHECK(signal_name(SIGRTMIN) == "SIGRTMIN");
  CHECK(signal_name(SIGRTMIN + 3) == "SIGRTMIN+3");
  CHECK(signal_name(99) == "SIG99");
}

// --- failures of the system ---

namespace {

std::atomic<int> calls_left{0};
std::atomic<bool> hit{false};

int fail_nth_spawn_call(const char* call) {
  const std::string_view name(call);
  if (name != "pipe2" && name != "fcntl" && name != "posix_spawnp" && name != "pidfd_open" &&
      name != "getrandom") {
    return 0;
  }
  if (calls_left.fetch_sub(1) != 1) return 0;
  hit = true;
  return EMFILE;
}

}  // namespace

TEST_CASE("a start that fails at any system call is an error and leaks nothing") {
  Daemon daemon;
  run(daemon, command({"/bin/true"}));
  const std::size_t descriptors = open_descriptors();
  int nth = 1;
  for (;; ++nth) {
    CAPTURE(nth);
    REQUIRE(nth < 50);
    Command sleeper = command({"sleep", "1000"});
    sleeper.standard_input = true;
    hit = false;
    calls_left = nth;
    sys::set_fault_hook(fail_nth_spawn_call);
    auto started = daemon.start(std::move(sleeper));
    sys::set_fault_hook(nullptr);
    if (!hit) break;
    REQUIRE_FALSE(started);
    CHECK(started.error().number == EMFILE);
    CHECK(open_descriptors() == descriptors);
    CHECK(daemon.descendants().alive() == 0);
    siginfo_t info{};
    CHECK(sys::waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) == -1);
    CHECK(errno == ECHILD);
  }
  CHECK(nth == 10);  // getrandom, three pipes with fcntl, posix_spawnp, pidfd_open, and one good start
}

TEST_CASE("200 commands leave no zombie and no descriptor") {
  Daemon daemon;
  run(daemon, command({"/bin/true"}));
  const std::size_t descriptors = open_descriptors();
  for (int i = 0; i < 200; ++i) {
    Command wanted = command({"/bin/true"});
    wanted.standard_input = i % 2 == 0;
    wanted.merge = i % 3 == 0;
    run(daemon, std::move(wanted));
  }
  CHECK(open_descriptors() == descriptors);
  CHECK(daemon.descendants().alive() == 0);
  siginfo_t info{};
  CHECK(sys::waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) == -1);
  CHECK(errno == ECHILD);
}
