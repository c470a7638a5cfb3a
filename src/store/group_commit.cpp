#include "store/group_commit.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>

#include "store/commit.h"
#include "store/destination.h"
#include "store/small_commit.h"
#include "store/store.h"

namespace ftpd {

/// Files that share their flushes. Each step is taken for all before the next one.
class GroupCommit::Batch {
 public:
  explicit Batch(Store& store) : store_(store) {}

  void stage(SmallUpload& upload);
  void flush();
  void publish();
  void flush_directories();

  [[nodiscard]] std::vector<Result<Stored>> results() const;

 private:
  struct Directory {
    RelPath path;
    Destination destination;
    bool changed = false;
    Result<void> flushed = {};
  };
  struct File {
    std::size_t size = 0;
    std::optional<SmallCommit> commit;  // on its way
    Directory* directory = nullptr;
    Result<Stored> result = Stored{};
  };

  [[nodiscard]] Result<Directory*> directory_of(const RelPath& path);
  [[nodiscard]] Result<void> begin(File& file, SmallUpload& upload);
  void fail(File& file, Error error);

  Store& store_;
  std::deque<Directory> directories_;  // before the files, which borrow them
  std::deque<File> files_;
};

Result<GroupCommit::Batch::Directory*> GroupCommit::Batch::directory_of(const RelPath& path) {
  RelPath parent = path.parent();
  const auto known = std::ranges::find(directories_, parent, &Directory::path);
  if (known != directories_.end()) return &*known;
  auto opened = Destination::open(store_.root_.get(), path, Flush::yes);
  if (!opened) return std::unexpected(std::move(opened.error()));
  return &directories_.emplace_back(std::move(parent), std::move(*opened));
}

/// A failing file fails alone.
void GroupCommit::Batch::fail(File& file, Error error) {
  file.commit.reset();
  file.result = std::unexpected(with_room(std::move(error), store_.root_.get(), file.size));
}

void GroupCommit::Batch::stage(SmallUpload& upload) {
  File& file = files_.emplace_back();
  file.size = upload.bytes.size();
  if (auto begun = begin(file, upload); !begun) fail(file, std::move(begun.error()));
}

Result<void> GroupCommit::Batch::begin(File& file, SmallUpload& upload) {
  UploadRequest& request = upload.request;
  const std::uint64_t max_file = store_.options_.max_file;
  if (auto fine = check_request(request, max_file); !fine) return fine;
  if (request.size && *request.size != file.size) return wrong_size(*request.size, file.size);
  if (auto fine = check_size(request.path, file.size, max_file); !fine) return fine;
  auto directory = directory_of(request.path);
  if (!directory) {
    // Its directories are made, and flushed, by itself; those that come behind it find them.
    if (!request.parents || directory.error().number != ENOENT) return std::unexpected(directory.error());
    file.result = store_.put_with_parents(std::move(request), upload.bytes);
    return {};
  }
  auto commit = SmallCommit::stage(store_, std::move(request), upload.bytes, (*directory)->destination);
  if (!commit) return std::unexpected(std::move(commit.error()));
  file.directory = *directory;
  file.commit.emplace(std::move(*commit));
  return {};
}

/// The disk is given everything before anything is waited for; and everything is waited for before any name
/// is moved, or a crash could leave a name with nothing in it.
void GroupCommit::Batch::flush() {
  if (files_.size() > 1) {
    for (const File& file : files_) {
      if (file.commit) file.commit->start_flush();
    }
  }
  for (File& file : files_) {
    if (!file.commit) continue;
    if (auto flushed = file.commit->flush(); !flushed) fail(file, std::move(flushed.error()));
  }
}

/// In the order in which they came: of two with one name, the later is what stays.
void GroupCommit::Batch::publish() {
  for (File& file : files_) {
    if (!file.commit) continue;
    if (auto published = file.commit->publish(); !published) {
      fail(file, std::move(published.error()));
    } else {
      file.directory->changed = true;
    }
  }
}

/// Nothing is acknowledged before the directory that has its name is on the disk.
void GroupCommit::Batch::flush_directories() {
  for (Directory& directory : directories_) {
    if (directory.changed) directory.flushed = directory.destination.flush();
  }
  for (File& file : files_) {
    if (!file.commit) continue;
    if (file.directory->flushed) {
      file.result = file.commit->stored();
    } else {
      fail(file, file.directory->flushed.error());
    }
  }
}

std::vector<Result<Stored>> GroupCommit::Batch::results() const {
  std::vector<Result<Stored>> results;
  results.reserve(files_.size());
  for (const File& file : files_) results.push_back(file.result);
  return results;
}

// --- the queue ------------------------------------------------------------------------------------
void GroupCommit::add(Offload& pool, SmallUpload upload) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(upload));
    if (drainers_ == most_drainers) return;  // one of them comes to it
    ++drainers_;
  }
  push_drainer(pool);
}

void GroupCommit::push_drainer(Offload& pool) {
  pool.push([this, &pool, store = store_.shared_from_this()] { drain(pool); });
}

void GroupCommit::drain(Offload& pool) {
  if (std::vector<SmallUpload> batch = take_batch(); !batch.empty()) store_batch(std::move(batch));
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      --drainers_;
      return;
    }
  }
  push_drainer(pool);  // behind what others want of the pool
}

std::vector<SmallUpload> GroupCommit::take_batch() {
  std::vector<SmallUpload> batch;
  const std::lock_guard lock(mutex_);
  const std::size_t count = std::min(waiting_.size(), batch_size);
  batch.reserve(count);
  for (std::size_t index = 0; index < count; ++index) {
    batch.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return batch;
}

void GroupCommit::store_batch(std::vector<SmallUpload> batch) {
  const bool shares_flushes = store_.options_.durable && !store_.in_memory_;
  if (!shares_flushes) {
    for (SmallUpload& upload : batch) {
      upload.done(store_.put_small(std::move(upload.request), upload.bytes));
    }
    return;
  }
  std::vector<Result<Stored>> results;
  {
    Batch files(store_);
    for (SmallUpload& upload : batch) files.stage(upload);
    files.flush();
    files.publish();
    files.flush_directories();
    results = files.results();
  }
  for (std::size_t index = 0; index < batch.size(); ++index) batch[index].done(std::move(results[index]));
}

// --- the store's side -----------------------------------------------------------------------------
void Store::put_small_later(Offload& pool, SmallUpload upload) {
  group_commit_->add(pool, std::move(upload));
}

}  // namespace ftpd
