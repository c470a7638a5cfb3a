// As much FTP as it takes; see ftp_client.h.
#include "ftp_client.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <fstream>

#include "small_files.h"

namespace bench {

namespace {

/// The port of `227 Entering Passive Mode (127,0,0,1,HIGH,LOW).`
std::uint16_t passive_port(std::string_view line) {
  line = line.substr(0, line.find(')'));
  int port = 0;
  int factor = 1;
  for (; factor <= 256; factor *= 256) {
    const auto comma = line.rfind(',');
    if (comma == std::string_view::npos) throw Broken("unexpected reply to PASV");
    int value = 0;
    std::from_chars(line.data() + comma + 1, line.data() + line.size(), value);
    port += value * factor;
    line = line.substr(0, comma);
  }
  return static_cast<std::uint16_t>(port);
}

}  // namespace

FtpClient::FtpClient(std::uint16_t port, const std::string& directory) : control_(connect_loopback(port)) {
  expect("220");
  send("USER anonymous");
  if (expect("").starts_with("331")) {
    send("PASS bench");
    expect("230");
  }
  send("TYPE I");
  expect("200");
  send("CWD " + directory);
  expect("250");
}

void FtpClient::store(const std::filesystem::path& source, std::size_t count) {
  std::array<char, small_size> bytes{};
  send("PASV");
  for (std::size_t index = 0; index < count; ++index) {
    const auto data = connect_loopback(passive_port(expect("227")));
    const auto name = small_name(index);
    send(fmt::format("STOR {}{}", name, index + 1 < count ? "\r\nPASV" : ""));
    std::ifstream file(source / name, std::ios::binary);
    if (!file.read(bytes.data(), bytes.size())) throw Broken("cannot read a small file");
    send_all(data.get(), bytes);
    check(::shutdown(data.get(), SHUT_WR), "shutdown");
    expect("150");
    expect("226");
  }
}

void FtpClient::send(std::string_view line) { send_all(control_.get(), std::string(line) + "\r\n"); }

std::string FtpClient::expect(std::string_view code) {
  auto end = received_.find("\r\n");
  while (end == std::string::npos) {
    std::array<char, 1024> buffer{};
    const auto count = check(::recv(control_.get(), buffer.data(), buffer.size(), 0), "recv");
    if (count == 0) throw Broken("the control connection was closed");
    received_.append(buffer.data(), static_cast<std::size_t>(count));
    end = received_.find("\r\n");
  }
  auto line = received_.substr(0, end);
  received_.erase(0, end + 2);
  if (!line.starts_with(code)) throw Broken(fmt::format("unexpected reply: {}", line));
  return line;
}

}  // namespace bench
