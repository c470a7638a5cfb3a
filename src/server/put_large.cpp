// A put whose body goes to its staged file as it comes: spliced, or through memory where it is hashed.
#include <cerrno>

#include "server/put_base.h"

namespace ftpd {
namespace {

class LargePut final : public PutBase {
 public:
  using PutBase::PutBase;

  ~LargePut() override {
    give_pipe_back();
    // Removing a large file takes its time: not on the loop.
    if (upload_ == nullptr) return;
    services_.pool.push([upload = std::move(upload_), called_off = called_off_]() mutable {
      if (called_off) upload->drop();
      upload.reset();
    });
  }

  void detach() override { job_.abandon(); }

  void start() override {
    busy_ = true;
    // Always on the pool: reserving room for a large file takes its time in memory, too.
    job_ = services_.pool.submit(
        services_.reactor, [store = store_, upload = request_.upload] { return store->begin_upload(upload); },
        [this](Result<Upload> upload) {
          busy_ = false;
          if (!upload) return end_failed(failure_of(upload.error()));
          upload_ = std::make_shared<Upload>(std::move(*upload));
          if (failure_) return release();
          host_.invite_body();
          go_on();
        });
  }

  [[nodiscard]] std::string_view settles() const override {
    // What is held may be in one upload's hands only, so the next with its name waits for this one's end.
    return complete_ && !request_.upload.held ? std::string_view{request_.upload.path.text()}
                                              : std::string_view{};
  }
  [[nodiscard]] std::size_t memory() const override { return descriptor_cost; }

  [[nodiscard]] std::size_t body_room() const override {
    return busy_ || upload_ == nullptr ? 0 : std::numeric_limits<std::size_t>::max();
  }

  void on_body(std::string_view bytes) override {
    if (writes_at_once()) return written(upload_->write({bytes.data(), bytes.size()}));
    work([upload = upload_, copy = std::string(bytes)] { return upload->write({copy.data(), copy.size()}); });
  }

  [[nodiscard]] SplicePipe* body_pipe() override {
    if (busy_ || upload_ == nullptr) return nullptr;
    if (pipe_ == nullptr) {
      auto pipe = services_.pipes.borrow();
      if (!pipe) return nullptr;  // no descriptor left: through memory, then
      pipe_ = std::shared_ptr<SplicePipe>(std::move(*pipe));
    }
    return pipe_.get();
  }

  void on_spliced(std::size_t /*count*/) override {
    if (writes_at_once()) return written(empty_pipe(*upload_, *pipe_));
    work([upload = upload_, pipe = pipe_] { return empty_pipe(*upload, *pipe); });
  }

  void on_frame(const Header& header) override {
    auto told = told_digests(header);
    if (!told) return give_up(told.error());
    for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
      const auto& late = told->of(kind);
      if (!late) continue;
      const auto& before = request_.upload.expected.of(kind);
      if (before && *before != *late) {
        return give_up(
            bad_request(fmt::format("{}: another one was told before; nothing is stored", name(kind))));
      }
      told_late_.set(kind, *late);
    }
  }

  void on_message_end() override {
    complete_ = true;
    if (!busy_ && !failure_) finish_file();
  }

  [[nodiscard]] bool keeps_taking() const override { return busy_ && request_.upload.held && !failure_; }

  [[nodiscard]] bool gives_up(const Failure& failure) override {
    give_up(failure);
    return true;
  }
  void on_abort() override {
    called_off_ = true;
    give_up({.status = Status::aborted, .message = "called off by the client"});
  }
  void on_shutdown() override {
    if (complete_) return;  // the pool has it: it will be stored and answered
    give_up({.status = Status::shutting_down, .message = "the daemon stops before the upload was complete"});
  }

 private:
  /// Without waiting for anything: there is no disk, and nothing to compute.
  [[nodiscard]] bool writes_at_once() const { return never_waits() && request_.upload.compute.empty(); }

  static Result<void> empty_pipe(Upload& upload, SplicePipe& pipe) {
    while (pipe.held > 0) {
      const auto moved = upload.write_from_pipe(pipe.read_end.get(), pipe.held);
      if (!moved) return std::unexpected(moved.error());
      if (*moved == 0) return fail_errno(EIO, "a pipe gave less than was put into it");
      pipe.held -= *moved;
    }
    return {};
  }

  template <class Work>
  void work(Work write) {
    busy_ = true;
    job_ = services_.pool.submit(services_.reactor, std::move(write), [this](Result<void> done) {
      busy_ = false;
      written(std::move(done));
    });
  }

  void written(Result<void> done) {
    if (failure_) return release();
    if (!done) return give_up(failure_of(done.error()));
    go_on();
  }

  /// The first failure is the one that is answered, when nothing is in our hands any more: whoever has
  /// the answer may begin again under the same name at once.
  void give_up(Failure failure) {
    if (failure_) return;
    failure_ = std::move(failure);
    if (!busy_) release();
  }

  void release() {
    if (upload_ == nullptr) return end_failed(*failure_);
    busy_ = true;
    job_ = services_.pool.submit(
        services_.reactor,
        [upload = std::move(upload_), called_off = called_off_]() mutable {
          if (called_off) upload->drop();
          upload.reset();
          return true;
        },
        [this](bool) {
          busy_ = false;
          end_failed(*failure_);
        });
  }

  void go_on() {
    if (complete_) {
      finish_file();
    } else {
      host_.resume_input();
    }
  }

  void finish_file() {
    const std::uint64_t size = upload_->written();
    const auto& announced = request_.upload.size;
    if (announced && *announced != size) {
      called_off_ = true;
      return give_up(
          bad_request(fmt::format("filesize: {} announced, {} came; nothing is stored", *announced, size)));
    }
    give_pipe_back();
    for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
      if (const auto& hex = told_late_.of(kind)) upload_->expect(kind, *hex);
    }
    commit();
  }

  /// In steps: what has not been hashed on its way in may be long.
  void commit() {
    busy_ = true;
    // Always on the pool: the file that is replaced may be large, and freeing it takes its time.
    job_ = services_.pool.submit(
        services_.reactor,
        [upload = upload_]() -> std::optional<Result<Stored>> {
          const auto caught_up = upload->catch_up(FileDigest::usual_step);
          if (!caught_up) return std::unexpected(caught_up.error());
          if (!*caught_up) return std::nullopt;
          return upload->commit();
        },
        [this](std::optional<Result<Stored>> stored) {
          if (!stored) return commit();
          busy_ = false;
          if (*stored) return end_stored(std::move(*stored));
          give_up(failure_of(stored->error()));
        });
  }

  void give_pipe_back() {
    if (pipe_ == nullptr || busy_ || pipe_->held > 0) return;
    services_.pipes.give_back(std::make_unique<SplicePipe>(std::move(*pipe_)));
    pipe_.reset();
  }

  // While it settles it holds a descriptor, which is scarcer than memory.
  static constexpr std::size_t descriptor_cost = 128 * 1024;

  std::shared_ptr<Upload> upload_;
  std::shared_ptr<SplicePipe> pipe_;
  Job job_;
  Digests told_late_;  // digests that came in a later frame
  std::optional<Failure> failure_;
  bool busy_ = false;        // a job has the upload
  bool called_off_ = false;  // nothing of it is to be held
};

}  // namespace

std::unique_ptr<Operation> make_large_put(const Request& request, Host& host, PutRequest put) {
  return std::make_unique<LargePut>(host, request.id, std::move(put));
}

}  // namespace ftpd
