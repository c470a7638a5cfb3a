// The framing state machine: bytes in, steps out. See ftpd-protocol(7), "Frame" and "Message".
//
//                 length            header               body complete, no `more`
//     READ_LEN ----------> READ_HEADER ------> READ_BODY ------------------------> RESPOND
//        ^                                         |                                  |
//        +------------- body complete, `more` -----+                                  |
//        +------------------------------ next_message() ------------------------------+
//
// Pure: no socket, file or clock. One class serves both ends: the daemon enters in READ_LEN (it reads
// a request, then answers in RESPOND), the client in RESPOND (it writes a request, then reads the
// reply). How the bytes were split never changes the steps, but for the pieces of a body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ftpd/limits.h"
#include "ftpd/message.h"

namespace ftpd {

class Conversation {
 public:
  enum class Side : std::uint8_t { daemon, client };

  enum class State : std::uint8_t {
    READ_LEN,     // wants the four bytes of a length
    READ_HEADER,  // wants that many bytes of JSON
    READ_BODY,    // wants body_remaining() bytes
    RESPOND,      // the message is complete; the other side has the word
  };

  enum class Step : std::uint8_t {
    need_input,    // nothing more to say before more bytes come (or, in RESPOND, before next_message())
    header,        // a frame's header: frame(), and header() until the next call with the parser
    body,          // `bytes`, a piece of the body: a view into the input given
    message_end,   // the message's last frame is complete; state() is RESPOND, or READ_LEN where the
                   // message had been answered before its end
    discard_over,  // more than discard_limit bytes of an answered message are announced: the owner
                   // closes; final
    broken,        // a framing error: problem(); final
  };

  struct Outcome {
    Step step = Step::need_input;
    std::size_t consumed = 0;  // of the input; always all that the step used
    std::string_view bytes;    // with Step::body and Step::header (its text): a view into the input
  };

  Conversation(Side side, std::uint32_t max_header, std::uint64_t discard_limit);

  /// Takes what it can of `input` (what the owner has read and not yet consumed, oldest byte first)
  /// and says one thing. The owner consumes `consumed` bytes and calls again until `need_input`.
  /// `padded`: see HeaderParser::parse.
  [[nodiscard]] Outcome advance(std::string_view input, HeaderParser& parser, bool padded);

  /// The owner took `count` bytes of the body from the socket itself (splice), at most
  /// body_remaining(). Only in READ_BODY with no input unconsumed. A body that is thereby complete is
  /// reported by the next advance().
  void body_taken(std::uint64_t count);

  /// The daemon's word: the final reply to the present message is out (queued). In RESPOND: next
  /// message. Earlier: the rest of this message is discarded, silently, up to its last frame; a frame
  /// with `cmd` ends it. What is announced and still to come counts against discard_limit: the body's
  /// rest, then each further frame with its length, header and body. Between messages: no effect.
  void answered();

  /// The same, and the peer was waiting for that word: of a frame whose header has been read, no body
  /// follows (a `put` with `wait`). Only in READ_BODY, with nothing of the body taken.
  void answered_instead_of_body();

  /// The client's word: a request was written, its reply is awaited. RESPOND -> READ_LEN.
  void next_message();

  [[nodiscard]] State state() const { return state_; }
  /// Between messages, RESPOND included: nothing of a next one has been consumed, and the peer owes
  /// nothing.
  [[nodiscard]] bool idle() const;
  /// The rest of an answered message is being discarded.
  [[nodiscard]] bool discarding() const { return discarding_; }
  /// The frame just announced (Step::header) continues a message.
  [[nodiscard]] bool continuing() const { return continuing_; }
  [[nodiscard]] const FrameInfo& frame() const { return frame_; }
  [[nodiscard]] const Header& header() const { return *header_; }
  [[nodiscard]] std::uint64_t body_remaining() const { return body_remaining_; }
  /// Bytes of input that the present state wants in one piece (4, or the header's length); 0 in others.
  [[nodiscard]] std::size_t wanted() const;
  /// With Step::broken: what is wrong and what is allowed, one sentence.
  [[nodiscard]] const std::string& problem() const { return *problem_; }

 private:
  void set_state(State state) { state_ = state; }
  void read_length(std::string_view bytes);
  void read_header(std::string_view text, HeaderParser& parser, bool padded);
  void end_message();
  void count_discarded(std::uint64_t bytes);
  void break_off(std::string problem);

  State state_;
  Side side_;
  bool in_message_ = false;  // the first header of a message has been read, its last frame has not
  bool continuing_ = false;
  bool discarding_ = false;
  bool discard_over_ = false;
  std::uint32_t max_header_;
  std::uint32_t header_size_ = 0;
  std::uint64_t discard_limit_;
  std::uint64_t discarded_ = 0;
  std::uint64_t body_remaining_ = 0;
  FrameInfo frame_;
  std::optional<Header> header_;
  std::unique_ptr<std::string> problem_;
};

[[nodiscard]] std::string_view name(Conversation::State state);

/// The four bytes of a length.
void append_length(std::string& out, std::uint32_t length);

}  // namespace ftpd
