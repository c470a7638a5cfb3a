// Small files that wait together are flushed together.
//
// A flush waits for the disk and its journal, which take many files in one go as fast as one. So files are
// stored in batches: all are written and handed to the disk, then each is waited for, then all appear, then
// each directory is flushed once. A file that comes alone is a batch of its own and waits for nobody.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "reactor/offload.h"
#include "store/upload.h"

namespace ftpd {

class Store;

/// The queue of one store. Thread-safe. Files of one name keep their order within a batch only: who wants it
/// waits for the first before he asks for the second.
class GroupCommit {
 public:
  static constexpr std::size_t batch_size = 64;  // a batch holds two descriptors for each file, at most
  // The disk takes flushes that wait at once in one go, so more are faster; but one thread of the smallest
  // pool stays free for others.
  static constexpr unsigned most_drainers = 3;

  /// Borrows the store that owns it.
  explicit GroupCommit(Store& store) : store_(store) {}

  /// See Store::put_small_later.
  void add(Offload& pool, SmallUpload upload);

 private:
  void push_drainer(Offload& pool);
  void drain(Offload& pool);
  [[nodiscard]] std::vector<SmallUpload> take_batch();
  void store_batch(std::vector<SmallUpload> batch);

  class Batch;

  Store& store_;
  std::mutex mutex_;
  std::deque<SmallUpload> waiting_;  // under mutex_, as is:
  unsigned drainers_ = 0;            // on the pool, or queued there
};

}  // namespace ftpd
