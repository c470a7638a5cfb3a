// Starting nginx, vsftpd, rsync and sshd; see file_servers.h.
#include "file_servers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

namespace bench {

namespace {

namespace fs = std::filesystem;

bool is_root() { return ::geteuid() == 0; }

/// In PATH or where only root looks.
fs::path find_server(std::string_view program) {
  const auto found = find_program(program);
  const auto system = fs::path("/usr/sbin") / program;
  return found.empty() && ::access(system.c_str(), X_OK) == 0 ? system : found;
}

void write_file(const fs::path& path, std::string_view text) {
  if (!(std::ofstream(path) << text).flush()) throw Broken(fmt::format("cannot write {}", path.string()));
}

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::uint16_t free_port() { return port_of(listen_loopback().get()); }

bool accepts(std::uint16_t port) {
  try {
    connect_loopback(port);
    return true;
  } catch (const Broken&) {
    return false;
  }
}

/// Starts a server that stays in the foreground, and waits until it accepts.
Server start(const std::vector<std::string>& argv, std::uint16_t port, const fs::path& log) {
  auto process = Process::execute(argv, log);
  const auto end = Clock::now() + std::chrono::seconds(10);
  while (!accepts(port)) {
    if (Clock::now() > end || !process.alive()) {
      throw Broken(fmt::format("{} does not accept:\n{}", argv[0], text_of(log)));
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  return {.process = std::move(process), .port = port};
}

constexpr std::string_view nginx_configuration = R"({user}
worker_processes auto;
daemon off;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx-error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {files}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  keepalive_requests 1000000;
  tcp_nodelay on;
  server {{
    listen 127.0.0.1:{port};
    root {files};
    location / {{ dav_methods PUT; }}
  }}
}}
)";

constexpr std::string_view vsftpd_configuration = R"(listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
run_as_launching_user=YES
anonymous_enable=YES
no_anon_password=YES
anon_root={files}
anon_umask=022
write_enable=YES
anon_upload_enable=YES
anon_world_readable_only=NO
xferlog_enable=NO
seccomp_sandbox=NO
)";

constexpr std::string_view rsync_configuration = R"({user}
use chroot = no
pid file = {scratch}/rsyncd.pid
log file = {scratch}/rsyncd.log
[files]
path = {files}
read only = no
transfer logging = no
)";

constexpr std::string_view sshd_configuration = R"(ListenAddress 127.0.0.1:{port}
HostKey {scratch}/host
AuthorizedKeysFile {scratch}/user.pub
PidFile {scratch}/sshd.pid
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
LogLevel ERROR
Subsystem sftp internal-sftp
ForceCommand internal-sftp
)";

void make_key(const fs::path& path) {
  Process::execute({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path.string()},
                   path.string() + ".log")
      .join(milliseconds(10000));
}

}  // namespace

std::optional<Server> start_nginx(const Place& place) {
  const auto program = find_server("nginx");
  if (program.empty()) return std::nullopt;
  const auto port = free_port();
  const auto file = place.scratch / "nginx.conf";
  write_file(file, fmt::format(nginx_configuration, fmt::arg("user", is_root() ? "user root;" : ""),
                               fmt::arg("scratch", place.scratch.string()),
                               fmt::arg("files", place.files.string()), fmt::arg("port", port)));
  return start({program, "-p", place.scratch, "-e", place.scratch / "nginx-error.log", "-c", file}, port,
               place.scratch / "nginx.log");
}

std::optional<Server> start_vsftpd(const Place& place) {
  const auto program = find_server("vsftpd");
  if (program.empty()) return std::nullopt;
  const auto port = free_port();
  const auto file = place.scratch / "vsftpd.conf";
  write_file(file, fmt::format(vsftpd_configuration, fmt::arg("files", place.files.string()),
                               fmt::arg("port", port)));
  return start({program, file}, port, place.scratch / "vsftpd.log");
}

std::optional<Server> start_rsync(const Place& place) {
  if (find_program("rsync").empty()) return std::nullopt;
  const auto port = free_port();
  const auto file = place.scratch / "rsyncd.conf";
  write_file(file, fmt::format(rsync_configuration, fmt::arg("user", is_root() ? "uid = 0\ngid = 0" : ""),
                               fmt::arg("scratch", place.scratch.string()),
                               fmt::arg("files", place.files.string())));
  return start({"rsync", "--daemon", "--no-detach", "--address=127.0.0.1", fmt::format("--port={}", port),
                fmt::format("--config={}", file.string())},
               port, place.scratch / "rsync.log");
}

std::optional<Server> start_sshd(const Place& place) {
  const auto program = find_server("sshd");
  if (program.empty() || find_program("sftp").empty() || find_program("ssh-keygen").empty()) {
    return std::nullopt;
  }
  const auto port = free_port();
  const auto file = place.scratch / "sshd_config";
  make_key(place.scratch / "host");
  make_key(place.scratch / "user");
  write_file(place.scratch / "known_hosts",
             fmt::format("[127.0.0.1]:{} {}", port, text_of(place.scratch / "host.pub")));
  write_file(file, fmt::format(sshd_configuration, fmt::arg("scratch", place.scratch.string()),
                               fmt::arg("port", port)));
  std::vector<std::string> argv{program, "-D", "-e", "-f", file};
  if (is_root()) {
    // Root's sshd wants a /run/sshd: in a mount namespace of its own it gets one, and nobody else sees it.
    argv = {"unshare",
            "--mount",
            "sh",
            "-c",
            R"(mount -t tmpfs none /run && mkdir -m 0755 /run/sshd && exec "$@")",
            "sh",
            program,
            "-D",
            "-e",
            "-f",
            file};
  }
  return start(argv, port, place.scratch / "sshd.log");
}

}  // namespace bench
