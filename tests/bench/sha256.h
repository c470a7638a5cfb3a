// The digest that a client computes and a minimal server checks.
#pragma once

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <memory>
#include <span>
#include <string>

#include "bench.h"

namespace bench {

/// Of the bytes that were added, in hex digits.
class Sha256 {
 public:
  Sha256() { require(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr)); }
  void add(std::span<const char> bytes) {
    require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
  }
  std::string finish() {
    std::array<unsigned char, 32> digest{};
    require(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr));
    return fmt::format("{:02x}", fmt::join(digest, ""));
  }

 private:
  static void require(int result) {
    if (result != 1) throw Broken("sha256");
  }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

}  // namespace bench
