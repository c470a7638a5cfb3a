// SHA-256, by which transfers are verified from end to end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "client/outcome.h"
#include "ftpd/message.h"

struct evp_md_ctx_st;

namespace ftpd::client {

/// A running digest. Movable.
class Sha256 {
 public:
  Sha256();

  void update(std::string_view bytes);
  /// Of what has been given so far, in lower-case hex; updating may go on.
  [[nodiscard]] std::string hex() const;

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

[[nodiscard]] std::string sha256_hex(std::string_view bytes);

/// A reply's `sha256`, where it has one.
[[nodiscard]] std::optional<std::string> told_digest(const Header& reply);

/// Does what the server told agree with what we have computed? A server that told nothing has proven
/// nothing: that is a Failure, too.
[[nodiscard]] Outcome<void> check_digest(const std::optional<std::string>& told, std::string_view ours);

}  // namespace ftpd::client
