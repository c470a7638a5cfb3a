// Whole process trees and their end: sessions left, marks hidden, signals ignored.
#include <algorithm>
#include <deque>
#include <sstream>

#include "exec/process_table.h"
#include "exec/tree_memory.h"
#include "unit/exec_harness.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Gone altogether, or dead and waiting for whoever is to reap it.
bool dead(pid_t pid) {
  const auto table = ProcessTable::read();
  REQUIRE(table);
  const Process* const process = table->find(pid);
  return process == nullptr || process->dead;
}

/// Starts the script and waits until it has written `count` numbers, the pids of its processes.
struct Family {
  Family(Daemon& daemon, const std::string& script, std::size_t count, Duration grace = seconds(5)) {
    auto started = daemon.start(shell(script));
    REQUIRE(started);
    (*started)->set_kill_grace(grace);
    leader = (*started)->pid();
    run = std::make_unique<Run>(daemon, std::move(*started));
    REQUIRE(daemon.drive([&] { return std::ranges::count(run->output, '\n') >= static_cast<long>(count); }));
    std::istringstream numbers(run->output);
    for (pid_t pid = 0; numbers >> pid;) pids.push_back(pid);
    REQUIRE(pids.size() == count);
  }
  [[nodiscard]] bool all_exist() const { return std::ranges::all_of(pids, exists); }
  [[nodiscard]] bool none_exists() const { return std::ranges::none_of(pids, exists); }

  pid_t leader = 0;
  std::vector<pid_t> pids;
  std::unique_ptr<Run> run;
};

bool has_children() {
  siginfo_t info{};
  return sys::waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

// A child, a grandchild in a session of its own whose parent has gone, one that ignores every polite
// signal, and one that has done all of that and hides its mark below a parent that lives.
constexpr const char* unruly =
    "sh -c 'echo $$; sleep 1000; true' & "
    "( setsid sh -c 'echo $$; sleep 1000; true' & ) ; "
    "( setsid sh -c 'trap \"\" TERM INT HUP; echo $$; while :; do sleep 1000; done' & ) ; "
    "env -i setsid sh -c 'trap \"\" TERM; echo $$; sleep 1000; true' & "
    "sleep 1000; true";

}  // namespace

TEST_CASE("/proc/PID/stat is read whatever the program is called") {
  const std::string rest = " S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 0";
  for (const std::string name : {"(sh)", "(a b)", "(x) S 1 1 1)", "(()", "( 1 2 3 4 5 6 7 8 9 )"}) {
    CAPTURE(name);
    const auto process = parse_stat("42 " + name + rest);
    REQUIRE(process);
    CHECK(process->pid == 42);
    CHECK(process->parent == 7);
    CHECK(process->group == 8);
    CHECK(process->session == 9);
    CHECK(process->start == 12345);
    CHECK_FALSE(process->dead);
  }
  CHECK(parse_stat("42 (sh) Z 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99")->dead);
  CHECK_FALSE(parse_stat("42 (sh) Z 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 12345 99")->dead);
  const std::string whole = "42 (sh) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1";
  CHECK(parse_stat(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse_stat(std::string_view(whole).substr(0, size)));
  }
}

TEST_CASE("the main thread reaps orphans without touching a command's own status") {
  Daemon daemon;
  auto started = daemon.start(shell("( sleep 0 & ) ; exit 7"));
  REQUIRE(started);
  Run running(daemon, std::move(*started));
  // Before anything else reaps: what the kernel says of this thread's own children.
  siginfo_t info{};
  const int first = sys::waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT | __WNOTHREAD);
  CHECK((first == 0 || errno == ECHILD));
  REQUIRE(daemon.drive([&] {
    siginfo_t orphan{};
    const bool none = sys::waitid(P_ALL, 0, orphan, WEXITED | WNOHANG | __WNOTHREAD) == -1 && errno == ECHILD;
    return running.ended() && none;
  }));
  CHECK_FALSE(running.status->signalled);
  CHECK(running.status->value == 7);
}

TEST_CASE("an abandoned command dies with all its descendants, however they hid") {
  Daemon daemon;
  Family family(daemon, unruly, 4);
  CHECK(family.all_exist());
  CHECK(daemon.descendants().alive() == 1);
  family.run->destroy_child();
  CHECK(daemon.drive([&] { return family.none_exists() && !exists(family.leader); }));
  CHECK(daemon.drive([&] { return daemon.descendants().alive() == 0 && !has_children(); }));
}

TEST_CASE("a signal reaches every descendant, and SIGKILL those that ignore it") {
  Daemon daemon;
  // The last one has lost its parent by then, and is known because the first signal's scan saw it.
  const TimePoint begin = Clock::now();
  Family family(daemon, unruly, 4);
  const CommandTree tree = family.run->child().tree();
  tree.signal_all(SIGTERM);
  CHECK(daemon.drive([&] { return family.run->ended() && std::ranges::count_if(family.pids, dead) == 2; }));
  tree.signal_all(SIGKILL);
  CHECK(daemon.drive([&] { return std::ranges::all_of(family.pids, dead) || family.none_exists(); }));
  CHECK(Clock::now() - begin < seconds(4));  // long before its grace is over
}

TEST_CASE("signals to a tree that has gone do nothing") {
  Daemon daemon;
  auto started = daemon.start(command({"/bin/true"}));
  REQUIRE(started);
  const CommandTree tree = (*started)->tree();
  Run running(daemon, std::move(*started));
  REQUIRE(daemon.drive([&] { return running.finished(); }));
  Family other(daemon, "echo $$; sleep 1000; true", 1);
  tree.signal_all(SIGKILL);
  CommandTree{::getpid(), "0123", nullptr}.signal_all(SIGKILL);
  CommandTree{1, "0123", nullptr}.signal_all(SIGKILL);
  CommandTree{0, "", nullptr}.signal_all(SIGKILL);
  CHECK_FALSE(dead(other.leader));
}

TEST_CASE("a number that names another process now is not taken for the old one") {
  Daemon daemon;
  Family family(daemon, "echo $$; sleep 1000; true", 1);
  CommandTree stale{family.leader, "00000000000000000000000000000000", std::make_shared<TreeMemory>()};
  stale.memory->leader_reaped();
  stale.signal_all(SIGKILL);
  CHECK_FALSE(dead(family.leader));
  const auto table = ProcessTable::read();
  REQUIRE(table);
  CHECK(std::ranges::count(table->owners({&stale, 1}), 0) == 0);
  const CommandTree fresh = family.run->child().tree();
  CHECK(std::ranges::count(table->owners({&fresh, 1}), 0) >= 1);
}

TEST_CASE("a background process that outlives its command dies after the grace") {
  Daemon daemon;
  Family family(daemon, "setsid sh -c 'echo $$; sleep 1000; true' >&1 & sh -c 'echo $$; exec sleep 1000' &",
                2, milliseconds(400));
  REQUIRE(daemon.drive([&] { return family.run->ended(); }));
  const TimePoint end = Clock::now();
  CHECK(family.all_exist());
  family.run->destroy_child();
  CHECK(daemon.drive([&] { return family.none_exists(); }));
  CHECK(Clock::now() - end > milliseconds(300));
  CHECK(daemon.drive([&] { return daemon.descendants().alive() == 0 && !has_children(); }));
}

TEST_CASE("a background process may end in its grace, and the pipes end with it") {
  Daemon daemon;
  auto started = daemon.start(shell("( sleep 0.2; echo late ) & echo early"));
  REQUIRE(started);
  Run running(daemon, std::move(*started));
  REQUIRE(daemon.drive([&] { return running.finished(); }));
  CHECK(running.output == "early\nlate\n");
}

TEST_CASE("an orphan that hid session and mark dies when no command is left") {
  Daemon daemon;
  Family hidden(daemon, "env -i setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.05", 1, milliseconds(1));
  Family other(daemon, "echo $$; read line; sleep 1000; true", 1, milliseconds(1));
  REQUIRE(daemon.drive([&] { return hidden.run->ended(); }));
  hidden.run->destroy_child();
  // Another command runs, whose it could be. Long enough for a look at /proc or two.
  CHECK_FALSE(daemon.drive([&] { return dead(hidden.pids[0]); }, milliseconds(700)));
  CHECK(daemon.descendants().alive() == 2);
  other.run->destroy_child();
  CHECK(daemon.drive([&] { return hidden.none_exists() && other.none_exists(); }));
  CHECK(daemon.drive([&] { return daemon.descendants().alive() == 0; }));
}

TEST_CASE("an orphan of a command that runs is left alone when another ends") {
  Daemon daemon;
  Family family(daemon, "( setsid sh -c 'echo $$; exec sleep 1000' & ) ; sleep 1000; true", 1);
  auto started = daemon.start(command({"/bin/true"}));
  REQUIRE(started);
  (*started)->set_kill_grace(milliseconds(1));
  {
    Run running(daemon, std::move(*started));
    REQUIRE(daemon.drive([&] { return running.finished(); }));
  }
  CHECK_FALSE(daemon.drive([&] { return dead(family.pids[0]); }, milliseconds(700)));
  CHECK(daemon.descendants().alive() == 1);
}

TEST_CASE("a tree that forks while it is killed is killed") {
  Daemon daemon;
  // Each generation leaves its session, forks the next and dies: three moving targets. They give up by
  // themselves long after this test has.
  Family family(daemon,
                "HOP='[ $1 -gt 0 ] && setsid /bin/sh -c \"$HOP\" hop $(($1 - 1)) &'; export HOP; "
                "for i in 1 2 3; do /bin/sh -c \"$HOP\" hop 100000; done; echo $$; sleep 1000; true",
                1);
  const auto moving = [&] {
    const auto table = ProcessTable::read();
    return table && std::ranges::any_of(table->processes(),
                                        [&](const Process& each) { return each.session != family.leader; });
  };
  REQUIRE(daemon.drive(moving));
  family.run->destroy_child();
  CHECK(daemon.drive([&] { return !has_children(); }));
}

TEST_CASE("a job that is abandoned kills what it started") {
  Daemon daemon;
  std::string marker = "sleep 1000.";
  marker += std::to_string(::getpid());
  {
    Job job = daemon.spawner().start(daemon.reactor(), shell("exec " + marker),
                                     [](Result<std::unique_ptr<Child>>) { FAIL("nobody waits"); });
    job.abandon();
    // The spawner's threads work in order: when this one has started, so has the other.
  }
  run(daemon, command({"/bin/true"}));
  run(daemon, command({"/bin/true"}));
  CHECK(daemon.drive([&] { return daemon.descendants().alive() == 0 && !has_children(); }));
}

TEST_CASE("kill_everything leaves nothing, running or orphaned") {
  Daemon daemon;
  std::deque<Family> families;
  for (int i = 0; i < 3; ++i) families.emplace_back(daemon, unruly, 4);
  Family hidden(daemon, "env -i setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.05", 1);
  daemon.descendants().kill_everything(Clock::now() + seconds(20));
  CHECK_FALSE(has_children());
  CHECK(daemon.descendants().alive() == 0);
  for (const Family& family : families) CHECK(family.none_exists());
  // What was reaped here counts as killed.
  const auto status = families[0].run->child().reap();
  REQUIRE(status);
  CHECK(status->signalled);
  CHECK(status->value == SIGKILL);
}

TEST_CASE("many abandoned commands at once are all killed and reaped") {
  Daemon daemon;
  const std::size_t before = open_descriptors();
  {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 30; ++i) {
      auto started = daemon.start(shell("sleep 1000 & sleep 1000; true"));
      REQUIRE(started);
      children.push_back(std::move(*started));
    }
    CHECK(daemon.descendants().alive() == 30);
  }
  CHECK(daemon.drive([&] { return daemon.descendants().alive() == 0 && !has_children(); }));
  CHECK(daemon.drive([&] { return open_descriptors() == before; }));  // the pool may still be reading /proc
}
