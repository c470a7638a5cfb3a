// The digest of a file, computed on the pool.
#include "server/digest_run.h"

namespace ftpd {

/// In the hands of one step at a time.
struct DigestRun::Work {
  OpenFile file;
  DigestKind kind;
  Source source;
  FileDigest digest;
  bool begun = false;
  bool settled = false;  // a change that comes while it is read will show in the modification time
  Digests known;

  Work(const OpenFile& opened, DigestKind of_kind, Source from)
      : file(opened), kind(of_kind), source(from), digest(opened.file, DigestKinds{of_kind}, opened.size) {}

  /// True when `known` is.
  Result<bool> step() {
    if (!std::exchange(begun, true)) {
      if (take_kept()) return true;
      settled = is_settled(file.status.st_mtim);
    }
    auto done = digest.step(FileDigest::usual_step);
    if (!done || !*done) return done;
    known = digest.digests();
    if (settled) keep_digest(file.file->get(), kind, *known.of(kind), file.status);
    return true;
  }

  bool take_kept() {
    if (source == Source::computed) return false;
    auto kept = kept_digest(file.file->get(), kind, file.status);
    if (kept) known.set(kind, std::move(*kept));
    return kept.has_value();
  }
};

void DigestRun::start(const OpenFile& file, DigestKind kind, Source source, Told told) {
  work_ = std::make_shared<Work>(file, kind, source);
  told_ = std::move(told);
  next_step();
}

void DigestRun::next_step() {
  job_ = services_.pool.submit(
      services_.reactor, [work = work_] { return work->step(); },
      [this](Result<bool> done) {
        if (done && !*done) return next_step();
        // What is told may destroy this.
        auto told = std::move(told_);
        const auto work = std::move(work_);
        if (!done) return told(std::unexpected(std::move(done.error())));
        told(std::move(work->known));
      });
}

}  // namespace ftpd
