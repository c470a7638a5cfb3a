// rm: what it removes and what it refuses, directories with all below them included.
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "store/names.h"
#include "unit/store_furnished.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

/// Runs `work` where this thread alone sees what it mounts. False where that is not allowed.
template <class Work>
bool with_own_mounts(Work work) {
  bool allowed = false;
  std::thread thread([&] {
    if (::unshare(CLONE_NEWNS) != 0) return;
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
    allowed = true;
    work();
  });
  thread.join();
  return allowed;
}

bool mount_memory(const std::string& at) {
  return ::mount("ftpd-test", at.c_str(), "tmpfs", 0, "size=1m") == 0;
}

}  // namespace

TEST_CASE("rm removes a file, and a link or a special file itself") {
  const Furnished root;
  for (const char* const name : {"f", "d/f", "link", "d/link", "dangling", "fifo"}) {
    CAPTURE(name);
    REQUIRE(root.has(name));
    CHECK(root.remove(name).has_value());
    CHECK_FALSE(root.has(name));
  }
  CHECK(root.remove_all("g").has_value());  // `recursive` is no promise that it is a directory
  CHECK(root.remove_all("d/sub/fifo").has_value());
  CHECK(root.outside_is_whole());
}

TEST_CASE("rm says why it does not remove") {
  const Furnished root;
  for (const bool recursive : {false, true}) {
    CAPTURE(recursive);
    const auto why = [&](std::string_view name) {
      return refusal(root.store->remove(path(name), recursive));
    };
    CHECK(why("missing") == Reason::not_found);
    CHECK(why("d/missing") == Reason::not_found);
    CHECK(why("missing/f") == Reason::not_found);
    CHECK(why("f/f") == Reason::not_directory);
    CHECK(why("link/precious") == Reason::denied);
    CHECK(why("dangling/f") == Reason::denied);
    CHECK(why("fifo/f") == Reason::not_directory);
    CHECK(why(".") == Reason::invalid);
  }
  CHECK(refusal(root.remove("d")) == Reason::is_directory);
  CHECK(refusal(root.remove("empty")) == Reason::is_directory);
  CHECK(read_file(root.at("d/sub/f")) == "in sub");
  CHECK(root.outside_is_whole());
}

TEST_CASE("rm with `recursive` removes a directory and all below it, but nothing that links lead to") {
  const Furnished root;
  CHECK(root.remove_all("d/sub").has_value());
  CHECK_FALSE(root.has("d/sub"));
  CHECK(root.has("d/f"));
  CHECK(root.remove_all("d").has_value());
  CHECK_FALSE(root.has("d"));
  CHECK(root.remove_all("empty").has_value());
  CHECK_FALSE(root.has("empty"));
  CHECK(root.has("f"));
  CHECK(root.outside_is_whole());
  CHECK(staged_files(root.place) == 0);
}

TEST_CASE("rm with `recursive` removes what stands on another file system in its place") {
  const Furnished root;
  const auto faults = Faults::always("renameat2", EXDEV);
  CHECK(root.remove_all("d").has_value());
  CHECK_FALSE(root.has("d"));
  CHECK(root.outside_is_whole());
}

TEST_CASE("rm with `recursive` works where nothing can be staged") {
  const Furnished root;
  std::filesystem::remove_all(root.at(".ftpd"));
  const auto faults = Faults::always("mkdirat", ENOSPC);
  CHECK(root.remove_all("d").has_value());
  CHECK_FALSE(root.has("d"));
}

TEST_CASE("rm with `recursive` that fails puts back what is left, and says so") {
  const Furnished root;
  {
    const auto faults = Faults::always("unlinkat", EIO);
    const auto removed = root.remove_all("d");
    CHECK(refusal(removed) == Reason::system);
    CHECK(removed.error().number == EIO);
    CHECK(removed.error().text.starts_with("\"d\": "));
  }
  CHECK(read_file(root.at("d/f")) == "in d");
  CHECK(read_file(root.at("d/sub/f")) == "in sub");
  CHECK(staged_files(root.place) == 0);
  CHECK(root.remove_all("d").has_value());
  CHECK_FALSE(root.has("d"));
}

TEST_CASE("rm with `recursive` neither crosses a mount nor hides it") {
  const Furnished root;
  ::mkdir(root.at("d/sub/mount").c_str(), 0755);
  const bool allowed = with_own_mounts([&] {
    if (!mount_memory(root.at("d/sub/mount"))) return;
    write_file(root.at("d/sub/mount/mounted"), "mounted");
    // Descriptors from before do not see it.
    const auto store = root.place.open();
    const auto removed = store->remove(path("d"), true);
    CHECK(refusal(removed) == Reason::denied);
    CHECK(removed.error().text.find("mounted on") != std::string::npos);
    CHECK(read_file(root.at("d/sub/mount/mounted")) == "mounted");
    const auto itself = store->remove(path("d/sub/mount"), true);
    CHECK(refusal(itself) == Reason::denied);
    CHECK(refusal(store->remove_directory(path("d/sub/mount"))) == Reason::denied);
    CHECK(refusal(store->rename(path("d/sub/mount"), path("m"), true)) == Reason::denied);
    CHECK(read_file(root.at("d/sub/mount/mounted")) == "mounted");
    CHECK(staged_files(root.place) == 0);
  });
  if (!allowed) MESSAGE("not checked: mounting is not allowed here");
  CHECK(root.remove_all("d").has_value());
}

TEST_CASE("on a file system mounted below the root rm removes in place, and mv stays within") {
  const Furnished root;
  const bool allowed = with_own_mounts([&] {
    if (!mount_memory(root.at("empty"))) return;
    std::filesystem::create_directories(root.at("empty/a/b"));
    write_file(root.at("empty/a/b/f"), "x");
    write_file(root.at("empty/a/f"), "x");
    const auto store = root.place.open();
    CHECK(refusal(store->rename(path("empty/a/f"), path("new"), true)) == Reason::unsupported);
    CHECK(refusal(store->rename(path("empty/a"), path("new"), true)) == Reason::unsupported);
    CHECK(store->rename(path("empty/a/f"), path("empty/g"), true).has_value());
    CHECK(store->remove(path("empty/a"), true).has_value());
    CHECK_FALSE(root.has("empty/a"));
    CHECK(root.has("empty/g"));
  });
  if (!allowed) MESSAGE("not checked: mounting is not allowed here");
}

TEST_CASE("rm with `recursive` removes directories that their owner may not write") {
  std::string failure = "nothing was done";
  // As somebody without the superuser's powers; the change is this thread's alone.
  std::thread thread([&] {
    const bool superuser = ::geteuid() == 0;
    const Place place;
    ::chmod(place.base.c_str(), 0777);
    if (superuser && ::syscall(SYS_setresuid, 65534, 65534, 0) != 0) return;
    {
      const auto store = place.open();
      std::filesystem::create_directories(place.at("d/read-only/sub"));
      write_file(place.at("d/read-only/f"), "x");
      std::filesystem::create_directories(place.at("d/empty-secret"));
      ::chmod(place.at("d/read-only").c_str(), 0555);
      ::chmod(place.at("d/empty-secret").c_str(), 0000);
      const auto removed = store->remove(path("d"), true);
      failure = removed ? "" : removed.error().text;
      if (removed && ::access(place.at("d").c_str(), F_OK) == 0) failure = "it is still there";
    }
    if (superuser && ::syscall(SYS_setresuid, 0, 0, 0) != 0) failure = "can't return";
  });
  thread.join();
  CHECK(failure == "");
}

TEST_CASE("rm and rmdir flush the directory where the store is durable") {
  const Furnished durable;
  const Furnished quick({.durable = false});
  const auto faults = Faults::always("fsync", EIO);
  for (const char* const name : {"f", "d/f"}) {
    CHECK(durable.remove(name).error().number == EIO);
    CHECK_FALSE(durable.has(name));
    CHECK(quick.remove(name).has_value());
  }
  CHECK(durable.remove_all("d").error().number == EIO);
  CHECK_FALSE(durable.has("d"));
  CHECK(staged_files(durable.place) == 0);
  CHECK(quick.remove_all("d").has_value());
  CHECK(durable.store->remove_directory(path("empty")).error().number == EIO);
  CHECK(quick.store->remove_directory(path("empty")).has_value());
}

TEST_CASE("a file system without a flush for directories is no error") {
  const Furnished root;
  const auto faults = Faults::always("fsync", EINVAL);
  CHECK(root.remove("f").has_value());
  CHECK(root.move("g", "d/g").has_value());
  CHECK(root.store->make_directory(path("new"), false).has_value());
}

TEST_CASE("what is removed or replaced no longer counts") {
  const Place place;
  const auto store = place.open({.quota = 1 << 20});
  const auto put = [&](std::string_view name, std::size_t size) {
    UploadRequest request = request_for(name);
    request.parents = true;
    REQUIRE(store->put_small(std::move(request), std::string(size, 'x')).has_value());
  };
  // Counting that takes long is not soon done again, so that what was told in between shows.
  const auto used = [&] {
    sys::set_fault_hook([](const char* call) {
      if (std::string_view(call) == "getdents64") std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return 0;
    });
    const auto bytes_used = store->quota().used();
    sys::set_fault_hook(nullptr);
    REQUIRE(bytes_used.has_value());
    return *bytes_used;
  };
  put("a", 1000);
  put("b", 200);
  put("d/e/c", 30000);
  put("d/f", 4000);
  CHECK(used() == 35200);
  CHECK(store->rename(path("b"), path("a"), true).has_value());
  CHECK(used() == 34200);
  CHECK(store->remove(path("d/f"), false).has_value());
  CHECK(used() == 30200);
  CHECK(store->remove(path("d"), true).has_value());
  CHECK(used() == 200);
  CHECK(store->remove(path("a"), false).has_value());
  CHECK(used() == 0);
}

TEST_CASE("remove_tree tells what is gone: a file with another name is not") {
  const Place place;
  std::filesystem::create_directories(place.at("d/sub"));
  write_file(place.at("d/a"), std::string(100, 'x'));
  write_file(place.at("d/sub/b"), std::string(20, 'x'));
  write_file(place.at("kept"), std::string(3, 'x'));
  REQUIRE(::link(place.at("kept").c_str(), place.at("d/kept").c_str()) == 0);
  REQUIRE(::link(place.at("d/a").c_str(), place.at("d/sub/a").c_str()) == 0);
  const UniqueFd holder(::open(place.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto removed = remove_tree(holder.get(), "d");
  REQUIRE(removed.has_value());
  CHECK(removed->files == 2);
  CHECK(removed->bytes == 120);
  CHECK_FALSE(std::filesystem::exists(place.at("d")));
  CHECK(remove_tree(holder.get(), "d").error().reason == Reason::not_found);
  CHECK(remove_tree(holder.get(), "kept").error().reason == Reason::not_directory);
  REQUIRE(::symlink(".", place.at("link").c_str()) == 0);
  CHECK_FALSE(remove_tree(holder.get(), "link").has_value());
  CHECK(read_file(place.at("kept")).size() == 3);
}
