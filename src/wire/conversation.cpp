// The framing state machine.
#include "ftpd/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace ftpd {

namespace {

/// The four bytes that were taken for a length, as a guess at what the peer really speaks.
std::string_view guess(std::string_view bytes) {
  constexpr std::array<std::string_view, 11> http = {"GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI",
                                                     "PATC", "CONN", "TRAC", "PRI ", "HTTP"};
  if (std::ranges::find(http, bytes) != http.end()) return "; this looks like HTTP";
  if (bytes.starts_with("\x16\x03")) return "; this looks like TLS";
  const auto is_text = [](char c) { return (c >= 0x20 && c < 0x7F) || c == '\n' || c == '\r' || c == '\t'; };
  if (std::ranges::all_of(bytes, is_text)) return "; this looks like text";
  return "";
}

std::int32_t read_length_field(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t at = limits::length_size; at-- > 0;) {
    value = value << 8U | static_cast<unsigned char>(bytes[at]);
  }
  return static_cast<std::int32_t>(value);
}

}  // namespace

Conversation::Conversation(Side side, std::uint32_t max_header, std::uint64_t discard_limit)
    : state_(side == Side::daemon ? State::READ_LEN : State::RESPOND),
      side_(side),
      max_header_(max_header),
      discard_limit_(discard_limit) {}

Conversation::Outcome Conversation::advance(std::string_view input, HeaderParser& parser, bool padded) {
  std::size_t used = 0;
  for (;;) {
    if (problem_) return {Step::broken, used, {}};
    if (discard_over_) return {Step::discard_over, used, {}};
    const std::string_view rest = input.substr(used);
    switch (state_) {
      case State::READ_LEN:
        if (rest.size() < limits::length_size) return {Step::need_input, used, {}};
        used += limits::length_size;
        read_length(rest.substr(0, limits::length_size));
        break;

      case State::READ_HEADER:
        if (rest.size() < header_size_) return {Step::need_input, used, {}};
        used += header_size_;
        read_header(rest.substr(0, header_size_), parser, padded);
        if (!problem_ && !discarding_) return {Step::header, used, rest.substr(0, header_size_)};
        break;

      case State::READ_BODY:
        if (body_remaining_ == 0) {
          if (!frame_.more) {
            end_message();
            return {Step::message_end, used, {}};
          }
          set_state(State::READ_LEN);
          break;
        }
        if (rest.empty()) return {Step::need_input, used, {}};
        {
          const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), body_remaining_));
          used += piece;
          body_remaining_ -= piece;
          if (!discarding_) return {Step::body, used, rest.substr(0, piece)};
        }
        break;

      case State::RESPOND: return {Step::need_input, used, {}};
    }
  }
}

void Conversation::read_length(std::string_view bytes) {
  const std::int32_t length = read_length_field(bytes);
  if (length < 1 || static_cast<std::uint32_t>(length) > max_header_) {
    return break_off(fmt::format("the length of the header is {}, must be from 1 to {}{}", length,
                                 max_header_, guess(bytes)));
  }
  header_size_ = static_cast<std::uint32_t>(length);
  set_state(State::READ_HEADER);
}

void Conversation::read_header(std::string_view text, HeaderParser& parser, bool padded) {
  auto header = parser.parse(text, padded);
  if (!header) return break_off(std::move(header.error()));

  const bool requests = side_ == Side::daemon;
  if (in_message_ && requests && header->has("cmd")) {
    if (!discarding_) return break_off("cmd is in a frame that continues a message, where it must not be");
    in_message_ = false;
    discarding_ = false;
  }
  continuing_ = in_message_;
  auto frame = frame_info(*header, requests && !continuing_);
  if (!frame) return break_off(std::move(frame.error()));

  header_ = *header;
  frame_ = *frame;
  frame_.abort = frame_.abort && requests && continuing_;
  if (frame_.abort) frame_.more = false;
  body_remaining_ = frame_.body_size;
  in_message_ = true;
  if (discarding_) count_discarded(limits::length_size + header_size_ + body_remaining_);
  set_state(State::READ_BODY);
}

void Conversation::end_message() {
  in_message_ = false;
  set_state(discarding_ ? State::READ_LEN : State::RESPOND);
  discarding_ = false;
}

void Conversation::count_discarded(std::uint64_t bytes) {
  if (bytes > discard_limit_ - discarded_) {
    discard_over_ = true;
  } else {
    discarded_ += bytes;
  }
}

void Conversation::break_off(std::string problem) {
  problem_ = std::make_unique<std::string>(std::move(problem));
}

void Conversation::body_taken(std::uint64_t count) {
  assert(state_ == State::READ_BODY && count <= body_remaining_);
  body_remaining_ -= count;
}

void Conversation::answered() {
  assert(side_ == Side::daemon);
  switch (state_) {
    case State::RESPOND: set_state(State::READ_LEN); return;
    case State::READ_LEN:
    case State::READ_HEADER:
    case State::READ_BODY: break;
  }
  if (!in_message_ || discarding_) return;
  discarding_ = true;
  discarded_ = 0;
  // What is announced counts at once: nobody waits for a body that is too long to discard.
  if (state_ == State::READ_BODY) count_discarded(body_remaining_);
}

void Conversation::answered_instead_of_body() {
  assert(state_ == State::READ_BODY && body_remaining_ == frame_.body_size);
  body_remaining_ = 0;
  answered();
}

void Conversation::next_message() {
  assert(side_ == Side::client);
  if (state_ == State::RESPOND) set_state(State::READ_LEN);
}

bool Conversation::idle() const {
  return !in_message_ && (state_ == State::READ_LEN || state_ == State::RESPOND);
}

std::size_t Conversation::wanted() const {
  switch (state_) {
    case State::READ_LEN: return limits::length_size;
    case State::READ_HEADER: return header_size_;
    case State::READ_BODY:
    case State::RESPOND: return 0;
  }
  return 0;
}

std::string_view name(Conversation::State state) {
  switch (state) {
    case Conversation::State::READ_LEN: return "READ_LEN";
    case Conversation::State::READ_HEADER: return "READ_HEADER";
    case Conversation::State::READ_BODY: return "READ_BODY";
    case Conversation::State::RESPOND: return "RESPOND";
  }
  return "?";
}

void append_length(std::string& out, std::uint32_t length) {
  for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>(length >> shift & 0xFFU);
}

}  // namespace ftpd
