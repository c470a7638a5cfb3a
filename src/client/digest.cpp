// SHA-256, by OpenSSL.
#include "client/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "client/text.h"

namespace ftpd::client {
namespace {

/// OpenSSL fails here only where memory is out or SHA-256 is not built in: nothing to go on with.
void must(int result) {
  if (result != 1) std::abort();
}

/// Looked up once: OpenSSL searches its providers each time that it is not told.
const EVP_MD* sha256() {
  static const EVP_MD* const found = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return found;
}

char lower(char digit) { return digit >= 'A' && digit <= 'F' ? static_cast<char>(digit - 'A' + 'a') : digit; }

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) { must(EVP_DigestInit_ex2(context_.get(), sha256(), nullptr)); }

void Sha256::update(std::string_view bytes) {
  must(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
}

std::string Sha256::hex() const {
  const std::unique_ptr<evp_md_ctx_st, Free> end{EVP_MD_CTX_new()};
  must(EVP_MD_CTX_copy_ex(end.get(), context_.get()));
  std::array<unsigned char, 32> digest{};
  must(EVP_DigestFinal_ex(end.get(), digest.data(), nullptr));
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : digest) {
    out += digits[byte >> 4U];
    out += digits[byte & 15U];
  }
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 digest;
  digest.update(bytes);
  return digest.hex();
}

std::optional<std::string> told_digest(const Header& reply) {
  const auto told = reply.string("sha256");
  if (!told || !*told) return std::nullopt;
  return std::string{**told};
}

Outcome<void> check_digest(const std::optional<std::string>& told, std::string_view ours) {
  if (!told) return local_failure("not verified: the server told no sha256 (--no-verify does without)");
  if (std::ranges::equal(*told, ours, {}, lower, lower)) return {};
  return local_failure(
      fmt::format("checksum_mismatch: the server's sha256 is {}, ours is {}", printable(*told), ours));
}

}  // namespace ftpd::client
