// Rows `upload`, `download` and `output`: large bodies, against a minimal loop of system calls.
#include <fmt/format.h>
#include <sys/socket.h>

#include <fstream>

#include "load.h"
#include "rows.h"

namespace bench {

namespace {

constexpr int parallel = 8;
constexpr double mebibyte = 1 << 20;

std::string file_name(int index) { return fmt::format("file-{}", index); }

std::string size_text(std::uint64_t size) {
  return fmt::format("{:.0f} MiB", static_cast<double>(size) / mebibyte);
}

void verify_file(const std::filesystem::path& path, std::uint64_t size) {
  if (std::filesystem::file_size(path) != size) throw Broken(fmt::format("{}: wrong size", path.string()));
  std::ifstream file(path, std::ios::binary);
  std::vector<char> piece(content().size());
  for (std::uint64_t at = 0; at < size; at += piece.size()) {
    const auto count = std::min<std::uint64_t>(piece.size(), size - at);
    file.read(piece.data(), static_cast<std::streamsize>(count));
    if (!file ||
        !std::equal(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(count), content().begin())) {
      throw Broken(fmt::format("{}: wrong bytes near offset {}", path.string(), at));
    }
  }
}

/// A server to upload to and download from, and where its files are.
struct Side {
  std::uint16_t port;
  std::filesystem::path root;
};

/// Uploads `size` bytes over `connections` at once. The files are looked at and removed off the clock.
double upload(const Side& side, int connections, std::uint64_t size, Verify verify) {
  const auto each = size / static_cast<std::uint64_t>(connections);
  const double taken = run_at_once(side.port, connections,
                                   [&](int socket, int index) { put(socket, file_name(index), each); });
  for (int index = 0; index < connections; ++index) {
    const auto path = side.root / file_name(index);
    if (verify == Verify::content) verify_file(path, each);
    if (std::filesystem::file_size(path) != each) throw Broken("an upload has the wrong size");
    std::filesystem::remove(path);
  }
  return static_cast<double>(size) / taken;
}

double download(const Side& side, int connections, std::uint64_t size, Verify verify) {
  const auto each = size / static_cast<std::uint64_t>(connections);
  const double taken = run_at_once(side.port, connections, [&](int socket, int index) {
    send_all(socket, get_request(file_name(index)));
    const auto announced = read_reply(socket).data_size;
    if (announced != each) throw Broken(fmt::format("get announces {} bytes of {}", announced, each));
    receive_body(socket, {.size = each, .expected = content()}, verify);
  });
  return static_cast<double>(size) / taken;
}

/// The files that `download` asks for, made without the server.
void make_files(const Side& side, int count, std::uint64_t size) {
  const auto each = size / static_cast<std::uint64_t>(count);
  for (int index = 0; index < count; ++index) {
    std::ofstream file(side.root / file_name(index), std::ios::binary);
    for (std::uint64_t at = 0; at < each; at += content().size()) {
      const auto piece = std::min<std::uint64_t>(content().size(), each - at);
      file.write(content().data(), static_cast<std::streamsize>(piece));
    }
    if (!file.flush()) throw Broken("cannot make the files to download");
  }
}

double command_output(std::uint16_t port, std::uint64_t size, Verify verify) {
  static const std::vector<char> zeros(1 << 18);
  const double taken = run_at_once(port, 1, [&](int socket, int) {
    send_all(socket, head_request(size));
    const auto announced = read_reply(socket).data_size;
    if (announced != size) throw Broken(fmt::format("exec announces {} bytes of {}", announced, size));
    receive_body(socket, {.size = size, .expected = zeros}, verify);
  });
  return static_cast<double>(size) / taken;
}

std::filesystem::path peer_root(const Settings& settings) {
  auto root = settings.directory / "peer";
  std::filesystem::remove_all(root);
  std::filesystem::create_directory(root);
  return root;
}

using Transfer = double (*)(const Side&, int, std::uint64_t, Verify);

/// Once over `connections` with every byte compared, then the rounds that count.
void compare(const Settings& settings, const Figure& figure, Transfer transfer, std::array<Side, 2> sides,
             int connections) {
  const auto size = settings.scale.bytes;
  for (const auto& side : sides) transfer(side, connections, size, Verify::content);
  Figure result = figure;
  result.samples = interleave(
      settings.scale, [&] { return transfer(sides[0], connections, size, Verify::count); },
      [&] { return transfer(sides[1], connections, size, Verify::count); });
  print(result);
}

}  // namespace

void upload_row(const Settings& settings) {
  const Subject subject(settings);
  const Side peer_side{.port = 0, .root = peer_root(settings)};
  const auto peer = start_minimal_server(peer_side.root);
  for (const int connections : {1, parallel}) {
    const auto each = size_text(settings.scale.bytes / static_cast<std::uint64_t>(connections));
    compare(settings,
            {.what = fmt::format("upload {} x {} to tmpfs", connections, each),
             .unit = Unit::bytes_per_second,
             .peer = "splice loop",
             .samples = {},
             .reach = Reach::at_least,
             .bound = 0.9},
            upload, {Side{subject.port(), subject.root()}, Side{peer.port, peer_side.root}}, connections);
  }
}

void download_row(const Settings& settings) {
  const Subject subject(settings);
  // Both serve the same files.
  const auto peer = start_minimal_server(subject.root());
  const std::array sides{Side{subject.port(), subject.root()}, Side{peer.port, subject.root()}};
  for (const int connections : {1, parallel}) {
    const auto each = size_text(settings.scale.bytes / static_cast<std::uint64_t>(connections));
    make_files(sides[0], connections, settings.scale.bytes);
    compare(settings,
            {.what = fmt::format("download {} x {} from tmpfs", connections, each),
             .unit = Unit::bytes_per_second,
             .peer = "sendfile loop",
             .samples = {},
             .reach = Reach::at_least,
             .bound = 0.95},
            download, sides, connections);
  }
}

void output_row(const Settings& settings) {
  const Subject subject(settings);
  const auto peer = start_minimal_server(subject.root());
  const auto size = settings.scale.bytes;
  for (const auto port : {subject.port(), peer.port}) command_output(port, size, Verify::content);
  print({.what = fmt::format("command output {} in one reply", size_text(size)),
         .unit = Unit::bytes_per_second,
         .peer = "memfd loop",
         .samples = interleave(
             settings.scale, [&] { return command_output(subject.port(), size, Verify::count); },
             [&] { return command_output(peer.port, size, Verify::count); }),
         .reach = Reach::at_least,
         .bound = 0.9});
}

}  // namespace bench
