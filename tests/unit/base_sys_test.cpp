// The system-call layer: interruptions are retried, faults are injected where asked.
#include "base/sys.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "base/unique_fd.h"

using namespace ftpd;

namespace {

struct FaultScope {
  explicit FaultScope(sys::FaultHook hook) { sys::set_fault_hook(hook); }
  ~FaultScope() { sys::set_fault_hook(nullptr); }
  FaultScope(const FaultScope&) = delete;
  FaultScope& operator=(const FaultScope&) = delete;
};

int asked = 0;

}  // namespace

TEST_CASE("an injected fault is returned instead of making the call") {
  const FaultScope scope([](const char* call) { return std::string_view(call) == "pipe2" ? EMFILE : 0; });
  int ends[2] = {-7, -7};
  CHECK(sys::pipe2(ends, O_CLOEXEC) == -1);
  CHECK(errno == EMFILE);
  CHECK(ends[0] == -7);
  const UniqueFd other(sys::memfd_create("other", MFD_CLOEXEC));
  CHECK(other);
}

TEST_CASE("an interrupted call is made again") {
  asked = 0;
  const FaultScope scope(
      [](const char* call) { return std::string_view(call) == "write" && ++asked <= 3 ? EINTR : 0; });
  const UniqueFd file(sys::memfd_create("file", MFD_CLOEXEC));
  CHECK(sys::write(file.get(), "text", 4) == 4);
  CHECK(asked == 4);
}

TEST_CASE("an interrupted epoll_wait reads as no events") {
  const UniqueFd epoll(sys::epoll_create1(EPOLL_CLOEXEC));
  const FaultScope scope([](const char* call) { return std::string_view(call) == "epoll_wait" ? EINTR : 0; });
  epoll_event event{};
  CHECK(sys::epoll_wait(epoll.get(), &event, 1, -1) == 0);
}

TEST_CASE("openat2 stays beneath its directory") {
  const UniqueFd root(::open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC));
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  CHECK(sys::openat2(root.get(), "../etc/passwd", how) == -1);
  CHECK(errno == EXDEV);
  const UniqueFd self(sys::openat2(root.get(), ".", how));
  CHECK(self);
}

TEST_CASE("posix_spawnp returns its error number") {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  REQUIRE(::posix_spawn_file_actions_init(&actions) == 0);
  REQUIRE(::posix_spawnattr_init(&attributes) == 0);
  std::string name = "/nonexistent/program";
  char* const argv[] = {name.data(), nullptr};
  char* const environment[] = {nullptr};
  pid_t pid = 0;
  CHECK(sys::posix_spawnp(pid, name.c_str(), actions, attributes, argv, environment) == ENOENT);

  const FaultScope scope([](const char*) { return EAGAIN; });
  CHECK(sys::posix_spawnp(pid, "true", actions, attributes, argv, environment) == EAGAIN);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
}

TEST_CASE("a child is signalled and waited for by its pidfd") {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  REQUIRE(::posix_spawn_file_actions_init(&actions) == 0);
  REQUIRE(::posix_spawnattr_init(&attributes) == 0);
  std::string name = "sleep";
  std::string seconds = "60";
  char* const argv[] = {name.data(), seconds.data(), nullptr};
  char* const environment[] = {nullptr};
  pid_t pid = 0;
  REQUIRE(sys::posix_spawnp(pid, "sleep", actions, attributes, argv, environment) == 0);
  const UniqueFd child(sys::pidfd_open(pid, 0));
  REQUIRE(child);
  CHECK(sys::pidfd_send_signal(child.get(), SIGKILL) == 0);
  siginfo_t info{};
  CHECK(sys::waitid(P_PIDFD, static_cast<id_t>(child.get()), info, WEXITED) == 0);
  CHECK(info.si_code == CLD_KILLED);
  CHECK(sys::pidfd_send_signal(child.get(), SIGKILL) == -1);
  CHECK(errno == ESRCH);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
}
