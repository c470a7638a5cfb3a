// What a put asks for, read and checked.
#pragma once

#include "server/fields.h"
#include "server/operation.h"
#include "store/upload.h"

namespace ftpd {

struct PutRequest {
  UploadRequest upload;
  std::optional<DigestKind> digest;  // to be told in the reply
  bool wait = false;                 // the client sends the body when it is told to
};

[[nodiscard]] Read<PutRequest> read_put(const Request& request, const Caller& caller);

}  // namespace ftpd
