// Small conversions of text: what people read and what names and options are made of. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ftpd::client {

/// `text` with control characters (C0, DEL, C1) and bytes that are not UTF-8 as '?': a server's bytes
/// can neither move the cursor nor forge a line.
[[nodiscard]] std::string printable(std::string_view text);

/// UTF-8 without control characters: may travel as `filename`; else as `filename_base64`.
[[nodiscard]] bool is_plain_name(std::string_view name);

[[nodiscard]] std::string base64(std::string_view bytes);
/// Standard alphabet, padding required. Nothing where it is malformed.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

/// 999 B, 1.5 KiB, 23.4 MiB.
[[nodiscard]] std::string human_size(std::uint64_t bytes);
/// 0:07, 12:34, 3:04:05.
[[nodiscard]] std::string human_time(std::chrono::seconds span);
/// 2026-01-31 23:59:59, local time; empty where the C library can't say.
[[nodiscard]] std::string human_date(double seconds_since_1970);
/// drwxr-x--- for a type as the protocol names it ("directory") and permission bits.
[[nodiscard]] std::string human_mode(std::string_view type, std::uint64_t mode);

/// "250ms", "5s", "1m", "2h", or a number of seconds. Nothing where it is malformed, zero or beyond 2^31
/// seconds.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_span(std::string_view text);

/// 11 for "SIGSEGV", 37 for "SIGRTMIN+3"; 0 for a name that is not known here.
[[nodiscard]] int signal_number(std::string_view name);

/// A word that a POSIX shell reads as `word`: quoted only where it must be.
[[nodiscard]] std::string shell_quoted(std::string_view word);

}  // namespace ftpd::client
