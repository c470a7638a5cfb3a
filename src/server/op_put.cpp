// put: a file comes in, staged, and appears under its name whole or never.
#include <cerrno>
#include <cmath>

#include "server/fields.h"
#include "server/operations.h"
#include "server/server.h"

namespace ftpd {
namespace {

// Up to here a body is collected in memory and stored by one job.
constexpr std::uint64_t small_size = 64 * 1024;

/// What is common to both ways a file comes in: the reply, and keeping its place while the pool works.
class PutBase : public Operation {
 public:
  PutBase(Host& host, RequestId id, UploadRequest request)
      : host_(host),
        services_(host.services()),
        id_(std::move(id)),
        request_(std::move(request)),
        store_(host.caller().role->store) {}

  void detach() override { job_.abandon(); }
  [[nodiscard]] bool survives_reset() const override { return true; }
  [[nodiscard]] std::string_view settles() const override {
    return complete_ ? std::string_view{request_.path.text()} : std::string_view{};
  }
  [[nodiscard]] bool makes_directories() const override { return request_.parents; }
  void on_abort() override {
    end(failure_reply(id_, {.status = Status::aborted, .message = "called off by the client"}));
  }
  void on_shutdown() override {
    if (complete_) return;  // the pool has it: it will be stored and answered
    end(failure_reply(id_, {.status = Status::shutting_down,
                            .message = "the daemon stops before the upload was complete"}));
  }

 protected:
  void end(std::string reply) { host_.settle(*this, std::move(reply)); }
  void end_failed(const Error& error) {
    Failure failure = failure_of(error);
    if (failure.status == Status::no_space) {
      failure.need = request_.size;
      if (auto free = store_->free_space()) failure.free = *free;
    }
    services_.counters.failures.add();
    end(failure_reply(id_, failure));
  }
  void end_stored(std::uint64_t size) {
    JsonObject reply = begin_reply(id_);
    add_name(reply, request_.path);
    reply.add("filesize", size);
    end(finish_reply(std::move(reply)));
  }

  /// On the pool; where nothing can wait for a disk, at once.
  template <class Work, class Done>
  void run(Work work, Done done) {
    if (store_->in_memory()) {
      done(work());
      return;
    }
    job_ = services_.pool.submit(services_.reactor, std::move(work), std::move(done));
  }

  Host& host_;
  LoopServices& services_;  // outlives the host, which detach() ends
  RequestId id_;
  UploadRequest request_;
  std::shared_ptr<Store> store_;
  Job job_;
  bool complete_ = false;  // the message's last frame is here
};

class SmallPut final : public PutBase {
 public:
  enum class Body : std::uint8_t { at_hand, to_come };

  SmallPut(Host& host, RequestId id, UploadRequest request, Body body)
      : PutBase(host, std::move(id), std::move(request)), body_state_(body) {}

  void start() override {
    // A client that waits for the word before it sends the body gets it; else one job does it all.
    if (body_state_ == Body::at_hand) return;
    run([store = store_, request = request_] { return store->check_upload(request); },
        [this](Result<void> fine) {
          if (!fine) end_failed(fine.error());
        });
  }

  void on_body(std::string_view bytes) override {
    if (body_.empty()) body_.reserve(static_cast<std::size_t>(*request_.size));
    body_ += bytes;
  }
  [[nodiscard]] std::size_t memory() const override { return size_; }

  void on_message_end() override {
    complete_ = true;
    size_ = body_.size();
    run([store = store_, request = request_,
         body = std::move(body_)] { return store->put_small(request, body); },
        [this](Result<void> stored) {
          if (!stored) return end_failed(stored.error());
          end_stored(size_);
        });
  }

 private:
  Body body_state_;
  std::string body_;
  std::size_t size_ = 0;  // of the body that the job has
};

class LargePut final : public PutBase {
 public:
  using PutBase::PutBase;

  ~LargePut() override {
    give_pipe_back();
    // Removing a large file takes its time: not on the loop.
    if (upload_ != nullptr) services_.pool.push([upload = std::move(upload_)]() mutable { upload.reset(); });
  }

  void start() override {
    busy_ = true;
    // Always on the pool: reserving room for a large file takes its time in memory, too.
    job_ = services_.pool.submit(
        services_.reactor, [store = store_, request = request_] { return store->begin_upload(request); },
        [this](Result<Upload> upload) {
          busy_ = false;
          if (!upload) return end_failed(upload.error());
          upload_ = std::make_shared<Upload>(std::move(*upload));
          go_on();
        });
  }

  [[nodiscard]] std::size_t body_room() const override {
    return busy_ || upload_ == nullptr ? 0 : std::numeric_limits<std::size_t>::max();
  }

  void on_body(std::string_view bytes) override {
    if (store_->in_memory()) {
      written(upload_->write({bytes.data(), bytes.size()}));
      return;
    }
    busy_ = true;
    run([upload = upload_, copy = std::string(bytes)] { return upload->write({copy.data(), copy.size()}); },
        [this](Result<void> done) {
          busy_ = false;
          written(std::move(done));
        });
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
    busy_ = true;
    run(
        [upload = upload_, pipe = pipe_]() -> Result<void> {
          while (pipe->held > 0) {
            const auto moved = upload->write_from_pipe(pipe->read_end.get(), pipe->held);
            if (!moved) return std::unexpected(moved.error());
            if (*moved == 0) return fail_errno(EIO, "a pipe gave less than was put into it");
            pipe->held -= *moved;
          }
          return {};
        },
        [this](Result<void> done) {
          busy_ = false;
          written(std::move(done));
        });
  }

  [[nodiscard]] std::size_t memory() const override { return descriptor_cost; }

  void on_frame(const Header& header) override {
    // Options belong to the first frame.
    if (auto fine = refuse_unbuilt(header, {"md5", "sha256"}); !fine) {
      end(failure_reply(id_, fine.error()));
    }
  }

  void on_message_end() override {
    complete_ = true;
    if (!busy_) commit();
  }

 private:
  void written(Result<void> done) {
    if (!done) return end_failed(done.error());
    go_on();
  }

  void go_on() {
    if (complete_) {
      commit();
    } else {
      host_.resume_input();
    }
  }

  void commit() {
    const std::uint64_t size = upload_->written();
    if (request_.size && *request_.size != size) {
      return end(
          failure_reply(id_, bad_request(fmt::format("filesize: {} announced, {} came; nothing is stored",
                                                     *request_.size, size))));
    }
    give_pipe_back();
    busy_ = true;
    // Always on the pool: the file that is replaced may be large, and freeing it takes its time.
    job_ = services_.pool.submit(
        services_.reactor, [upload = upload_] { return upload->commit(); },
        [this, size](Result<void> stored) {
          busy_ = false;
          if (!stored) return end_failed(stored.error());
          end_stored(size);
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
  bool busy_ = false;  // a job has the upload
};

Read<UploadRequest> read_upload(const Request& request) {
  const Header& header = request.header;
  if (auto fine = refuse_unbuilt(header, {"md5", "sha256", "digest", "upload", "wait", "offset"}); !fine) {
    return std::unexpected(fine.error());
  }
  UploadRequest upload;
  auto path = path_field(header, "filename", RootIs::refused);
  if (!path) return std::unexpected(path.error());
  upload.path = std::move(*path);

  auto mode = optional_field(header.integer("mode", 0, 0777));
  if (!mode) return std::unexpected(mode.error());
  if (*mode) upload.mode = static_cast<mode_t>(**mode);

  auto mtime = optional_field(header.number("mtime"));
  if (!mtime) return std::unexpected(mtime.error());
  if (*mtime) {
    constexpr double most = 1e11;  // the year 5138; file systems differ, and none goes far beyond
    if (!(std::abs(**mtime) <= most)) {
      return std::unexpected(
          bad_request("mtime: out of range; seconds since 1970, at most 100000000000 either way"));
    }
    upload.mtime = timespec_of(**mtime);
  }

  auto overwrite = optional_field(header.string("overwrite"));
  if (!overwrite) return std::unexpected(overwrite.error());
  if (*overwrite && **overwrite != "replace" && **overwrite != "fail") {
    return std::unexpected(bad_request("overwrite: must be \"replace\" or \"fail\""));
  }
  upload.replace = !*overwrite || **overwrite == "replace";

  auto parents = optional_field(header.boolean("parents"));
  if (!parents) return std::unexpected(parents.error());
  upload.parents = parents->value_or(false);

  if (!request.frame.more) {
    upload.size = request.frame.body_size;
  } else {
    auto total = optional_field(header.size("filesize"));
    if (!total) return std::unexpected(total.error());
    upload.size = *total;
  }
  return upload;
}

}  // namespace

Made make_put(const Request& request, Host& host) {
  auto upload = read_upload(request);
  if (!upload) return std::unexpected(upload.error());
  if (!request.frame.more && request.frame.body_size <= small_size) {
    const auto body =
        request.body_at_hand >= request.frame.body_size ? SmallPut::Body::at_hand : SmallPut::Body::to_come;
    return std::make_unique<SmallPut>(host, request.id, std::move(*upload), body);
  }
  return std::make_unique<LargePut>(host, request.id, std::move(*upload));
}

}  // namespace ftpd
