// An upload's life: checked, staged or taken up again, reserved, written, sealed, published.
// What happens between is in upload_bytes.cpp.
#include <cassert>
#include <cerrno>

#include "base/sys.h"
#include "store/destination.h"
#include "store/upload_state.h"

namespace ftpd {
namespace {

/// How often a commit begins again when a directory that it needs is removed under it.
constexpr int commit_attempts = 3;

/// The bytes that the file in its place frees, 0 for none.
Result<std::uint64_t> check_at_start(int root, const UploadRequest& request) {
  const auto destination = Destination::open(root, request.path, Flush::no);
  if (!destination) {
    if (request.parents && destination.error().number == ENOENT) return 0;
    return std::unexpected(destination.error());
  }
  if (auto same = check_file_system(root, *destination, request.path); !same) {
    return std::unexpected(std::move(same.error()));
  }
  return destination->check(request.path, taken_rule(request));
}

}  // namespace

Upload::Upload(std::unique_ptr<State> state) : state_(std::move(state)) {}
Upload::Upload(Upload&&) noexcept = default;
Upload& Upload::operator=(Upload&&) noexcept = default;
Upload::~Upload() = default;

std::uint64_t Upload::written() const { return state_->written; }

// --- the end --------------------------------------------------------------------------------------
Result<Stored> Upload::commit() {
  State& state = *state_;
  assert(!state.published);
  const std::uint64_t size = state.written;
  if (state.request.size && *state.request.size != size) return wrong_size(*state.request.size, size);
  const auto computed = state.verified();
  if (!computed) {
    if (computed.error().reason == Reason::checksum) state.drop();
    return state.failed(computed.error(), size);
  }
  if (auto sealed = state.seal(*computed); !sealed) return state.failed(std::move(sealed.error()), size);
  if (auto appeared = state.appear(); !appeared) return state.failed(std::move(appeared.error()), size);
  return Stored{size, digests_wanted(state.request, *computed)};
}

/// The file's own flush comes before the rename: else a crash between them could leave the name with
/// nothing, or half, in it.
Result<void> Upload::State::seal(const Digests& computed) {
  if (auto set = set_attributes(fd(), request); !set) return set;
  if (store->options_.durable) {
    if (auto flushed = flush_file(fd(), request.path); !flushed) {
      drop();  // the kernel may have thrown away what it could not write: nothing can be built on the rest
      return flushed;
    }
  }
  keep_digests(fd(), computed);
  return {};
}

Result<void> Upload::State::appear() {
  const Flush flush = store->options_.durable ? Flush::yes : Flush::no;
  for (int attempt = 1;; ++attempt) {
    auto destination = request.parents ? Destination::open_or_make(root(), request.path, flush)
                                       : Destination::open(root(), request.path, flush);
    if (!destination) return std::unexpected(std::move(destination.error()));
    auto appeared = publish(*destination);
    // The directory's flush comes last: it makes the new name durable, and only then it is acknowledged.
    if (appeared) return flush == Flush::yes ? destination->flush() : Result<void>{};
    destination->remove_made();
    // Another upload that failed may have removed the directory that it made and both used.
    const bool vanished = request.parents && appeared.error().number == ENOENT;
    if (!vanished || attempt == commit_attempts) return appeared;
  }
}

/// Between here and the return of success, the old file becomes the new one.
Result<void> Upload::State::publish(const Destination& destination) {
  const auto replaced = destination.check(request.path, taken_rule(request));
  if (!replaced) return std::unexpected(replaced.error());
  reserved.trim(written - start);
  if (auto room = reserved.replaces(*replaced); !room) return room;
  const auto still = store->quota_->steady();
  const int number = std::visit(
      [&](auto& arriving) {
        return arriving.publish(destination.fd(), request.path.name().data(), taken_rule(request));
      },
      file);
  if (auto moved = renamed(number, request.path); !moved) return moved;
  published = true;
  reserved.settle(*replaced);
  if (auto* const held = std::get_if<HeldFile>(&file)) held->unlock();
  return {};
}

void Upload::drop() { state_->drop(); }

void Upload::State::drop() {
  auto* const held = std::get_if<HeldFile>(&file);
  if (published || held == nullptr) return;
  const auto still = store->quota_->steady();
  held->drop();
  reserved.release();
  held->unlock();
}

// --- the store's side -----------------------------------------------------------------------------
Result<void> Store::check_upload(const UploadRequest& request) const {
  if (auto fine = check_request(request, options_.max_file); !fine) return fine;
  const auto replaced = check_at_start(root_.get(), request);
  if (!replaced) return std::unexpected(replaced.error());
  const auto room = quota_->reserve(request.held ? 0 : request.size.value_or(0), *replaced);
  if (!room) return std::unexpected(room.error());
  return {};
}

Result<Upload> Store::begin_upload(UploadRequest request) {
  if (auto fine = check_request(request, options_.max_file); !fine) {
    return std::unexpected(std::move(fine.error()));
  }
  const std::uint64_t need = request.size.value_or(0);
  const auto failed = [&](Error error) {
    return std::unexpected(with_room(std::move(error), root_.get(), need));
  };
  const auto replaced = check_at_start(root_.get(), request);
  if (!replaced) return failed(replaced.error());
  auto upload =
      request.held ? begin_held(std::move(request), *replaced) : begin_staged(std::move(request), *replaced);
  if (!upload) return failed(std::move(upload.error()));
  if (auto room = upload->state_->take_room(); !room) return failed(std::move(room.error()));
  return upload;
}

Result<Upload> Store::begin_staged(UploadRequest request, std::uint64_t replaced) {
  auto room = quota_->reserve(request.size.value_or(0), replaced);
  if (!room) return std::unexpected(std::move(room.error()));
  auto staged = staging_->make_file();
  if (!staged) return std::unexpected(std::move(staged.error()));
  return Upload(std::make_unique<Upload::State>(shared_from_this(), std::move(request), std::move(*staged),
                                                std::move(*room)));
}

Result<Upload> Store::begin_held(UploadRequest request, std::uint64_t replaced) {
  const auto take = [&]() -> Result<HeldFile> {
    const auto still = quota_->steady();
    auto held = HeldFile::take(root_.get(), {*request.held, request.path, request.offset});
    if (held) quota_->removed(held->thrown_away());
    return held;
  };
  auto held = take();
  if (!held) return std::unexpected(std::move(held.error()));
  if (request.size && *request.size < held->size()) return wrong_size(*request.size, held->size());
  auto room = quota_->reserve(request.size ? *request.size - held->size() : 0, replaced);
  if (!room) return std::unexpected(std::move(room.error()));
  struct stat status{};
  if (sys::fstat(held->fd(), status) != 0) return fail_errno(errno, "ask what is held");
  room->covers(status.st_ino, held->size());
  return Upload(std::make_unique<Upload::State>(shared_from_this(), std::move(request), std::move(*held),
                                                std::move(*room)));
}

}  // namespace ftpd
