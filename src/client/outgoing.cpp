// What one `put` sends: files and streams.
#include "client/outgoing.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/sys.h"
#include "client/request.h"

namespace ftpd::client {
namespace {

// A small file travels in one write with its header and its neighbours.
constexpr std::uint64_t small_file = 32U * 1024;

constexpr std::size_t piece_size = 256U * 1024;

JsonObject file_request(const LocalFile& file, const OpenFile& opened) {
  JsonObject request = put_request(file.remote);
  if (file.parents == Parents::made) request.add("parents", true);
  request.add("mode", opened.mode);
  if (opened.mtime) request.add("mtime", *opened.mtime);
  return request;
}

/// In one piece with its digest, which the server checks before it answers.
class SmallFile final : public Outgoing {
 public:
  SmallFile(const LocalFile& file, OpenFile opened, Verify verify)
      : Outgoing(file.local), file_(file), opened_(std::move(opened)), verify_(verify) {}

  Outcome<void> begin(Connection& connection) override {
    std::array<char, small_file> bytes;
    while (size_ < *opened_.size) {
      const ssize_t count = sys::read(opened_.fd.get(), bytes.data() + size_, *opened_.size - size_);
      if (count < 0) return system_failure(errno, "reading it");
      if (count == 0) break;  // it became shorter: then that is the file
      size_ += static_cast<std::size_t>(count);
    }
    const std::string_view content{bytes.data(), size_};
    JsonObject request = file_request(file_, opened_);
    if (verify_ == Verify::by_digest) request.add("sha256", sha256_hex(content));
    request.add("data_size", std::uint64_t{size_});
    connection.request(std::move(request).take());
    connection.body(content);
    opened_.fd.reset();
    return {};
  }
  Outcome<Supply> feed(Connection&) override { return Supply::finished; }
  std::uint64_t taken(const Connection&) const override { return size_; }
  std::optional<std::uint64_t> left(const Connection&) const override { return 0; }

 private:
  LocalFile file_;
  OpenFile opened_;
  Verify verify_;
  std::size_t size_ = 0;
};

/// As it is, from the page cache to the socket.
class PlainFile final : public Outgoing {
 public:
  PlainFile(const LocalFile& file, OpenFile opened)
      : Outgoing(file.local), file_(file), opened_(std::move(opened)) {}

  Outcome<void> begin(Connection& connection) override {
    JsonObject request = file_request(file_, opened_);
    request.add("data_size", *opened_.size);
    connection.body(std::move(opened_.fd), *opened_.size);
    connection.request(std::move(request).take());
    return {};
  }
  Outcome<Supply> feed(Connection&) override { return Supply::finished; }
  std::uint64_t taken(const Connection& connection) const override {
    return *opened_.size - connection.file_remaining();
  }
  std::optional<std::uint64_t> left(const Connection& connection) const override {
    return connection.file_remaining();
  }

 private:
  LocalFile file_;
  OpenFile opened_;
};

/// Read, hashed and sent; the digest follows in a frame of its own, so the file is read once.
class HashedFile final : public Outgoing {
 public:
  HashedFile(const LocalFile& file, OpenFile opened, ResumePoint point)
      : Outgoing(file.local),
        file_(file),
        opened_(std::move(opened)),
        point_(std::move(point)),
        left_(*opened_.size - point_.offset) {}

  Outcome<void> begin(Connection& connection) override {
    if (sys::lseek(opened_.fd.get(), static_cast<off_t>(point_.offset), SEEK_SET) < 0) {
      return system_failure(errno, "reading it");
    }
    JsonObject request = file_request(file_, opened_);
    if (!point_.upload.empty()) request.add("upload", point_.upload);
    if (point_.offset > 0) request.add("offset", point_.offset);
    request.add("digest", "sha256").add("more", true);
    request.add("filesize", *opened_.size).add("data_size", left_);
    connection.request(std::move(request).take());
    return {};
  }

  Outcome<Supply> feed(Connection& connection) override {
    if (left_ == 0) {
      digest_ = point_.before.hex();
      JsonObject last;
      last.add("sha256", *digest_).add("data_size", 0);
      connection.frame(std::move(last).take());
      return Supply::finished;
    }
    ssize_t count = 0;
    connection.body_in_place(std::min<std::uint64_t>(left_, piece_size), [&](char* bytes, std::size_t most) {
      count = sys::read(opened_.fd.get(), bytes, most);
      if (count <= 0) return std::size_t{0};
      point_.before.update({bytes, static_cast<std::size_t>(count)});
      return static_cast<std::size_t>(count);
    });
    if (count < 0) trouble_ = system_failure(errno, "reading it").error();
    if (count <= 0) {
      connection.break_promise();
      return Supply::replies;
    }
    left_ -= static_cast<std::uint64_t>(count);
    return Supply::queued;
  }

  std::uint64_t taken(const Connection&) const override { return *opened_.size - point_.offset - left_; }
  /// The frame with the digest counts, too.
  std::optional<std::uint64_t> left(const Connection&) const override { return left_ + (digest_ ? 0 : 1); }

 private:
  LocalFile file_;
  OpenFile opened_;
  ResumePoint point_;
  std::uint64_t left_;
};

/// As it comes, in frames of its own: the size is not known.
class OpenStream final : public Outgoing {
 public:
  OpenStream(const LocalFile& file, OpenFile opened, Verify verify)
      : Outgoing(file.local), file_(file), opened_(std::move(opened)) {
    if (verify == Verify::by_digest) hash_.emplace();
  }

  Outcome<void> begin(Connection& connection) override {
    JsonObject request = file_request(file_, opened_);
    if (hash_) request.add("digest", "sha256");
    request.add("more", true).add("data_size", 0);
    connection.request(std::move(request).take());
    return {};
  }

  /// One piece, if there is one now.
  Outcome<Supply> feed(Connection& connection) override {
    pollfd watched{opened_.fd.get(), POLLIN, 0};
    if (sys::poll(&watched, 1, 0) < 0) return system_failure(errno, "poll");
    if (watched.revents == 0) return Supply::waiting;
    const ssize_t count = sys::read(opened_.fd.get(), piece_.data(), piece_.size());
    if (count < 0 && errno == EAGAIN) return Supply::waiting;
    if (count <= 0) {
      finish(connection, count < 0 ? errno : 0);
      return Supply::finished;
    }
    const std::string_view bytes{piece_.data(), static_cast<std::size_t>(count)};
    if (hash_) hash_->update(bytes);
    taken_ += bytes.size();
    JsonObject frame;
    frame.add("more", true).add("data_size", std::uint64_t{bytes.size()});
    connection.frame(std::move(frame).take());
    connection.body(bytes);
    return Supply::queued;
  }
  int input_fd() const override { return opened_.fd.get(); }
  std::uint64_t taken(const Connection&) const override { return taken_; }

 private:
  void finish(Connection& connection, int error) {
    JsonObject last;
    if (error != 0) {
      trouble_ = system_failure(error, "reading it").error();
      last.add("abort", true);
    } else if (hash_) {
      digest_ = hash_->hex();
      last.add("sha256", *digest_);
    }
    last.add("data_size", 0);
    connection.frame(std::move(last).take());
  }

  LocalFile file_;
  OpenFile opened_;
  std::optional<Sha256> hash_;
  std::uint64_t taken_ = 0;
  std::array<char, 64U * 1024> piece_;
};

}  // namespace

JsonObject put_request(const std::string& remote) {
  JsonObject request;
  request.add("cmd", "put");
  add_filename(request, remote);
  return request;
}

Outcome<void> Outgoing::confirm(const Header& reply) const {
  if (!digest_) return {};
  return check_digest(told_digest(reply), *digest_);
}

std::unique_ptr<Outgoing> send_file(const Options& options, const LocalFile& file, OpenFile opened) {
  if (!opened.size) return std::make_unique<OpenStream>(file, std::move(opened), options.verify);
  if (*opened.size <= small_file) {
    return std::make_unique<SmallFile>(file, std::move(opened), options.verify);
  }
  if (options.verify == Verify::none) return std::make_unique<PlainFile>(file, std::move(opened));
  return std::make_unique<HashedFile>(file, std::move(opened), ResumePoint{});
}

std::unique_ptr<Outgoing> send_rest(const LocalFile& file, OpenFile opened, ResumePoint point) {
  return std::make_unique<HashedFile>(file, std::move(opened), std::move(point));
}

}  // namespace ftpd::client
