// Running digests by OpenSSL's EVP, digests of stored files in steps, and those kept with a file.
#include "store/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/types.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <vector>

#include "base/sys.h"

namespace ftpd {
namespace {

constexpr DigestKind all_kinds[] = {DigestKind::md5, DigestKind::sha256};
constexpr std::size_t read_size = 256UL * 1024;

constexpr std::size_t hex_size(DigestKind kind) { return kind == DigestKind::md5 ? 32 : 64; }

/// Looked up once: OpenSSL asks its providers under a lock, which costs more than a small file's digest.
/// Null where a provider's policy forbids the kind.
const EVP_MD* algorithm(DigestKind kind) {
  static const EVP_MD* const md5 = ::EVP_MD_fetch(nullptr, "MD5", nullptr);
  static const EVP_MD* const sha256 = ::EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return kind == DigestKind::md5 ? md5 : sha256;
}

struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { ::EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, ContextDeleter>;

/// Null where the kind can't be computed here.
Context begin(DigestKind kind) {
  const EVP_MD* const type = algorithm(kind);
  if (type == nullptr) return nullptr;
  Context context(::EVP_MD_CTX_new());
  if (context == nullptr || ::EVP_DigestInit_ex(context.get(), type, nullptr) != 1) return nullptr;
  return context;
}

std::string to_hex(std::span<const unsigned char> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    hex += digits[byte >> 4U];
    hex += digits[byte & 0xFU];
  }
  return hex;
}

/// Ends a copy, so that `context` may go on.
std::optional<std::string> digest_so_far(const EVP_MD_CTX* context) {
  const Context copy(::EVP_MD_CTX_new());
  if (copy == nullptr || ::EVP_MD_CTX_copy_ex(copy.get(), context) != 1) return std::nullopt;
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (::EVP_DigestFinal_ex(copy.get(), bytes.data(), &size) != 1) return std::nullopt;
  return to_hex(std::span(bytes).first(size));
}

}  // namespace

std::string_view name(DigestKind kind) {
  switch (kind) {
    case DigestKind::md5: return "md5";
    case DigestKind::sha256: return "sha256";
  }
  return "sha256";
}

std::optional<DigestKind> digest_kind_from_name(std::string_view name) {
  for (const DigestKind kind : all_kinds) {
    if (name == ftpd::name(kind)) return kind;
  }
  return std::nullopt;
}

std::optional<std::string> parse_digest(DigestKind kind, std::string_view text) {
  if (text.size() != hex_size(kind)) return std::nullopt;
  std::string hex(text);
  for (char& digit : hex) {
    if (digit >= 'A' && digit <= 'F') digit = static_cast<char>(digit - 'A' + 'a');
    const bool fine = (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f');
    if (!fine) return std::nullopt;
  }
  return hex;
}

// --- running digests ------------------------------------------------------------------------------
struct Hasher::Impl {
  struct Running {
    DigestKind kind;
    Context context;  // null: this kind can't be computed, and stays unknown
  };
  std::vector<Running> running;
};

Hasher::Hasher(DigestKinds kinds) : impl_(std::make_unique<Impl>()) {
  for (const DigestKind kind : all_kinds) {
    if (kinds.has(kind)) impl_->running.push_back({kind, begin(kind)});
  }
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(std::span<const char> bytes) {
  for (Impl::Running& running : impl_->running) {
    if (running.context == nullptr) continue;
    // It fails only where a hardware provider does: an unknown digest is better than a wrong one.
    if (::EVP_DigestUpdate(running.context.get(), bytes.data(), bytes.size()) != 1) running.context.reset();
  }
}

Digests Hasher::digests() const {
  Digests digests;
  for (const Impl::Running& running : impl_->running) {
    if (running.context == nullptr) continue;
    if (auto hex = digest_so_far(running.context.get())) digests.set(running.kind, std::move(*hex));
  }
  return digests;
}

// --- a file's digest ------------------------------------------------------------------------------
FileDigest::FileDigest(std::shared_ptr<const UniqueFd> file, DigestKinds kinds, std::uint64_t size)
    : file_(std::move(file)), hasher_(kinds), size_(size) {}

Result<bool> FileDigest::step(std::size_t budget) {
  const std::uint64_t target =
      done_ + std::min<std::uint64_t>(std::max<std::size_t>(budget, 1), size_ - done_);
  if (done_ == target) return true;
  const std::size_t capacity = std::min<std::uint64_t>(read_size, target - done_);
  const auto buffer = std::make_unique_for_overwrite<char[]>(capacity);
  while (done_ < target) {
    const std::size_t wanted = std::min<std::uint64_t>(capacity, target - done_);
    const ssize_t count = sys::pread(file_->get(), buffer.get(), wanted, static_cast<off_t>(done_));
    if (count < 0) return fail_errno(errno, "read the file for its digest");
    if (count == 0) {
      return fail(Reason::system,
                  fmt::format("the file became shorter while its digest was computed: {} bytes were "
                              "there, {} are",
                              size_, done_));
    }
    hasher_.update({buffer.get(), static_cast<std::size_t>(count)});
    done_ += static_cast<std::uint64_t>(count);
  }
  return done_ == size_;
}

// --- a digest kept with its file ------------------------------------------------------------------
namespace {

/// A file's times come from the kernel's tick, which is up to 10 ms long: two writes in one tick leave the
/// same time. So a digest of a file that was written a moment ago could outlive a further write unseen;
/// only a file whose time lies a safe number of ticks back shows each later write by a new time.
constexpr std::chrono::milliseconds settled_after{20};
/// A file system that knows only whole seconds, or pairs of them, leaves no nanoseconds in a time.
constexpr std::chrono::milliseconds coarse_settled_after{2001};

const char* attribute(DigestKind kind) {
  return kind == DigestKind::md5 ? "user.ftpd.md5" : "user.ftpd.sha256";
}

/// What a kept digest belongs to, as it stands behind the hex: size, modification time, inode.
std::string mark_of(const struct stat& status) {
  return fmt::format(" {} {}.{:09} {}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                     status.st_ino);
}

}  // namespace

bool is_settled(const timespec& mtime) {
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  // CLOCK_REALTIME, since it is what file times are taken from.
  timespec now{};
  if (::clock_gettime(CLOCK_REALTIME, &now) != 0) return false;
  if (mtime.tv_sec < now.tv_sec - 3) return true;  // also spares the difference of times far apart
  if (mtime.tv_sec > now.tv_sec) return false;
  const auto age = seconds(now.tv_sec - mtime.tv_sec) + nanoseconds(now.tv_nsec - mtime.tv_nsec);
  return age >= (mtime.tv_nsec == 0 ? coarse_settled_after : settled_after);
}

std::optional<std::string> kept_digest(int file, DigestKind kind, const struct stat& status) {
  std::array<char, 192> value{};
  const ssize_t size = sys::fgetxattr(file, attribute(kind), value.data(), value.size());
  if (size < 0) return std::nullopt;
  const std::string_view text(value.data(), static_cast<std::size_t>(size));
  const std::string_view hex = text.substr(0, hex_size(kind));
  if (text.substr(hex.size()) != mark_of(status)) return std::nullopt;
  return parse_digest(kind, hex);
}

void keep_digest(int file, DigestKind kind, const std::string& hex, const struct stat& status) {
  assert(hex.size() == hex_size(kind));
  struct stat now{};
  if (sys::fstat(file, now) != 0 || mark_of(now) != mark_of(status)) return;
  if (!is_settled(status.st_mtim)) return;
  const std::string value = hex + mark_of(status);
  // Many file systems have no such attributes, or no room for one: then it is computed again next time.
  static_cast<void>(sys::fsetxattr(file, attribute(kind), value.data(), value.size(), 0));
}

}  // namespace ftpd
