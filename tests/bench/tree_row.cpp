// Row `tree`: a directory of small files, sent and fetched by ftpc, against tar at both ends of netcat.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>
#include <thread>

#include "load.h"
#include "rows.h"

namespace bench {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t directories = 100;
constexpr milliseconds transfer_limit{60000};

/// Most are 4 KiB; some are smaller, and a few larger.
std::size_t size_of(std::size_t index) {
  constexpr std::array<std::size_t, 10> sizes{4096, 4096, 4096, 4096, 4096, 4096, 1000, 20000, 4096, 0};
  return sizes[index % sizes.size()];
}

fs::path path_of(std::size_t index) {
  return fs::path(fmt::format("directory-{:02}", index % directories)) / fmt::format("file-{:05}", index);
}

std::string_view content_of(std::size_t index) {
  const auto piece = content().subspan(index * 4096 % (content().size() / 2), size_of(index));
  return {piece.data(), piece.size()};
}

void make_tree(const fs::path& root, std::size_t count) {
  for (std::size_t i = 0; i < directories; ++i) fs::create_directory(root / path_of(i).parent_path());
  for (std::size_t index = 0; index < count; ++index) {
    std::ofstream file(root / path_of(index), std::ios::binary);
    const auto bytes = content_of(index);
    if (!file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush()) {
      throw Broken("cannot make the tree");
    }
  }
}

void verify_tree(const fs::path& root, std::size_t count) {
  std::string bytes;
  for (std::size_t index = 0; index < count; ++index) {
    std::ifstream file(root / path_of(index), std::ios::binary);
    bytes.resize(size_of(index) + 1);
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (std::string_view(bytes.data(), static_cast<std::size_t>(file.gcount())) != content_of(index)) {
      throw Broken(fmt::format("{}: wrong bytes", (root / path_of(index)).string()));
    }
  }
  const auto entries = std::distance(fs::recursive_directory_iterator(root), {});
  if (static_cast<std::size_t>(entries) != count + directories) {
    throw Broken(fmt::format("{} entries in {}", entries, root.string()));
  }
}

/// The seconds that a process takes from start to end.
double run(const std::vector<std::string>& argv, const fs::path& log) {
  const auto start = Clock::now();
  auto process = Process::execute(argv, log);
  try {
    process.join(transfer_limit);
  } catch (const Broken& error) {
    std::ostringstream text;
    text << std::ifstream(log).rdbuf();
    throw Broken(fmt::format("{}: {}\n{}", argv[0], error.what(), text.str()));
  }
  return seconds_since(start);
}

/// Whether somebody listens there, asked without a connection: netcat takes only one.
bool listens(std::uint16_t port) {
  const auto wanted = fmt::format(" 0100007F:{:04X} 00000000:0000 0A ", port);
  std::ifstream table("/proc/net/tcp");
  for (std::string line; std::getline(table, line);) {
    if (line.find(wanted) != std::string::npos) return true;
  }
  return false;
}

/// `tar c | nc` into `nc -l | tar x`. The receiver listens before the clock starts, as a daemon does.
double tar_over_netcat(const fs::path& from, const fs::path& to, const fs::path& log) {
  fs::create_directory(to);
  const auto port = port_of(listen_loopback().get());  // free again once this line is over
  auto receiver = Process::execute(
      {"sh", "-c", fmt::format("nc -l 127.0.0.1 {} | tar -x --no-same-owner -C {}", port, to.string())}, log);
  const auto end = Clock::now() + std::chrono::seconds(10);
  while (!listens(port)) {
    if (Clock::now() > end || !receiver.alive()) throw Broken("netcat does not listen");
    std::this_thread::sleep_for(milliseconds(2));
  }
  const auto start = Clock::now();
  auto sender = Process::execute(
      {"sh", "-c", fmt::format("tar -c -C {} . | nc -N 127.0.0.1 {}", from.string(), port)}, log);
  sender.join(transfer_limit);
  receiver.join(transfer_limit);
  return seconds_since(start);
}

/// `transfer` makes the directory that it is given; what is then in it is looked at and removed off the
/// clock.
double transferred(const fs::path& parent, std::size_t count,
                   const std::function<double(const fs::path&)>& transfer) {
  const auto place = fresh_directory(parent);
  const auto target = place / "tree";
  const double taken = transfer(target);
  verify_tree(target, count);
  fs::remove_all(place);
  return static_cast<double>(count) / taken;
}

}  // namespace

void tree_row(const Settings& settings) {
  const auto client = settings.ftpd.parent_path() / "ftpc";
  if (settings.ftpd.empty() || ::access(client.c_str(), X_OK) != 0) {
    return print_note("tree: skipped, there is no ftpc beside the daemon");
  }
  if (find_program("nc").empty()) return print_note("tree: skipped, nc is not installed (make bench-deps)");
  const Subject subject(settings);
  const auto count = settings.scale.small_files;
  const auto log = settings.directory / "tree.log";
  const auto address = fmt::format("127.0.0.1:{}", subject.port());

  const auto source = fresh_directory(settings.directory);
  make_tree(source, count);
  // The same tree where the daemon serves it.
  const auto served = fresh_directory(subject.root());
  make_tree(served, count);

  const auto put_tree = [&](const fs::path& target) {
    return run({client, "-a", address, "put", "-r", source.string() + "/.", "--to",
                fs::relative(target, subject.root()).string()},
               log);
  };
  const auto get_tree = [&](const fs::path& target) {
    return run({client, "-a", address, "get", "-r", served.filename(), target}, log);
  };
  const auto piped = [&](const fs::path& target) { return tar_over_netcat(source, target, log); };
  const auto measure = [&](std::string_view what, const std::function<double()>& ours) {
    const auto peer = [&] { return transferred(settings.directory, count, piped); };
    ours();
    peer();
    print({.what = fmt::format("{}, {} files", what, count),
           .unit = Unit::per_second,
           .peer = "tar and nc",
           .samples = interleave(settings.scale, ours, peer),
           .reach = Reach::at_least,
           .bound = 0.8});
  };
  measure("ftpc put -r", [&] { return transferred(subject.root(), count, put_tree); });
  measure("ftpc get -r", [&] { return transferred(settings.directory, count, get_tree); });
}

}  // namespace bench
