// Row `latency-durable`: how long a ping takes while durable uploads keep the disk busy.
#include <fmt/format.h>

#include "heavy_load.h"
#include "load.h"
#include "pinger.h"
#include "rows.h"

namespace bench {

namespace {

constexpr int uploads = 8;
constexpr std::uint64_t upload_size = 64 << 20;

}  // namespace

void latency_durable_row(const Settings& settings) {
  if (settings.disk.empty()) return print_note("latency-durable: skipped, there is no directory on a disk");
  const Subject subject(settings, Durability::fsync);
  PingClock pings;
  const auto ours = pings.add(subject.port(), learn_ping_reply(subject.port()));
  const auto p99 = [&] { return percentile(pings.run(settings.scale.load_window)[ours], 0.99); };

  std::vector<Sample> samples;
  std::uint64_t uploaded = 0;
  double busy_seconds = 0;
  for (int round = 0; round < settings.scale.load_rounds && uploaded < settings.scale.disk_bytes; ++round) {
    Sample sample{.ours = 0, .peer = p99()};
    const HeavyLoad load(subject.port(), {.uploads = uploads, .upload_size = upload_size, .output_size = 0});
    load.await_progress();
    const auto start = Clock::now();
    const auto before = load.uploaded();
    sample.ours = p99();
    load.require_alive();
    if (load.uploaded() == before) throw Broken("the uploads stood still");
    uploaded += load.uploaded() - before;
    busy_seconds += seconds_since(start);
    samples.push_back(sample);
  }
  print({.what = "ping p99, 8 durable uploads",
         .unit = Unit::seconds,
         .peer = "idle",
         .samples = std::move(samples),
         .reach = Reach::at_most,
         .bound = 10.0});
  print_note(fmt::format("the load: {} uploads of {} MiB at {:.2f} GB/s together", uploads, upload_size >> 20,
                         static_cast<double>(uploaded) / busy_seconds / 1e9));
}

}  // namespace bench
