// The frame dialect: the conversation's steps become operations, their replies keep their order.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ftpd/conversation.h"
#include "server/connection.h"
#include "server/operation.h"
#include "server/operations.h"
#include "server/session.h"

namespace ftpd {

/// Owned by its Connection. At most one operation is active: it holds the word, and its request may
/// still be arriving. Behind it a few may be settling: their requests are complete, their replies have
/// a place in the output queue and wait for the pool.
class FrameSession final : public Session, public Host {
 public:
  explicit FrameSession(Connection& connection);
  ~FrameSession() override;

  void consume(Buffer& input, Turn& turn) override;
  [[nodiscard]] bool wants_input() const override;
  [[nodiscard]] SpliceTarget splice_target() override;
  void spliced(std::size_t count) override;
  void on_end_of_input(Buffer& input) override;
  void on_reset() override;
  void on_output_room() override;
  void on_stall() override;
  void on_drain() override;
  void on_shutdown() override;
  [[nodiscard]] Duration reply_patience() const override {
    return std::chrono::milliseconds{reply_patience_ms_};
  }
  void on_silence() override { reply_patience_ms_ = 0; }
  [[nodiscard]] Awaiting awaiting() const override;
  [[nodiscard]] bool settled() const override { return settling_ == nullptr; }
  [[nodiscard]] bool idle() const override;

 private:
  struct Settling {
    std::unique_ptr<Operation> operation;
    OutQueue::Ticket ticket;
  };
  static constexpr std::size_t max_settling = 256;
  static constexpr std::size_t max_settling_memory = 4U << 20U;

  // Host
  [[nodiscard]] LoopServices& services() const override;
  [[nodiscard]] const Caller& caller() const override;
  [[nodiscard]] const Address& peer() const override;
  void send(std::string&& bytes) override;
  void send(std::string_view bytes) override;
  void send_file(OutQueue::FileRange range) override;
  void finish() override;
  void settle(Operation& operation, std::string reply) override;
  [[nodiscard]] std::string_view command() const override;
  void note_failure(std::string_view command, const RequestId& id, const Failure& failure) override;
  void invite_body() override;
  void resume_input() override;
  [[nodiscard]] std::size_t unsent() const override;
  void close_after_reply() override;

  void on_header(std::string_view text, Turn& turn);
  void on_continuing(const Header& header);
  void begin_request(const Header& header);
  [[nodiscard]] std::expected<void, Failure> admit(const Request& request);
  void run(const OperationRow& row, const Request& request);
  [[nodiscard]] bool must_wait(const OperationRow* row, const Header& header) const;
  void refuse(const Failure& failure);
  void send_failure(std::string_view command, const RequestId& id, const Failure& failure);
  void note_old_upload(const Header& header);
  void on_message_end();
  [[nodiscard]] bool rest_is_here(const Buffer& input) const;
  void drop_active();
  void bury(std::unique_ptr<Operation> operation);
  [[nodiscard]] bool may_begin() const;
  /// Of the active operation; none while its client waits for the word.
  [[nodiscard]] std::size_t body_room() const { return body_withheld_ ? 0 : active_->body_room(); }
  [[nodiscard]] std::span<Settling> settling() const {
    return settling_ != nullptr ? std::span<Settling>{*settling_} : std::span<Settling>{};
  }

  Connection& connection_;
  Conversation conversation_;
  RequestId id_;
  const OperationRow* row_ = nullptr;  // of the request begun last
  std::unique_ptr<Operation> active_;
  std::unique_ptr<std::vector<Settling>> settling_;  // none while all is settled
  std::unique_ptr<std::string> held_header_;         // a request that waits until all is settled
  std::uint32_t body_at_hand_ = 0;                   // within the input buffer
  std::uint16_t reply_patience_ms_ = 0;
  bool uploads_in_old_spelling_ : 1 = false;
  bool close_after_reply_ : 1 = false;
  bool body_withheld_ : 1 = false;  // the client waits for invite_body()
  bool end_of_input_told_ : 1 = false;
};

}  // namespace ftpd
