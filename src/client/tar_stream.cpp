// Tar streams (pax), written and read piece by piece with libarchive.
#include "client/tar_stream.h"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <utility>

#include "client/text.h"

namespace ftpd::client {
namespace {

constexpr std::size_t piece_size = 256U * 1024;

bool usable(int result) { return result == ARCHIVE_OK || result == ARCHIVE_WARN; }

std::string reason(archive* stream) {
  const char* const text = archive_error_string(stream);
  return text != nullptr ? printable(text) : std::string{"no reason given"};
}

}  // namespace

void FreeArchive::operator()(archive* stream) const { archive_free(stream); }
void FreeArchive::operator()(archive_entry* entry) const { archive_entry_free(entry); }

TarWriter::TarWriter(std::string& out) : entry_(archive_entry_new()), stream_(archive_write_new()) {
  archive_write_set_format_pax(stream_.get());
  // Names go out as the bytes they are, whatever the locale.
  archive_write_set_options(stream_.get(), "hdrcharset=BINARY");
  archive_write_set_bytes_per_block(stream_.get(), 0);
  const auto append = [](archive*, void* to, const void* bytes, std::size_t size) -> la_ssize_t {
    static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), size);
    return static_cast<la_ssize_t>(size);
  };
  archive_write_open(stream_.get(), &out, nullptr, append, nullptr);
}

Outcome<void> TarWriter::file(const std::string& name, const struct stat& about) {
  return header(name, about, AE_IFREG);
}

Outcome<void> TarWriter::directory(const std::string& name, const struct stat& about) {
  return header(name, about, AE_IFDIR);
}

Outcome<void> TarWriter::header(const std::string& name, const struct stat& about, unsigned type) {
  archive_entry* const entry = archive_entry_clear(entry_.get());
  archive_entry_set_pathname(entry, name.c_str());
  archive_entry_set_filetype(entry, type);
  archive_entry_set_perm(entry, about.st_mode & 0777U);
  archive_entry_set_size(entry, type == AE_IFREG ? about.st_size : 0);
  archive_entry_set_mtime(entry, about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
  if (!usable(archive_write_header(stream_.get(), entry))) return failure();
  return {};
}

Outcome<void> TarWriter::data(std::string_view bytes) {
  if (archive_write_data(stream_.get(), bytes.data(), bytes.size()) != static_cast<la_ssize_t>(bytes.size()))
    return failure();
  return {};
}

Outcome<void> TarWriter::finish() {
  if (archive_write_close(stream_.get()) != ARCHIVE_OK) return failure();
  return {};
}

Outcome<void> TarWriter::failure() const { return local_failure("packing it: " + reason(stream_.get())); }

TarReader::TarReader(TarSource source)
    : source_(std::move(source)), piece_(new char[piece_size]), stream_(archive_read_new()) {
  archive_read_support_format_tar(stream_.get());
  const auto read = [](archive* stream, void* self, const void** bytes) -> la_ssize_t {
    auto& reader = *static_cast<TarReader*>(self);
    auto piece = reader.source_();
    if (!piece) {
      reader.source_failure_ = std::move(piece.error());
      archive_set_error(stream, EIO, "the stream broke off");
      return -1;
    }
    *bytes = piece->data();
    return static_cast<la_ssize_t>(piece->size());
  };
  archive_read_set_read_callback(stream_.get(), read);
  archive_read_set_callback_data(stream_.get(), this);
}

Outcome<std::optional<TarEntry>> TarReader::next() {
  // Opened late, as that asks the source for its first bytes.
  if (!std::exchange(open_, true) && archive_read_open1(stream_.get()) != ARCHIVE_OK) {
    return std::unexpected(failure());
  }
  archive_entry* entry = nullptr;
  const int result = archive_read_next_header(stream_.get(), &entry);
  if (result == ARCHIVE_EOF) return std::nullopt;
  // A warning is a name that the locale can't say: its bytes are there all the same.
  if (!usable(result)) return std::unexpected(failure());
  TarEntry out;
  const char* const name = archive_entry_pathname(entry);
  if (name == nullptr) return std::unexpected(Failure{Failure::Who::local, "a member without a name"});
  out.name = name;
  const auto type = archive_entry_filetype(entry);
  const bool link = archive_entry_hardlink(entry) != nullptr;
  if (type == AE_IFREG && !link) out.kind = TarEntry::Kind::file;
  if (type == AE_IFDIR) out.kind = TarEntry::Kind::directory;
  if (archive_entry_size(entry) > 0) out.size = static_cast<std::uint64_t>(archive_entry_size(entry));
  out.mode = archive_entry_perm(entry) & 0777U;
  if (archive_entry_mtime_is_set(entry) != 0) {
    out.mtime = timespec{archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
  }
  return out;
}

Outcome<std::string_view> TarReader::data() {
  const la_ssize_t count = archive_read_data(stream_.get(), piece_.get(), piece_size);
  if (count < 0) return std::unexpected(failure());
  return std::string_view{piece_.get(), static_cast<std::size_t>(count)};
}

Failure TarReader::failure() const {
  if (source_failure_) return *source_failure_;
  return {Failure::Who::connection, "the server's tar stream is broken: " + reason(stream_.get())};
}

}  // namespace ftpd::client
