// Rows `small` and `small-durable`: many small uploads, against a loop that stores the same files in-process.
#include <fmt/format.h>

#include <array>
#include <functional>

#include "rows.h"
#include "small_files.h"

namespace bench {

namespace {

/// One connection without a limit of its own, and several that keep a few uploads under way each.
constexpr std::array pipelines{Pipeline{.connections = 1, .window = 1 << 20},
                               Pipeline{.connections = 16, .window = 32}};

enum class Afterwards { remove, keep };

/// Uploads into a directory of its own and looks at what is there, off the clock; returns files each second.
double uploaded(const Subject& subject, std::size_t count, const Pipeline& pipeline, Afterwards afterwards) {
  const auto target = fresh_directory(subject.root());
  const auto dialect = put_dialect(target.filename());
  const PreparedUploads uploads(dialect, count);
  const double taken =
      upload_small(subject.port(), count, pipeline, [&] { return std::ref(uploads); }, dialect);
  verify_small_files(target, count, Look::inside);
  if (afterwards == Afterwards::remove) std::filesystem::remove_all(target);
  return static_cast<double>(count) / taken;
}

std::string what(std::size_t count, const Pipeline& pipeline, std::string_view where) {
  return fmt::format("{} x 4 KiB {}, {} connection{}", count, where, pipeline.connections,
                     pipeline.connections == 1 ? "" : "s");
}

}  // namespace

void small_row(const Settings& settings) {
  const Subject subject(settings, Durability::none);
  const auto count = settings.scale.small_files;
  const auto in_process = [&] {
    const auto place = fresh_directory(settings.directory);
    const auto staging = fresh_directory(place);
    const auto target = fresh_directory(place);
    const double taken = store_in_process(staging, target, count, Flush::never);
    verify_small_files(target, count, Look::inside);
    std::filesystem::remove_all(place);
    return static_cast<double>(count) / taken;
  };
  for (const auto& pipeline : pipelines) {
    uploaded(subject, count, pipeline, Afterwards::remove);  // the first pages of the heap, and our own
    in_process();
    print({.what = what(count, pipeline, "to tmpfs"),
           .unit = Unit::per_second,
           .peer = "open write rename",
           .samples = interleave(
               settings.scale, [&] { return uploaded(subject, count, pipeline, Afterwards::remove); },
               in_process),
           .reach = Reach::at_least,
           .bound = 0.5});
  }
}

void small_durable_row(const Settings& settings) {
  if (settings.disk.empty()) return print_note("small-durable: skipped, there is no directory on a disk");
  const Subject subject(settings, Durability::fsync);
  const auto count = settings.scale.small_files;
  // What costs is the flush of each file, and that does not change with their number.
  const auto fewer = count / 10;
  const auto place = fresh_directory(settings.disk);
  const auto in_process = [&] {
    const auto target = fresh_directory(place);
    const double taken = store_in_process(fresh_directory(place), target, fewer, Flush::each);
    verify_small_files(target, fewer, Look::outside);
    return static_cast<double>(fewer) / taken;
  };
  for (const auto& pipeline : pipelines) {
    print({.what = what(count, pipeline, "durable"),
           .unit = Unit::per_second,
           .peer = fmt::format("fsync loop, {}", fewer),
           // Nothing is removed before the end: creating files is slow for a while where many were removed.
           .samples = interleave(
               settings.scale.on_disk(), [&] { return uploaded(subject, count, pipeline, Afterwards::keep); },
               in_process),
           .reach = Reach::at_least,
           .bound = 3.0});
  }
}

}  // namespace bench
