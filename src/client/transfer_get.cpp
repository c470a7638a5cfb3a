// The verb get: a file from the server.
#include "client/transfer_get.h"

#include <filesystem>

#include "client/digest.h"
#include "client/local_files.h"
#include "client/refusal.h"
#include "client/request.h"
#include "client/target.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

class GetTask final : public Task {
 public:
  GetTask(const Session& session, std::string remote, std::string local)
      : session_(session), remote_(std::move(remote)), local_(std::move(local)) {
    if (session.options.verify == Verify::by_digest) hash_.emplace();
  }

  Outcome<Supply> supply(Connection& connection) override {
    if (std::exchange(sent_, true)) return Supply::finished;
    JsonObject request = get_request(remote_);
    if (hash_) request.add("digest", "sha256").add("trailer", true);
    connection.request(std::move(request).take());
    session_.progress.set_name(remote_);
    return Supply::queued;
  }

  Outcome<void> header(const Header& header) override {
    const auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    if (*refusal) {
      target_.reset();
      session_.report.failed(remote_, (*refusal)->failure(), simdjson::minify(header.object()));
      return {};
    }
    if (auto told = told_digest(header)) told_ = std::move(told);
    if (std::exchange(begun_, true)) return {};
    return begin(header);
  }

  Outcome<Next> body(std::string_view bytes) override {
    done_ += bytes.size();
    if (!target_) return Next::go_on;
    if (hash_) hash_->update(bytes);
    if (auto written = target_->write(bytes); !written) return std::unexpected(written.error());
    return Next::go_on;
  }

  Outcome<Next> end() override {
    if (!target_) return Next::stop;
    const auto target = std::move(target_);
    if (hash_) {
      if (auto same = check_digest(told_, hash_->hex()); !same) return std::unexpected(same.error());
    }
    if (auto committed = target->commit(attributes_); !committed) return std::unexpected(committed.error());
    if (session_.report.json()) {
      JsonObject extra;
      if (told_ && !digest_in_reply_) extra.add("sha256", *told_);
      session_.report.print_result(remote_, reply_, std::move(extra).take());
    }
    return Next::stop;
  }

  void moved(const Connection&) override { session_.progress.update(done_); }

 private:
  Outcome<void> begin(const Header& header) {
    if (session_.report.json()) reply_ = simdjson::minify(header.object());
    digest_in_reply_ = told_.has_value();
    attributes_ = attributes_of(header);
    const auto size = header.size("filesize");
    if (size && *size) session_.progress.set_total(**size);
    auto target = open_target(local_);
    if (!target) return std::unexpected(target.error());
    target_ = std::move(*target);
    return {};
  }

  const Session& session_;
  std::string remote_;
  std::string local_;
  std::unique_ptr<Target> target_;  // while its bytes come and can be kept
  Attributes attributes_;
  std::optional<Sha256> hash_;
  std::optional<std::string> told_;
  std::string reply_;
  std::uint64_t done_ = 0;
  bool sent_ = false;
  bool begun_ = false;
  bool digest_in_reply_ = false;
};

}  // namespace

JsonObject get_request(const std::string& remote) {
  JsonObject request;
  request.add("cmd", "get");
  add_filename(request, remote);
  return request;
}

Attributes attributes_of(const Header& header) {
  Attributes out;
  const auto mode = header.integer("mode", 0, 07777);
  const auto mtime = header.number("mtime");
  if (mode && *mode) out.mode = static_cast<unsigned>(**mode);
  if (mtime && *mtime) out.mtime = to_timespec(**mtime);
  return out;
}

std::string local_path(const std::vector<std::string>& operands) {
  const std::string_view base = base_name(operands[0]);
  if (operands.size() < 2) return base.empty() ? "." : std::string{base};
  return is_local_directory(operands[1]) ? joined(operands[1], base) : operands[1];
}

Outcome<void> get_file(const Session& session, Connection& connection, const std::string& local) {
  const std::string& remote = session.options.operands[0];
  GetTask task{session, remote, local};
  if (const auto done = connection.run(task); !done) {
    session.report.failed(remote, done.error());
  } else {
    session.progress.finish();
  }
  return {};
}

Outcome<void> run_get(const Session& session) {
  if (session.options.depth == Depth::recursive) return run_get_tree(session);
  if (session.options.begin == Begin::resume) return run_resumed_get(session);
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  return get_file(session, **connection, local_path(session.options.operands));
}

}  // namespace ftpd::client
