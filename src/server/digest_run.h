// The digest of a file, computed on the pool a step at a time while the loop goes on.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/operation.h"
#include "store/digest.h"
#include "store/store.h"

namespace ftpd {

/// Of one open file, as it was when it was opened. Lives on a loop, owned by an operation: destroyed or
/// stopped, it tells nothing more.
class DigestRun {
 public:
  /// May it be the one that is kept with the file? One that was computed is kept in either case.
  enum class Source : std::uint8_t { kept_or_computed, computed };
  using Told = std::move_only_function<void(Result<Digests>)>;

  explicit DigestRun(LoopServices& services) : services_(services) {}

  void start(const OpenFile& file, DigestKind kind, Source source, Told told);
  void stop() { job_.abandon(); }

 private:
  struct Work;
  void next_step();

  LoopServices& services_;
  std::shared_ptr<Work> work_;
  Told told_;
  Job job_;
};

}  // namespace ftpd
