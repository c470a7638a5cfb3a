// The bytes below a root: counted, reserved, refused. See ftpd.toml(5), `quota`.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>

#include "base/clock.h"
#include "base/error.h"

namespace ftpd {

/// The ledger of one root. Files count with their length, unfinished uploads with what is reserved for
/// them or held of them. Others change the tree as well (commands, the administrator), so the tree is
/// counted again before anything is refused, when somebody asks, and before a reservation where the last
/// count is over a second old; but never so often that counting
/// takes more than about a twentieth of the time. Thread-safe; may block (pool).
class Quota : public std::enable_shared_from_this<Quota> {
 public:
  /// `limit` 0: none. Borrows the root's descriptor, which outlives the ledger.
  Quota(int root, std::uint64_t limit) : root_(root), limit_(limit) {}

  /// Bytes set aside for one upload, given back when it is destroyed. Movable.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation() { release(); }

    /// Reason::quota with `need` and `free` where there is no room for `bytes` more.
    [[nodiscard]] Result<void> grow(std::uint64_t bytes);
    /// What will really be replaced, seen right before it is. Reason::quota where that is less than was
    /// thought, and the room is gone.
    [[nodiscard]] Result<void> replaces(std::uint64_t bytes);
    /// All that was needed is `bytes`, at most what is reserved.
    void trim(std::uint64_t bytes);
    /// What is reserved goes to a file that is counted: one that is held. `size` bytes of it count as used
    /// already, by this reservation only; the rest it reserves.
    void covers(ino_t file, std::uint64_t size);
    /// The upload is a file now: what was reserved counts as used, `replaced` bytes do no more.
    void settle(std::uint64_t replaced);
    /// Given back. `kept`: the size of the file of covers(), where that stays.
    void release(std::uint64_t kept = 0);
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

   private:
    friend class Quota;
    [[nodiscard]] std::uint64_t net() const { return bytes_ > credit_ ? bytes_ - credit_ : 0; }
    [[nodiscard]] Result<void> change(std::uint64_t bytes, std::uint64_t credit);
    void uncover(std::uint64_t size);

    std::shared_ptr<Quota> quota_;  // none: nothing is limited
    std::uint64_t bytes_ = 0;
    std::uint64_t credit_ = 0;  // of bytes_: room that the file which is replaced leaves
    struct Covered {
      ino_t file;
      std::uint64_t size;
    };
    std::optional<Covered> covered_;
  };

  /// Room for `bytes`, of which `replaces` are those of a file that will be replaced.
  [[nodiscard]] Result<Reservation> reserve(std::uint64_t bytes, std::uint64_t replaces);

  /// The tree has changed by our own doing: `removed` bytes are gone.
  void removed(std::uint64_t bytes);

  /// While it is held nobody counts. A change of the tree and the word of it (settle, removed) go under
  /// one, else a count between them sees the change and is told of it again. reserve(), grow() and
  /// replaces() may count: not under it.
  [[nodiscard]] std::shared_lock<std::shared_mutex> steady() { return std::shared_lock(steady_); }

  [[nodiscard]] std::uint64_t limit() const { return limit_; }
  /// Used and reserved, counted now unless that was done a moment ago.
  [[nodiscard]] Result<std::uint64_t> used();

 private:
  [[nodiscard]] bool fresh() const;
  [[nodiscard]] bool has_room(std::uint64_t more) const;
  [[nodiscard]] Result<void> count_if_stale(std::unique_lock<std::mutex>& lock);

  int root_;
  std::uint64_t limit_;
  std::shared_mutex steady_;    // before mutex_, where both are taken
  std::mutex mutex_;            // what follows is under it
  std::uint64_t used_ = 0;      // files and what is held, by the last count and what we did since
  std::uint64_t reserved_ = 0;  // uploads under way
  std::unordered_map<ino_t, std::uint64_t> covered_;  // sizes that count of the files of covers()
  bool counted_ = false;
  TimePoint counted_at_{};
  Duration count_took_{};
};

}  // namespace ftpd
