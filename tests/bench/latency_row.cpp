// Row `latency`: how long a ping takes while the daemon is busy with large transfers.
#include <fmt/format.h>

#include "heavy_load.h"
#include "load.h"
#include "pinger.h"
#include "rows.h"

namespace bench {

namespace {

constexpr int uploads = 8;
constexpr std::uint64_t upload_size = 128 << 20;
constexpr double most_seconds = 0.020;

/// The daemon's and the echo server's.
Sample p99(const std::vector<std::vector<double>>& latencies) {
  return {.ours = percentile(latencies[0], 0.99), .peer = percentile(latencies[1], 0.99)};
}

void print_latency(std::string_view what, std::string_view peer, std::vector<Sample> samples, double most) {
  print({.what = std::string(what),
         .unit = Unit::seconds,
         .peer = std::string(peer),
         .samples = std::move(samples),
         .reach = most > 0 ? Reach::at_most : Reach::none,
         .bound = most});
}

}  // namespace

void latency_row(const Settings& settings) {
  const auto echo = start_echo_server();
  const Subject subject(settings);
  PingClock pings;
  pings.add(subject.port(), learn_ping_reply(subject.port()));
  pings.add(echo.port, ping_request());

  const auto idle = p99(pings.run(settings.scale.load_window));
  print_latency("ping p99, idle", "echo server", {idle}, 0);

  const HeavyLoad load(subject.port(),
                       {.uploads = uploads, .upload_size = upload_size, .output_size = settings.scale.bytes});
  load.await_progress();
  std::vector<Sample> samples;
  std::vector<Sample> limits;
  const auto start = Clock::now();
  const auto uploaded = load.uploaded();
  for (int round = 0; round < settings.scale.load_rounds; ++round) {
    samples.push_back(p99(pings.run(settings.scale.load_window)));
    limits.push_back({.ours = samples.back().ours, .peer = most_seconds});
    load.require_alive();
  }
  const auto rate = static_cast<double>(load.uploaded() - uploaded) / seconds_since(start);
  if (rate <= 0) throw Broken("the uploads stood still");

  print_latency("ping p99 under load", "echo server", samples, 3.0);
  print_latency("ping p99 under load", "limit", limits, 1.0);
  print_note(fmt::format("the load: {} uploads at {:.2f} GB/s together, {:.2f} GB of command output received",
                         uploads, rate / 1e9, static_cast<double>(load.output()) / 1e9));
}

}  // namespace bench
