// The rows of the benchmark: each measures one kind of work and prints its figures.
#pragma once

#include <sys/types.h>
#include <cstdint>
#include <filesystem>
#include <string>

#include "peers.h"

namespace bench {

struct Settings {
  Scale scale;
  /// The daemon's program. Empty: the minimal server stands in for it, and the ratios that ought to be 1 show
  /// how far the machine's noise goes.
  std::filesystem::path ftpd;
  /// Ours, on a memory file system; removed at the end.
  std::filesystem::path directory;
  /// Ours, on a disk; removed at the end. Empty where there is none.
  std::filesystem::path disk;
};

enum class Durability : std::uint8_t { none, fsync };

/// What is measured: a daemon with defaults but for durability and max_output, on a free port. Its root is on
/// the memory file system with Durability::none, on the disk with fsync.
class Subject {
 public:
  explicit Subject(const Settings& settings, Durability durability = Durability::none);

  [[nodiscard]] std::uint16_t port() const { return server_.port; }
  [[nodiscard]] pid_t pid() const { return server_.process.pid(); }
  [[nodiscard]] const std::filesystem::path& root() const { return root_; }

 private:
  std::filesystem::path root_;
  Server server_;
};

void upload_row(const Settings& settings);
void download_row(const Settings& settings);
void output_row(const Settings& settings);
void ping_row(const Settings& settings);
void exec_row(const Settings& settings);
void latency_row(const Settings& settings);
void memory_row(const Settings& settings);
void small_row(const Settings& settings);
void small_peers_row(const Settings& settings);
void small_durable_row(const Settings& settings);
void tree_row(const Settings& settings);
void sha256_row(const Settings& settings);
void latency_durable_row(const Settings& settings);

}  // namespace bench
