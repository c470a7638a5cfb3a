// Large transfers; see heavy_load.h.
#include "heavy_load.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "load.h"

namespace bench {

struct HeavyLoad::Moved {
  std::atomic<std::uint64_t> uploaded{0};
  std::atomic<std::uint64_t> output{0};
};

namespace {

void upload_for_ever(int socket, int index, std::uint64_t size, std::atomic<std::uint64_t>& moved) {
  while (true) {
    put(socket, fmt::format("load-{}", index), size, [&](std::size_t count) { moved += count; });
  }
}

void output_for_ever(int socket, std::uint64_t size, std::atomic<std::uint64_t>& moved) {
  const std::vector<char> zeros(1 << 18);
  while (true) {
    send_all(socket, head_request(size));
    if (read_reply(socket).data_size != size) throw Broken("wrong size of command output");
    receive_body(socket, {.size = size, .expected = zeros}, Verify::count,
                 [&](std::size_t count) { moved += count; });
  }
}

/// The other transfers would go on for ever: one that fails ends the process.
void end_on_failure(const std::function<void()>& transfer) {
  try {
    transfer();
  } catch (const Broken& error) {
    fmt::print(stderr, "bench: load: {}\n", error.what());
    ::_exit(1);
  }
}

}  // namespace

HeavyLoad::Moved* HeavyLoad::shared() {
  void* memory = ::mmap(nullptr, sizeof(Moved), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw Broken("mmap");
  return new (memory) Moved;
}

HeavyLoad::HeavyLoad(std::uint16_t port, const LoadShape& shape)
    : shape_(shape), moved_(shared()), process_(Process::run([&shape, port, moved = moved_] {
        run_at_once(port, shape.uploads + (shape.output_size > 0 ? 1 : 0), [&](int socket, int index) {
          end_on_failure([&] {
            if (index < shape.uploads) {
              upload_for_ever(socket, index, shape.upload_size, moved->uploaded);
            } else {
              output_for_ever(socket, shape.output_size, moved->output);
            }
          });
        });
      })) {}

HeavyLoad::~HeavyLoad() { ::munmap(moved_, sizeof *moved_); }

std::uint64_t HeavyLoad::uploaded() const { return moved_->uploaded; }

std::uint64_t HeavyLoad::output() const { return moved_->output; }

void HeavyLoad::await_progress() const {
  const auto end = Clock::now() + std::chrono::seconds(15);
  while (uploaded() == 0 || (shape_.output_size > 0 && output() == 0)) {
    require_alive();
    if (Clock::now() > end) throw Broken("the load makes no progress");
    std::this_thread::sleep_for(milliseconds(20));
  }
}

void HeavyLoad::require_alive() const {
  if (!process_.alive()) throw Broken("the load ended before the measurement did");
}

}  // namespace bench
