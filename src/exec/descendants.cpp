// The register of commands and what they leave behind; orphans are reaped on the main thread, /proc is
// read on the pool.
#include "exec/descendants.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <list>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/sys.h"
#include "exec/orphans.h"
#include "exec/process_table.h"
#include "exec/tree_memory.h"
#include "reactor/timer.h"

namespace ftpd {
namespace {

constexpr Duration first_look = std::chrono::milliseconds(250);  // one for all that ended meanwhile
constexpr Duration look_again = std::chrono::seconds(1);         // at what does not die or is in doubt
constexpr Duration quiet_time = std::chrono::milliseconds(50);   // SIGCHLD is looked at once in this
constexpr Duration wait_slice = std::chrono::milliseconds(50);

/// A command that was reaped, for as long as something of it may be left.
struct Ended {
  CommandTree tree;
  TimePoint deadline;
};

}  // namespace

struct Descendants::State : std::enable_shared_from_this<Descendants::State> {
  State(Reactor& reactor, Offload& offload) : main(reactor), pool(offload) {}

  /// What a look at /proc found out, on its way from the pool to the main thread.
  struct Survey {
    std::vector<std::string> finished;  // sorted marks of ended commands of which nothing is left
    std::size_t orphans = 0;            // alive, and of no running command
    bool complete = false;
  };

  /// A command that runs although nobody waits for it any more. Main thread.
  struct Abandoned {
    State& state;
    CommandTree tree;
    UniqueFd pidfd;
    Watch watch;
    void on_ready(std::uint32_t events);
  };

  // --- main thread ---
  Result<void> open();
  void close();
  void on_child_signal(std::uint32_t events);
  void on_quiet_end();
  void on_tick();
  void look();
  void survey();
  void on_survey(const Survey& found);
  void watch_abandoned(CommandTree tree, UniqueFd pidfd);
  void remove(Abandoned& done);

  // --- any thread ---
  void end(CommandTree tree, TimePoint deadline);
  void tick_by(TimePoint when);
  [[nodiscard]] bool idle() const;  // with the mutex held: nothing runs or is being started

  // --- pool ---
  [[nodiscard]] Survey look_at_proc();
  void kill_unknown();

  Reactor& main;
  Offload& pool;
  Strangers strangers;  // constant after open()

  mutable std::mutex mutex;
  std::unordered_map<std::string, CommandTree> running;  // by mark
  std::vector<Ended> left;                               // appended by any thread, erased by main alone
  std::size_t under_way = 0;                             // starting() without its answer
  std::uint64_t starts = 0;                              // starting() ever called
  std::size_t orphans = 0;                               // alive when they were last counted
  TimePoint next_tick = never;
  bool closed = false;

  UniqueFd signals;
  Watch signal_watch{};
  Timer quiet{main, Callback<void()>::to<&State::on_quiet_end>(*this)};
  Timer tick{main, Callback<void()>::to<&State::on_tick>(*this)};
  std::list<Abandoned> abandoned{};
  Job survey_job{};
};

// --- setting up and taking down ---

Result<void> Descendants::State::open() {
  assert(::gettid() == ::getpid() && "orphans are handed to the main thread");
  const auto table = ProcessTable::read();
  if (!table) return std::unexpected(table.error());
  strangers = Strangers(*table);
  if (sys::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return fail_errno(errno, "prctl PR_SET_CHILD_SUBREAPER");
  sigset_t child_ended;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  signals.reset(sys::signalfd(-1, child_ended, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return fail_errno(errno, "signalfd");
  return signal_watch.start(main, signals.get(), EPOLLIN,
                            Callback<void(std::uint32_t)>::to<&State::on_child_signal>(*this));
}

void Descendants::State::close() {
  {
    const std::lock_guard lock(mutex);
    closed = true;
  }
  survey_job.abandon();
  abandoned.clear();
  tick.disarm();
  quiet.disarm();
  signal_watch.stop();
}

Result<std::unique_ptr<Descendants>> Descendants::create(Reactor& main_reactor, Offload& pool) {
  auto state = std::make_shared<State>(main_reactor, pool);
  if (auto opened = state->open(); !opened) {
    state->close();
    return std::unexpected(std::move(opened.error()));
  }
  return std::unique_ptr<Descendants>(new Descendants(std::move(state)));
}

Descendants::Descendants(std::shared_ptr<State> state) : state_(std::move(state)) {}
Descendants::~Descendants() { state_->close(); }

// --- the register ---

void Descendants::starting() {
  const std::lock_guard lock(state_->mutex);
  ++state_->under_way;
  ++state_->starts;
}

void Descendants::not_started() {
  const std::lock_guard lock(state_->mutex);
  --state_->under_way;
}

void Descendants::added(const CommandTree& tree) {
  const std::lock_guard lock(state_->mutex);
  --state_->under_way;
  state_->running.emplace(tree.mark, tree);
  // The number was free, so nothing is left in the session that had it before.
  for (Ended& ended : state_->left) {
    if (ended.tree.leader == tree.leader && ended.tree.memory) ended.tree.memory->session_reused();
  }
}

void Descendants::ended(CommandTree tree, TimePoint deadline) { state_->end(std::move(tree), deadline); }

void Descendants::State::end(CommandTree tree, TimePoint deadline) {
  {
    const std::lock_guard lock(mutex);
    running.erase(tree.mark);
    left.push_back({std::move(tree), deadline});
  }
  tick_by(Clock::now() + first_look);
}

/// The first of many to end arms the timer, the others find it armed.
void Descendants::State::tick_by(TimePoint when) {
  {
    const std::lock_guard lock(mutex);
    if (closed || when >= next_tick) return;
    next_tick = when;
  }
  main.post([weak = weak_from_this()] {
    const auto state = weak.lock();
    if (!state) return;
    const std::lock_guard lock(state->mutex);
    if (!state->closed) state->tick.arm(state->next_tick);
  });
}

bool Descendants::State::idle() const { return running.empty() && under_way == 0; }

std::size_t Descendants::alive() const {
  const std::lock_guard lock(state_->mutex);
  return state_->running.size() + state_->orphans;
}

// --- commands that nobody waits for ---

void Descendants::abandon(CommandTree tree, UniqueFd pidfd) {
  state_->pool.push([tree] { tree.signal_all(SIGKILL); });
  state_->main.post([weak = state_->weak_from_this(), tree, pidfd = std::move(pidfd)]() mutable {
    if (const auto state = weak.lock()) state->watch_abandoned(std::move(tree), std::move(pidfd));
  });
}

void Descendants::State::watch_abandoned(CommandTree tree, UniqueFd pidfd) {
  {
    const std::lock_guard lock(mutex);
    if (closed) return;
  }
  Abandoned& added = abandoned.emplace_back(*this, std::move(tree), std::move(pidfd));
  const auto watched = added.watch.start(main, added.pidfd.get(), EPOLLIN,
                                         Callback<void(std::uint32_t)>::to<&Abandoned::on_ready>(added));
  if (watched) return;
  // Out of memory for events: a thread can wait, since SIGKILL is on its way.
  pool.push([state = shared_from_this(), killed = added.tree, fd = std::move(added.pidfd)] {
    siginfo_t info{};
    [[maybe_unused]] const int reaped = sys::waitid(P_PIDFD, static_cast<id_t>(fd.get()), info, WEXITED);
    if (killed.memory) killed.memory->leader_reaped();
    state->end(killed, Clock::now());
  });
  abandoned.pop_back();
}

void Descendants::State::Abandoned::on_ready(std::uint32_t) {
  siginfo_t info{};
  const int reaped = sys::waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), info, WEXITED | WNOHANG);
  if (reaped == 0 && info.si_pid == 0) return;
  watch.stop();
  if (tree.memory) tree.memory->leader_reaped();
  state.end(tree, Clock::now());
  state.main.defer([owner = state.weak_from_this(), this] {
    if (const auto alive = owner.lock()) alive->remove(*this);
  });
}

void Descendants::State::remove(Abandoned& done) {
  abandoned.remove_if([&](const Abandoned& entry) { return &entry == &done; });
}

// --- orphans ---

void Descendants::State::on_child_signal(std::uint32_t) {
  std::array<signalfd_siginfo, 4> ignored;
  [[maybe_unused]] const auto size = sys::read(signals.get(), ignored.data(), sizeof ignored);
  look();
  // Every command's end raises one, most of them for nothing: while the signal is pending, the next
  // ones cost nothing, so it is left pending for a while.
  signal_watch.set_interest(0);
  quiet.arm(main.now() + quiet_time);
}

void Descendants::State::on_quiet_end() { signal_watch.set_interest(EPOLLIN); }

/// Reaps. Without a single orphan everything that ended before is finished, and /proc is not read.
void Descendants::State::look() {
  std::size_t before = 0;
  {
    const std::lock_guard lock(mutex);
    before = left.size();
  }
  switch (reap_orphans()) {
    case Orphans::some: return;
    case Orphans::more: tick_by(Clock::now() + quiet_time); return;
    case Orphans::none: break;
  }
  const std::lock_guard lock(mutex);
  left.erase(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(before));
  orphans = 0;
}

void Descendants::State::on_tick() {
  {
    const std::lock_guard lock(mutex);
    next_tick = never;
  }
  look();
  const bool needed = [&] {
    const std::lock_guard lock(mutex);
    return !left.empty() || orphans > 0;
  }();
  if (needed && !survey_job.pending()) survey();
}

void Descendants::State::survey() {
  survey_job = pool.submit(
      main, [state = shared_from_this()] { return state->look_at_proc(); },
      [this](Survey found) { on_survey(found); });
}

Descendants::State::Survey Descendants::State::look_at_proc() {
  std::vector<CommandTree> trees;
  std::vector<Ended> ended;
  std::size_t live_count = 0;
  {
    const std::lock_guard lock(mutex);
    ended = left;
    for (const auto& [mark, tree] : running) trees.push_back(tree);
    live_count = trees.size();
    for (const Ended& entry : ended) trees.push_back(entry.tree);
  }
  const auto table = ProcessTable::read();
  if (!table) return {};
  Survey found;
  found.complete = true;
  std::vector<std::size_t> members(trees.size(), 0);
  std::size_t in_doubt = 0;
  const std::vector<int> owners = strangers.owners(*table, trees);
  for (std::size_t i = 0; i < owners.size(); ++i) {
    if (table->processes()[i].dead || owners[i] == Strangers::stranger) continue;
    if (owners[i] == Strangers::unknown) {
      ++in_doubt;
    } else {
      ++members[static_cast<std::size_t>(owners[i])];
    }
  }
  found.orphans = in_doubt;
  const TimePoint now = Clock::now();
  for (std::size_t i = 0; i < ended.size(); ++i) {
    const std::size_t count = members[live_count + i];
    found.orphans += count;
    const bool due = ended[i].deadline <= now;
    if (due && count > 0) ended[i].tree.signal_all(SIGKILL);
    // One in doubt may be anybody's, so everybody's grace counts.
    if (count == 0 && (due || in_doubt == 0)) found.finished.push_back(ended[i].tree.mark);
  }
  std::ranges::sort(found.finished);
  if (in_doubt > 0) kill_unknown();
  return found;
}

/// Kills what belongs to no command, once there is none whose it could be. A command that is being
/// started has no mark for a moment, so the table counts only if nothing was started while it was read.
void Descendants::State::kill_unknown() {
  std::uint64_t starts_before = 0;
  {
    const std::lock_guard lock(mutex);
    const TimePoint now = Clock::now();
    const bool grace_over =
        std::ranges::all_of(left, [&](const Ended& entry) { return entry.deadline <= now; });
    if (!idle() || !grace_over) return;
    starts_before = starts;
  }
  strangers.kill_others([&] {
    const std::lock_guard lock(mutex);
    return starts == starts_before;
  });
}

void Descendants::State::on_survey(const Survey& found) {
  TimePoint next = never;
  {
    const std::lock_guard lock(mutex);
    std::erase_if(left, [&](const Ended& entry) {
      return std::ranges::binary_search(found.finished, entry.tree.mark);
    });
    if (found.complete) orphans = found.orphans;
    const TimePoint now = Clock::now();
    for (const Ended& entry : left) {
      next = std::min(next, entry.deadline > now ? entry.deadline : now + look_again);
    }
    if (orphans > 0 && idle()) next = std::min(next, now + look_again);
  }
  if (next != never) tick_by(next);
}

void Descendants::kill_everything(TimePoint deadline) {
  State& state = *state_;
  UniqueFd epoll(sys::epoll_create1(EPOLL_CLOEXEC));
  epoll_event interest{};
  interest.events = EPOLLIN;
  // Where there is no descriptor left, a look now and then must do.
  if (epoll && sys::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, state.signals.get(), &interest) != 0) epoll.reset();
  for (;;) {
    state.strangers.kill_others([] { return true; });
    siginfo_t info{};
    do {
      info.si_pid = 0;
    } while (sys::waitid(P_ALL, 0, info, WEXITED | WNOHANG) == 0 && info.si_pid != 0);
    const TimePoint now = Clock::now();
    if (state.strangers.alone() || now >= deadline) break;
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(std::min(wait_slice, deadline - now));
    if (!epoll) std::this_thread::sleep_for(wait);
    epoll_event event{};
    std::array<signalfd_siginfo, 4> ignored;
    if (epoll && sys::epoll_wait(epoll.get(), &event, 1, static_cast<int>(wait.count())) > 0) {
      [[maybe_unused]] const auto size = sys::read(state.signals.get(), ignored.data(), sizeof ignored);
    }
  }
  const std::lock_guard lock(state.mutex);
  state.running.clear();
  state.left.clear();
  state.orphans = 0;
}

}  // namespace ftpd
