// The numbers of the protocol.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ftpd::limits {

inline constexpr int protocol_version = 1;

/// A frame's length field: int32, little-endian, signed.
inline constexpr std::size_t length_size = 4;

/// A header's size where the settings say nothing, and the most where the text dialect is on: below
/// 8192 the third byte of a length is 0x00, which no text has.
inline constexpr std::uint32_t default_max_header = 8191;

/// The most that `max_header` may be set to.
inline constexpr std::uint32_t largest_max_header = 1U << 20U;

/// Depth of a header; the header object itself is 1.
inline constexpr unsigned max_nesting = 32;

/// Sizes (`data_size`, `filesize`, `offset`, …) are JSON integers from 0 to this.
inline constexpr std::uint64_t max_size = (std::uint64_t{1} << 53U) - 1;

/// Bytes of a string `id`.
inline constexpr std::size_t max_id = 64;

/// Bytes of a path in all, and of one component.
inline constexpr std::size_t max_path = 4096;
inline constexpr std::size_t max_component = 255;

/// Bytes that the daemon reads ahead while it answers.
inline constexpr std::size_t read_ahead = 16 * 1024;

}  // namespace ftpd::limits
