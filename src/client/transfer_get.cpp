// The verb get: files from the server, many on one connection.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <filesystem>

#include "base/sys.h"
#include "client/listing.h"
#include "client/local_files.h"
#include "client/refusal.h"
#include "client/request.h"
#include "client/target.h"
#include "client/text.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

constexpr std::size_t most_in_flight = 64;

// What a listing may make us remember.
constexpr std::size_t most_listed_bytes = 512U << 20U;

struct GetJob {
  std::string remote;
  std::string local;  // as Places understands it
};

/// Makes the target of a job when its reply begins.
class Places {
 public:
  virtual ~Places() = default;
  [[nodiscard]] virtual Outcome<std::unique_ptr<Target>> open(const GetJob& job) = 0;
};

class GetTask final : public Task {
 public:
  GetTask(const Session& session, Places& places, std::deque<GetJob> jobs)
      : session_(session), places_(places), jobs_(std::move(jobs)) {}

  Outcome<Supply> supply(Connection& connection) override {
    if (jobs_.empty()) return Supply::finished;
    if (in_flight_.size() >= most_in_flight) return Supply::replies;
    JsonObject request;
    request.add("cmd", "get");
    add_filename(request, jobs_.front().remote);
    connection.request(std::move(request).take());
    in_flight_.push_back(std::move(jobs_.front()));
    jobs_.pop_front();
    return Supply::queued;
  }

  Outcome<void> header(const Header& header) override {
    auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    const bool first = std::exchange(in_reply_, true) == false;
    if (!*refusal && !first) return {};
    reply_ = session_.report.json() ? simdjson::minify(header.object()) : std::string{};
    const GetJob& job = in_flight_.front();
    if (*refusal) {
      target_.reset();
      session_.report.failed(job.remote, (*refusal)->failure(), reply_);
      return {};
    }
    const auto mode = header.integer("mode", 0, 07777);
    const auto mtime = header.number("mtime");
    mode_ = mode && *mode ? std::optional{static_cast<std::uint64_t>(**mode)} : std::nullopt;
    mtime_ = mtime ? *mtime : std::nullopt;
    const auto size = header.size("filesize");
    if (single() && size && *size) session_.progress.set_total(**size);
    session_.progress.set_name(job.remote);
    auto target = places_.open(job);
    if (!target) return failed(target.error());
    target_ = std::move(*target);
    return {};
  }

  Outcome<void> body(std::string_view bytes) override {
    done_ += bytes.size();
    if (!target_) return {};
    if (auto written = target_->write(bytes); !written) return failed(written.error());
    return {};
  }

  Outcome<Next> end() override {
    const GetJob job = std::move(in_flight_.front());
    in_flight_.pop_front();
    in_reply_ = false;
    if (!target_) return Next::go_on;
    const auto target = std::move(target_);
    if (auto committed = target->commit(mode_, mtime_); !committed) {
      session_.report.failed(job.remote, committed.error());
    } else if (session_.report.json()) {
      session_.report.print_result(job.remote, reply_);
    }
    return Next::go_on;
  }

  void moved(const Connection&) override { session_.progress.update(done_); }

  [[nodiscard]] std::string current() const {
    return in_flight_.empty() ? std::string{} : in_flight_.front().remote;
  }

 private:
  [[nodiscard]] bool single() const { return session_.options.depth == Depth::single; }

  /// Nothing of this file can be kept: a lone one ends the work, else what comes of it is dropped.
  Outcome<void> failed(const Failure& failure) {
    target_.reset();
    if (single()) return std::unexpected(failure);
    session_.report.failed(in_flight_.front().remote, failure);
    return {};
  }

  const Session& session_;
  Places& places_;
  std::deque<GetJob> jobs_;
  std::deque<GetJob> in_flight_;
  std::unique_ptr<Target> target_;  // of the front one, while its reply comes and can be kept
  std::optional<std::uint64_t> mode_;
  std::optional<double> mtime_;
  std::string reply_;
  std::uint64_t done_ = 0;
  bool in_reply_ = false;
};

/// Where the user has said: standard output, a file, or what is there already (a pipe, a device).
class UserPlace final : public Places {
 public:
  Outcome<std::unique_ptr<Target>> open(const GetJob& job) override {
    namespace fs = std::filesystem;
    if (job.local == "-") {
      UniqueFd fd{sys::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)};
      if (!fd) return system_failure(errno, "standard output");
      return make_stream(std::move(fd), "standard output");
    }
    std::error_code error;
    fs::path path = job.local;
    const auto status = fs::status(path, error);
    if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status)) {
      UniqueFd fd{sys::openat2(AT_FDCWD, path.c_str(),
                               {.flags = O_WRONLY | O_CLOEXEC | O_NOCTTY, .mode = 0, .resolve = 0})};
      if (!fd) return system_failure(errno, job.local);
      return make_stream(std::move(fd), job.local);
    }
    // A link of the user's own stays: what it names is replaced.
    error.clear();
    if (fs::exists(status)) path = fs::canonical(path, error);
    if (error) return local_failure(job.local + ": " + error.message());
    auto directory = open_directory(path.has_parent_path() ? path.parent_path().native() : ".");
    if (!directory) return std::unexpected(directory.error());
    if (!path.has_filename()) return local_failure(job.local + ": no such directory");
    return make_file(std::move(*directory), path.filename().native());
  }
};

class TreePlaces final : public Places {
 public:
  explicit TreePlaces(TargetTree& tree) : tree_(tree) {}
  Outcome<std::unique_ptr<Target>> open(const GetJob& job) override { return tree_.file(job.local); }

 private:
  TargetTree& tree_;
};

/// Turns a recursive listing into jobs, and makes the directories.
class TreeTask final : public ListTask {
 public:
  TreeTask(const Session& session, const std::string& remote, TargetTree& tree)
      : ListTask(session.report, remote, list_request(remote, Depth::recursive)), tree_(tree) {}

  std::deque<GetJob> jobs;
  std::uint64_t bytes = 0;

 private:
  Outcome<void> line(std::string_view json) override {
    auto entry = parse_entry(parser(), json);
    if (!entry) return connection_failure("a line of the listing that is no entry: " + printable(json));
    std::string remote = subject() == "." ? entry->name : joined(subject(), entry->name);
    if (!is_safe_name(entry->name)) {
      report().failed(remote, {Failure::Who::local, "refused: the server names a path that leads elsewhere"});
    } else if (entry->type == "directory") {
      if (auto made = tree_.directory(entry->name); !made) report().failed(remote, made.error());
    } else if (entry->type == "file") {
      listed_bytes_ += remote.size() + entry->name.size() + sizeof(GetJob);
      if (listed_bytes_ > most_listed_bytes) return local_failure("the listing is too long to be kept");
      bytes += entry->size;
      jobs.push_back({std::move(remote), std::move(entry->name)});
    } else {
      report().note(remote, "not fetched: " + printable(entry->type));
    }
    return {};
  }
  /// A single file may be asked for with -r, too.
  void refuse(const Failure& failure, std::string_view reply_json) override {
    if (refused_code() != "not_directory") report().failed(subject(), failure, reply_json);
  }

  TargetTree& tree_;
  std::size_t listed_bytes_ = 0;
};

Outcome<void> fetch(const Session& session, Connection& connection, Places& places, std::deque<GetJob> jobs) {
  if (jobs.empty()) return {};
  GetTask task{session, places, std::move(jobs)};
  const auto done = connection.run(task);
  if (!done) {
    session.progress.clear();
    session.report.failed(task.current(), done.error());
  } else {
    session.progress.finish();
  }
  return {};
}

/// LOCAL, or REMOTE's last component; inside LOCAL where that is a directory.
std::string local_path(const std::vector<std::string>& operands) {
  const std::string_view base = base_name(operands[0]);
  if (operands.size() < 2) return base.empty() ? "." : std::string{base};
  std::error_code error;
  return std::filesystem::is_directory(operands[1], error) ? joined(operands[1], base) : operands[1];
}

Outcome<void> get_tree(const Session& session) {
  const auto& operands = session.options.operands;
  const std::string local = local_path(operands);
  if (local == "-") return usage_failure("a tree can't go to standard output");
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  std::error_code error;
  const bool was_there = std::filesystem::exists(local, error);
  if (!was_there) std::filesystem::create_directories(local, error);
  auto root = open_directory(local);
  if (!root && was_there) {
    UserPlace place;
    return fetch(session, **connection, place, {{operands[0], local}});
  }
  if (!root) return std::unexpected(root.error());
  TargetTree tree{std::move(*root)};
  TreeTask list{session, operands[0], tree};
  if (auto done = (*connection)->run(list); !done) return done;
  if (list.refused()) {
    if (!was_there) std::filesystem::remove(local, error);
    if (list.refused_code() != "not_directory") return {};
    UserPlace place;
    return fetch(session, **connection, place, {{operands[0], local}});
  }
  session.progress.set_total(list.bytes);
  TreePlaces places{tree};
  return fetch(session, **connection, places, std::move(list.jobs));
}

}  // namespace

Outcome<void> run_get(const Session& session) {
  if (session.options.depth == Depth::recursive) return get_tree(session);
  const auto& operands = session.options.operands;
  const std::string local = local_path(operands);
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  UserPlace place;
  return fetch(session, **connection, place, {{operands[0], local}});
}

}  // namespace ftpd::client
