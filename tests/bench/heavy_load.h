// Large transfers that keep a daemon busy while something else is measured.
#pragma once

#include <cstdint>

#include "bench.h"

namespace bench {

struct LoadShape {
  int uploads;                ///< at once, each begun again when it is done
  std::uint64_t upload_size;  ///< of each
  std::uint64_t output_size;  ///< of one command's output, over and over; 0: none
};

/// Keeps on in a process of its own until this object goes.
class HeavyLoad {
 public:
  HeavyLoad(std::uint16_t port, const LoadShape& shape);
  HeavyLoad(const HeavyLoad&) = delete;
  HeavyLoad& operator=(const HeavyLoad&) = delete;
  ~HeavyLoad();

  /// Bytes up to now: sent by uploads, received as output.
  [[nodiscard]] std::uint64_t uploaded() const;
  [[nodiscard]] std::uint64_t output() const;

  /// Returns once every kind of transfer has got going.
  void await_progress() const;
  void require_alive() const;

 private:
  struct Moved;
  static Moved* shared();

  LoadShape shape_;
  Moved* moved_;  // in memory that the process shares with ours
  Process process_;
};

}  // namespace bench
