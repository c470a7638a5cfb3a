// As much FTP as it takes to store files, one data connection for each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "bench.h"

namespace bench {

class FtpClient {
 public:
  /// Logs in as anonymous and enters `directory`.
  FtpClient(std::uint16_t port, const std::string& directory);

  /// Stores the small files 0 to `count` - 1 of a directory. The next file's PASV is sent with the STOR
  /// before it, which saves a round trip for each.
  void store(const std::filesystem::path& source, std::size_t count);

 private:
  void send(std::string_view line);
  /// The next reply's line, which must begin with `code`.
  std::string expect(std::string_view code);

  UniqueFd control_;
  std::string received_;
};

}  // namespace bench
