"""Uploads that go on after the daemon itself ended, and those that nobody goes on with."""

import os
import random

from ftpd_harness import Daemon, wait_until
from ftpd_support import hex_digest, wait_unstaged
from test_resume import MIB, ResumeAssertions


class Restart(ResumeAssertions):
    def test_what_is_held_survives_kill_9_at_any_point(self):
        content = os.urandom(3 * MIB)
        chance = random.Random(42)
        with Daemon() as daemon:
            for turn in range(6):
                name = f"k{turn}"
                with daemon.client() as client:
                    client.send_frame({"cmd": "put", "filename": name, "upload": name, "data_size": len(content)})
                    client.send(content[:chance.randrange(1, len(content))])
                    daemon.kill()
                daemon.start()
                header = self.held(daemon, name, digest="sha256")
                offset = header["offset"] if header else 0
                if header:
                    self.assertEqual(header["sha256"], hex_digest("sha256", content[:offset]))
                self.assertEqual(daemon.files(), {})
                with daemon.client() as client:
                    self.ok(self.put_rest(client, content, offset, name, name, md5=hex_digest("md5", content)))
                self.assertEqual(daemon.read(name), content)
                os.unlink(daemon.path(name))

    def test_what_was_told_as_held_is_held_after_kill_9_and_after_a_stop(self):
        content = os.urandom(MIB)
        with Daemon() as daemon:
            for end in (daemon.kill, daemon.stop):
                self.cut_off(daemon, content, 500000)
                self.wait_held(daemon, 500000)
                end()
                daemon.start()
                self.assertEqual(self.held(daemon, digest="md5")["md5"], hex_digest("md5", content[:500000]))
                with daemon.client() as client:
                    self.refused(self.put_rest(client, content, 499999), "offset_mismatch")
                    self.refused(self.put_rest(client, content, 500000, name="other"), "bad_request")
                    self.ok(self.put_rest(client, content, 500000))


class Expiry(ResumeAssertions):
    def test_an_unfinished_upload_expires(self):
        marked = b"marked" * 20000
        with Daemon(role={"partial_ttl": "1s"}) as daemon:
            self.cut_off(daemon, marked + b"rest", len(marked))
            self.wait_held(daemon, len(marked))
            wait_until(lambda: self.held(daemon) is None, what="the upload expires")
            wait_unstaged(daemon.root, b"marked")
            with daemon.client() as client:
                header, _ = self.refused(client.put("f", b"rest", upload="u", offset=len(marked)), "offset_mismatch")
                self.assertEqual(header["offset"], 0)

    def test_an_upload_under_way_does_not_expire(self):
        with Daemon(role={"partial_ttl": "1s"}) as daemon, daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": "slow", "upload": "slow", "data_size": 100000}, b"x" * 99999)
            client.let_peer_read(1)
            self.cut_off(daemon, b"y" * 1000, 500)
            self.wait_held(daemon, 500)
            wait_until(lambda: self.held(daemon) is None, what="an upload that nobody sends expires")
            client.send(b"x")
            self.ok(client.recv_reply())
            self.assertEqual(daemon.read("slow"), b"x" * 100000)
