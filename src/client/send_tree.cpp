// What one `put -r` sends of a directory: one tar stream, packed as it goes out.
#include <array>
#include <cerrno>

#include "base/sys.h"
#include "client/local_tree.h"
#include "client/outgoing.h"
#include "client/tar_stream.h"

namespace ftpd::client {
namespace {

// Packed bytes gather up to this, and make a frame.
constexpr std::size_t frame_size = 128U * 1024;

class TreeStream final : public Outgoing {
 public:
  TreeStream(const LocalFile& directory, LocalTree tree, Verify verify)
      : Outgoing(directory.local), remote_(directory.remote), tree_(std::move(tree)) {
    if (verify == Verify::by_digest) hash_.emplace();
  }

  Outcome<void> begin(Connection& connection) override {
    JsonObject request = put_request(remote_.empty() ? "." : remote_);
    request.add("format", "tar").add("parents", true);
    if (hash_) request.add("digest", "sha256");
    request.add("more", true).add("data_size", 0);
    connection.request(std::move(request).take());
    return {};
  }

  Outcome<Supply> feed(Connection& connection) override {
    while (packed_.size() < frame_size) {
      const auto step = file_ ? pack_piece() : pack_next();
      if (!step) {
        trouble_ = step.error();
        connection.frame(R"({"abort":true,"data_size":0})");
        return Supply::finished;
      }
      if (*step == Step::last) {
        send_packed(connection);
        JsonObject last;
        if (hash_) {
          digest_ = hash_->hex();
          last.add("sha256", *digest_);
        }
        last.add("data_size", 0);
        connection.frame(std::move(last).take());
        return Supply::finished;
      }
    }
    send_packed(connection);
    return Supply::queued;
  }

  std::uint64_t taken(const Connection&) const override { return taken_; }

 private:
  enum class Step : std::uint8_t { more, last };

  Outcome<Step> pack_next() {
    auto entry = tree_.next();
    if (!entry) {
      if (auto finished = writer_.finish(); !finished) return std::unexpected(finished.error());
      return Step::last;
    }
    const bool is_file = entry->kind == TreeEntry::Kind::file;
    const auto begun =
        is_file ? writer_.file(entry->name, entry->about) : writer_.directory(entry->name, entry->about);
    if (!begun) return std::unexpected(begun.error());
    if (is_file && entry->about.st_size > 0) {
      left_ = static_cast<std::uint64_t>(entry->about.st_size);
      file_ = std::move(entry);
    }
    return Step::more;
  }

  /// The next piece of the file under way. Its size is promised: it can't end early.
  Outcome<Step> pack_piece() {
    const std::size_t most = std::min<std::uint64_t>(left_, piece_.size());
    const ssize_t count = sys::read(file_->fd.get(), piece_.data(), most);
    if (count < 0) return system_failure(errno, file_->path);
    if (count == 0) return local_failure(file_->path + ": it became shorter while it was sent");
    if (auto packed = writer_.data({piece_.data(), static_cast<std::size_t>(count)}); !packed) {
      return std::unexpected(packed.error());
    }
    taken_ += static_cast<std::uint64_t>(count);
    left_ -= static_cast<std::uint64_t>(count);
    if (left_ == 0) file_.reset();
    return Step::more;
  }

  void send_packed(Connection& connection) {
    if (packed_.empty()) return;
    if (hash_) hash_->update(packed_);
    JsonObject frame;
    frame.add("more", true).add("data_size", std::uint64_t{packed_.size()});
    connection.frame(std::move(frame).take());
    connection.body(packed_);
    packed_.clear();
  }

  std::string remote_;
  LocalTree tree_;
  std::optional<TreeEntry> file_;  // whose content is under way
  std::uint64_t left_ = 0;         // of it
  std::optional<Sha256> hash_;
  std::uint64_t taken_ = 0;
  std::array<char, frame_size> piece_;
  std::string packed_;
  TarWriter writer_{packed_};
};

}  // namespace

Outcome<std::unique_ptr<Outgoing>> send_tree(const Options& options, const LocalFile& directory,
                                             Report& report) {
  auto tree = LocalTree::open(directory.local, report);
  if (!tree) return std::unexpected(tree.error());
  return std::make_unique<TreeStream>(directory, std::move(*tree), options.verify);
}

}  // namespace ftpd::client
