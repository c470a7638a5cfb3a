// posix_spawn(3) with pipes, on threads of this process.
#include "exec/spawner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/sys.h"
#include "exec/process_table.h"

namespace ftpd {
namespace {

constexpr int first_own = 3;  // 0, 1 and 2 are the command's

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};

struct Pipes {
  Pipe input;
  Pipe output;
  Pipe errors;
};

/// A daemon that was started without standard descriptors gets their numbers here; the dup2s of the
/// command's own would tread on them.
Result<void> lift(UniqueFd& fd) {
  if (fd.get() >= first_own) [[likely]]
    return {};
  const int lifted = sys::fcntl(fd.get(), F_DUPFD_CLOEXEC, first_own);
  if (lifted < 0) return fail_errno(errno, "fcntl F_DUPFD_CLOEXEC");
  fd.reset(lifted);
  return {};
}

/// `ours` is made non-blocking; the command's end stays as programs expect it.
Result<void> open_pipe(Pipe& pipe, UniqueFd Pipe::* ours) {
  std::array<int, 2> ends{-1, -1};
  if (sys::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "pipe2");
  pipe.reader.reset(ends[0]);
  pipe.writer.reset(ends[1]);
  if (auto done = lift(pipe.reader); !done) return done;
  if (auto done = lift(pipe.writer); !done) return done;
  if (sys::fcntl((pipe.*ours).get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, "fcntl F_SETFL");
  return {};
}

Result<void> open_pipes(Pipes& pipes, const Command& command) {
  if (command.standard_input) {
    if (auto done = open_pipe(pipes.input, &Pipe::writer); !done) return done;
  }
  if (auto done = open_pipe(pipes.output, &Pipe::reader); !done) return done;
  if (command.merge) return {};
  return open_pipe(pipes.errors, &Pipe::reader);
}

/// What the child does between fork and exec.
class FileActions {
 public:
  FileActions() { note(::posix_spawn_file_actions_init(&actions_)); }
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;

  /// 0, or the errno of the step that failed.
  [[nodiscard]] int prepare(const Command& command, const Pipes& pipes, int null) {
    note(::posix_spawn_file_actions_addfchdir_np(&actions_, command.directory.get()));
    if (command.standard_input) {
      note(::posix_spawn_file_actions_adddup2(&actions_, pipes.input.reader.get(), STDIN_FILENO));
    } else if (null >= 0) {
      note(::posix_spawn_file_actions_adddup2(&actions_, null, STDIN_FILENO));
    } else {
      note(::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0));
    }
    note(::posix_spawn_file_actions_adddup2(&actions_, pipes.output.writer.get(), STDOUT_FILENO));
    const int errors = command.merge ? STDOUT_FILENO : pipes.errors.writer.get();
    note(::posix_spawn_file_actions_adddup2(&actions_, errors, STDERR_FILENO));
    note(::posix_spawn_file_actions_addclosefrom_np(&actions_, first_own));
    return number_;
  }
  [[nodiscard]] const posix_spawn_file_actions_t& get() const { return actions_; }

 private:
  void note(int number) {
    if (number_ == 0) number_ = number;
  }
  posix_spawn_file_actions_t actions_;
  int number_ = 0;
};

/// 128 random bits in hexadecimal, so that no command can guess another's.
Result<std::string> make_mark() {
  std::array<unsigned char, 16> random;
  if (sys::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    return fail_errno(errno, "getrandom");
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string mark;
  mark.reserve(random.size() * 2);
  for (const unsigned char byte : random) {
    mark.push_back(digits[byte >> 4U]);
    mark.push_back(digits[byte & 15U]);
  }
  return mark;
}

bool holds_nul(const std::vector<std::string>& strings) {
  for (const std::string& text : strings) {
    if (text.contains('\0')) return true;
  }
  return false;
}

bool is_mark(std::string_view entry) {
  return entry.starts_with(mark_name) && entry.substr(mark_name.size()).starts_with('=');
}

/// exec wants pointers to char that it never writes through.
char* text_of(const std::string& text) { return const_cast<char*>(text.c_str()); }

std::vector<char*> argument_vector(const std::vector<std::string>& argv) {
  std::vector<char*> result;
  result.reserve(argv.size() + 1);
  for (const std::string& text : argv) result.push_back(text_of(text));
  result.push_back(nullptr);
  return result;
}

/// A mark that the caller put in would hide ours.
std::vector<char*> environment_vector(const std::vector<std::string>& environment, const std::string& mark) {
  std::vector<char*> result;
  result.reserve(environment.size() + 2);
  for (const std::string& text : environment) {
    if (!is_mark(text)) result.push_back(text_of(text));
  }
  result.push_back(text_of(mark));
  result.push_back(nullptr);
  return result;
}

std::unexpected<Error> spawn_error(int number, const std::string& program) {
  Error error = Error::from_errno(number, program);
  if (number == ENOTDIR) error.reason = Reason::not_found;  // a component of the program's path
  if (number == ENOEXEC) error.reason = Reason::denied;
  if (number == E2BIG) error.reason = Reason::too_large;
  return std::unexpected(std::move(error));
}

/// Without a pidfd nobody can wait for the child.
void undo(pid_t pid, std::string mark) {
  CommandTree{pid, std::move(mark), nullptr}.signal_all(SIGKILL);
  siginfo_t info{};
  [[maybe_unused]] const int reaped = sys::waitid(P_PID, static_cast<id_t>(pid), info, WEXITED);
}

posix_spawnattr_t make_attributes() {
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  return attributes;
}

UniqueFd open_null() {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC;
  UniqueFd null(sys::openat2(AT_FDCWD, "/dev/null", how));
  if (null && !lift(null)) null.reset();
  return null;
}

}  // namespace

ThreadSpawner::ThreadSpawner(unsigned threads, Descendants& descendants)
    : descendants_(descendants), null_(open_null()), attributes_(make_attributes()), threads_(threads) {}

ThreadSpawner::~ThreadSpawner() { ::posix_spawnattr_destroy(&attributes_); }

Job ThreadSpawner::start(Reactor& reactor, Command command, Started started) {
  return threads_.submit(
      reactor, [this, command = std::move(command)] { return spawn(command); }, std::move(started));
}

Result<std::unique_ptr<Child>> ThreadSpawner::spawn(const Command& command) {
  if (command.argv.empty() || !command.directory) return fail(Reason::invalid, "a command without program");
  if (holds_nul(command.argv) || holds_nul(command.environment)) {
    return fail(Reason::invalid, "a NUL in a command");
  }
  auto mark = make_mark();
  if (!mark) return std::unexpected(std::move(mark.error()));
  const std::string marked = fmt::format("{}={}", mark_name, *mark);
  const std::vector<char*> environment = environment_vector(command.environment, marked);
  const std::vector<char*> argv = argument_vector(command.argv);

  Pipes pipes;
  if (auto done = open_pipes(pipes, command); !done) return std::unexpected(std::move(done.error()));
  FileActions actions;
  if (const int number = actions.prepare(command, pipes, null_.get()); number != 0) {
    return fail_errno(number, "posix_spawn_file_actions");
  }

  descendants_.starting();
  pid_t pid = -1;
  const int number =
      sys::posix_spawnp(pid, argv[0], actions.get(), attributes_, argv.data(), environment.data());
  if (number != 0) {
    descendants_.not_started();
    return spawn_error(number, command.argv[0]);
  }
  UniqueFd pidfd(sys::pidfd_open(pid, 0));
  if (!pidfd) {
    const int why = errno;
    undo(pid, std::move(*mark));
    descendants_.not_started();
    return fail_errno(why, "pidfd_open");
  }
  auto child = std::make_unique<Child>(pid, std::move(pidfd), std::move(*mark), descendants_);
  child->input = std::move(pipes.input.writer);
  child->output = std::move(pipes.output.reader);
  child->errors = std::move(pipes.errors.reader);
  return child;
}

}  // namespace ftpd
