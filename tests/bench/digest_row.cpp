// Row `sha256`: a large upload whose digest is announced and checked, against a loop that receives, hashes
// and writes.
#include <fmt/format.h>

#include <algorithm>

#include "load.h"
#include "rows.h"
#include "sha256.h"

namespace bench {

namespace {

/// Of what an upload of `size` bytes sends.
std::string sha256_of_content(std::uint64_t size) {
  Sha256 digest;
  for (std::uint64_t at = 0; at < size; at += content().size()) {
    digest.add(content().first(std::min<std::uint64_t>(content().size(), size - at)));
  }
  return digest.finish();
}

constexpr std::string_view name = "verified";

/// A server and where its files are.
struct Side {
  std::uint16_t port;
  std::filesystem::path root;
};

double upload(const Side& side, std::string_view digest, std::uint64_t size) {
  const auto header =
      fmt::format(R"({{"cmd":"put","filename":"{}","sha256":"{}","data_size":{}}})", name, digest, size);
  const double taken = run_at_once(side.port, 1, [&](int socket, int) { put_with(socket, header, size); });
  const auto path = side.root / name;
  if (std::filesystem::file_size(path) != size) throw Broken("an upload has the wrong size");
  std::filesystem::remove(path);
  return static_cast<double>(size) / taken;
}

}  // namespace

void sha256_row(const Settings& settings) {
  const Subject subject(settings);
  const Side side{.port = subject.port(), .root = subject.root()};
  const auto peer_root = fresh_directory(settings.directory);
  const auto peer = start_minimal_server(peer_root);
  const Side peer_side{.port = peer.port, .root = peer_root};
  const auto size = settings.scale.digest_bytes;
  const auto digest = sha256_of_content(size);
  const auto ours = [&] { return upload(side, digest, size); };
  const auto theirs = [&] { return upload(peer_side, digest, size); };
  ours();
  theirs();
  print({.what = fmt::format("upload {} MiB, sha256 checked", size >> 20),
         .unit = Unit::bytes_per_second,
         .peer = "recv hash write",
         .samples = interleave(settings.scale, ours, theirs),
         .reach = Reach::at_least,
         .bound = 0.9});
}

}  // namespace bench
