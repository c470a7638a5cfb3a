// put: a file comes in, staged, and appears under its name whole or never.
#include "server/operations.h"
#include "server/put_base.h"

namespace ftpd {

Made make_put(const Request& request, Host& host) {
  auto tar = tar_format(request.header);
  if (!tar) return std::unexpected(std::move(tar.error()));
  if (*tar) return make_put_tree(request, host);
  auto put = read_put(request, host.caller());
  if (!put) return std::unexpected(std::move(put.error()));
  const bool small = !request.frame.more && request.frame.body_size <= small_put_size;
  return small && !put->wait && !put->upload.held ? make_small_put(request, host, std::move(*put))
                                                  : make_large_put(request, host, std::move(*put));
}

}  // namespace ftpd
