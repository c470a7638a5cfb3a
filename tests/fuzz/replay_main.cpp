// Runs a fuzz target over its corpus, without a fuzzer: `replay-NAME [DIRECTORY]`.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

fs::path default_corpus(const fs::path& program) {
  constexpr std::string_view prefix = "replay-";
  std::string name = program.filename().string();
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  return fs::path("tests/fuzz/corpus") / name;
}

std::vector<fs::path> files_in(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.is_regular_file(error)) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  const fs::path directory = argc > 1 ? fs::path(argv[1]) : default_corpus(argv[0]);
  const std::vector<fs::path> files = files_in(directory);
  if (files.empty()) {
    std::printf("no files in %s\n0 passed, 1 failed\n", directory.c_str());
    return 1;
  }
  for (const fs::path& file : files) {
    // Said first, so that a crash shows whose it is.
    std::printf("%s\n", file.c_str());
    std::fflush(stdout);
    std::ifstream input(file, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(input), {}};
    const std::vector<std::uint8_t> data(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(data.data(), data.size());
  }
  std::printf("%zu passed, 0 failed\n", files.size());
  return 0;
}
