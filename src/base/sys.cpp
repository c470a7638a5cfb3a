// The system calls themselves: each is made here once, with EINTR retried and the fault hook asked.
#include "base/sys.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace ftpd::sys {
namespace {

std::atomic<FaultHook> fault_hook{nullptr};

/// The errno that a test wants instead of the call, 0 for none.
int injected_fault(const char* call) {
  if (const FaultHook hook = fault_hook.load(std::memory_order_acquire); hook != nullptr) [[unlikely]] {
    return hook(call);
  }
  return 0;
}

/// Makes the call until it was not interrupted. Calls that return an errno value instead of setting
/// errno don't go through here.
template <class Call>
auto retried(const char* name, Call call) -> decltype(call()) {
  for (;;) {
    decltype(call()) result = -1;
    if (const int fault = injected_fault(name); fault != 0) [[unlikely]] {
      errno = fault;
    } else {
      result = call();
    }
    if (result != -1 || errno != EINTR) return result;
  }
}

}  // namespace

void set_fault_hook(FaultHook hook) { fault_hook.store(hook, std::memory_order_release); }

// --- files ---

ssize_t read(int fd, void* data, size_t size) {
  return retried("read", [&] { return ::read(fd, data, size); });
}
ssize_t write(int fd, const void* data, size_t size) {
  return retried("write", [&] { return ::write(fd, data, size); });
}
ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  return retried("pread", [&] { return ::pread(fd, data, size, offset); });
}
ssize_t preadv2(int fd, const iovec* parts, int count, off_t offset, int flags) {
  return retried("preadv2", [&] { return ::preadv2(fd, parts, count, offset, flags); });
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  return retried("pwrite", [&] { return ::pwrite(fd, data, size, offset); });
}
ssize_t writev(int fd, const iovec* parts, int count) {
  return retried("writev", [&] { return ::writev(fd, parts, count); });
}
int openat2(int directory, const char* path, const open_how& how) {
  return retried("openat2",
                 [&] { return static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof how)); });
}
int fstat(int fd, struct stat& out) {
  return retried("fstat", [&] { return ::fstat(fd, &out); });
}
int fstatat(int directory, const char* path, struct stat& out, int flags) {
  return retried("fstatat", [&] { return ::fstatat(directory, path, &out, flags); });
}
int fstatfs(int fd, struct statfs& out) {
  return retried("fstatfs", [&] { return ::fstatfs(fd, &out); });
}
int fsync(int fd) {
  return retried("fsync", [&] { return ::fsync(fd); });
}
int fdatasync(int fd) {
  return retried("fdatasync", [&] { return ::fdatasync(fd); });
}
int syncfs(int fd) {
  return retried("syncfs", [&] { return ::syncfs(fd); });
}
int sync_file_range(int fd, off_t offset, off_t size, unsigned flags) {
  return retried("sync_file_range", [&] { return ::sync_file_range(fd, offset, size, flags); });
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
  return retried("fallocate", [&] { return ::fallocate(fd, mode, offset, length); });
}
int ftruncate(int fd, off_t size) {
  return retried("ftruncate", [&] { return ::ftruncate(fd, size); });
}
int fchmod(int fd, mode_t mode) {
  return retried("fchmod", [&] { return ::fchmod(fd, mode); });
}
int fchmodat(int directory, const char* name, mode_t mode) {
  return retried("fchmodat", [&] { return ::fchmodat(directory, name, mode, 0); });
}
int futimens(int fd, const timespec times[2]) {
  return retried("futimens", [&] { return ::futimens(fd, times); });
}
int utimensat(int directory, const char* name, const timespec times[2], int flags) {
  return retried("utimensat", [&] { return ::utimensat(directory, name, times, flags); });
}
ssize_t fgetxattr(int fd, const char* name, void* value, size_t size) {
  return retried("fgetxattr", [&] { return ::fgetxattr(fd, name, value, size); });
}
int fsetxattr(int fd, const char* name, const void* value, size_t size, int flags) {
  return retried("fsetxattr", [&] { return ::fsetxattr(fd, name, value, size, flags); });
}
int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  return retried("linkat", [&] { return ::linkat(from_directory, from, to_directory, to, flags); });
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
  return retried("renameat2", [&] { return ::renameat2(from_directory, from, to_directory, to, flags); });
}
int unlinkat(int directory, const char* name, int flags) {
  return retried("unlinkat", [&] { return ::unlinkat(directory, name, flags); });
}
int mkdirat(int directory, const char* name, mode_t mode) {
  return retried("mkdirat", [&] { return ::mkdirat(directory, name, mode); });
}
ssize_t getdents64(int fd, void* data, size_t size) {
  return retried("getdents64", [&] { return ::getdents64(fd, data, size); });
}
off_t lseek(int fd, off_t offset, int whence) {
  return retried("lseek", [&] { return ::lseek(fd, offset, whence); });
}
int inotify_init1(int flags) {
  return retried("inotify_init1", [&] { return ::inotify_init1(flags); });
}
int inotify_add_watch(int fd, const char* path, std::uint32_t mask) {
  return retried("inotify_add_watch", [&] { return ::inotify_add_watch(fd, path, mask); });
}
int inotify_rm_watch(int fd, int watch) {
  return retried("inotify_rm_watch", [&] { return ::inotify_rm_watch(fd, watch); });
}
int memfd_create(const char* name, unsigned flags) {
  return retried("memfd_create", [&] { return ::memfd_create(name, flags); });
}
int fcntl(int fd, int command, long argument) {
  return retried("fcntl", [&] { return ::fcntl(fd, command, argument); });
}
int flock(int fd, int operation) {
  return retried("flock", [&] { return ::flock(fd, operation); });
}

// --- moving bytes without copying them ---

int pipe2(int out[2], int flags) {
  return retried("pipe2", [&] { return ::pipe2(out, flags); });
}
ssize_t splice(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t size, unsigned flags) {
  return retried("splice", [&] { return ::splice(from, from_offset, to, to_offset, size, flags); });
}
ssize_t sendfile(int to, int from, off_t* offset, size_t size) {
  return retried("sendfile", [&] { return ::sendfile(to, from, offset, size); });
}

// --- sockets ---

int socket(int domain, int type, int protocol) {
  return retried("socket", [&] { return ::socket(domain, type, protocol); });
}
int bind(int fd, const sockaddr* address, socklen_t size) {
  return retried("bind", [&] { return ::bind(fd, address, size); });
}
int listen(int fd, int backlog) {
  return retried("listen", [&] { return ::listen(fd, backlog); });
}
int connect(int fd, const sockaddr* address, socklen_t size) {
  // Asked again after an interruption, Linux goes on waiting for the same connection.
  return retried("connect", [&] { return ::connect(fd, address, size); });
}
int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  return retried("accept4", [&] { return ::accept4(fd, address, size, flags); });
}
int shutdown(int fd, int how) {
  return retried("shutdown", [&] { return ::shutdown(fd, how); });
}
int getsockopt(int fd, int level, int name, void* value, socklen_t* size) {
  return retried("getsockopt", [&] { return ::getsockopt(fd, level, name, value, size); });
}
int setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  return retried("setsockopt", [&] { return ::setsockopt(fd, level, name, value, size); });
}
int getsockname(int fd, sockaddr* address, socklen_t* size) {
  return retried("getsockname", [&] { return ::getsockname(fd, address, size); });
}
ssize_t recv(int fd, void* data, size_t size, int flags) {
  return retried("recv", [&] { return ::recv(fd, data, size, flags); });
}
ssize_t send(int fd, const void* data, size_t size, int flags) {
  return retried("send", [&] { return ::send(fd, data, size, flags); });
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  return retried("sendmsg", [&] { return ::sendmsg(fd, message, flags); });
}

// --- events ---

int epoll_create1(int flags) {
  return retried("epoll_create1", [&] { return ::epoll_create1(flags); });
}
int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  return retried("epoll_ctl", [&] { return ::epoll_ctl(epoll, operation, fd, event); });
}
int epoll_wait(int epoll, epoll_event* events, int capacity, int timeout_ms) {
  if (const int fault = injected_fault("epoll_wait"); fault != 0) [[unlikely]] {
    errno = fault;
    return fault == EINTR ? 0 : -1;
  }
  // Not retried: the timeout would begin anew.
  const int count = ::epoll_wait(epoll, events, capacity, timeout_ms);
  return count == -1 && errno == EINTR ? 0 : count;
}
int poll(pollfd* watched, nfds_t count, int timeout_ms) {
  if (const int fault = injected_fault("poll"); fault != 0) [[unlikely]] {
    errno = fault;
    return fault == EINTR ? 0 : -1;
  }
  const int ready = ::poll(watched, count, timeout_ms);
  return ready == -1 && errno == EINTR ? 0 : ready;
}
int ioctl(int fd, unsigned long request, void* argument) {
  return retried("ioctl", [&] { return ::ioctl(fd, request, argument); });
}
int eventfd(unsigned initial, int flags) {
  return retried("eventfd", [&] { return ::eventfd(initial, flags); });
}
int signalfd(int fd, const sigset_t& mask, int flags) {
  return retried("signalfd", [&] { return ::signalfd(fd, &mask, flags); });
}
int pthread_sigmask(int how, const sigset_t& mask) {
  if (const int fault = injected_fault("pthread_sigmask"); fault != 0) return fault;
  return ::pthread_sigmask(how, &mask, nullptr);
}

// --- processes ---

int posix_spawnp(pid_t& pid, const char* file, const posix_spawn_file_actions_t& actions,
                 const posix_spawnattr_t& attributes, char* const argv[], char* const environment[]) {
  if (const int fault = injected_fault("posix_spawnp"); fault != 0) return fault;
  return ::posix_spawnp(&pid, file, &actions, &attributes, argv, environment);
}
// By number, since the C library's header of these two has no C linkage in every release.
int pidfd_open(pid_t pid, unsigned flags) {
  return retried("pidfd_open", [&] { return static_cast<int>(::syscall(SYS_pidfd_open, pid, flags)); });
}
int pidfd_send_signal(int pidfd, int signal) {
  return retried("pidfd_send_signal", [&] {
    return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
  });
}
int kill(pid_t pid, int signal) {
  return retried("kill", [&] { return ::kill(pid, signal); });
}
int waitid(idtype_t type, id_t id, siginfo_t& out, int options) {
  return retried("waitid", [&] { return ::waitid(type, id, &out, options); });
}
int prctl(int option, unsigned long argument) {
  return retried("prctl", [&] { return ::prctl(option, argument, 0UL, 0UL, 0UL); });
}
ssize_t getrandom(void* data, size_t size, unsigned flags) {
  return retried("getrandom", [&] { return ::getrandom(data, size, flags); });
}

}  // namespace ftpd::sys
