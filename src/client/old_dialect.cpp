// Servers that know no frames: `put` that never hears an answer, `exec` as one bare command.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/sys.h"
#include "client/local_files.h"
#include "client/local_tree.h"
#include "client/request.h"
#include "client/text.h"
#include "client/verbs.h"
#include "ftpd/json_write.h"
#include "ftpd/message.h"

namespace ftpd::client {
namespace {

// What such servers read of a command, in one go.
constexpr std::size_t longest_command = 1024;

constexpr std::chrono::minutes patience{5};
constexpr std::size_t piece_size = 64U * 1024;

/// A connected socket, used one way at a time.
class OldPeer {
 public:
  static Outcome<OldPeer> open(const std::string& address) {
    auto socket = dial(address);
    if (!socket) return std::unexpected(socket.error());
    return OldPeer{std::move(*socket), address};
  }

  Outcome<void> send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = sys::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (auto moved = moved_or_waited(count, POLLOUT); !moved) return moved;
      if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
  }

  Outcome<void> send_file(int file, std::uint64_t size) {
    off_t offset = 0;
    while (static_cast<std::uint64_t>(offset) < size) {
      const std::size_t wanted =
          std::min<std::uint64_t>(size - static_cast<std::uint64_t>(offset), 1U << 20U);
      const ssize_t count = sys::sendfile(socket_.get(), file, &offset, wanted);
      if (count == 0) return local_failure("the file became shorter while it was sent");
      if (auto moved = moved_or_waited(count, POLLOUT); !moved) return moved;
    }
    return {};
  }

  void end_sending() { sys::shutdown(socket_.get(), SHUT_WR); }

  /// 1 to `into.size()` bytes; 0 at the end. A command may be silent as long as it likes.
  Outcome<std::size_t> receive(std::span<char> into, Duration limit) {
    for (;;) {
      const ssize_t count = sys::recv(socket_.get(), into.data(), into.size(), 0);
      if (count >= 0) return static_cast<std::size_t>(count);
      if (auto waited = moved_or_waited(count, POLLIN, limit); !waited)
        return std::unexpected(waited.error());
    }
  }

  Outcome<void> receive_exactly(std::span<char> into) {
    while (!into.empty()) {
      const auto count = receive(into, Duration::zero());
      if (!count) return std::unexpected(count.error());
      if (*count == 0)
        return connection_failure(name_ + ": the connection was closed in the middle of a reply");
      into = into.subspan(*count);
    }
    return {};
  }

  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  OldPeer(UniqueFd socket, std::string name) : socket_(std::move(socket)), name_(std::move(name)) {}

  Outcome<void> moved_or_waited(ssize_t result, short events, Duration limit = patience) {
    if (result >= 0) return {};
    if (errno != EAGAIN) return connection_failure(Error::from_errno(errno, name_).text);
    const TimePoint deadline = deadline_after(Clock::now(), limit);
    pollfd watched{socket_.get(), events, 0};
    while (Clock::now() < deadline) {
      const int ready = sys::poll(&watched, 1, 1000);
      if (ready < 0) return system_failure(errno, "poll");
      if (ready > 0) return {};
    }
    return connection_failure(name_ + ": no answer");
  }

  UniqueFd socket_;
  std::string name_;
};

Outcome<void> put_silently(const Session& session, const LocalFile& file, const Outcome<OpenFile>& opened) {
  if (!opened) return std::unexpected(opened.error());
  if (!opened->size) return local_failure("its size is not known, and an old server has to be told");
  auto peer = OldPeer::open(session.options.address);
  if (!peer) return std::unexpected(peer.error());
  JsonObject request;
  request.add("cmd", "put").add("filename", file.remote).add("filesize", *opened->size);
  std::string frame;
  append_frame(frame, std::move(request).take());
  if (auto sent = peer->send(frame); !sent) return sent;
  if (auto sent = peer->send_file(opened->fd.get(), *opened->size); !sent) return sent;
  peer->end_sending();
  // The end of the connection is the only sign that the server has read everything.
  std::array<char, 4096> ignored;
  for (;;) {
    const auto count = peer->receive(ignored, patience);
    if (!count) return std::unexpected(count.error());
    if (*count == 0) break;
  }
  if (session.report.json()) {
    JsonObject sent;
    sent.add("ok", true).add("sent", *opened->size);
    session.report.print_result(file.local, std::move(sent).take());
  }
  return {};
}

/// Next::stop: there is no connection to be had.
Next put_or_report(const Session& session, const LocalFile& file, const Outcome<OpenFile>& opened) {
  const auto done = put_silently(session, file, opened);
  if (done) return Next::go_on;
  session.report.failed(file.local, done.error());
  return done.error().who == Failure::Who::connection ? Next::stop : Next::go_on;
}

/// Each file of a directory. What such a server does with the names is its own affair.
Next put_tree_silently(const Session& session, const LocalFile& directory) {
  auto tree = LocalTree::open(directory.local, session.report);
  if (!tree) {
    session.report.failed(directory.local, tree.error());
    return Next::go_on;
  }
  while (auto entry = tree->next()) {
    if (entry->kind != TreeEntry::Kind::file) continue;
    const LocalFile file{entry->path, joined(directory.remote, entry->name)};
    OpenFile opened;
    opened.fd = std::move(entry->fd);
    opened.size = static_cast<std::uint64_t>(entry->about.st_size);
    if (put_or_report(session, file, std::move(opened)) == Next::stop) return Next::stop;
  }
  return Next::go_on;
}

std::string command_line(const Options& options) {
  if (options.shell_line) return *options.shell_line;
  std::string line;
  for (const std::string& word : options.operands) {
    if (!line.empty()) line += ' ';
    line += shell_quoted(word);
  }
  return line;
}

/// The size of the output that follows.
Outcome<std::uint64_t> output_size(OldPeer& peer, OldDialect dialect) {
  std::array<unsigned char, limits::length_size> bytes{};
  if (auto read = peer.receive_exactly({reinterpret_cast<char*>(bytes.data()), bytes.size()}); !read) {
    return std::unexpected(read.error());
  }
  const std::uint32_t length = std::uint32_t{bytes[0]} | std::uint32_t{bytes[1]} << 8U |
                               std::uint32_t{bytes[2]} << 16U | std::uint32_t{bytes[3]} << 24U;
  if (length > INT32_MAX) return connection_failure(peer.name() + ": a negative length: not this dialect");
  if (dialect != OldDialect::json) return length;
  if (length > limits::largest_max_header) return connection_failure(peer.name() + ": not this dialect");
  std::string header(length, '\0');
  if (auto read = peer.receive_exactly(header); !read) return std::unexpected(read.error());
  HeaderParser parser;
  const auto parsed = parser.parse(header, false);
  if (!parsed) return connection_failure(peer.name() + ": not this dialect: " + parsed.error());
  const auto size = parsed->size("data_size");
  if (!size || !*size) return connection_failure(peer.name() + ": a reply without data_size");
  return **size;
}

}  // namespace

Outcome<void> run_old_put(const Session& session) {
  for (const std::string& local : session.options.operands) {
    const LocalFile operand{local, remote_name(session.options, local)};
    const bool is_tree = session.options.depth == Depth::recursive && is_local_directory(local);
    const auto sent =
        is_tree ? put_tree_silently(session, operand) : put_or_report(session, operand, open_local(local));
    if (sent == Next::stop) return {};
  }
  return {};
}

Outcome<void> run_old_exec(const Session& session) {
  const std::string line = command_line(session.options);
  if (line.size() > longest_command || line.size() < 2) {
    return usage_failure(fmt::format("a command for an old server has 2 to {} bytes, this one {}",
                                     longest_command, line.size()));
  }
  auto peer = OldPeer::open(session.options.address);
  if (!peer) return std::unexpected(peer.error());
  if (auto sent = peer->send(line); !sent) return sent;
  const auto size = output_size(*peer, session.options.dialect);
  if (!size) return std::unexpected(size.error());
  std::array<char, piece_size> piece;
  std::string collected;
  for (std::uint64_t left = *size; left > 0;) {
    const std::span<char> part{piece.data(), std::min<std::uint64_t>(left, piece.size())};
    if (auto read = peer->receive_exactly(part); !read) return read;
    left -= part.size();
    if (session.report.json()) {
      collected.append(part.data(), part.size());
      if (collected.size() > (256U << 20U))
        return local_failure("more output than fits into one JSON result");
    } else if (auto written = write_all(STDOUT_FILENO, {part.data(), part.size()}, "standard output");
               !written) {
      return written;
    }
  }
  if (session.report.json()) {
    JsonObject result;
    result.add("ok", true).add("stdout", collected);
    session.report.print_result({}, std::move(result).take());
  }
  return {};
}

}  // namespace ftpd::client
