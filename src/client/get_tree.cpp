// The verb get -r: a directory as one tar stream, unpacked as it comes.
#include <fmt/format.h>

#include <filesystem>

#include "client/digest.h"
#include "client/local_files.h"
#include "client/refusal.h"
#include "client/request.h"
#include "client/tar_stream.h"
#include "client/target.h"
#include "client/text.h"
#include "client/transfer_get.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

/// The reply's body, handed out piece by piece: the connection runs while somebody waits for the next.
class TarPull final : public Task {
 public:
  TarPull(const Session& session, Connection& connection) : session_(session), connection_(connection) {
    if (session.options.verify == Verify::by_digest) hash_.emplace();
  }

  /// Asks for the tree; afterwards refusal() is known.
  Outcome<void> begin() { return connection_.run(*this); }

  /// As TarSource.
  Outcome<std::string_view> next() {
    if (!std::exchange(fresh_, false)) {
      piece_.clear();
      if (!ended_) {
        if (auto run = connection_.run(*this); !run) return std::unexpected(run.error());
        fresh_ = false;
      }
    }
    if (refusal_) return std::unexpected(refusal_->failure());
    return std::string_view{piece_};
  }

  /// Takes what is left of the stream, and says whether all of it came as it was sent.
  Outcome<void> verify() {
    for (;;) {
      const auto piece = next();
      if (!piece) return std::unexpected(piece.error());
      if (piece->empty() && ended_) break;
    }
    return hash_ ? check_digest(told_, hash_->hex()) : Outcome<void>{};
  }

  Outcome<Supply> supply(Connection& connection) override {
    if (std::exchange(sent_, true)) return Supply::finished;
    JsonObject request = get_request(session_.options.operands[0]);
    request.add("format", "tar");
    if (hash_) request.add("digest", "sha256");
    connection.request(std::move(request).take());
    session_.progress.set_name(session_.options.operands[0]);
    return Supply::queued;
  }
  Outcome<void> header(const Header& header) override {
    auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    refusal_ = std::move(*refusal);
    told_ = told_digest(header);
    const auto skipped = header.size("skipped");
    skipped_ = skipped ? skipped->value_or(0) : 0;
    reply_ = simdjson::minify(header.object());
    return {};
  }
  Outcome<Next> body(std::string_view bytes) override {
    if (hash_) hash_->update(bytes);
    done_ += bytes.size();
    piece_ = bytes;
    fresh_ = true;
    return Next::stop;
  }
  Outcome<Next> end() override {
    ended_ = true;
    return Next::stop;
  }
  void moved(const Connection&) override { session_.progress.update(done_); }

  [[nodiscard]] const std::optional<Refusal>& refusal() const { return refusal_; }
  /// The last header.
  [[nodiscard]] const std::string& reply() const { return reply_; }
  [[nodiscard]] std::uint64_t skipped() const { return skipped_; }

 private:
  const Session& session_;
  Connection& connection_;
  std::optional<Sha256> hash_;
  std::optional<std::string> told_;
  std::optional<Refusal> refusal_;
  std::string reply_;
  std::string piece_;
  std::uint64_t skipped_ = 0;
  std::uint64_t done_ = 0;
  bool fresh_ = false;  // piece_ has not been handed out
  bool sent_ = false;
  bool ended_ = false;
};

/// "./a/b/" is a/b; the root itself is the empty name.
std::string member_name(std::string name) {
  while (name.starts_with("./")) name.erase(0, 2);
  if (name.ends_with('/') && name.size() > 1) name.pop_back();
  return name == "." ? std::string{} : name;
}

Outcome<void> unpack_file(TarReader& reader, TargetTree& tree, const std::string& name,
                          const Attributes& attributes) {
  auto file = tree.file(name);
  if (!file) return std::unexpected(file.error());
  for (;;) {
    const auto bytes = reader.data();
    if (!bytes) return std::unexpected(bytes.error());
    if (bytes->empty()) return (*file)->commit(attributes);
    if (auto written = (*file)->write(*bytes); !written) return written;
  }
}

/// Everything that the stream brings. Any failure is the end of it.
Outcome<void> unpack(const Session& session, TarPull& pull, TargetTree& tree) {
  TarReader reader{[&pull] { return pull.next(); }};
  for (;;) {
    auto entry = reader.next();
    if (!entry) return std::unexpected(entry.error());
    if (!*entry) break;
    const std::string name = member_name(std::move((*entry)->name));
    const Attributes attributes{(*entry)->mode, (*entry)->mtime};
    session.progress.set_name(name);
    Outcome<void> done;
    switch ((*entry)->kind) {
      case TarEntry::Kind::file: done = unpack_file(reader, tree, name, attributes); break;
      case TarEntry::Kind::directory: done = tree.directory(name, attributes); break;
      case TarEntry::Kind::other: session.report.note(name, "not fetched: no regular file"); break;
    }
    if (!done) return done;
  }
  if (auto verified = pull.verify(); !verified) return verified;
  return tree.finish();
}

/// A failure with what is left behind.
std::unexpected<Failure> left_behind(Failure failure, std::string_view what) {
  failure.text += what;
  return std::unexpected(std::move(failure));
}

/// Into a directory that is there: each file appears whole, all of them together can't.
Outcome<void> merge(const Session& session, TarPull& pull, const std::string& local) {
  auto root = open_directory(local);
  if (!root) return std::unexpected(root.error());
  TargetTree tree{std::move(*root), TargetTree::Ground::shared};
  if (auto done = unpack(session, pull, tree); !done) {
    return left_behind(done.error(), "; " + printable(local) + " may be incomplete");
  }
  return {};
}

/// Whole, or nothing of it.
Outcome<void> create(const Session& session, TarPull& pull, const std::string& local) {
  std::error_code ignored;  // the next step knows better what is wrong
  std::filesystem::create_directories(std::filesystem::path{local}.parent_path(), ignored);
  auto directory = FreshDirectory::make(local);
  if (!directory) return std::unexpected(directory.error());
  TargetTree tree{directory->open(), TargetTree::Ground::fresh};
  auto done = unpack(session, pull, tree);
  if (done) done = directory->commit();
  if (!done) return left_behind(done.error(), "; nothing of it is kept");
  return {};
}

}  // namespace

Outcome<void> run_get_tree(const Session& session) {
  const std::string& remote = session.options.operands[0];
  const std::string local = local_path(session.options.operands);
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  std::error_code error;
  const bool was_there = std::filesystem::exists(local, error);
  if (was_there && !is_local_directory(local)) return get_file(session, **connection, local);
  TarPull pull{session, **connection};
  if (auto begun = pull.begin(); !begun) {
    session.report.failed(remote, begun.error());
    return {};
  }
  if (const auto& refusal = pull.refusal()) {
    // A single file may be asked for with -r, too.
    if (refusal->code == "not_directory") return get_file(session, **connection, local);
    session.report.failed(remote, refusal->failure(), pull.reply());
    return {};
  }
  const auto done = was_there ? merge(session, pull, local) : create(session, pull, local);
  if (!done) {
    session.report.failed(remote, done.error());
    return {};
  }
  if (pull.skipped() > 0) {
    session.report.note(remote, fmt::format("left out: {} links or special files", pull.skipped()));
  }
  if (session.report.json()) session.report.print_result(remote, pull.reply());
  session.progress.finish();
  return {};
}

}  // namespace ftpd::client
