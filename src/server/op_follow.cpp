// get with `follow`: the file's content, then what is added to it, until its name leads elsewhere.
#include "base/sys.h"
#include "reactor/file_watch.h"
#include "reactor/timer.h"
#include "server/fields.h"
#include "server/get_header.h"
#include "server/operations.h"
#include "server/server.h"

namespace ftpd {
namespace {

// Of the file, read by one job and sent as one frame.
constexpr std::uint64_t largest_chunk = 256 * 1024;

// What no event tells (another machine's writing, a directory renamed above) is found by looking.
constexpr Duration look_every = std::chrono::seconds{1};

// --- looking at the file: on the pool

/// One look at the file that is held.
struct Look {
  std::uint64_t offset = 0;  // of `bytes` in the file
  std::string bytes;
  std::uint64_t size = 0;  // of the file
  bool shrunk = false;     // below what had been sent: it begins again at 0
  bool left = false;       // all of it is sent, and the name is gone or leads to another file

  [[nodiscard]] std::uint64_t end() const { return offset + bytes.size(); }
};

/// The file's next bytes, fewer where it shrinks meanwhile.
Result<void> read_next(int file, Look& look) {
  const std::uint64_t most = std::min(look.size - look.offset, largest_chunk);
  ssize_t got = 0;
  look.bytes.resize_and_overwrite(most, [&](char* data, std::size_t size) {
    got = sys::pread(file, data, size, static_cast<off_t>(look.offset));
    return static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  });
  if (got < 0) return fail_errno(errno, "read the file");
  return {};
}

/// Does the name lead to the file that is held? Where that can't be told, it does: the file is read on.
bool leads_to(const Store& store, const RelPath& path, const struct stat& held) {
  const auto found = store.open_file(path);
  if (found) return found->status.st_dev == held.st_dev && found->status.st_ino == held.st_ino;
  const Error& error = found.error();
  if (error.reason == Reason::denied) return error.number == EACCES || error.number == EPERM;
  return error.reason != Reason::not_found && error.reason != Reason::is_directory &&
         error.reason != Reason::not_directory;
}

Result<Look> look_at(const Store& store, const RelPath& path, int file, std::uint64_t sent) {
  Look look{.offset = sent, .bytes = {}};
  for (;;) {
    struct stat held{};
    if (sys::fstat(file, held) != 0) return fail_errno(errno, "look at the file");
    look.size = static_cast<std::uint64_t>(held.st_size);
    if (look.size < look.offset) {
      look.shrunk = true;
      look.offset = 0;
    }
    if (look.size > look.offset) {
      if (auto read = read_next(file, look); !read) return std::unexpected(std::move(read.error()));
      if (!look.bytes.empty()) return look;
    }
    if (look.left || (held.st_nlink > 0 && leads_to(store, path, held))) return look;
    look.left = true;  // once more: the last bytes may have come before the name went
  }
}

/// The file as it was opened, and its first bytes.
struct Opened {
  OpenFile file;
  Look first;
};

Result<Opened> open_at(const Store& store, const RelPath& path, std::uint64_t offset) {
  auto file = store.open_file(path);
  if (!file) return std::unexpected(std::move(file.error()));
  if (offset > file->size) {
    return fail(Reason::invalid,
                fmt::format("offset: {} is beyond the end; the file has {} bytes", offset, file->size));
  }
  Look first{.offset = offset, .bytes = {}, .size = file->size};
  if (auto read = read_next(file->file->get(), first); !read) {
    return std::unexpected(std::move(read.error()));
  }
  return Opened{std::move(*file), std::move(first)};
}

// --- the operation: on the loop

/// At most one job looks at the file; who wants another look meanwhile has it remembered.
class Follow final : public Operation {
 public:
  Follow(Host& host, RequestId id, RelPath path, std::uint64_t offset)
      : host_(host),
        id_(std::move(id)),
        path_(std::move(path)),
        sent_(offset),
        timer_(host.services().reactor, Callback<void()>::to<&Follow::look>(*this)) {}

  void detach() override {
    job_.abandon();
    timer_.disarm();
    watch_.stop();
  }

  void start() override {
    LoopServices& services = host_.services();
    job_ = services.pool.submit(
        services.reactor,
        [store = host_.caller().role->store, path = path_, offset = sent_] {
          return open_at(*store, path, offset);
        },
        [this](Result<Opened> opened) { on_opened(std::move(opened)); });
  }

  void on_output_room() override {
    if (file_ != nullptr) look();
  }
  [[nodiscard]] bool owed_input() const override { return false; }

  void on_abort() override { end(); }
  void on_drain() override {
    host_.close_after_reply();  // no matter what is still to come of its message
    end();
  }
  void on_shutdown() override {
    if (file_ != nullptr) return finish();
    fail_with({.status = Status::shutting_down, .message = "the daemon is stopping"});
  }

 private:
  void on_opened(Result<Opened> opened) {
    if (!opened) return fail_with(failure_of(opened.error()));
    file_ = opened->file.file;
    Look& first = opened->first;
    sent_ = first.end();
    host_.send(get_header({.id = id_,
                           .path = path_,
                           .file = opened->file,
                           .size = first.bytes.size(),
                           .digests = {},
                           .last = GetHeader::Last::no},
                          host_.services().settings->server.max_header));
    host_.send(std::move(first.bytes));
    if (ends_) return finish();
    watch_.start(host_.services().file_watcher, file_->get(), FileWatch::Handler::to<&Follow::look>(*this));
    look();  // for what came before the watch
  }

  void look() {
    if (job_.pending()) {
      look_again_ = true;
      return;
    }
    look_again_ = false;
    timer_.disarm();
    if (host_.unsent() > Host::output_high) return;  // on_output_room() comes
    LoopServices& services = host_.services();
    job_ = services.pool.submit(
        services.reactor,
        [store = host_.caller().role->store, path = path_, file = file_, sent = sent_] {
          return look_at(*store, path, file->get(), sent);
        },
        [this](Result<Look> seen) { on_look(std::move(seen)); });
  }

  void on_look(Result<Look> seen) {
    if (!seen) return fail_with(failure_of(seen.error()));
    begins_again_ = begins_again_ || seen->shrunk;
    sent_ = seen->end();
    const bool took_some = !seen->bytes.empty();
    if (took_some) {
      host_.send(next_header(seen->bytes.size()));
      host_.send(std::move(seen->bytes));
    } else if (seen->left) {
      return finish();
    }
    // A look that took bytes did not see whether the name is still there: only one that finds nothing rests.
    if (look_again_ || took_some) return look();
    timer_.arm(host_.services().reactor.now() + look_every);
  }

  [[nodiscard]] std::string next_header(std::uint64_t size) {
    JsonObject reply = begin_reply(id_);
    if (std::exchange(begins_again_, false)) reply.add("truncated", true);
    reply.add("more", true);
    return finish_reply(std::move(reply), size);
  }

  /// Called off from outside. Whoever asked for a file hears first whether there is one.
  void end() {
    ends_ = true;
    if (file_ != nullptr) finish();
  }

  void finish() {
    host_.send(finish_reply(begin_reply(id_)));
    host_.finish();
  }

  void fail_with(const Failure& failure) {
    host_.note_failure("get", id_, failure);
    host_.send(failure_reply(id_, failure));
    host_.finish();
  }

  Host& host_;
  RequestId id_;
  RelPath path_;
  SharedFd file_;       // none until it is open
  std::uint64_t sent_;  // the file's next byte to go out
  bool look_again_ = false;
  bool begins_again_ = false;  // the next frame says `truncated`
  bool ends_ = false;          // as soon as the first frame is out
  FileWatch watch_;
  Timer timer_;
  Job job_;
};

/// What makes no sense for a file that has no end.
Read<void> refuse_ends(const Header& header) {
  auto length = optional_field(header.size("length"));
  if (!length) return std::unexpected(length.error());
  auto digest = optional_field(header.string("digest"));
  if (!digest) return std::unexpected(digest.error());
  auto trailer = optional_field(header.boolean("trailer"));
  if (!trailer) return std::unexpected(trailer.error());
  const std::initializer_list<std::pair<std::string_view, bool>> given = {
      {"length", length->has_value()},
      {"digest", digest->has_value()},
      {"trailer", trailer->value_or(false)},
  };
  for (const auto& [key, is_given] : given) {
    if (is_given)
      return std::unexpected(bad_request(fmt::format("{}: not with follow, which knows no end", key)));
  }
  return {};
}

}  // namespace

Made make_follow(const Request& request, Host& host) {
  auto path = path_field(request.header, "filename", RootIs::refused);
  if (!path) return std::unexpected(path.error());
  auto offset = optional_field(request.header.size("offset"));
  if (!offset) return std::unexpected(offset.error());
  if (auto fine = refuse_ends(request.header); !fine) return std::unexpected(fine.error());
  return std::make_unique<Follow>(host, request.id, std::move(*path), offset->value_or(0));
}

}  // namespace ftpd
