// How many commands of a role run at once: `max_exec`, and who waits for a turn.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "reactor/reactor.h"

namespace ftpd {

/// A ledger shared by all loops, with a lock of its own. First come, first served.
class CommandQueue : public std::enable_shared_from_this<CommandQueue> {
 public:
  explicit CommandQueue(unsigned limit) : limit_(limit) {}

  /// The right to run one command; destroying it gives the turn to the next in the queue.
  class Slot {
   public:
    Slot() = default;
    explicit Slot(std::shared_ptr<CommandQueue> queue) : queue_(std::move(queue)) {}
    Slot(Slot&&) noexcept = default;
    Slot& operator=(Slot&& other) noexcept {
      if (this != &other) {
        release();
        queue_ = std::move(other.queue_);
      }
      return *this;
    }
    ~Slot() { release(); }

   private:
    void release();
    std::shared_ptr<CommandQueue> queue_;
  };

  /// A place in the queue; destroying it leaves the queue. Loop thread only.
  using Granted = std::move_only_function<void(Slot)>;
  struct Waiter {
    Reactor* reactor = nullptr;
    Granted granted;
    bool left = false;  // loop thread only
  };
  class Place {
   public:
    Place() = default;
    Place(std::shared_ptr<CommandQueue> queue, std::shared_ptr<Waiter> waiter)
        : queue_(std::move(queue)), waiter_(std::move(waiter)) {}
    Place(Place&&) noexcept = default;
    Place& operator=(Place&& other) noexcept {
      if (this != &other) {
        leave();
        queue_ = std::move(other.queue_);
        waiter_ = std::move(other.waiter_);
      }
      return *this;
    }
    ~Place() { leave(); }

   private:
    void leave();
    std::shared_ptr<CommandQueue> queue_;
    std::shared_ptr<Waiter> waiter_;
  };

  /// A slot at once, if one is free and nobody waits.
  [[nodiscard]] std::optional<Slot> try_take();

  /// `granted` is called on `reactor`'s thread when the turn has come.
  [[nodiscard]] Place wait(Reactor& reactor, Granted granted);

  [[nodiscard]] unsigned running() const;

 private:
  void release();
  void forget(const std::shared_ptr<Waiter>& waiter);
  void grant(std::shared_ptr<Waiter> waiter);

  mutable std::mutex mutex_;
  unsigned limit_;
  unsigned running_ = 0;
  std::deque<std::shared_ptr<Waiter>> waiting_;
};

}  // namespace ftpd
