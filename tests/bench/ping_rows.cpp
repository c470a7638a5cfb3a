// Rows `ping` and `exec`: small requests over and over, against redis and a bare spawn loop.
#include <fmt/format.h>

#include "load.h"
#include "rows.h"

namespace bench {

namespace {

constexpr int ping_connections = 50;
constexpr milliseconds warm_up{100};

}  // namespace

void ping_row(const Settings& settings) {
  const auto redis = start_redis(settings.directory);
  if (!redis) return print_note("ping: skipped, redis-server is not installed (make bench-deps)");
  const Subject subject(settings);
  const auto ours = ping_exchange(subject.port());
  const auto theirs = redis_ping_exchange();
  for (const int depth : {1, 16}) {
    const Load brief{.connections = ping_connections, .depth = depth, .window = warm_up};
    exchange_rate(subject.port(), ours, brief);
    exchange_rate(redis->port, theirs, brief);
    const Load load{.connections = ping_connections, .depth = depth, .window = settings.scale.window};
    print({.what = fmt::format("ping, {} connections, {} at a time", ping_connections, depth),
           .unit = Unit::per_second,
           .peer = "redis PING",
           .samples = interleave(
               settings.scale, [&] { return exchange_rate(subject.port(), ours, load); },
               [&] { return exchange_rate(redis->port, theirs, load); }),
           .reach = Reach::at_least,
           .bound = 1.0});
  }
}

void exec_row(const Settings& settings) {
  const Subject subject(settings);
  const auto exchange = true_exchange();
  for (const int in_flight : {1, 8, 64}) {
    const auto ours = [&](milliseconds window) {
      return exchange_rate(subject.port(), exchange,
                           {.connections = in_flight, .depth = 1, .window = window});
    };
    ours(warm_up);
    spawn_rate(in_flight, warm_up);
    print({.what = fmt::format("exec /bin/true, {} at once", in_flight),
           .unit = Unit::per_second,
           .peer = "posix_spawn loop",
           .samples = interleave(
               settings.scale, [&] { return ours(settings.scale.window); },
               [&] { return spawn_rate(in_flight, settings.scale.window); }),
           .reach = Reach::at_least,
           .bound = 0.9});
  }
}

}  // namespace bench
