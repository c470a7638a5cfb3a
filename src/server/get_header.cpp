// The first header of a reply to get: new and old spellings, within max_header.
#include "server/get_header.h"

#include "ftpd/limits.h"
#include "server/fields.h"
#include "server/reply.h"

namespace ftpd {
namespace {

enum class Names : std::uint8_t { both, new_ones, none };

std::string with(const GetHeader& header, Names names) {
  JsonObject reply = begin_reply(header.id);
  if (names != Names::none) add_name(reply, header.path);
  reply.add("filesize", header.file.size);
  if (names == Names::both && header.path.is_text()) {
    reply.add("file_name", header.path.text());
    reply.add("file_size", header.file.size);
  }
  reply.add("mtime", seconds_of(header.file.mtime));
  reply.add("mode", std::uint64_t{header.file.mode});
  add_digests(reply, header.digests);
  if (header.last == GetHeader::Last::no) reply.add("more", true);
  return finish_reply(std::move(reply), header.size);
}

}  // namespace

std::string get_header(const GetHeader& header, std::size_t max_header) {
  std::string frame;
  for (const Names names : {Names::both, Names::new_ones, Names::none}) {
    frame = with(header, names);
    if (frame.size() <= max_header + limits::length_size) break;
  }
  return frame;
}

}  // namespace ftpd
