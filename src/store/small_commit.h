// A file whose bytes are at hand, on its way in: the steps of its commit, for one alone and for many that
// share their flushes.
#pragma once

#include <span>

#include "store/commit.h"
#include "store/destination.h"
#include "store/quota.h"
#include "store/staging.h"
#include "store/upload.h"

namespace ftpd {

/// The steps are taken in the order of their declaration; a file whose step fails is gone with this object.
class SmallCommit {
 public:
  /// Checked, digests compared, room reserved, staged, written, mode and time set. Borrows the store, and the
  /// destination, which both outlive it.
  [[nodiscard]] static Result<SmallCommit> stage(Store& store, UploadRequest request,
                                                 std::span<const char> bytes, const Destination& destination);

  /// Has the kernel begin to write what flush() will wait for.
  void start_flush() const;
  [[nodiscard]] Result<void> flush();

  /// The name appears. To make that durable the destination is flushed.
  [[nodiscard]] Result<void> publish();

  [[nodiscard]] Stored stored() const { return {size_, digests_wanted(request_, computed_)}; }

 private:
  SmallCommit(Store& store, UploadRequest request, const Destination& destination, StagedFile staged,
              Quota::Reservation reserved);
  [[nodiscard]] Result<void> fill(std::span<const char> bytes);

  Store* store_;
  UploadRequest request_;
  const Destination* destination_;
  StagedFile staged_;
  Quota::Reservation reserved_;
  std::uint64_t size_ = 0;      // of the whole file
  std::uint64_t replaced_ = 0;  // as the quota is to know, where there is one
  Digests computed_;
};

}  // namespace ftpd
