// What an Upload is made of; for upload.cpp and upload_bytes.cpp alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include "store/commit.h"
#include "store/destination.h"
#include "store/held.h"
#include "store/quota.h"
#include "store/staging.h"
#include "store/store.h"
#include "store/upload.h"

namespace ftpd {

/// Where the bytes go until the commit: gone, or held, when it does not come.
using Arriving = std::variant<StagedFile, HeldFile>;

struct Upload::State {
  State(std::shared_ptr<const Store> of, UploadRequest what, Arriving where, Quota::Reservation room)
      : store(std::move(of)), request(std::move(what)), file(std::move(where)), reserved(std::move(room)) {
    if (const auto* const held = std::get_if<HeldFile>(&file)) start = held->size();
    written = start;
    const DigestKinds needed = digests_needed(request);
    if (start == 0 && !needed.empty()) {
      passing.emplace(needed);
      passing_kinds = needed;
    }
  }
  ~State() {
    auto* const held = std::get_if<HeldFile>(&file);
    if (published || held == nullptr) return;
    const auto still = store->quota_->steady();
    reserved.release(held->keep());
    held->unlock();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::shared_ptr<const Store> store;  // the root and its staging stay while this lives
  UploadRequest request;
  Arriving file;
  Quota::Reservation reserved;  // for what comes behind `start`
  std::uint64_t start = 0;      // bytes that were held
  std::uint64_t written = 0;
  std::optional<Hasher> passing;  // of every byte since the first; none where some were held
  DigestKinds passing_kinds;
  std::optional<FileDigest> catching_up;
  DigestKinds catching_kinds;
  std::uint64_t caught_up_to = 0;  // the size that catching_up and from_file are about
  Digests from_file;
  bool published = false;

  [[nodiscard]] int root() const { return store->root_.get(); }
  [[nodiscard]] int fd() const {
    return std::visit([](const auto& arriving) { return arriving.fd(); }, file);
  }

  /// Of an error of the disk: what it takes to go on.
  [[nodiscard]] std::unexpected<Error> failed(Error error, std::uint64_t more) const {
    const std::uint64_t need = request.size && *request.size > written ? *request.size - written : more;
    return std::unexpected(with_room(std::move(error), root(), need));
  }

  [[nodiscard]] Result<void> take_room();
  [[nodiscard]] Result<void> make_sure_of_room(std::size_t more);
  [[nodiscard]] Result<std::size_t> splice_from(int pipe, std::size_t size);
  [[nodiscard]] Result<std::size_t> read_from(int pipe, std::size_t size);

  [[nodiscard]] DigestKinds missing_digests() const;
  [[nodiscard]] Digests digests() const;
  [[nodiscard]] Result<bool> catch_up(std::size_t budget);
  [[nodiscard]] Result<Digests> verified();

  [[nodiscard]] Result<void> seal(const Digests& computed);
  [[nodiscard]] Result<void> appear();
  [[nodiscard]] Result<void> publish(const Destination& destination);
  void drop();
};

}  // namespace ftpd
