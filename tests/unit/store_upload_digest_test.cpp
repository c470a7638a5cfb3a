// The digests of an upload: computed, compared, kept.
#include <sys/xattr.h>

#include <array>
#include <cerrno>

#include "base/unique_fd.h"
#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

TEST_CASE("digests are computed as the bytes pass, those that were asked for") {
  const Place place;
  const auto store = place.open();
  const std::string content(300000, 'c');
  UploadRequest request = sized("f", content.size());
  request.compute.add(DigestKind::md5);
  request.compute.add(DigestKind::sha256);
  const auto stored = put(*store, request, content);
  REQUIRE(stored.has_value());
  CHECK(stored->size == content.size());
  CHECK(stored->digests.of(DigestKind::md5) == digest_of(DigestKind::md5, content));
  CHECK(stored->digests.of(DigestKind::sha256) == digest_of(DigestKind::sha256, content));
  request.compute = DigestKinds(DigestKind::sha256);
  const auto small = store->put_small(request, content);
  REQUIRE(small.has_value());
  CHECK(small->size == content.size());
  CHECK(small->digests.of(DigestKind::sha256) == digest_of(DigestKind::sha256, content));
  CHECK_FALSE(small->digests.of(DigestKind::md5).has_value());
  CHECK(put(*store, request_for("f"), content)->digests.empty());
}

TEST_CASE("a file whose digest is not the one announced does not appear") {
  const Place place;
  const auto store = place.open();
  write_file(place.at("f"), "old");
  const std::string right = digest_of(DigestKind::sha256, "new");
  const std::string wrong = digest_of(DigestKind::sha256, "other");
  for (const bool late : {false, true}) {
    CAPTURE(late);
    UploadRequest request = request_for("f");
    request.expected.set(DigestKind::md5, digest_of(DigestKind::md5, "new"));
    if (!late) request.expected.set(DigestKind::sha256, wrong);
    auto upload = store->begin_upload(request);
    REQUIRE(upload.has_value());
    REQUIRE(upload->write(std::string_view("new")).has_value());
    if (late) upload->expect(DigestKind::sha256, wrong);
    const auto stored = upload->commit();
    REQUIRE_FALSE(stored.has_value());
    CHECK(stored.error().reason == Reason::checksum);
    CHECK(stored.error().text.find(wrong) != std::string::npos);
    CHECK(stored.error().text.find(right) != std::string::npos);
    if (late) continue;
    const auto small = store->put_small(request, std::string_view("new"));
    REQUIRE_FALSE(small.has_value());
    CHECK(small.error().text == stored.error().text);
  }
  CHECK(read_file(place.at("f")) == "old");
  CHECK(staged_files(place) == 0);
  UploadRequest request = request_for("f");
  request.expected.set(DigestKind::sha256, right);
  CHECK(put(*store, request, "new").has_value());
  CHECK(store->put_small(request, std::string_view("new")).has_value());
  CHECK(read_file(place.at("f")) == "new");
}

TEST_CASE("a digest that is told late is computed from the file, a piece at a time") {
  const Place place;
  const auto store = place.open();
  const std::string content(3000000, 'c');
  const std::size_t before = open_descriptors();
  {
    auto upload = store->begin_upload(request_for("f"));
    REQUIRE(upload.has_value());
    CHECK(*upload->catch_up(1));  // nothing is wanted
    REQUIRE(upload->write(std::string_view(content).substr(0, 2000000)).has_value());
    upload->expect(DigestKind::md5, digest_of(DigestKind::md5, content));
    CHECK_FALSE(*upload->catch_up(100000));
    REQUIRE(upload->write(std::string_view(content).substr(2000000)).has_value());  // and it begins again
    unsigned steps = 1;
    while (!*upload->catch_up(1000000)) ++steps;
    CHECK(steps >= 3);
    CHECK(steps <= 5);
    upload->expect(DigestKind::sha256, digest_of(DigestKind::sha256, content));
    CHECK_FALSE(*upload->catch_up(1000000));
    CHECK(upload->commit().has_value());  // does what is left
  }
  CHECK(read_file(place.at("f")) == content);
  CHECK(open_descriptors() == before);
}

TEST_CASE("bytes from a pipe are hashed on their way, also where a reader of it would wait") {
  const Place place;
  const auto store = place.open();
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd from{ends[0]};
  const UniqueFd into{ends[1]};
  UploadRequest request = request_for("f");
  request.compute = DigestKinds(DigestKind::sha256);
  auto upload = store->begin_upload(std::move(request));
  REQUIRE(upload.has_value());
  CHECK(*upload->write_from_pipe(from.get(), 100) == 0);
  const std::string body(40000, 'b');
  REQUIRE(::write(into.get(), body.data(), body.size()) == 40000);
  CHECK(*upload->write_from_pipe(from.get(), 39990) == 39990);
  CHECK(*upload->write_from_pipe(from.get(), 1000) == 10);
  REQUIRE(upload->write(std::string_view("tail")).has_value());
  const auto stored = upload->commit();
  REQUIRE(stored.has_value());
  CHECK(stored->digests.of(DigestKind::sha256) == digest_of(DigestKind::sha256, body + "tail"));
  CHECK(read_file(place.at("f")) == body + "tail");
}

TEST_CASE("what a commit knows of a file's digests is kept with it") {
  const Place place;
  const auto store = place.open();
  UploadRequest request = request_for("f");
  request.mtime = timespec{1000, 0};  // old enough to show any change
  request.compute = DigestKinds(DigestKind::md5);
  request.expected.set(DigestKind::sha256, digest_of(DigestKind::sha256, "new"));
  for (const bool small : {false, true}) {
    CAPTURE(small);
    REQUIRE((small ? store->put_small(request, std::string_view("new")) : put(*store, request, "new"))
                .has_value());
    const auto file = store->open_file(path("f"));
    REQUIRE(file.has_value());
    CHECK(file->status.st_size == 3);
    char probe[256];
    if (::fgetxattr(file->file->get(), "user.ftpd.md5", probe, sizeof probe) < 0 && errno == ENOTSUP) return;
    CHECK(kept_digest(file->file->get(), DigestKind::md5, file->status) == digest_of(DigestKind::md5, "new"));
    CHECK(kept_digest(file->file->get(), DigestKind::sha256, file->status) ==
          digest_of(DigestKind::sha256, "new"));
    std::filesystem::remove(place.at("f"));
  }
}
