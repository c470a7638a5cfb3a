#include "store/home.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/sys.h"
#include "store/resolve.h"

namespace ftpd {

Result<UniqueFd> open_home(int root) { return open_beneath(root, home_name, home_directory_flags); }

Result<UniqueFd> open_or_make_home(int root) {
  constexpr int attempts = 8;
  for (int attempt = 1;; ++attempt) {
    auto home = open_home(root);
    if (home || home.error().number != ENOENT || attempt == attempts) return home;
    if (sys::mkdirat(root, home_name, 0700) != 0 && errno != EEXIST) {
      return fail_errno(errno, "can't make the directory \".ftpd\" for uploads in the root");
    }
  }
}

bool is_linked(int home, const std::string& name, int directory) {
  struct stat by_name{};
  struct stat by_fd{};
  return sys::fstatat(home, name.c_str(), by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
         sys::fstat(directory, by_fd) == 0 && by_name.st_ino == by_fd.st_ino &&
         by_name.st_dev == by_fd.st_dev;
}

Lock try_lock(int directory) {
  if (sys::flock(directory, LOCK_EX | LOCK_NB) == 0) return Lock::taken;
  return errno == EWOULDBLOCK ? Lock::held : Lock::impossible;
}

}  // namespace ftpd
