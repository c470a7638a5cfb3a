// What every benchmark shares: processes stopped by their pid, sockets, timing, medians and the printed
// table.
//
// The benchmarks know ftpd from outside only: a program that is started with a configuration file and spoken
// to over sockets, as ftpd-protocol(7) says. A missed reach is a line in the table; a measurement that
// cannot be trusted (wrong byte count, an error reply, a hang) throws `Broken` and ends the program.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace bench {

using ftpd::UniqueFd;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

class Broken : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Returns `result` of a system call, or throws Broken with `what` and errno when it is negative.
ssize_t check(ssize_t result, std::string_view what);
/// The same, for calls that return a descriptor: the result owns it.
UniqueFd check_fd(int fd, std::string_view what);

[[nodiscard]] double seconds_since(Clock::time_point start);

// --- processes
// ----------------------------------------------------------------------------------------------

/// A child process, stopped and reaped when this object goes: SIGTERM, and SIGKILL after a bounded wait. It
/// dies with the benchmark, too (parent-death signal), so start one only on the main thread, while no other
/// thread runs.
class Process {
 public:
  /// Runs `argv` (looked up in PATH); standard output and error are appended to `log`.
  static Process execute(const std::vector<std::string>& argv, const std::filesystem::path& log);
  /// Runs `body` in a copy of this process; what it throws is printed and ends the copy with status 1.
  static Process run(const std::function<void()>& body);

  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  Process& operator=(Process&&) = delete;
  ~Process();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// The caller stops and reaps it.
  [[nodiscard]] pid_t release() { return std::exchange(pid_, -1); }
  /// Whether it runs still; reaps nothing.
  [[nodiscard]] bool alive() const;
  /// Waits up to `limit` for a normal end; throws when it does not come or the status is not 0.
  void join(milliseconds limit);

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
};

/// The path of `program` in PATH, or an empty one.
[[nodiscard]] std::filesystem::path find_program(std::string_view program);

// --- files
// ------------------------------------------------------------------------------------------------

/// A directory below `parent` with a name that was never used before: on a disk, files are slow to make for a
/// while where many were removed.
std::filesystem::path fresh_directory(const std::filesystem::path& parent);

// --- sockets
// ------------------------------------------------------------------------------------------------

/// A listening socket on 127.0.0.1 with a port of the kernel's choice.
UniqueFd listen_loopback();
[[nodiscard]] std::uint16_t port_of(int listener);
/// A blocking connection to 127.0.0.1 with TCP_NODELAY; sends and receives fail after 20 s without progress.
UniqueFd connect_loopback(std::uint16_t port);
void set_nonblocking(int fd);
void send_all(int socket, std::span<const char> bytes);
/// Fills `bytes` completely; an end of input before that throws.
void receive_all(int socket, std::span<char> bytes);

// --- frames
// -------------------------------------------------------------------------------------------------

/// A frame's length and header; the body is sent behind it.
std::string frame(std::string_view header);

struct Reply {
  std::string header;
  std::uint64_t data_size = 0;
};

/// Reads a reply's length and header, and leaves its body unread. Throws unless it says `"ok":true`.
Reply read_reply(int socket);
/// The header of the reply without body at the front of `bytes`, which is 4 bytes longer; empty when it is
/// not complete. Throws unless it says `"ok":true`.
std::string_view complete_reply(std::string_view bytes);

/// The raw text of a header's value: a number's digits, or a string without its quotes (escapes are not
/// undone). Empty when there is no such key. Good enough for headers that the benchmarks know.
std::string_view value_of(std::string_view header, std::string_view key);
std::uint64_t number_of(std::string_view header, std::string_view key);

// --- figures
// ------------------------------------------------------------------------------------------------

/// How much is measured. `full` runs are what counts; `brief` ones show that everything works.
struct Scale {
  int rounds;                ///< of A B B A …; the ratio's median over them is the result
  std::uint64_t bytes;       ///< of one large transfer
  milliseconds window;       ///< of one measurement by the clock
  milliseconds budget;       ///< after it no further round of the same figure begins
  milliseconds load_window;  ///< of one measurement of latency
  int load_rounds;
  int idle_connections;
  std::size_t small_files;
  std::uint64_t digest_bytes;  ///< of an upload whose digest is checked
  std::uint64_t disk_bytes;    ///< that the load on a disk may write in all

  /// For measurements that wait for a disk: few rounds, but time enough for them.
  [[nodiscard]] Scale on_disk() const;
};

/// Two figures of the same kind from the same round.
struct Sample {
  double ours;
  double peer;
};

/// Measures both sides in turn, A B B A, so that neither always runs second.
std::vector<Sample> interleave(const Scale& scale, const std::function<double()>& ours,
                               const std::function<double()>& peer);

double median(std::vector<double> values);
/// The value that `fraction` (0 to 1) of `values` do not exceed.
double percentile(std::vector<double> values, double fraction);

enum class Unit { bytes_per_second, per_second, seconds, bytes };
enum class Reach { none, at_least, at_most };

/// One line: `samples` of a figure, and the reach of the median of ours / peer.
struct Figure {
  std::string what;
  Unit unit;
  std::string peer;  ///< what the other side was
  std::vector<Sample> samples;
  Reach reach = Reach::none;
  double bound = 0;
};

void print_heading();
void print(const Figure& figure);
void print_note(std::string_view text);

}  // namespace bench
