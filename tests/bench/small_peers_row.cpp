// Row `small-peers`: many small files from one memory file system to another, over loopback, against other
// people's servers.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "file_servers.h"
#include "ftp_client.h"
#include "rows.h"
#include "small_files.h"

namespace bench {

namespace {

namespace fs = std::filesystem;

constexpr milliseconds transfer_limit{120000};
constexpr Pipeline one_connection{.connections = 1, .window = 1 << 20};

/// What every peer gets: the files to send and where they end up.
struct Job {
  fs::path source;
  fs::path target;
};
using Transfer = std::function<double(const Job&)>;

/// The client of a peer, run as a whole.
double run(const std::vector<std::string>& argv, const fs::path& log) {
  const auto start = Clock::now();
  Process::execute(argv, log).join(transfer_limit);
  return seconds_since(start);
}

Dialect http_dialect(const std::string& target) {
  return {.head =
              [target](std::size_t index) {
                return fmt::format("PUT /{}/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                                   target, small_name(index), small_size);
              },
          .reply_size = [](std::string_view bytes) -> std::size_t {
            constexpr std::string_view created = "HTTP/1.1 201 ";
            constexpr std::string_view empty_line = "\r\n\r\n";
            const auto end = bytes.find(empty_line);
            if (end == std::string_view::npos) return 0;
            if (!bytes.starts_with(created))
              throw Broken(fmt::format("unexpected reply: {}", bytes.substr(0, 200)));
            return end + empty_line.size();
          }};
}

/// Reads each file when its turn comes, as the clients of the peers do.
double send(std::uint16_t port, std::size_t count, const Pipeline& pipeline, const Job& job,
            const Dialect& dialect) {
  return upload_small(port, count, pipeline, [&] { return uploads_from(job.source, dialect); }, dialect);
}

/// Measures one peer after the other against ftpd.
class Comparison {
 public:
  explicit Comparison(const Settings& settings)
      : settings_(settings),
        count_(settings.scale.small_files),
        subject_(settings),
        source_(fresh_directory(settings.directory)),
        place_{.files = fresh_directory(settings.directory), .scratch = fresh_directory(settings.directory)} {
    make_small_files(source_, count_);
    fs::permissions(place_.scratch, fs::perms::owner_all);
  }

  [[nodiscard]] const Place& place() const { return place_; }
  [[nodiscard]] std::size_t count() const { return count_; }

  void against(std::string_view peer, const Pipeline& pipeline, const Transfer& transfer) const {
    const auto ours = [&] {
      return measure(subject_.root(), [&](const Job& job) {
        return send(subject_.port(), count_, pipeline, job, put_dialect(job.target.filename()));
      });
    };
    const auto theirs = [&] { return measure(place_.files, transfer); };
    ours();
    theirs();
    print({.what = fmt::format("{} x 4 KiB from files, {} connection{}", count_, pipeline.connections,
                               pipeline.connections == 1 ? "" : "s"),
           .unit = Unit::per_second,
           .peer = std::string(peer),
           .samples = interleave(settings_.scale, ours, theirs),
           .reach = Reach::at_least,
           .bound = 1.0});
  }

 private:
  /// Files each second. What arrived is looked at and removed off the clock.
  double measure(const fs::path& root, const Transfer& transfer) const {
    const Job job{.source = source_, .target = fresh_directory(root)};
    const double taken = transfer(job);
    verify_small_files(job.target, count_, Look::inside);
    fs::remove_all(job.target);
    return static_cast<double>(count_) / taken;
  }

  const Settings& settings_;
  std::size_t count_;
  Subject subject_;
  fs::path source_;
  Place place_;
};

void skip(std::string_view program) {
  print_note(fmt::format("small-peers: without {}, it is not installed (make bench-deps)", program));
}

void against_nginx(const Comparison& comparison) {
  const auto nginx = start_nginx(comparison.place());
  if (!nginx) return skip("nginx");
  for (const auto& pipeline : {one_connection, Pipeline{.connections = 16, .window = 32}}) {
    comparison.against("nginx PUT", pipeline, [&](const Job& job) {
      return send(nginx->port, comparison.count(), pipeline, job, http_dialect(job.target.filename()));
    });
  }
}

void against_vsftpd(const Comparison& comparison) {
  const auto vsftpd = start_vsftpd(comparison.place());
  if (!vsftpd) return skip("vsftpd");
  comparison.against("vsftpd", one_connection, [&](const Job& job) {
    FtpClient client(vsftpd->port, job.target.filename());
    const auto start = Clock::now();
    client.store(job.source, comparison.count());
    return seconds_since(start);
  });
}

void against_rsync(const Comparison& comparison) {
  const auto rsync = start_rsync(comparison.place());
  if (!rsync) return skip("rsync");
  comparison.against("rsync daemon", one_connection, [&](const Job& job) {
    return run({"rsync", "--recursive", "--whole-file", job.source.string() + "/",
                fmt::format("rsync://127.0.0.1:{}/files/{}/", rsync->port, job.target.filename().string())},
               comparison.place().scratch / "rsync-client.log");
  });
}

/// A session of sftp that does what `commands` say.
double run_sftp(const Place& place, std::uint16_t port, std::string_view user, std::string_view commands) {
  const auto& scratch = place.scratch;
  const auto batch = scratch / "sftp-batch";
  std::ofstream(batch) << commands;
  return run(
      {"sftp", "-q", "-F", "none", "-P", std::to_string(port), "-i", scratch / "user", "-o",
       fmt::format("UserKnownHostsFile={}", (scratch / "known_hosts").string()), "-o", "IdentitiesOnly=yes",
       "-o", "Ciphers=aes128-gcm@openssh.com", "-b", batch, fmt::format("{}@127.0.0.1", user)},
      scratch / "sftp.log");
}

/// sshd lets nobody in whose account is locked, or has no name.
bool lets_in(const Place& place, std::uint16_t port, std::string_view user) {
  try {
    run_sftp(place, port, user, "pwd\n");
    return true;
  } catch (const Broken&) {
    return false;
  }
}

void against_sftp(const Comparison& comparison) {
  const auto& place = comparison.place();
  const auto sshd = start_sshd(place);
  if (!sshd) return skip("sshd and sftp");
  const auto* account = ::getpwuid(::geteuid());
  const std::string user = account == nullptr ? "" : account->pw_name;
  if (!lets_in(place, sshd->port, user)) {
    return print_note("small-peers: without sftp, sshd does not let this user in");
  }
  comparison.against("sftp", one_connection, [&](const Job& job) {
    return run_sftp(place, sshd->port, user,
                    fmt::format("put {}/* {}/\n", job.source.string(), job.target.string()));
  });
}

}  // namespace

void small_peers_row(const Settings& settings) {
  const Comparison comparison(settings);
  against_nginx(comparison);
  against_vsftpd(comparison);
  against_rsync(comparison);
  against_sftp(comparison);
}

}  // namespace bench
