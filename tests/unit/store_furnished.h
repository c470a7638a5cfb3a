// What the tests of rm, rmdir, mkdir and mv share.
#pragma once

#include "unit/store_support.h"

namespace ftpd::test {

/// A root with something of every kind in it, and a directory outside that links lead to.
struct Furnished {
  explicit Furnished(Store::Options options = {}, const std::string& below = Place::temporary_directory())
      : place(below), store(place.open(options)) {
    ::mkdir((place.base + "/outside").c_str(), 0755);
    write_file(place.base + "/outside/precious", "precious");
    write_file(at("f"), "file");
    write_file(at("g"), "other file");
    std::filesystem::create_directories(at("d/sub/deeper"));
    std::filesystem::create_directories(at("empty"));
    write_file(at("d/f"), "in d");
    write_file(at("d/sub/f"), "in sub");
    REQUIRE(::symlink("../outside", at("link").c_str()) == 0);
    REQUIRE(::symlink("../../outside/precious", at("d/link").c_str()) == 0);
    REQUIRE(::symlink("nowhere", at("dangling").c_str()) == 0);
    REQUIRE(::mkfifo(at("fifo").c_str(), 0644) == 0);
    REQUIRE(::mkfifo(at("d/sub/fifo").c_str(), 0644) == 0);
  }
  [[nodiscard]] std::string at(const std::string& name) const { return place.at(name); }
  [[nodiscard]] bool has(const std::string& name) const {
    struct stat status{};
    return ::lstat(at(name).c_str(), &status) == 0;
  }
  [[nodiscard]] bool outside_is_whole() const {
    return read_file(place.base + "/outside/precious") == "precious";
  }
  [[nodiscard]] Result<void> remove(std::string_view name) const { return store->remove(path(name), false); }
  [[nodiscard]] Result<void> remove_all(std::string_view name) const {
    return store->remove(path(name), true);
  }
  [[nodiscard]] Result<void> move(std::string_view from, std::string_view to, bool replace = true) const {
    return store->rename(path(from), path(to), replace);
  }

  Place place;
  std::shared_ptr<Store> store;
};

inline Reason refusal(const Result<void>& result) {
  REQUIRE_FALSE(result.has_value());
  CHECK_FALSE(result.error().text.empty());
  return result.error().reason;
}

}  // namespace ftpd::test
