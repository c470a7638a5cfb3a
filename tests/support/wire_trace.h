// What a byte stream does to the wire layer, as text: two ways of splitting it must give equal texts.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ftpd/conversation.h"
#include "ftpd/json_write.h"
#include "ftpd/text_line.h"

namespace ftpd::test {

/// Sizes of the pieces in which a stream arrives, used in turn, again and again; the stream's end
/// cuts the last one.
using Pieces = std::vector<std::size_t>;

inline const Pieces whole = {static_cast<std::size_t>(-1)};
inline const Pieces byte_by_byte = {1};

/// What arrived and was not consumed, with room behind it for the JSON parser.
class Arrived {
 public:
  void append(std::string_view bytes) {
    text_.resize(size_);
    text_ += bytes;
    size_ = text_.size();
    text_.append(simdjson::SIMDJSON_PADDING, '\0');
  }
  void consume(std::size_t count) {
    text_.erase(0, count);
    size_ -= count;
  }
  [[nodiscard]] std::string_view unread() const { return std::string_view{text_}.substr(0, size_); }

 private:
  std::string text_;
  std::size_t size_ = 0;
};

template <class Feed>
void feed_in_pieces(std::string_view input, const Pieces& pieces, Feed feed) {
  std::size_t turn = 0;
  while (!input.empty()) {
    const std::size_t size = std::max<std::size_t>(1, std::min(pieces[turn++ % pieces.size()], input.size()));
    if (!feed(input.substr(0, size))) return;
    input.remove_prefix(size);
  }
}

/// When the owner calls answered().
enum class Answer { at_the_end, at_once };

struct Limits {
  std::uint32_t max_header = limits::default_max_header;
  std::uint64_t discard_limit = 1000;
};

class ConversationTrace {
 public:
  using Step = Conversation::Step;

  ConversationTrace(Conversation::Side side, Answer answer, Limits bounds)
      : side_(side), answer_(answer), conversation_(side, bounds.max_header, bounds.discard_limit) {
    if (side == Conversation::Side::client) conversation_.next_message();
  }

  /// False when nothing more will be taken.
  bool feed(std::string_view bytes) {
    arrived_.append(bytes);
    for (;;) {
      const auto outcome = conversation_.advance(arrived_.unread(), parser_, true);
      if (!note(outcome)) return false;
      arrived_.consume(outcome.consumed);
      if (outcome.step == Step::need_input) return true;
    }
  }

  [[nodiscard]] std::string text() const {
    return fmt::format("{}{}= {}{}{} unread {} owed {}\n", text_, body_line(), name(conversation_.state()),
                       conversation_.idle() ? " idle" : "", conversation_.discarding() ? " discarding" : "",
                       arrived_.unread().size(), conversation_.body_remaining());
  }

 private:
  bool note(const Conversation::Outcome& outcome) {
    if (outcome.step == Step::body) body_ += outcome.bytes;
    if (outcome.step != Step::body && outcome.step != Step::need_input) {
      text_ += body_line();
      body_.clear();
    }
    switch (outcome.step) {
      case Step::need_input:
      case Step::body: break;
      case Step::header: note_header(); break;
      case Step::message_end:
        text_ += fmt::format("end {}\n", name(conversation_.state()));
        if (conversation_.state() == Conversation::State::RESPOND) {
          if (side_ == Conversation::Side::daemon) {
            conversation_.answered();
          } else {
            conversation_.next_message();
          }
        }
        break;
      case Step::discard_over: text_ += "discard_over\n"; return false;
      case Step::broken: text_ += fmt::format("broken: {}\n", conversation_.problem()); return false;
    }
    return true;
  }

  void note_header() {
    const FrameInfo& frame = conversation_.frame();
    text_ += fmt::format("header {} body={}{}{}{}{}\n", simdjson::minify(conversation_.header().object()),
                         frame.body_size, frame.more ? " more" : "", frame.has_cmd ? " cmd" : "",
                         frame.abort ? " abort" : "", conversation_.continuing() ? " continuing" : "");
    if (answer_ == Answer::at_once && side_ == Conversation::Side::daemon && !conversation_.continuing()) {
      conversation_.answered();
    }
  }

  [[nodiscard]] std::string body_line() const {
    if (body_.empty()) return {};
    std::string line = "body ";
    append_json_string(line, body_);
    return line + '\n';
  }

  Conversation::Side side_;
  Answer answer_;
  Conversation conversation_;
  HeaderParser parser_;
  Arrived arrived_;
  std::string text_;
  std::string body_;
};

inline std::string trace_conversation(std::string_view input, const Pieces& pieces,
                                      Answer answer = Answer::at_the_end,
                                      Conversation::Side side = Conversation::Side::daemon,
                                      Limits bounds = {}) {
  ConversationTrace trace(side, answer, bounds);
  feed_in_pieces(input, pieces, [&trace](std::string_view piece) { return trace.feed(piece); });
  std::string text = trace.text();
  // What a broken stream leaves unread depends on when it broke off, and means nothing.
  if (text.find("broken: ") != std::string::npos || text.find("discard_over") != std::string::npos) {
    text.resize(text.rfind("= "));
  }
  return text;
}

inline std::string trace_lines(std::string_view input, const Pieces& pieces, std::uint32_t max_header) {
  TextLines lines(max_header);
  Arrived arrived;
  std::string text;
  using Step = TextLines::Step;
  const auto note = [&](const TextLines::Outcome& outcome) {
    switch (outcome.step) {
      case Step::need_input: break;
      case Step::line:
        text += "line ";
        append_json_string(text, outcome.line);
        text += '\n';
        break;
      case Step::http: text += "http\n"; break;
      case Step::not_text: text += "not_text\n"; break;
      case Step::too_long: text += "too_long\n"; break;
    }
    arrived.consume(outcome.consumed);
    return outcome.step == Step::need_input || outcome.step == Step::line;
  };
  bool open = true;
  const auto drain = [&](auto next) {
    for (;;) {
      const TextLines::Outcome outcome = next();
      open = note(outcome);
      if (!open || outcome.step == Step::need_input) return open;
    }
  };
  feed_in_pieces(input, pieces, [&](std::string_view piece) {
    arrived.append(piece);
    return drain([&] { return lines.advance(arrived.unread()); });
  });
  if (open) drain([&] { return lines.finish(arrived.unread()); });
  return text;
}

}  // namespace ftpd::test
