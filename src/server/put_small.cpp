// A put whose body is collected in memory and stored by one job, which others may share.
#include "server/put_base.h"

namespace ftpd {
namespace {

class SmallPut final : public PutBase {
 public:
  enum class Body : std::uint8_t { on_its_way, to_come };

  SmallPut(Host& host, RequestId id, PutRequest request, Body body)
      : PutBase(host, std::move(id), std::move(request)), body_state_(body) {}
  ~SmallPut() override { *self_ = nullptr; }

  void detach() override {
    checking_.abandon();
    *self_ = nullptr;
  }

  void start() override {
    // A client that waits for the word before it sends the body gets it; else one job does it all.
    if (body_state_ == Body::on_its_way) return;
    const auto checked = [this](Result<void> fine) {
      if (!fine) end_failed(failure_of(fine.error()));
    };
    if (never_waits()) return checked(store_->check_upload(request_.upload));
    checking_ = services_.pool.submit(
        services_.reactor, [store = store_, upload = request_.upload] { return store->check_upload(upload); },
        checked);
  }

  void on_body(std::string_view bytes) override {
    if (body_.empty()) body_.reserve(static_cast<std::size_t>(*request_.upload.size));
    body_ += bytes;
  }

  [[nodiscard]] std::string_view settles() const override {
    return complete_ ? std::string_view{request_.upload.path.text()} : std::string_view{};
  }
  [[nodiscard]] std::size_t memory() const override { return size_; }

  void on_message_end() override {
    complete_ = true;
    checking_.abandon();
    size_ = body_.size();
    if (never_waits()) return end_stored(store_->put_small(request_.upload, body_));
    auto done = [self = self_, &reactor = services_.reactor](Result<Stored> stored) {
      reactor.post([self, stored = std::move(stored)]() mutable {
        if (*self != nullptr) (*self)->end_stored(std::move(stored));
      });
    };
    store_->put_small_later(services_.pool, {request_.upload, std::move(body_), std::move(done)});
  }

 private:
  Body body_state_;
  std::string body_;
  std::size_t size_ = 0;  // of the body that the job has
  Job checking_;
  /// Looked at on the loop alone: null when nobody waits for the answer any more.
  std::shared_ptr<SmallPut*> self_ = std::make_shared<SmallPut*>(this);
};

}  // namespace

std::unique_ptr<Operation> make_small_put(const Request& request, Host& host, PutRequest put) {
  // Who has sent a part of it does not wait for the word before the rest.
  const bool sending = request.frame.body_size == 0 || request.body_at_hand > 0;
  const auto body = sending ? SmallPut::Body::on_its_way : SmallPut::Body::to_come;
  return std::make_unique<SmallPut>(host, request.id, std::move(put), body);
}

}  // namespace ftpd
