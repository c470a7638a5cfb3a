// A tree's life: checked, extracted member by member, sealed, moved to its name.
#include "store/tree_upload.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cassert>
#include <cerrno>
#include <string_view>

#include "base/sys.h"
#include "store/commit.h"
#include "store/destination.h"
#include "store/quota.h"
#include "store/resolve.h"
#include "store/staged_tree.h"
#include "store/store.h"
#include "store/tree_merge.h"

namespace ftpd {
namespace {

/// Up to here a reservation costs more than it tells: write(2) reports a full disk soon enough.
constexpr std::uint64_t not_worth_reserving = 1U << 20U;

/// How often a commit begins again when the target, or the directory above it, comes or goes under it.
constexpr int commit_attempts = 3;

std::unexpected<Error> no_space(int root, std::uint64_t need) {
  return std::unexpected(with_room(Error::from_errno(ENOSPC, "store what comes"), root, need));
}

// --- the target -----------------------------------------------------------------------------------
enum class Target : std::uint8_t { missing, directory };

/// What has the name that the tree is to have.
Result<Target> look_at_target(int holder, const RelPath& path) {
  struct stat status{};
  if (sys::fstatat(holder, path.name().data(), status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    if (errno == ENOENT) return Target::missing;
    return fail_path(errno, path.text());
  }
  if (S_ISDIR(status.st_mode)) return Target::directory;
  return fail_path(S_ISREG(status.st_mode) ? ENOTDIR : S_ISLNK(status.st_mode) ? ELOOP : ENXIO, path.text());
}

Result<UniqueFd> open_target(int holder, const RelPath& path) {
  return open_beneath(holder, std::string(path.name()), O_RDONLY | O_DIRECTORY);
}

/// A rename can't leave its file system, which is better said before the body is read.
Result<void> check_file_system(int root, int directory, const RelPath& path) {
  struct stat root_status{};
  struct stat status{};
  if (sys::fstat(root, root_status) != 0 || sys::fstat(directory, status) != 0) {
    return fail_path(errno, path.text());
  }
  if (root_status.st_dev == status.st_dev) return {};
  return fail(
      Reason::unsupported,
      fmt::format("\"{}\" is on another file system than its root; nothing can be put there", path.text()));
}

Result<void> check_at_start(int root, const TreeRequest& request) {
  if (request.path.is_root()) return {};
  const auto destination = Destination::open(root, request.path, Flush::no);
  if (!destination) {
    if (request.parents && destination.error().number == ENOENT) return {};
    return std::unexpected(destination.error());
  }
  const auto target = look_at_target(destination->fd(), request.path);
  if (!target) return std::unexpected(target.error());
  if (*target == Target::missing) return check_file_system(root, destination->fd(), request.path);
  const auto directory = open_target(destination->fd(), request.path);
  if (!directory) return std::unexpected(directory.error());
  return check_file_system(root, directory->get(), request.path);
}

// --- members --------------------------------------------------------------------------------------
bool has_dot_dot(std::string_view name) {
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    if (name.substr(begin, end - begin) == "..") return true;
    begin = end + 1;
  }
  return false;
}

/// The member's name relative to the tree; empty for the tree itself.
Result<std::string> checked_name(const RelPath& tree, const TarMember& member) {
  std::string_view name = member.name;
  if (name.starts_with('/') || has_dot_dot(name)) {
    return fail(Reason::denied, fmt::format("the stream's member \"{}\" leads out of the directory", name));
  }
  while (name.starts_with("./")) name.remove_prefix(2);
  if (name.ends_with('/')) name.remove_suffix(1);
  if (name == "." || (name.empty() && member.name.starts_with("./"))) return std::string{};
  // As a whole, so that what is stored can be asked for: a path has an end, and a root has a `.ftpd`.
  const auto path =
      RelPath::parse_bytes(tree.is_root() ? std::string(name) : tree.text() + "/" + std::string(name));
  if (!path || name.empty()) {
    return fail(Reason::invalid, fmt::format("the stream's member \"{}\": {}", member.name,
                                             path ? "a name is needed" : path.error().text));
  }
  return std::string(name);
}

Result<void> write_at(int file, const TarBlock& block, std::string_view name, int root) {
  std::span<const char> bytes = block.bytes;
  std::uint64_t offset = block.offset;
  while (!bytes.empty()) {
    const ssize_t count = sys::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == ENOSPC) return no_space(root, bytes.size());
    if (count <= 0) return fail_errno(count < 0 ? errno : EIO, fmt::format("write \"{}\"", name));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> reserve(int file, std::uint64_t size, int root) {
  if (sys::fallocate(file, 0, 0, static_cast<off_t>(size)) == 0) return {};
  if (errno == EOPNOTSUPP || errno == ENOSYS) return {};
  if (errno == ENOSPC) return no_space(root, size);
  return fail_errno(errno, fmt::format("reserve {} bytes", size));
}

}  // namespace

// --- extracting -----------------------------------------------------------------------------------
struct TreeUpload::State {
  std::shared_ptr<const Store> store;  // the root and its quota stay while this lives
  int root;                            // its descriptor
  TreeRequest request;
  Quota::Reservation reservation;
  StagedTree tree;
  Flush flush;
  std::optional<Destination> destination;  // once moved as a whole
  UniqueFd target;                         // the directory that was there
  std::uint64_t replaced = 0;              // bytes of the files in it that gave way
  bool many_to_flush = false;
  bool merging = false;  // names have begun to move, one by one

  [[nodiscard]] Result<void> extract_member(TarReader& reader, const TarMember& member);
  [[nodiscard]] Result<void> extract_file(TarReader& reader, const TarMember& member,
                                          const std::string& name);
  [[nodiscard]] Result<void> grow(const std::string& name, std::uint64_t& size, std::uint64_t needed);

  [[nodiscard]] Result<void> appear();
  [[nodiscard]] Result<void> appear_in(Destination& where);
  [[nodiscard]] Result<void> appear_whole(Destination& where);
  [[nodiscard]] Result<void> merge();
  [[nodiscard]] Result<void> flush_names() const;
};

Result<void> TreeUpload::State::extract_member(TarReader& reader, const TarMember& member) {
  auto name = checked_name(request.path, member);
  if (!name) return std::unexpected(std::move(name.error()));
  switch (member.type) {
    case TarMember::Type::directory:
      if (!name->empty()) return tree.add_directory(*name, {member.mode, member.mtime});
      tree.set_attributes({member.mode, member.mtime});
      return {};
    case TarMember::Type::file:
      if (!name->empty()) return extract_file(reader, member, *name);
      return fail(Reason::invalid, fmt::format("the stream's member \"{}\" is no directory", member.name));
    case TarMember::Type::link:
      return fail(Reason::denied,
                  fmt::format("the stream's member \"{}\" is a link; links are not taken", member.name));
    case TarMember::Type::special: break;
  }
  return fail(Reason::denied,
              fmt::format("the stream's member \"{}\" is neither a file nor a directory", member.name));
}

/// Room for `needed` bytes of a file that has room for `size`.
Result<void> TreeUpload::State::grow(const std::string& name, std::uint64_t& size, std::uint64_t needed) {
  if (needed <= size) return {};
  const std::uint64_t most = store->options().max_file;
  if (most != 0 && needed > most) {
    return fail(
        Reason::too_large,
        fmt::format("the stream's member \"{}\" has {} bytes; at most {} are allowed", name, needed, most));
  }
  if (auto grown = reservation.grow(needed - size); !grown) return grown;
  size = needed;
  return {};
}

Result<void> TreeUpload::State::extract_file(TarReader& reader, const TarMember& member,
                                             const std::string& name) {
  std::uint64_t size = 0;
  if (auto room = grow(name, size, member.size); !room) return room;
  const auto file = tree.add_file(name, member.mode);
  if (!file) return std::unexpected(file.error());
  if (!member.sparse && size > not_worth_reserving) {
    if (auto room = reserve(file->get(), size, root); !room) return room;
  }
  std::uint64_t end = 0;
  for (;;) {
    const auto block = reader.next_block();
    if (!block) return std::unexpected(block.error());
    if (!*block) break;
    end = std::max(end, (*block)->offset + (*block)->bytes.size());
    if (auto room = grow(name, size, end); !room) return room;
    if (auto written = write_at(file->get(), **block, name, root); !written) return written;
  }
  if (end < size && sys::ftruncate(file->get(), static_cast<off_t>(size)) != 0) {
    return fail_errno(errno, fmt::format("write \"{}\"", name));
  }
  const timespec times[2] = {{0, UTIME_OMIT}, member.mtime};
  if (sys::fchmod(file->get(), member.mode) != 0 || sys::futimens(file->get(), times) != 0) {
    return fail_errno(errno, fmt::format("set the mode and the time of \"{}\"", name));
  }
  tree.count(size);
  return {};
}

// --- appearing ------------------------------------------------------------------------------------
Result<void> TreeUpload::State::appear() {
  for (int attempt = 1;; ++attempt) {
    auto where = request.parents && !request.path.is_root()
                     ? Destination::open_or_make(root, request.path, flush)
                     : Destination::open(root, request.path, flush);
    if (!where) return std::unexpected(std::move(where.error()));
    auto appeared = appear_in(*where);
    if (appeared || tree.is_moved()) return appeared;
    where->remove_made();
    // ENOENT: somebody removed a directory that we had found, or made and shared with another upload that
    // failed. EEXIST: somebody made the target after we had looked.
    const int number = appeared.error().number;
    const bool again = number == ENOENT || (number == EEXIST && !target);
    if (!again || attempt == commit_attempts) return appeared;
  }
}

Result<void> TreeUpload::State::appear_in(Destination& where) {
  const auto found = look_at_target(where.fd(), request.path);
  if (!found) return std::unexpected(found.error());
  if (*found == Target::missing) return appear_whole(where);
  auto directory = open_target(where.fd(), request.path);
  if (!directory) return std::unexpected(std::move(directory.error()));
  target = std::move(*directory);
  return merge();
}

Result<void> TreeUpload::State::appear_whole(Destination& where) {
  const int number = move_directory_to(tree.place(), {where.fd(), request.path.name().data()});
  if (number != 0) return renamed(number, request.path);
  tree.moved();
  destination = std::move(where);
  many_to_flush = tree.has_late_modes();
  return tree.set_late_modes(tree.fd());
}

Result<void> TreeUpload::State::merge() {
  TreeMerge merge(tree, target.get(), request.path, request.replace ? Taken::replace : Taken::refuse);
  if (auto fine = merge.check(); !fine) return fine;
  tree.forget_attributes("");
  merging = true;
  auto moved = merge.move();
  replaced += merge.replaced();
  many_to_flush = merge.moved_below() || tree.has_late_modes();
  return moved ? tree.set_late_modes(target.get()) : moved;
}

Result<void> TreeUpload::State::flush_names() const {
  // One flush of the file system costs less than one for each of many directories.
  if (many_to_flush && sys::syncfs(root) != 0) return fail_errno(errno, "flush directories");
  if (destination) return destination->flush();
  // EINVAL: a file system that has nothing to flush for a directory (fsync(2)).
  if (!many_to_flush && sys::fsync(target.get()) != 0 && errno != EINVAL) {
    return fail_errno(errno, "flush directory");
  }
  return {};
}

// --- the interface --------------------------------------------------------------------------------
TreeUpload::TreeUpload(std::unique_ptr<State> state) : state_(std::move(state)) {}
TreeUpload::TreeUpload(TreeUpload&&) noexcept = default;
TreeUpload& TreeUpload::operator=(TreeUpload&&) noexcept = default;
TreeUpload::~TreeUpload() = default;

Result<TreeUpload> TreeUpload::begin(std::shared_ptr<Store> store, TreeRequest request) {
  const int root = store->root_.get();
  if (auto fine = check_at_start(root, request); !fine) return std::unexpected(std::move(fine.error()));
  if (request.stream_size) {
    const auto free = store->free_space();
    if (free && *request.stream_size > *free) return no_space(root, *request.stream_size);
  }
  auto reservation = store->quota().reserve(0, 0);
  if (!reservation) return std::unexpected(std::move(reservation.error()));
  auto tree = StagedTree::make(root);
  if (!tree) return std::unexpected(std::move(tree.error()));
  const Flush flush = store->options().durable ? Flush::yes : Flush::no;
  return TreeUpload(std::make_unique<State>(State{
      std::move(store), root, std::move(request), std::move(*reservation), std::move(*tree), flush, {}, {}}));
}

Result<void> TreeUpload::extract(const TarSource& source) {
  TarReader reader(source);
  for (;;) {
    const auto member = reader.next();
    if (!member) return std::unexpected(member.error());
    if (!*member) return {};
    if (auto done = state_->extract_member(reader, **member); !done) return done;
  }
}

Result<TreeStored> TreeUpload::commit() {
  State& state = *state_;
  const TreeStored stored{state.tree.files(), state.tree.directories(), state.tree.bytes()};
  if (auto sealed = state.tree.seal(state.flush); !sealed) return std::unexpected(std::move(sealed.error()));
  {
    const auto steady = state.store->quota().steady();
    auto appeared = state.appear();
    // After a merge that failed on its way that is too much, until the tree is counted again.
    if (appeared || state.merging || state.tree.is_moved()) {
      state.reservation.settle(state.tree.replaced() + state.replaced);
    }
    if (!appeared) return std::unexpected(std::move(appeared.error()));
  }
  if (state.flush == Flush::yes) {
    if (auto flushed = state.flush_names(); !flushed) return std::unexpected(std::move(flushed.error()));
  }
  return stored;
}

}  // namespace ftpd
