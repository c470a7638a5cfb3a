// libarchive's tar reader, with what it lets pass refused: see archive_read(3), tar(5).
#include "store/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "store/tar_locale.h"

namespace ftpd {
namespace {

/// What may come before a member's first byte: its name, its extended headers, the map of its holes, each
/// entry of which takes more memory than bytes of the stream.
constexpr std::uint64_t largest_header = 1U << 20U;

/// The two blocks of zeros that end an archive.
constexpr std::size_t end_mark = 1024;

struct FreeReader {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
using Reader = std::unique_ptr<archive, FreeReader>;

bool is_zero(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char byte) { return byte == '\0'; });
}
bool is_ascii(const char* text) {
  return text == nullptr ||
         std::ranges::all_of(std::string_view{text}, [](char byte) { return (byte & 0x80) == 0; });
}

std::unexpected<Error> no_tar(std::string_view why) {
  return fail(Reason::invalid, fmt::format("the body is not a whole tar stream: {}", why));
}

/// The stream as it goes by: how far it is, and its last bytes.
class Stream {
 public:
  explicit Stream(const TarSource& source) : source_(source) {}

  /// Empty at the end. An Error is kept.
  [[nodiscard]] std::span<const char> next() {
    remember();
    auto chunk = source_();
    if (!chunk) {
      error_ = std::move(chunk.error());
      return {};
    }
    chunk_ = *chunk;
    delivered_ += chunk_.size();
    return chunk_;
  }

  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }

  /// The bytes from `position` on, as far as they have been delivered. Goes back a little behind the start
  /// of the present chunk, no further.
  [[nodiscard]] std::string since(std::uint64_t position) const {
    std::string bytes = before_;
    bytes.append(chunk_.data(), chunk_.size());
    const std::uint64_t size = std::min<std::uint64_t>(delivered_ - position, bytes.size());
    return bytes.substr(bytes.size() - static_cast<std::size_t>(size));
  }

 private:
  void remember() {
    const std::size_t size = std::min(chunk_.size(), kept);
    before_.append(chunk_.data() + (chunk_.size() - size), size);
    if (before_.size() > 16 * kept) before_.erase(0, before_.size() - kept);
    chunk_ = {};
  }

  // The reader looks at most one block ahead of what it has consumed.
  static constexpr std::size_t kept = 2 * end_mark;

  const TarSource& source_;
  std::span<const char> chunk_;
  std::string before_;  // the last bytes before the chunk
  std::uint64_t delivered_ = 0;
  std::optional<Error> error_;
};

}  // namespace

struct TarReader::State {
  explicit State(const TarSource& source) : stream(source) {}

  Stream stream;
  TarLocale locale = TarLocale::for_reading();
  Reader reader{archive_read_new()};
  archive_entry* entry = nullptr;  // the reader's
  bool opened = false;
  bool in_header = false;
  std::uint64_t header_begin = 0;
  std::uint64_t member_end = 0;  // position in the stream, once the member was read

  static la_ssize_t read(archive* /*reader*/, void* self, const void** bytes) {
    auto& state = *static_cast<State*>(self);
    if (state.in_header && state.stream.delivered() - state.header_begin > largest_header) {
      archive_set_error(state.reader.get(), EINVAL, "a member's header is larger than %llu bytes",
                        static_cast<unsigned long long>(largest_header));
      return -1;
    }
    const auto chunk = state.stream.next();
    if (state.stream.error()) return -1;
    *bytes = chunk.data();
    return static_cast<la_ssize_t>(chunk.size());
  }

  [[nodiscard]] std::unexpected<Error> failed() const {
    if (stream.error()) return std::unexpected(*stream.error());
    if (archive_errno(reader.get()) == ENOMEM) return fail_errno(ENOMEM, "read the tar stream");
    const char* const text = archive_error_string(reader.get());
    return no_tar(text == nullptr ? "it can't be read" : text);
  }

  [[nodiscard]] Result<void> open() {
    if (reader == nullptr) return fail_errno(ENOMEM, "read the tar stream");
    opened = true;
    if (archive_read_support_format_tar(reader.get()) != ARCHIVE_OK ||
        archive_read_open(reader.get(), this, nullptr, read, nullptr) != ARCHIVE_OK) {
      return failed();
    }
    return {};
  }

  /// To the end of the present member, with its padding.
  [[nodiscard]] Result<void> leave_member() {
    if (entry == nullptr) return {};
    if (archive_read_data_skip(reader.get()) != ARCHIVE_OK) return failed();
    member_end = static_cast<std::uint64_t>(archive_filter_bytes(reader.get(), 0));
    entry = nullptr;
    return {};
  }

  /// The reader takes the end of the bytes for the end of the archive, which may be anywhere.
  [[nodiscard]] Result<void> check_end() {
    if (stream.error()) return std::unexpected(*stream.error());
    const auto consumed = static_cast<std::uint64_t>(archive_filter_bytes(reader.get(), 0));
    if (consumed < member_end + end_mark) return no_tar("it is cut off");
    const std::string tail = stream.since(consumed - end_mark);
    if (!is_zero(std::string_view{tail}.substr(0, end_mark))) return no_tar("it is cut off");
    bool clean = is_zero(tail);
    while (clean) {
      const auto chunk = stream.next();
      if (stream.error()) return std::unexpected(*stream.error());
      if (chunk.empty()) return {};
      clean = is_zero({chunk.data(), chunk.size()});
    }
    return no_tar("something follows its end");
  }

  [[nodiscard]] TarMember member() const {
    TarMember member;
    if (const char* const name = archive_entry_pathname(entry); name != nullptr) member.name = name;
    const mode_t type = archive_entry_filetype(entry);
    if (archive_entry_hardlink(entry) != nullptr || type == AE_IFLNK) {
      member.type = TarMember::Type::link;
    } else if (type == AE_IFDIR || (type == AE_IFREG && member.name.ends_with('/'))) {
      member.type = TarMember::Type::directory;
    } else if (type == AE_IFREG) {
      member.type = TarMember::Type::file;
    }
    member.mode = archive_entry_perm(entry) & 0777;
    member.mtime = {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
    if (archive_entry_size(entry) > 0) member.size = static_cast<std::uint64_t>(archive_entry_size(entry));
    member.sparse = archive_entry_sparse_count(entry) > 0;
    return member;
  }

  /// A warning that a name is not ASCII, which is no fault (see TarLocale); others are.
  [[nodiscard]] bool only_warns_of_names() const {
    return !is_ascii(archive_entry_pathname(entry)) || !is_ascii(archive_entry_uname(entry)) ||
           !is_ascii(archive_entry_gname(entry));
  }
};

TarReader::TarReader(const TarSource& source) : state_(std::make_unique<State>(source)) {}
TarReader::~TarReader() = default;

Result<std::optional<TarMember>> TarReader::next() {
  State& state = *state_;
  const TarLocale::Use names(state.locale);
  if (auto left = state.leave_member(); !left) return std::unexpected(std::move(left.error()));
  state.in_header = true;
  state.header_begin = state.stream.delivered();
  if (!state.opened) {
    if (auto open = state.open(); !open) return std::unexpected(std::move(open.error()));
  }
  const int status = archive_read_next_header(state.reader.get(), &state.entry);
  state.in_header = false;
  if (status == ARCHIVE_EOF) {
    state.entry = nullptr;
    if (auto ended = state.check_end(); !ended) return std::unexpected(std::move(ended.error()));
    return std::nullopt;
  }
  const bool fine = status == ARCHIVE_OK || (status == ARCHIVE_WARN && state.only_warns_of_names());
  if (!fine) return state.failed();
  return state.member();
}

Result<std::optional<TarBlock>> TarReader::next_block() {
  State& state = *state_;
  const void* bytes = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  for (;;) {
    const int status = archive_read_data_block(state.reader.get(), &bytes, &size, &offset);
    if (status == ARCHIVE_EOF) return std::nullopt;
    if (status != ARCHIVE_OK) return state.failed();
    // A hostile map of holes can make these negative.
    constexpr auto most = static_cast<std::uint64_t>(INT64_MAX);
    if (offset < 0 || size > state.stream.delivered() || size > most - static_cast<std::uint64_t>(offset)) {
      return no_tar("a member's map of holes makes no sense");
    }
    if (size > 0) break;
  }
  return TarBlock{{static_cast<const char*>(bytes), size}, static_cast<std::uint64_t>(offset)};
}

}  // namespace ftpd
