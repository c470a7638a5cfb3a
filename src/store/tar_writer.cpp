// libarchive's pax writer: see archive_write(3), tar(5).
#include "store/tar_writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <cerrno>
#include <optional>

#include "store/tar_locale.h"

namespace ftpd {
namespace {

struct FreeWriter {
  void operator()(archive* writer) const { archive_write_free(writer); }
};
struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

}  // namespace

struct TarWriter::State {
  explicit State(const TarSink& where) : sink(where) {}
  ~State() {
    // Closing writes the end of the archive; without it a writer that failed leaks.
    over = true;
    if (writer != nullptr) archive_write_close(writer.get());
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  const TarSink& sink;
  TarLocale locale = TarLocale::for_writing();
  std::optional<Error> error;  // the sink's
  std::unique_ptr<archive, FreeWriter> writer{archive_write_new()};
  std::unique_ptr<archive_entry, FreeEntry> entry{archive_entry_new()};
  bool opened = false;
  bool over = false;  // the sink is called no more

  static la_ssize_t take(archive* /*writer*/, void* self, const void* bytes, std::size_t size) {
    auto& state = *static_cast<State*>(self);
    if (state.over) return -1;
    auto taken = state.sink({static_cast<const char*>(bytes), size});
    if (taken) return static_cast<la_ssize_t>(size);
    state.error = std::move(taken.error());
    state.over = true;
    return -1;
  }

  [[nodiscard]] std::unexpected<Error> failed() const {
    if (error) return std::unexpected(*error);
    const char* const text = writer != nullptr ? archive_error_string(writer.get()) : nullptr;
    const int number = writer != nullptr ? archive_errno(writer.get()) : ENOMEM;
    return std::unexpected(
        Error{Reason::system, number, fmt::format("write the tar stream: {}", text == nullptr ? "?" : text)});
  }

  /// Each piece goes to the sink as it comes (no blocks, so nothing is copied nor padded).
  [[nodiscard]] Result<void> open() {
    if (opened) return {};
    opened = true;
    if (writer == nullptr || entry == nullptr) return failed();
    if (archive_write_set_format_pax(writer.get()) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(writer.get(), 0) != ARCHIVE_OK ||
        archive_write_open(writer.get(), this, nullptr, take, nullptr) != ARCHIVE_OK) {
      return failed();
    }
    return {};
  }
};

TarWriter::TarWriter(const TarSink& sink) : state_(std::make_unique<State>(sink)) {}
TarWriter::~TarWriter() = default;

Result<void> TarWriter::begin(const TarHeader& header) {
  State& state = *state_;
  const TarLocale::Use names(state.locale);
  if (auto open = state.open(); !open) return open;
  archive_entry* const entry = archive_entry_clear(state.entry.get());
  const bool directory = header.type == TarHeader::Type::directory;
  archive_entry_copy_pathname(entry, header.name.c_str());
  archive_entry_set_filetype(entry, directory ? AE_IFDIR : AE_IFREG);
  archive_entry_set_perm(entry, header.mode);
  archive_entry_set_mtime(entry, header.mtime.tv_sec, header.mtime.tv_nsec);
  archive_entry_set_size(entry, directory ? 0 : static_cast<la_int64_t>(header.size));
  const int status = archive_write_header(state.writer.get(), entry);
  // The warning is that the name is not UTF-8, and was written as it is.
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return state.failed();
  return {};
}

Result<void> TarWriter::write(std::span<const char> bytes) {
  const la_ssize_t count = archive_write_data(state_->writer.get(), bytes.data(), bytes.size());
  if (count < 0 || static_cast<std::size_t>(count) != bytes.size()) return state_->failed();
  return {};
}

Result<void> TarWriter::finish() {
  const TarLocale::Use names(state_->locale);
  if (auto open = state_->open(); !open) return open;
  if (archive_write_close(state_->writer.get()) != ARCHIVE_OK) return state_->failed();
  return {};
}

}  // namespace ftpd
