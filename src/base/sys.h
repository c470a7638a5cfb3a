// Every system call that the project makes goes through here.
//
// Each wrapper has the signature and the manners of the call it names: the result, or -1 with errno
// set. Two things are added: EINTR is retried here and nowhere else (except by `epoll_wait` and `poll`, where
// it reads as "no events"), and a test may make the Nth call fail (see FaultHook).
#pragma once

#include <dirent.h>
#include <linux/openat2.h>
#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cstdint>

namespace ftpd::sys {

/// Asked before each call with the call's name; an errno other than 0 is returned to the caller
/// instead of making the call (EINTR is retried, as the kernel's own is, and asks again). For tests:
/// process-wide, null in production; any thread may be the one that asks.
using FaultHook = int (*)(const char* call);
void set_fault_hook(FaultHook hook);

// files
ssize_t read(int fd, void* data, size_t size);
ssize_t write(int fd, const void* data, size_t size);
ssize_t pread(int fd, void* data, size_t size, off_t offset);
ssize_t preadv2(int fd, const iovec* parts, int count, off_t offset, int flags);
ssize_t pwrite(int fd, const void* data, size_t size, off_t offset);
ssize_t writev(int fd, const iovec* parts, int count);
int openat2(int directory, const char* path, const open_how& how);
int fstat(int fd, struct stat& out);
int fstatat(int directory, const char* path, struct stat& out, int flags);
int fstatfs(int fd, struct statfs& out);
int fsync(int fd);
int fdatasync(int fd);
int syncfs(int fd);
int sync_file_range(int fd, off_t offset, off_t size, unsigned flags);
int fallocate(int fd, int mode, off_t offset, off_t length);
int ftruncate(int fd, off_t size);
int fchmod(int fd, mode_t mode);
int fchmodat(int directory, const char* name, mode_t mode);
int futimens(int fd, const timespec times[2]);
int utimensat(int directory, const char* name, const timespec times[2], int flags);
ssize_t fgetxattr(int fd, const char* name, void* value, size_t size);
int fsetxattr(int fd, const char* name, const void* value, size_t size, int flags);
int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags);
int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags);
int unlinkat(int directory, const char* name, int flags);
int mkdirat(int directory, const char* name, mode_t mode);
ssize_t getdents64(int fd, void* data, size_t size);
off_t lseek(int fd, off_t offset, int whence);
int inotify_init1(int flags);
int inotify_add_watch(int fd, const char* path, std::uint32_t mask);
int inotify_rm_watch(int fd, int watch);
int memfd_create(const char* name, unsigned flags);
int fcntl(int fd, int command, long argument = 0);
int flock(int fd, int operation);

// moving bytes without copying them
int pipe2(int out[2], int flags);
ssize_t splice(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t size, unsigned flags);
ssize_t sendfile(int to, int from, off_t* offset, size_t size);

// sockets
int socket(int domain, int type, int protocol);
int bind(int fd, const sockaddr* address, socklen_t size);
int listen(int fd, int backlog);
int connect(int fd, const sockaddr* address, socklen_t size);
int accept4(int fd, sockaddr* address, socklen_t* size, int flags);
int shutdown(int fd, int how);
int getsockopt(int fd, int level, int name, void* value, socklen_t* size);
int setsockopt(int fd, int level, int name, const void* value, socklen_t size);
int getsockname(int fd, sockaddr* address, socklen_t* size);
ssize_t recv(int fd, void* data, size_t size, int flags);
ssize_t send(int fd, const void* data, size_t size, int flags);
ssize_t sendmsg(int fd, const msghdr* message, int flags);

// events
int epoll_create1(int flags);
int epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
int epoll_wait(int epoll, epoll_event* events, int capacity, int timeout_ms);
int poll(pollfd* watched, nfds_t count, int timeout_ms);  // EINTR reads as "no events"
int ioctl(int fd, unsigned long request, void* argument);
int eventfd(unsigned initial, int flags);
int signalfd(int fd, const sigset_t& mask, int flags);
int pthread_sigmask(int how, const sigset_t& mask);  // returns the error number, as the call does

// processes; posix_spawnp returns the error number, as the call does
int posix_spawnp(pid_t& pid, const char* file, const posix_spawn_file_actions_t& actions,
                 const posix_spawnattr_t& attributes, char* const argv[], char* const environment[]);
int pidfd_open(pid_t pid, unsigned flags);
int pidfd_send_signal(int pidfd, int signal);
int kill(pid_t pid, int signal);
int waitid(idtype_t type, id_t id, siginfo_t& out, int options);
int prctl(int option, unsigned long argument);
ssize_t getrandom(void* data, size_t size, unsigned flags);

}  // namespace ftpd::sys
