// What the tests of held uploads share: one key, and what is held under it.
#pragma once

#include "unit/store_support.h"

namespace ftpd::test {

inline const UploadKey key{"lab\nalice", "one"};

inline UploadRequest keyed(std::string_view name, std::optional<std::uint64_t> offset = {},
                           std::optional<std::uint64_t> size = {}) {
  UploadRequest request = request_for(name);
  request.held = key;
  request.offset = offset;
  request.size = size;
  return request;
}

inline Upload begin(Store& store, UploadRequest request) {
  auto upload = store.begin_upload(std::move(request));
  REQUIRE_MESSAGE(upload.has_value(), upload.error().text);
  return std::move(*upload);
}

/// Breaks off with `bytes` written.
inline void leave(Store& store, UploadRequest request, std::string_view bytes) {
  auto upload = begin(store, std::move(request));
  REQUIRE(upload.write(bytes).has_value());
}

inline Error refusal(Store& store, UploadRequest request) {
  auto upload = store.begin_upload(std::move(request));
  REQUIRE_FALSE(upload.has_value());
  return std::move(upload.error());
}

inline std::uint64_t held_size(const Store& store, const UploadKey& of = key) {
  const auto held = store.held(of);
  if (held) return held->size;
  CHECK(held.error().reason == Reason::not_found);
  return 0;
}

/// The directory of what is held; there is one.
inline std::string held_directory(const Place& place) {
  std::string found;
  for (const auto& entry : std::filesystem::directory_iterator(place.at(".ftpd"))) {
    if (entry.path().filename().string().starts_with("held-")) {
      CHECK(found.empty());
      found = entry.path();
    }
  }
  return found;
}
inline std::string held_path(const Place& place) {
  for (const auto& entry : std::filesystem::directory_iterator(held_directory(place))) return entry.path();
  return {};
}

}  // namespace ftpd::test
