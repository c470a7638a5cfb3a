// Many small files: what is in them, how they are uploaded over a few connections, and the loops of system
// calls that they are measured against.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "bench.h"

namespace bench {

constexpr std::size_t small_size = 4096;

std::string small_name(std::size_t index);
/// What is in the file; a thousand of them differ.
std::string_view small_content(std::size_t index);

/// Makes files 0 to `count` - 1 in a directory.
void make_small_files(const std::filesystem::path& directory, std::size_t count);
/// Throws unless there are exactly these files; looks into them, too, with Look::inside.
enum class Look { outside, inside };
void verify_small_files(const std::filesystem::path& directory, std::size_t count, Look look);

/// The bytes that upload the files [first, first + count), valid until the next call.
using Supply = std::function<std::string_view(std::size_t first, std::size_t count)>;

/// How uploads are written and their replies told apart.
struct Dialect {
  /// The bytes in front of the contents of the file.
  std::function<std::string(std::size_t index)> head;
  /// The size of the reply at the front, 0 while it is not complete; throws when it is not the right one.
  std::function<std::size_t(std::string_view)> reply_size;
};

/// `put` of files in the directory `target`, which is relative to the daemon's root.
Dialect put_dialect(const std::string& target);

/// Everything is made ahead: the client costs as little as it can.
class PreparedUploads {
 public:
  PreparedUploads(const Dialect& dialect, std::size_t count);
  [[nodiscard]] std::string_view operator()(std::size_t first, std::size_t count) const;

 private:
  std::string bytes_;
  std::vector<std::size_t> begins_;  // one more than files
};

/// Reads the files of a directory as they are needed, as a client does that sends what is on its disk.
Supply uploads_from(const std::filesystem::path& source, const Dialect& dialect);

struct Pipeline {
  int connections;
  std::size_t window;  ///< uploads that were sent and have no reply yet, on each
};

/// Uploads `count` files, each connection its share, from one thread; returns the seconds they take. Makes
/// one supply for each connection.
double upload_small(std::uint16_t port, std::size_t count, const Pipeline& pipeline,
                    const std::function<Supply()>& make_supply, const Dialect& dialect);

enum class Flush { never, each };

/// The least that stores a file whole or not at all: made in `staging`, written, renamed into `target`, one
/// after the other; with Flush::each the file is flushed before and `target` after. Returns the seconds.
double store_in_process(const std::filesystem::path& staging, const std::filesystem::path& target,
                        std::size_t count, Flush flush);

}  // namespace bench
