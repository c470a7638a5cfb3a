// One question to sock_diag(7): who holds the socket with exactly these two ends?
#include "net/socket_owner.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace ftpd {
namespace {

struct Question {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

Question ask_about(const Address& peer, const Address& self, std::uint32_t sequence) {
  Question question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.header.nlmsg_seq = sequence;
  inet_diag_req_v2& body = question.body;
  // The kernel finds IPv4 connections by their IPv4 addresses, whatever family the sockets have.
  const bool v4 = IN6_IS_ADDR_V4MAPPED(&peer.ip()) && IN6_IS_ADDR_V4MAPPED(&self.ip());
  body.sdiag_family = v4 ? AF_INET : AF_INET6;
  body.sdiag_protocol = IPPROTO_TCP;
  body.idiag_states = ~std::uint32_t{0};
  body.id.idiag_sport = htons(peer.port());
  body.id.idiag_dport = htons(self.port());
  const std::size_t skip = v4 ? 12 : 0;
  std::memcpy(body.id.idiag_src, peer.ip().s6_addr + skip, sizeof(in6_addr) - skip);
  std::memcpy(body.id.idiag_dst, self.ip().s6_addr + skip, sizeof(in6_addr) - skip);
  body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return question;
}

std::unexpected<Error> unknown() {
  return fail(Reason::not_found, "no process holds the other end of the connection");
}

Error diag_error(int number) {
  Error error = Error::from_errno(number, "sock_diag");
  if (number == EPROTONOSUPPORT || number == EAFNOSUPPORT) error.reason = Reason::unsupported;
  return error;
}

Result<uid_t> read_answer(const inet_diag_msg& answer, const inet_diag_sockid& asked) {
  // Where no connection matches, the kernel offers a socket that listens on the peer's port.
  const inet_diag_sockid& found = answer.id;
  const bool exact = found.idiag_sport == asked.idiag_sport && found.idiag_dport == asked.idiag_dport &&
                     answer.idiag_state != TCP_LISTEN;
  if (!exact || answer.idiag_inode == 0) return unknown();
  return answer.idiag_uid;
}

}  // namespace

Result<SocketOwner> SocketOwner::create() {
  UniqueFd netlink(sys::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return std::unexpected(diag_error(errno));
  sockaddr_nl kernel{};  // connected to it, no one else's message comes in
  kernel.nl_family = AF_NETLINK;
  if (sys::connect(netlink.get(), reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) != 0) {
    return std::unexpected(diag_error(errno));
  }
  return SocketOwner(std::move(netlink));
}

Result<uid_t> SocketOwner::of(const Address& peer, const Address& self) {
  const auto is_internet = [](const Address& address) {
    return address.family() == AF_INET || address.family() == AF_INET6;
  };
  if (!is_internet(peer) || !is_internet(self)) return unknown();
  const Question question = ask_about(peer, self, ++sequence_);
  if (sys::send(netlink_.get(), &question, sizeof question, 0) < 0) return std::unexpected(diag_error(errno));
  // The kernel has answered by now. Answers to earlier questions are skipped.
  for (;;) {
    alignas(nlmsghdr) char buffer[1024];
    const ssize_t size = sys::recv(netlink_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (size < 0) return errno == EAGAIN ? Result<uid_t>(unknown()) : std::unexpected(diag_error(errno));
    if (static_cast<std::size_t>(size) < sizeof(nlmsghdr)) return unknown();
    nlmsghdr header{};
    std::memcpy(&header, buffer, sizeof header);
    if (header.nlmsg_seq != sequence_) continue;
    const char* const payload = buffer + NLMSG_HDRLEN;
    const std::size_t payload_size = static_cast<std::size_t>(size) - NLMSG_HDRLEN;
    if (header.nlmsg_type == NLMSG_ERROR && payload_size >= sizeof(nlmsgerr)) {
      nlmsgerr refused{};
      std::memcpy(&refused, payload, sizeof refused);
      if (refused.error == -ENOENT) return unknown();
      return std::unexpected(diag_error(-refused.error));
    }
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || payload_size < sizeof(inet_diag_msg)) return unknown();
    inet_diag_msg answer{};
    std::memcpy(&answer, payload, sizeof answer);
    return read_answer(answer, question.body.id);
  }
}

}  // namespace ftpd
