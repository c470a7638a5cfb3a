"""Digests: announced and checked, asked for and told, never those of something else."""

import os
import threading

from ftpd_harness import DaemonTestCase
from ftpd_support import hex_digest, wait_unstaged

KINDS = ("md5", "sha256")
CONTENT = bytes(range(256)) * 1000 + b"the end"


class Announced(DaemonTestCase):
    def setUp(self):
        super().setUp()
        self.daemon.write("d", b"old")

    def test_a_right_digest_before_the_body(self):
        client = self.client()
        for size in (0, 1, 5000, 256007, 3 << 20):
            content = os.urandom(size)
            for kind in KINDS:
                with self.subTest(size=size, kind=kind):
                    self.ok(client.put("d", content, **{kind: hex_digest(kind, content)}))
                    self.assertEqual(self.daemon.read("d"), content)
            self.ok(client.put("d", content, **{kind: hex_digest(kind, content) for kind in KINDS}))

    def test_upper_case_is_as_good(self):
        client = self.client()
        for kind in KINDS:
            self.ok(client.put("d", CONTENT, **{kind: hex_digest(kind, CONTENT).upper()}))
            self.ok(client.put_parts("d", [CONTENT], last={kind: hex_digest(kind, CONTENT).upper()}))

    def test_a_wrong_digest_keeps_the_old_file_and_the_connection_goes_on(self):
        client = self.client()
        for size in (0, 1, 5000, 256007, 3 << 20):
            content = b"marked" + os.urandom(size)
            for kind in KINDS:
                with self.subTest(size=size, kind=kind):
                    wrong = hex_digest(kind, content + b"x")
                    self.refused(client.put("d", content, **{kind: wrong}), "checksum_mismatch")
                    self.still_works(client)
                    self.refused(client.put_parts("d", [content], last={kind: wrong}), "checksum_mismatch")
                    self.still_works(client)
                    self.refused(client.put("fresh", content, **{kind: wrong}), "checksum_mismatch")
        self.assertEqual(self.daemon.files(), {"d": b"old"})
        wait_unstaged(self.daemon.root, b"marked")

    def test_one_wrong_of_two_is_wrong(self):
        client = self.client()
        right = {kind: hex_digest(kind, CONTENT) for kind in KINDS}
        for kind in KINDS:
            self.refused(client.put("d", CONTENT, **{**right, kind: hex_digest(kind, b"")}), "checksum_mismatch")
            self.refused(client.put_parts("d", [CONTENT], last={**right, kind: hex_digest(kind, b"")}), "checksum_mismatch")
        self.assertEqual(self.daemon.read("d"), b"old")

    def test_what_is_no_digest_is_refused_before_the_body(self):
        client = self.client()
        good = {kind: hex_digest(kind, CONTENT) for kind in KINDS}
        for kind in KINDS:
            for wrong in ("", "0", good[kind][:-1], good[kind] + "0", good[kind][:-1] + "g", " " + good[kind][1:],
                          "0x" + good[kind][2:], 5, None, True, [good[kind]]):
                with self.subTest(kind=kind, wrong=wrong):
                    client.send_frame({"cmd": "put", "filename": "d", "data_size": len(CONTENT), kind: wrong})
                    self.refused(client.recv_reply(), "bad_request")
                    client.send(CONTENT)
                    self.still_works(client)
        self.refused(client.put("d", CONTENT, md5=good["sha256"]), "bad_request")
        self.assertEqual(self.daemon.read("d"), b"old")

    def test_a_digest_in_the_last_frame(self):
        client = self.client()
        for parts in ([], [b""], [b"abc"], [CONTENT], [CONTENT[:100000], b"", CONTENT[100000:]], [b"x" * (1 << 20)] * 3):
            content = b"".join(parts)
            for kind in KINDS:
                with self.subTest(size=len(content), parts=len(parts), kind=kind):
                    header, _ = self.ok(client.put_parts("d", parts, last={kind: hex_digest(kind, content)}, digest="md5"))
                    self.assertEqual(header["md5"], hex_digest("md5", content))
                    self.assertEqual(self.daemon.read("d"), content)

    def test_a_digest_in_the_first_frame_and_another_in_the_last(self):
        client = self.client()
        md5, sha256 = hex_digest("md5", CONTENT), hex_digest("sha256", CONTENT)
        self.ok(client.put_parts("d", [CONTENT], md5=md5, last={"sha256": sha256}))
        self.refused(client.put_parts("d", [CONTENT + b"x"], md5=hex_digest("md5", CONTENT + b"x"),
                                      last={"sha256": sha256}), "checksum_mismatch")
        self.refused(client.put_parts("d", [CONTENT + b"x"], md5=md5,
                                      last={"sha256": hex_digest("sha256", CONTENT + b"x")}), "checksum_mismatch")
        self.assertEqual(self.daemon.read("d"), CONTENT)

    def test_a_size_that_was_announced_and_a_digest_in_the_last_frame(self):
        client = self.client()
        for size in (0, 10, 100000):
            content = os.urandom(size)
            self.ok(client.put_parts("d", [content], filesize=size, last={"sha256": hex_digest("sha256", content)}))
            self.assertEqual(self.daemon.read("d"), content)

    def test_pipelined_uploads_each_have_their_own_digest(self):
        client = self.client()
        contents = [b"%d" % number * (number * 50 + 1) for number in range(200)]
        for number, content in enumerate(contents):
            digest = hex_digest("md5", content if number % 3 else b"other")
            client.send_frame({"cmd": "put", "filename": f"many/{number}", "parents": True, "md5": digest, "id": number},
                              content)
        for number in range(200):
            header, _ = client.recv_reply()
            self.assertEqual((header["id"], header["ok"]), (number, number % 3 != 0))
        self.assertEqual({name for name in self.daemon.files() if name.startswith("many/")},
                         {f"many/{number}" for number in range(200) if number % 3})


class Told(DaemonTestCase):
    def setUp(self):
        super().setUp()
        self.daemon.write("d", CONTENT)
        self.daemon.write("empty", b"")

    def get_with_trailer(self, client, name, kind, **fields):
        """(first header, body, last header)."""
        client.send_frame({"cmd": "get", "filename": name, "digest": kind, "trailer": True, **fields})
        frames = client.recv_message()
        self.ok(frames[0])
        self.assertEqual(frames[-1][1], b"", "the digest comes in a last frame of its own")
        self.assertGreater(len(frames), 1)
        self.assertNotIn(kind, frames[0][0])
        return frames[0][0], b"".join(body for _, body in frames), frames[-1][0]

    def test_put_tells_what_was_asked_and_no_more(self):
        client = self.client()
        for kind, other in (KINDS, KINDS[::-1]):
            header, _ = self.ok(client.put("p", CONTENT, digest=kind))
            self.assertEqual(header[kind], hex_digest(kind, CONTENT))
            self.assertNotIn(other, header)
            header, _ = self.ok(client.put("p", CONTENT, digest=kind, **{other: hex_digest(other, CONTENT)}))
            self.assertEqual(header[kind], hex_digest(kind, CONTENT))
        self.assertFalse(set(KINDS) & set(self.ok(client.put("p", CONTENT))[0]))

    def test_get_tells_it_in_the_header(self):
        client = self.client()
        for kind in KINDS:
            for name, content in (("d", CONTENT), ("empty", b"")):
                header, body = self.ok(client.call("get", name, digest=kind))
                self.assertEqual((header[kind], body), (hex_digest(kind, content), content))
                self.assertNotIn("more", header)
        self.assertFalse(set(KINDS) & set(self.ok(client.call("get", "d"))[0]))

    def test_get_tells_it_in_a_last_frame(self):
        client = self.client()
        self.daemon.write("large", CONTENT * 20)
        for kind in KINDS:
            for name, content in (("d", CONTENT), ("empty", b""), ("large", CONTENT * 20)):
                with self.subTest(kind=kind, name=name):
                    first, body, last = self.get_with_trailer(client, name, kind, id=5)
                    self.assertEqual((last[kind], body), (hex_digest(kind, content), content))
                    self.assertEqual((first["filesize"], first["data_size"]), (len(content), len(content)))
                    self.assertEqual((first["id"], last["id"]), (5, 5))
                    self.assertIs(last["ok"], True)
        self.still_works(client)

    def test_a_range_has_the_digest_of_the_whole_file(self):
        client = self.client()
        size = len(CONTENT)
        for offset, length in ((0, 0), (0, 1), (1, size), (size - 1, 1), (size, 5), (1000, 200000), (size // 2, None)):
            fields = {"offset": offset} | ({} if length is None else {"length": length})
            expected = CONTENT[offset:] if length is None else CONTENT[offset:offset + length]
            for kind in KINDS:
                with self.subTest(kind=kind, **fields):
                    header, body = self.ok(client.call("get", "d", digest=kind, **fields))
                    self.assertEqual((header[kind], body), (hex_digest(kind, CONTENT), expected))
                    _, body, last = self.get_with_trailer(client, "d", kind, **fields)
                    self.assertEqual((last[kind], body), (hex_digest(kind, CONTENT), expected))

    def test_a_range_of_a_large_file(self):
        content = os.urandom(9 << 20)
        self.daemon.write("nine", content)
        client = self.client()
        for offset in (0, 5, 4 << 20, (9 << 20) - 3):
            _, body, last = self.get_with_trailer(client, "nine", "sha256", offset=offset, length=1 << 20)
            self.assertEqual((last["sha256"], body),
                             (hex_digest("sha256", content), content[offset:offset + (1 << 20)]))

    def test_an_error_is_one_frame_with_or_without_a_trailer(self):
        client = self.client()
        for fields in ({}, {"trailer": True}):
            self.refused(client.call("get", "missing", digest="md5", **fields), "not_found")
            self.refused(client.call("get", "d", digest="md5", offset=len(CONTENT) + 1, **fields), "bad_request")
            self.still_works(client)

    def test_an_unknown_digest_is_refused(self):
        client = self.client()
        for kind in ("sha1", "", "MD5", "sha256 ", 5, None, True, ["md5"]):
            with self.subTest(kind=kind):
                self.refused(client.call("get", "d", digest=kind), "bad_request")
                self.refused(client.call("get", "d", digest=kind, trailer=True), "bad_request")
                self.refused(client.call("sum", "d", digest=kind), "bad_request")
                self.refused(client.put("d", b"x", digest=kind), "bad_request")
                self.still_works(client)
        self.refused(client.call("get", "d", digest="md5", trailer="yes"), "bad_request")
        self.assertEqual(self.daemon.read("d"), CONTENT)


class Sum(DaemonTestCase):
    def sum(self, name, kind="sha256", client=None):
        return self.ok((client or self).request({"cmd": "sum", "filename": name, "digest": kind}))[0][kind]

    def test_both_kinds_of_files_of_each_size(self):
        client = self.client()
        for size in (0, 1, 4096, 256007, (17 << 20) + 1):
            content = os.urandom(size)
            self.daemon.write("s", content)
            for kind in KINDS:
                header, body = self.ok(client.call("sum", "s", digest=kind))
                self.assertEqual((header[kind], body), (hex_digest(kind, content), b""))
                self.assertFalse(set(KINDS) - {kind} & set(header))

    def test_what_has_no_digest(self):
        os.makedirs(self.daemon.path("dir"))
        os.symlink("s", self.daemon.path("link"))
        self.daemon.write("s", b"x")
        client = self.client()
        for name, code in (("dir", "is_directory"), ("missing", "not_found"), ("missing/x", "not_found"),
                           ("link", "denied"), ("s/x", "not_directory"), ("../x", "bad_request"), (".", "bad_request"),
                           (".ftpd", "bad_request")):
            with self.subTest(name=name):
                self.refused(client.call("sum", name, digest="md5"), code)
        self.refused(client.call("sum", "s"), "bad_request")
        self.refused(client.call("sum", digest="md5"), "bad_request")
        self.still_works(client)

    def test_a_name_in_base64(self):
        with open(os.path.join(os.fsencode(self.daemon.root), b"\xff"), "wb") as file:
            file.write(b"raw")
        header, _ = self.ok(self.request({"cmd": "sum", "filename_base64": "/w==", "digest": "md5"}))
        self.assertEqual(header["md5"], hex_digest("md5", b"raw"))

    def test_a_changed_file_has_a_new_digest_at_once(self):
        client = self.client()
        path = self.daemon.write("c", b"")
        for number in range(100):
            content = b"%06d" % number  # same size, same inode, and quicker than many a clock ticks
            with open(path, "r+b") as file:
                file.write(content)
            self.assertEqual(self.sum("c", client=client), hex_digest("sha256", content))
            self.assertEqual(client.call("get", "c", digest="sha256")[0]["sha256"], hex_digest("sha256", content))

    def test_an_old_file_that_changes_has_a_new_digest(self):
        path = self.daemon.write("o", b"first")
        for mtime, content in ((1000, b"first"), (1001, b"other"), (1001, b"longer"), (1000, b"third"), (1000.5, b"fifth")):
            with open(path, "wb") as file:
                file.write(content)
            os.utime(path, (mtime, mtime))
            for kind in KINDS * 2:  # the second time perhaps from what was kept
                self.assertEqual(self.sum("o", kind), hex_digest(kind, content))

    def test_a_replaced_file_has_its_own_digest_though_size_and_time_are_the_same(self):
        client = self.client()
        for content in (b"first", b"other", b"third"):
            self.ok(client.put("r", content, mtime=1000))
            for _ in range(2):
                self.assertEqual(self.sum("r", client=client), hex_digest("sha256", content))

    def test_a_digest_told_by_put_is_that_of_the_next_sum(self):
        client = self.client()
        for mtime in (None, 1000):
            fields = {} if mtime is None else {"mtime": mtime}
            told = self.ok(client.put("t", CONTENT, digest="sha256", **fields))[0]["sha256"]
            self.assertEqual(self.sum("t", client=client), told)
            with open(self.daemon.path("t"), "r+b") as file:
                file.write(b"X")
            self.assertEqual(self.sum("t", client=client), hex_digest("sha256", b"X" + CONTENT[1:]))

    def test_a_file_that_is_replaced_meanwhile_has_the_old_or_the_new_digest(self):
        versions = [bytes([65 + number]) * (4 << 20) for number in range(4)]
        expected = {hex_digest("md5", version) for version in versions}
        self.daemon.write("w", versions[0])
        writer, reader = self.client(), self.client()

        def write():
            for number in range(20):
                self.ok(writer.put("w", versions[number % 4]))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            seen = {self.sum("w", "md5", reader) for _ in range(20)}
        finally:
            thread.join()
        self.assertLessEqual(seen, expected)
        self.assertEqual(self.sum("w", "md5", reader), hex_digest("md5", versions[19 % 4]))

    def test_what_was_kept_does_not_travel_with_a_renamed_over_file(self):
        client = self.client()
        for content in (b"aaaa", b"bbbb"):
            path = self.daemon.write("tmp", content)
            os.utime(path, (500, 500))
            self.sum("tmp")
            os.rename(path, self.daemon.path("kept"))
            self.assertEqual(self.sum("kept", client=client), hex_digest("sha256", content))
