"""put with `wait`: the daemon says go on, or no, before the client sends the body."""

import os

from ftpd_harness import Daemon, DaemonTestCase, ReplyAssertions, frame, wait_until
from ftpd_support import hex_digest


class WaitAssertions(ReplyAssertions):
    def ask(self, client, name, size=None, **fields):
        """Sends the first frame of a put with `wait`; the reply to it."""
        header = {"cmd": "put", "filename": name, "wait": True, **fields}
        client.send_frame(header if size is None else {**header, "data_size": size})
        return client.recv_reply()

    def go_on(self, reply, **fields):
        header, body = self.ok(reply)
        self.assertEqual({**header, "body": body},
                         {"ok": True, "continue": True, "more": True, "data_size": 0, **fields, "body": b""})


class Wait(DaemonTestCase, WaitAssertions):
    def test_the_body_is_asked_for_then_taken(self):
        client = self.client()
        for size in (1, 5000, 70000, 3 << 20):
            with self.subTest(size=size):
                content = os.urandom(size)
                self.go_on(self.ask(client, "w", size, digest="sha256", md5=hex_digest("md5", content)))
                client.expect_silence(0.02)
                self.assertNotIn("w", self.daemon.files())
                client.send(content)
                header, _ = self.ok(client.recv_reply())
                self.assertEqual((header["filesize"], header["sha256"]), (size, hex_digest("sha256", content)))
                self.assertNotIn("more", header)
                self.assertNotIn("continue", header)
                self.assertEqual(self.daemon.read("w"), content)
                os.unlink(self.daemon.path("w"))

    def test_every_frame_of_the_answer_has_the_id(self):
        client = self.client()
        self.go_on(self.ask(client, "i", 3, id="abc"), id="abc")
        client.send(b"xyz")
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], "abc")

    def test_an_upload_of_unknown_size(self):
        client = self.client()
        self.go_on(self.ask(client, "u", more=True))
        client.send_frame({"more": True}, b"abc")
        client.send_frame({"sha256": hex_digest("sha256", b"abcdef")}, b"def")
        self.ok(client.recv_reply())
        self.assertEqual(self.daemon.read("u"), b"abcdef")

    def test_a_first_part_that_is_waited_for(self):
        client = self.client()
        self.go_on(self.ask(client, "u2", 3, more=True, filesize=6))
        client.send(b"abc" + frame({}, b"def"))
        self.ok(client.recv_reply())
        self.assertEqual(self.daemon.read("u2"), b"abcdef")

    def test_an_abort_after_go_on(self):
        client = self.client()
        self.go_on(self.ask(client, "off", more=True))
        client.send_frame({"abort": True})
        self.refused(client.recv_reply(), "aborted")
        self.still_works(client)
        self.assertNotIn("off", self.daemon.files())

    def test_a_client_that_does_not_wait_after_all(self):
        client = self.client()
        for size in (0, 10, 100000):
            content = os.urandom(size)
            client.send_frame({"cmd": "put", "filename": "n", "wait": True, "data_size": size}, content)
            frames = client.recv_message()
            self.ok(frames[-1])
            self.assertEqual(frames[-1][0]["filesize"], size)
            self.assertEqual(self.daemon.read("n"), content)

    def test_after_an_error_no_body_follows(self):
        before = {**self.daemon.files(), "there": b"old"}
        self.daemon.write("there", b"old")
        os.makedirs(self.daemon.path("dir"), exist_ok=True)
        os.symlink("there", self.daemon.path("link"))
        client = self.client()
        for code, name, fields in (
                ("exists", "there", {"overwrite": "fail"}), ("bad_request", "../x", {}), ("bad_request", "", {}),
                ("is_directory", "dir", {}), ("not_found", "no/such", {}), ("not_directory", "there/x", {}),
                ("denied", "link", {}), ("bad_request", "b", {"mode": -1}), ("bad_request", "b", {"md5": "zz"}),
                ("bad_request", "b", {"upload": "a/b"}), ("bad_request", "b", {"offset": 5}),
                ("offset_mismatch", "b", {"upload": "none", "offset": 5}), ("bad_request", 5, {}),
                ("bad_request", "b", {"digest": "sha1"})):
            for size in (10, 100000):
                with self.subTest(code=code, name=name, size=size, **fields):
                    self.refused(self.ask(client, name, size, id=size, **fields), code)
                    self.still_works(client)
        self.assertEqual(self.daemon.files(), before)

    def test_after_an_error_of_an_upload_in_frames_the_next_request_is_answered(self):
        client = self.client()
        for size in (None, 10):
            self.refused(self.ask(client, "../x", size, more=True), "bad_request")
            self.still_works(client)

    def test_no_room_is_told_instead_of_go_on(self):
        client = self.client()
        for size in (1 << 50, (1 << 53) - 1):
            header, _ = self.ask(client, "huge", size)
            self.assertIn(header.get("error"), ("no_space", "too_large"))
            self.still_works(client)

    def test_a_name_that_is_taken_after_go_on(self):
        client = self.client()
        self.go_on(self.ask(client, "taken", 3, overwrite="fail"))
        self.daemon.write("taken", b"first")
        client.send(b"abc")
        self.refused(client.recv_reply(), "exists")
        self.still_works(client)
        self.assertEqual(self.daemon.read("taken"), b"first")

    def test_a_wrong_digest_after_go_on(self):
        client = self.client()
        self.go_on(self.ask(client, "sum", 3, md5="0" * 32))
        client.send(b"abc")
        self.refused(client.recv_reply(), "checksum_mismatch")
        self.still_works(client)

    def test_a_resumed_upload_may_wait(self):
        with self.daemon.client() as client:
            self.go_on(self.ask(client, "r", 6, upload="r"))
            client.send(b"abc")
            client.flush()
        wait_until(lambda: self.request({"cmd": "stat", "upload": "r"})[0].get("offset") == 3)
        client = self.client()

        def taken():
            reply = self.ask(client, "r", 3, upload="r", offset=3, filesize=6)
            return None if reply[0].get("error") == "busy" else reply
        self.go_on(wait_until(taken))
        client.send(b"def")
        self.ok(client.recv_reply())
        self.assertEqual(self.daemon.read("r"), b"abcdef")

    def test_behind_other_uploads(self):
        client = self.client()
        data = b"".join(frame({"cmd": "put", "filename": f"p{number}", "id": number}, b"%d" % number * 3000)
                        for number in range(30))
        client.send(data + frame({"cmd": "put", "filename": "p30", "wait": True, "data_size": 4, "id": 30}))
        for number in range(30):
            self.assertEqual(self.ok(client.recv_reply())[0]["id"], number)
        self.go_on(client.recv_reply(), id=30)
        client.send(b"last" + frame({"cmd": "get", "filename": "p30"}))
        self.ok(client.recv_reply())
        self.assertEqual(self.ok(client.recv_reply())[1], b"last")

    def test_a_client_that_leaves_instead(self):
        for leave in ("close", "reset"):
            with self.daemon.client() as client:
                self.go_on(self.ask(client, "left", 10))
                getattr(client, leave)()
        self.ok(self.request({"cmd": "ping"}))
        self.assertNotIn("left", self.daemon.files())


class Limits(DaemonTestCase, WaitAssertions):
    role = {"quota": 100000, "max_file": 60000}

    def test_limits_are_told_instead_of_go_on(self):
        client = self.client()
        self.refused(self.ask(client, "l", 60001), "too_large")
        self.still_works(client)
        self.ok(client.put("half", b"x" * 60000))
        header, _ = self.refused(self.ask(client, "l", 50000), "quota_exceeded")
        self.assertIsInstance(header["need"], int)
        self.still_works(client)
        self.go_on(self.ask(client, "l", 40000))
        client.send(b"y" * 40000)
        self.ok(client.recv_reply())


class Denied(WaitAssertions):
    def test_a_role_that_may_not_write(self):
        with Daemon(role={"allow": ["read"]}) as daemon, daemon.client() as client:
            for size in (None, 10, 1 << 30):
                self.refused(self.ask(client, "d", size), "denied")
                self.still_works(client)
