"""Uploads that go on where they broke off: by `upload`, `offset` and a digest that tells the truth."""

import os
import random
import signal

from ftpd_harness import DaemonTestCase, ReplyAssertions, frame, wait_until
from ftpd_support import hex_digest, stop_process, wait_unstaged

MIB = 1 << 20


class ResumeAssertions(ReplyAssertions):
    """How tests speak about what is held."""

    def held(self, daemon, upload="u", **fields):
        """The reply to a stat of the upload, or None where nothing is held."""
        with daemon.client() as client:
            header, _ = client.call("stat", upload=upload, **fields)
        if header["ok"]:
            self.assertIsInstance(header["offset"], int)
            return header
        self.assertEqual(header["error"], "not_found", header)
        return None

    def cut_off(self, daemon, content, sent, name="f", upload="u", how="close", **fields):
        """Begins an upload of `content` and breaks the connection after `sent` bytes of it."""
        with daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": name, "upload": upload, "data_size": len(content), **fields},
                              content[:sent])
            client.flush()
            client.reset() if how == "reset" else client.close()

    def wait_held(self, daemon, sent, name="f", upload="u"):
        """Until the daemon holds `sent` bytes and has seen the break of their connection."""
        with daemon.client() as client:
            if sent:  # before we ask by a put, which would itself be in the way of one that only begins
                wait_until(lambda: client.call("stat", upload=upload)[0].get("offset") == sent,
                           what=lambda: f"{sent}: {client.call('stat', upload=upload)[0]}")

            def reply():
                return client.put(name, b"", upload=upload, offset=1 << 40)[0]
            wait_until(lambda: reply().get("offset") == sent, what=reply)  # `busy` has none

    def put_rest(self, client, content, offset, name="f", upload="u", **fields):
        return client.put(name, content[offset:], upload=upload, offset=offset, **fields)

    def resume(self, daemon, content, offset, **fields):
        """The rest on a new connection, once the daemon has seen the break of the last one."""
        self.wait_held(daemon, offset, fields.get("name", "f"), fields.get("upload", "u"))
        with daemon.client() as client:
            return self.put_rest(client, content, offset, **fields)


class Resume(DaemonTestCase, ResumeAssertions):
    def setUp(self):
        super().setUp()
        self.content = os.urandom(300000)
        with self.daemon.client() as client:  # what a former test held is called off
            client.put_parts("f", [b"x"], upload="u", last={"abort": True})
        if os.path.exists(self.daemon.path("f")):
            os.unlink(self.daemon.path("f"))

    def hold(self, sent=100000, **fields):
        """Leaves `sent` bytes of the content held."""
        self.cut_off(self.daemon, self.content, sent, **fields)
        self.wait_held(self.daemon, sent)

    def test_a_connection_that_breaks_anywhere_is_resumed(self):
        content = os.urandom(3 * MIB)
        chance = random.Random(20240601)
        points = [0, 1, 4095, 65536, 65537, MIB, 3 * MIB - 1] + [chance.randrange(3 * MIB) for _ in range(13)]
        for number, point in enumerate(points):
            upload = f"cut-{number}"
            with self.subTest(point=point):
                self.cut_off(self.daemon, content, point, name=upload, upload=upload)
                self.wait_held(self.daemon, point, upload, upload)
                if point:
                    header = self.held(self.daemon, upload, digest="sha256")
                    self.assertEqual(header["sha256"], hex_digest("sha256", content[:point]))
                header, _ = self.ok(self.resume(
                    self.daemon, content, point, name=upload, upload=upload, filesize=len(content), digest="sha256",
                    md5=hex_digest("md5", content)))
                self.assertEqual((header["filesize"], header["sha256"]), (len(content), hex_digest("sha256", content)))
                self.assertEqual(self.daemon.read(upload), content)
                self.assertIsNone(self.held(self.daemon, upload))

    def test_one_upload_that_breaks_many_times(self):
        content = os.urandom(2 * MIB)
        chance = random.Random(7)
        offset = 0
        for turn in range(12):
            step = chance.randrange(1, 150000)
            with self.daemon.client() as client:
                client.send_frame({"cmd": "put", "filename": "f", "upload": "u", "offset": offset,
                                   "data_size": len(content) - offset}, content[offset:offset + step])
                client.flush()
                (client.reset if turn % 2 else client.close)()
            offset += step
            self.wait_held(self.daemon, offset)
            self.assertEqual(self.held(self.daemon, digest="md5")["md5"], hex_digest("md5", content[:offset]))
            self.assertNotIn("f", self.daemon.files())
        self.ok(self.resume(self.daemon, content, offset, sha256=hex_digest("sha256", content)))
        self.assertEqual(self.daemon.read("f"), content)

    def test_what_is_held_is_seen_by_nobody(self):
        self.daemon.write("f", b"old")
        self.hold()
        for recursive in (False, True):
            _, body = self.ok(self.request({"cmd": "ls", "filename": ".", "recursive": recursive}))
            self.assertEqual(body.count(b"\n"), len(self.daemon.files()), body)
            self.assertNotIn(b".ftpd", body)
        self.assertEqual(self.request({"cmd": "get", "filename": "f"})[1], b"old")
        self.ok(self.resume(self.daemon, self.content, 100000))
        self.assertEqual(self.daemon.read("f"), self.content)

    def test_mode_and_time_are_those_of_the_put_that_ends_it(self):
        self.hold(mode=0o644, mtime=5)
        self.ok(self.resume(self.daemon, self.content, 100000, mode=0o600, mtime=77.5))
        status = os.stat(self.daemon.path("f"))
        self.assertEqual((status.st_mode & 0o7777, status.st_mtime), (0o600, 77.5))

    def test_without_an_offset_it_begins_anew(self):
        self.hold()
        other = b"quite another content"
        with self.daemon.client() as client:
            self.ok(client.put("f", other, upload="u", sha256=hex_digest("sha256", other)))
        self.assertEqual(self.daemon.read("f"), other)
        self.assertIsNone(self.held(self.daemon))

    def test_without_an_offset_what_was_held_is_gone_though_it_breaks_again(self):
        self.hold()
        other = os.urandom(50000)
        self.cut_off(self.daemon, other, 20000)
        self.wait_held(self.daemon, 20000)
        self.assertEqual(self.held(self.daemon, digest="md5")["md5"], hex_digest("md5", other[:20000]))

    def test_a_wrong_offset_is_told_with_the_right_one(self):
        self.hold()
        client = self.client()
        for offset in (0, 1, 99999, 100001, 299999, 2**53 - 300000):
            with self.subTest(offset=offset):
                header, _ = self.refused(client.put("f", b"x" * 1000, upload="u", offset=offset), "offset_mismatch")
                self.assertEqual(header["offset"], 100000)
                self.still_works(client)
        self.ok(self.put_rest(client, self.content, 100000, sha256=hex_digest("sha256", self.content)))

    def test_an_offset_where_nothing_is_held(self):
        client = self.client()
        header, _ = self.refused(client.put("f", b"x" * 1000, upload="fresh", offset=5), "offset_mismatch")
        self.assertEqual(header["offset"], 0)
        self.still_works(client)
        self.ok(client.put("f", b"abc", upload="fresh", offset=0))
        self.assertEqual(self.daemon.read("f"), b"abc")

    def test_another_name_is_refused_and_what_is_held_stays(self):
        self.hold()
        client = self.client()
        self.refused(self.put_rest(client, self.content, 100000, name="g"), "bad_request")
        self.still_works(client)
        self.ok(self.put_rest(client, self.content, 100000))
        self.assertNotIn("g", self.daemon.files())

    def test_two_connections_at_once_are_one_too_many(self):
        first, second = self.client(), self.client()
        first.send_frame({"cmd": "put", "filename": "f", "upload": "u", "data_size": 300000}, self.content[:9])
        first.let_peer_read(1)
        for fields in ({}, {"offset": 9}):
            header, _ = self.refused(second.put("f", b"x" * 1000, upload="u", **fields), "busy")
            self.assertIsInstance(header["retry_after_ms"], int)
            self.still_works(second)
        self.ok(second.put("f2", b"x", upload="another"))
        first.send(self.content[9:])
        self.ok(first.recv_reply())
        self.assertEqual(self.daemon.read("f"), self.content)
        self.ok(second.put("f", b"x", upload="u"))

    def test_names_of_uploads(self):
        client = self.client()
        for upload in ("a", "Z_9-", "-", "x" * 64):
            self.ok(client.put("f", b"abc", upload=upload))
        for upload in ("", "x" * 65, "a/b", "..", "a.b", "a b", "\u00e9", "a\n", "a\0", 5, None, True, ["a"]):
            with self.subTest(upload=upload):
                self.refused(client.put("n", b"abc", upload=upload), "bad_request")
                self.refused(client.call("stat", upload=upload), "bad_request")
                self.still_works(client)
        self.assertNotIn("n", self.daemon.files())

    def test_offset_and_its_companions(self):
        client = self.client()
        self.refused(client.put("n", b"abc", offset=3), "bad_request")
        self.refused(client.put("n", b"abc", offset=0), "bad_request")
        for offset in (-1, 1.5, "0", None, 2**53):
            self.refused(client.put("n", b"abc", upload="u", offset=offset), "bad_request")
            self.still_works(client)
        self.assertNotIn("n", self.daemon.files())
        for fields in ({"filesize": 6}, {}):
            with self.subTest(fields=fields), self.daemon.client() as other:
                other.send_frame({"cmd": "put", "filename": "n", "upload": "u", "offset": 3, **fields})
                self.refused(other.recv_reply(), "bad_frame")
                other.expect_closed()

    def test_a_total_that_is_not_offset_and_rest_stores_nothing(self):
        self.hold()
        client = self.client()
        for total in (0, 200000, 299999, 300001):
            with self.subTest(total=total):
                self.refused(self.put_rest(client, self.content, 100000, filesize=total), "bad_request")
                self.still_works(client)
        self.assertNotIn("f", self.daemon.files())
        self.assertEqual(self.held(self.daemon)["offset"], 100000)
        self.ok(self.put_rest(client, self.content, 100000, filesize=300000))

    def test_the_rest_may_come_in_frames(self):
        self.hold()
        client = self.client()
        parts = [self.content[100000:150000], self.content[150000:]]
        client.send_frame({"cmd": "put", "filename": "f", "upload": "u", "offset": 100000, "filesize": 300000,
                           "data_size": 50000, "more": True}, parts[0])
        client.send_frame({"more": True}, parts[1])
        client.send_frame({"sha256": hex_digest("sha256", self.content)})
        self.assertEqual(self.ok(client.recv_reply())[0]["filesize"], 300000)
        self.assertEqual(self.daemon.read("f"), self.content)

    def test_an_upload_of_unknown_size_is_held_too(self):
        with self.daemon.client() as client:
            client.send(frame({"cmd": "put", "filename": "f", "upload": "u", "more": True, "data_size": 70000},
                              self.content[:70000]))
            client.send(frame({"more": True, "data_size": 70000}, self.content[70000:100000]))
        self.wait_held(self.daemon, 100000)
        self.ok(self.resume(self.daemon, self.content, 100000, md5=hex_digest("md5", self.content)))

    def test_an_end_between_two_frames_keeps_all_that_came(self):
        for size in (1, 70000):
            upload = f"between-{size}"
            with self.subTest(size=size):
                with self.daemon.client() as client:
                    self.ok(client.call("ping"))
                    stop_process(self.daemon.pid)  # so that content and end are there together
                    try:
                        client.send_frame({"cmd": "put", "filename": "f", "upload": upload, "more": True,
                                           "data_size": size}, self.content[:size])
                        client.close()
                    finally:
                        os.kill(self.daemon.pid, signal.SIGCONT)
                self.wait_held(self.daemon, size, upload=upload)
                self.assertEqual(self.held(self.daemon, upload, digest="md5")["md5"],
                                 hex_digest("md5", self.content[:size]))

    def test_an_empty_rest(self):
        with self.daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": "f", "upload": "u", "more": True, "data_size": 300000},
                              self.content)
            client.let_peer_read(1)
        self.wait_held(self.daemon, 300000)
        self.ok(self.resume(self.daemon, self.content, 300000, filesize=300000))
        self.assertEqual(self.daemon.read("f"), self.content)

    def test_what_drops_what_is_held(self):
        client = self.client()
        self.hold()
        client.send_frame({"cmd": "put", "filename": "f", "upload": "u", "offset": 100000, "data_size": 10, "more": True},
                          b"0123456789")
        client.send_frame({"abort": True})
        self.refused(client.recv_reply(), "aborted")
        self.assertIsNone(self.held(self.daemon))
        self.hold()
        self.refused(self.put_rest(client, self.content, 100000, sha256="0" * 64), "checksum_mismatch")
        self.assertIsNone(self.held(self.daemon))
        wait_unstaged(self.daemon.root, self.content[:1000])

    def test_an_existing_name_is_refused_and_what_is_held_stays(self):
        self.hold()
        self.daemon.write("f", b"came between")
        client = self.client()
        self.refused(self.put_rest(client, self.content, 100000, overwrite="fail"), "exists")
        self.still_works(client)
        self.assertEqual(self.daemon.read("f"), b"came between")
        self.ok(self.resume(self.daemon, self.content, 100000))

    def test_a_refused_digest_kind_of_a_stat(self):
        self.hold()
        self.refused(self.request({"cmd": "stat", "upload": "u", "digest": "sha1"}), "bad_request")
