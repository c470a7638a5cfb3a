#include "store/small_commit.h"

#include <fcntl.h>

#include "base/sys.h"
#include "store/commit.h"
#include "store/store.h"

namespace ftpd {

SmallCommit::SmallCommit(Store& store, UploadRequest request, const Destination& destination,
                         StagedFile staged, Quota::Reservation reserved)
    : store_(&store),
      request_(std::move(request)),
      destination_(&destination),
      staged_(std::move(staged)),
      reserved_(std::move(reserved)) {}

Result<SmallCommit> SmallCommit::stage(Store& store, UploadRequest request, std::span<const char> bytes,
                                       const Destination& destination) {
  // From the check to the rename nothing waits for a peer, so once is enough.
  const auto replaced = destination.check(request.path, taken_rule(request));
  if (!replaced) return std::unexpected(replaced.error());
  Digests computed;
  if (const DigestKinds needed = digests_needed(request); !needed.empty()) {
    Hasher hasher(needed);
    hasher.update(bytes);
    computed = hasher.digests();
    if (auto same = compare_digests(request, computed); !same)
      return std::unexpected(std::move(same.error()));
  }
  auto reserved = store.quota_->reserve(bytes.size(), *replaced);
  if (!reserved) return std::unexpected(std::move(reserved.error()));
  auto staged = store.staging_->make_file();
  if (!staged) return std::unexpected(std::move(staged.error()));
  SmallCommit commit(store, std::move(request), destination, std::move(*staged), std::move(*reserved));
  commit.computed_ = std::move(computed);
  if (auto filled = commit.fill(bytes); !filled) return std::unexpected(std::move(filled.error()));
  return commit;
}

Result<void> SmallCommit::fill(std::span<const char> bytes) {
  if (auto written = append(staged_.fd(), bytes, request_.path, size_); !written) return written;
  return set_attributes(staged_.fd(), request_);
}

void SmallCommit::start_flush() const {
  // A hint: what comes of it is flush()'s to say.
  static_cast<void>(sys::sync_file_range(staged_.fd(), 0, 0, SYNC_FILE_RANGE_WRITE));
}

Result<void> SmallCommit::flush() {
  if (auto flushed = flush_file(staged_.fd(), request_.path); !flushed) return flushed;
  return {};
}

Result<void> SmallCommit::publish() {
  keep_digests(staged_.fd(), computed_);
  if (store_->quota_->limit() != 0) {
    const auto replaced = destination_->check(request_.path, taken_rule(request_));
    if (!replaced) return std::unexpected(replaced.error());
    replaced_ = *replaced;
    if (auto room = reserved_.replaces(replaced_); !room) return room;
  }
  const auto still = store_->quota_->steady();
  const int number = staged_.publish(destination_->fd(), request_.path.name().data(), taken_rule(request_));
  if (auto moved = renamed(number, request_.path); !moved) return moved;
  reserved_.settle(replaced_);
  return {};
}

// --- the store's side: one alone ------------------------------------------------------------------
Result<Stored> Store::put_small(UploadRequest request, std::span<const char> bytes) {
  if (auto fine = check_request(request, options_.max_file); !fine) {
    return std::unexpected(std::move(fine.error()));
  }
  const auto failed = [&](Error error) {
    return std::unexpected(with_room(std::move(error), root_.get(), bytes.size()));
  };
  if (request.size && *request.size != bytes.size()) return wrong_size(*request.size, bytes.size());
  if (auto fine = check_size(request.path, bytes.size(), options_.max_file); !fine)
    return failed(fine.error());
  const Flush flush = options_.durable ? Flush::yes : Flush::no;
  const auto destination = Destination::open(root_.get(), request.path, flush);
  if (!destination) {
    if (request.parents && destination.error().number == ENOENT) {
      return put_with_parents(std::move(request), bytes);
    }
    return failed(destination.error());
  }
  auto commit = SmallCommit::stage(*this, std::move(request), bytes, *destination);
  if (!commit) return failed(std::move(commit.error()));
  if (flush == Flush::yes) {
    if (auto flushed = commit->flush(); !flushed) return failed(std::move(flushed.error()));
  }
  if (auto published = commit->publish(); !published) return failed(std::move(published.error()));
  if (flush == Flush::yes) {
    if (auto flushed = destination->flush(); !flushed) return failed(std::move(flushed.error()));
  }
  return commit->stored();
}

Result<Stored> Store::put_with_parents(UploadRequest request, std::span<const char> bytes) {
  request.size = bytes.size();
  auto upload = begin_upload(std::move(request));
  if (!upload) return std::unexpected(std::move(upload.error()));
  if (auto written = upload->write(bytes); !written) return std::unexpected(std::move(written.error()));
  return upload->commit();
}

}  // namespace ftpd
