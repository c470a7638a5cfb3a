// Many small files; see small_files.h.
#include "small_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "load.h"

namespace bench {

std::string small_name(std::size_t index) { return fmt::format("file-{:05}", index); }

std::string_view small_content(std::size_t index) {
  const auto bytes = content();
  const auto piece = bytes.subspan(index * small_size % bytes.size(), small_size);
  return {piece.data(), piece.size()};
}

void make_small_files(const std::filesystem::path& directory, std::size_t count) {
  for (std::size_t index = 0; index < count; ++index) {
    std::ofstream file(directory / small_name(index), std::ios::binary);
    if (!file.write(small_content(index).data(), small_size).flush()) throw Broken("cannot make small files");
  }
}

void verify_small_files(const std::filesystem::path& directory, std::size_t count, Look look) {
  const auto entries = std::distance(std::filesystem::directory_iterator(directory), {});
  if (static_cast<std::size_t>(entries) != count) {
    throw Broken(fmt::format("{} files of {} in {}", entries, count, directory.string()));
  }
  std::array<char, small_size> bytes{};
  for (std::size_t index = 0; index < count; ++index) {
    const auto path = directory / small_name(index);
    if (std::filesystem::file_size(path) != small_size) throw Broken(path.string() + ": wrong size");
    if (look == Look::outside) continue;
    std::ifstream file(path, std::ios::binary);
    if (!file.read(bytes.data(), bytes.size()) ||
        std::string_view(bytes.data(), bytes.size()) != small_content(index)) {
      throw Broken(path.string() + ": wrong bytes");
    }
  }
}

// --- what is sent
// -----------------------------------------------------------------------------------------------

Dialect put_dialect(const std::string& target) {
  return {.head =
              [target](std::size_t index) {
                return frame(fmt::format(R"({{"cmd":"put","filename":"{}/{}","data_size":{}}})", target,
                                         small_name(index), small_size));
              },
          .reply_size = [](std::string_view bytes) -> std::size_t {
            const auto header = complete_reply(bytes);
            return header.empty() ? 0 : 4 + header.size();
          }};
}

PreparedUploads::PreparedUploads(const Dialect& dialect, std::size_t count) : begins_{0} {
  for (std::size_t index = 0; index < count; ++index) {
    bytes_ += dialect.head(index);
    bytes_ += small_content(index);
    begins_.push_back(bytes_.size());
  }
}

std::string_view PreparedUploads::operator()(std::size_t first, std::size_t count) const {
  return std::string_view(bytes_).substr(begins_[first], begins_[first + count] - begins_[first]);
}

namespace {

/// Appends the contents of a file, whatever its size.
void append_file(std::string& bytes, int directory, const std::string& name) {
  const auto file = check_fd(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC), name);
  std::array<char, 2 * small_size> piece{};
  while (const auto count = check(::read(file.get(), piece.data(), piece.size()), "read")) {
    bytes.append(piece.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace

Supply uploads_from(const std::filesystem::path& source, const Dialect& dialect) {
  const auto directory = std::make_shared<UniqueFd>(
      check_fd(::open(source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), source.string()));
  return [directory, head = dialect.head, bytes = std::make_shared<std::string>()](std::size_t first,
                                                                                   std::size_t count) {
    bytes->clear();
    for (auto index = first; index < first + count; ++index) {
      *bytes += head(index);
      append_file(*bytes, directory->get(), small_name(index));
    }
    return std::string_view(*bytes);
  };
}

// --- sending it
// -------------------------------------------------------------------------------------------------

namespace {

/// Uploads that go out in one piece at most.
constexpr std::size_t largest_batch = 64;

struct Share {
  std::size_t first;
  std::size_t end;
};

/// One connection: sends while its window is open, and counts replies.
class Uploader {
 public:
  Uploader(std::uint16_t port, Share share, std::size_t window, Supply supply, const Dialect& dialect)
      : socket_(connect_loopback(port)),
        next_(share.first),
        answered_(share.first),
        end_(share.end),
        window_(window),
        supply_(std::move(supply)),
        dialect_(dialect) {
    set_nonblocking(socket_.get());
  }

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] bool done() const { return answered_ == end_; }

  /// Does what can be done without waiting.
  void advance() {
    receive();
    send();
  }

 private:
  void receive() {
    while (!done()) {
      const auto received = ::recv(socket_.get(), &buffer_[filled_], buffer_.size() - filled_, 0);
      if (received < 0 && errno == EAGAIN) return;
      if (check(received, "recv") == 0) throw Broken("connection closed while a reply is due");
      filled_ += static_cast<std::size_t>(received);
      take_replies();
    }
  }

  void take_replies() {
    std::string_view rest(buffer_.data(), filled_);
    while (!rest.empty()) {
      const auto size = dialect_.reply_size(rest);
      if (size == 0) break;
      rest.remove_prefix(size);
      if (++answered_ > next_) throw Broken("more replies than uploads");
    }
    std::memmove(buffer_.data(), rest.data(), rest.size());
    filled_ = rest.size();
  }

  void send() {
    while (true) {
      if (pending_.empty()) {
        const auto count = std::min({end_ - next_, answered_ + window_ - next_, largest_batch});
        if (count == 0) return;
        pending_ = supply_(next_, count);
        next_ += count;
      }
      const auto sent = ::send(socket_.get(), pending_.data(), pending_.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return;
      pending_.remove_prefix(static_cast<std::size_t>(check(sent, "send")));
    }
  }

  UniqueFd socket_;
  std::size_t next_;
  std::size_t answered_;
  std::size_t end_;
  std::size_t window_;
  Supply supply_;
  const Dialect& dialect_;
  std::string_view pending_;
  std::array<char, 1 << 16> buffer_{};
  std::size_t filled_ = 0;
};

}  // namespace

double upload_small(std::uint16_t port, std::size_t count, const Pipeline& pipeline,
                    const std::function<Supply()>& make_supply, const Dialect& dialect) {
  const auto epoll = check_fd(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  const auto connections = static_cast<std::size_t>(pipeline.connections);
  std::vector<std::unique_ptr<Uploader>> uploaders;
  for (std::size_t i = 0; i < connections; ++i) {
    const Share share{.first = count * i / connections, .end = count * (i + 1) / connections};
    uploaders.push_back(std::make_unique<Uploader>(port, share, pipeline.window, make_supply(), dialect));
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.ptr = uploaders.back().get()}};
    check(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, uploaders.back()->fd(), &event), "epoll_ctl");
  }

  const auto start = Clock::now();
  const auto done = [](const auto& uploader) { return uploader->done(); };
  while (!std::ranges::all_of(uploaders, done)) {
    std::array<epoll_event, 64> events{};
    const auto ready = check(::epoll_wait(epoll.get(), events.data(), events.size(), 20000), "epoll_wait");
    if (ready == 0) throw Broken("no progress of the uploads within 20 s");
    for (const auto& event : std::span(events).first(static_cast<std::size_t>(ready))) {
      static_cast<Uploader*>(event.data.ptr)->advance();
    }
  }
  return seconds_since(start);
}

// --- in-process
// -------------------------------------------------------------------------------------------------

double store_in_process(const std::filesystem::path& staging, const std::filesystem::path& target,
                        std::size_t count, Flush flush) {
  constexpr int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  const auto from = check_fd(::open(staging.c_str(), flags), staging.string());
  const auto to = check_fd(::open(target.c_str(), flags), target.string());
  const auto start = Clock::now();
  for (std::size_t index = 0; index < count; ++index) {
    const auto name = small_name(index);
    const auto file =
        check_fd(::openat(from.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), name);
    if (check(::write(file.get(), small_content(index).data(), small_size), "write") != small_size) {
      throw Broken("short write");
    }
    if (flush == Flush::each) check(::fsync(file.get()), "fsync");
    check(::renameat(from.get(), name.c_str(), to.get(), name.c_str()), "rename");
    if (flush == Flush::each) check(::fsync(to.get()), "fsync");
  }
  return seconds_since(start);
}

}  // namespace bench
