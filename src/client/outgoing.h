// What one `put` sends: a file, a stream whose size is not known, or a tree.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "client/connection.h"
#include "client/digest.h"
#include "client/local_files.h"
#include "client/report.h"
#include "ftpd/json_write.h"

namespace ftpd::client {

/// One request from its first frame to its last. Once begun it is fed to its end, or the connection is
/// given up.
class Outgoing {
 public:
  explicit Outgoing(std::string subject) : subject_(std::move(subject)) {}
  virtual ~Outgoing() = default;

  /// Queues the first frame. After a Failure nothing was queued.
  [[nodiscard]] virtual Outcome<void> begin(Connection& connection) = 0;
  /// Queues more; Supply::waiting is for input_fd(), Supply::finished: the last frame is queued.
  [[nodiscard]] virtual Outcome<Supply> feed(Connection& connection) = 0;
  [[nodiscard]] virtual int input_fd() const { return -1; }
  /// Bytes of content that went out so far.
  [[nodiscard]] virtual std::uint64_t taken(const Connection& connection) const = 0;
  /// Bytes still to go out; nothing where that is not known.
  [[nodiscard]] virtual std::optional<std::uint64_t> left(const Connection&) const { return std::nullopt; }

  /// The server has said that all is well: does its digest agree?
  [[nodiscard]] Outcome<void> confirm(const Header& reply) const;
  /// What went wrong on our side after begin(): it explains what the server or the connection then said.
  [[nodiscard]] const std::optional<Failure>& trouble() const { return trouble_; }
  [[nodiscard]] const std::string& subject() const { return subject_; }

 protected:
  std::optional<std::string> digest_;  // of all that was sent, where the reply has to repeat it
  std::optional<Failure> trouble_;

 private:
  std::string subject_;
};

/// Where a broken upload goes on.
struct ResumePoint {
  std::string upload;
  std::uint64_t offset = 0;
  Sha256 before;  // of the bytes up to the offset
};

/// The beginning of a request for an upload.
[[nodiscard]] JsonObject put_request(const std::string& remote);

/// A file of known size, or a stream.
[[nodiscard]] std::unique_ptr<Outgoing> send_file(const Options& options, const LocalFile& file,
                                                  OpenFile opened);
/// A file of known size from `point` on; what a broken connection leaves of it is kept over there.
[[nodiscard]] std::unique_ptr<Outgoing> send_rest(const LocalFile& file, OpenFile opened, ResumePoint point);
/// A directory, as one tar stream. What can't be read in it is reported, and the others are sent.
[[nodiscard]] Outcome<std::unique_ptr<Outgoing>> send_tree(const Options& options, const LocalFile& directory,
                                                           Report& report);

}  // namespace ftpd::client
