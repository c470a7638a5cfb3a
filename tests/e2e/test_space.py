"""Room: quotas, the largest file, df, and a disk that is full."""

import os

from ftpd_harness import Daemon, DaemonTestCase, ReplyAssertions, wait_until
from ftpd_support import hex_digest, small_file_system, wait_unstaged

MIB = 1 << 20
KIB = 1 << 10


class RoomAssertions(ReplyAssertions):
    def no_room(self, reply, code="quota_exceeded"):
        header, _ = self.refused(reply, code)
        for key in ("need", "free"):
            self.assertIsInstance(header.get(key), int, header)
        self.assertGreater(header["need"], header["free"])
        self.assertIsInstance(header["retry"], bool)
        return header

    def announce(self, client, name, size, **fields):
        """The first frame of a put alone, its body not yet: there is a reply only if it is refused."""
        client.send_frame({"cmd": "put", "filename": name, "data_size": size, **fields})

    def told_before_the_body(self, client, name, size, code="quota_exceeded", **fields):
        self.announce(client, name, size, **fields)
        header = self.no_room(client.recv_reply(), code)
        client.send(b"x" * size)
        self.still_works(client)
        return header

    def used(self, client):
        return self.ok(client.call("df"))[0]["quota_used"]


class Quota(RoomAssertions):
    def setUp(self):
        self.daemon = Daemon(role={"quota": "1MiB", "allow": ["read", "write", "delete", "shell"]}).start()
        self.addCleanup(self.daemon.remove_files)
        self.addCleanup(self.daemon.kill)
        self.client = self.daemon.client()
        self.addCleanup(self.client.close)

    def tearDown(self):
        self.client.close()
        self.daemon.stop()

    def wait_held(self, offset):
        """Until the daemon has seen the break of the connection and holds so many bytes."""
        wait_until(lambda: self.client.call("stat", upload="u")[0].get("offset") == offset)

        def reply():
            return self.client.put("f", b"", upload="u", offset=1 << 40)[0]
        wait_until(lambda: reply().get("offset") == offset, what=reply)  # `busy` has none

    def test_up_to_the_last_byte(self):
        self.ok(self.client.put("half", b"x" * (512 * KIB)))
        header = self.told_before_the_body(self.client, "more", 512 * KIB + 1)
        self.assertEqual((header["need"], header["free"]), (512 * KIB + 1, 512 * KIB))
        self.ok(self.client.put("rest", b"y" * (512 * KIB)))
        self.no_room(self.client.put("one", b"z"))
        self.ok(self.client.put("none", b""))
        self.assertEqual(set(self.daemon.files()), {"half", "rest", "none"})
        self.assertEqual(self.used(self.client), MIB)

    def test_small_files_count_as_well(self):
        for number in range(16):
            self.ok(self.client.put(f"s{number}", b"x" * (60 * KIB)))
        self.no_room(self.client.put("s16", b"x" * (65 * KIB)))
        self.ok(self.client.put("s16", b"x" * (64 * KIB)))
        self.no_room(self.client.put("s17", b"x"))
        self.assertNotIn("s17", self.daemon.files())

    def test_a_replaced_file_does_not_count_twice(self):
        for size in (900 * KIB, 1000 * KIB, MIB, MIB, 1):
            self.ok(self.client.put("same", os.urandom(size)))
            self.assertEqual(self.used(self.client), size)
        self.ok(self.client.put("same", b"x" * MIB))
        self.told_before_the_body(self.client, "same", MIB + 1)
        self.assertEqual(self.daemon.read("same"), b"x" * MIB)

    def test_uploads_at_the_same_time_reserve(self):
        with self.daemon.client() as other:
            self.announce(self.client, "first", 600 * KIB)
            self.client.send(b"x" * (100 * KIB))
            self.client.let_peer_read(1)
            wait_until(lambda: self.used(other) == 600 * KIB, what=lambda: self.used(other))
            self.told_before_the_body(other, "second", 500 * KIB)
            self.client.close()  # what it had reserved is free again
            wait_until(lambda: other.put("second", b"y" * (500 * KIB))[0]["ok"], what="room for the second")
            self.assertEqual(self.used(other), 500 * KIB)

    def test_what_is_removed_is_free_again(self):
        for name in ("d/a", "d/b", "c"):
            self.ok(self.client.put(name, b"x" * (300 * KIB), parents=True))
        self.no_room(self.client.put("e", b"x" * (400 * KIB)))
        self.ok(self.client.call("rm", "d", recursive=True))
        self.assertEqual(self.used(self.client), 300 * KIB)
        self.ok(self.client.put("e", b"x" * (700 * KIB)))
        self.ok(self.client.call("mv", "e", to="c"))
        self.assertEqual(self.used(self.client), 700 * KIB)
        self.ok(self.client.call("rm", "c"))
        self.ok(self.client.put("f", b"x" * MIB))

    def test_a_size_that_is_not_known_is_refused_on_the_way(self):
        self.ok(self.client.put("old", b"old"))
        header = self.no_room(self.client.put_parts("old", [b"x" * (200 * KIB)] * 7))
        self.assertLessEqual(header["free"], MIB)
        self.still_works(self.client)
        self.assertEqual(self.daemon.files(), {"old": b"old"})
        wait_until(lambda: self.used(self.client) == 3, what=lambda: self.used(self.client))
        self.ok(self.client.put_parts("new", [b"x" * (MIB - 3)]))

    def test_refused_and_broken_uploads_take_nothing(self):
        for _ in range(5):
            self.refused(self.client.put("f", b"x" * (900 * KIB), md5="0" * 32), "checksum_mismatch")
            self.refused(self.client.put_parts("f", [b"x" * (900 * KIB)], last={"abort": True}), "aborted")
        self.assertEqual(self.used(self.client), 0)
        self.ok(self.client.put("f", b"x" * MIB))

    def test_what_is_held_counts(self):
        content = os.urandom(900 * KIB)
        with self.daemon.client() as other:
            self.announce(other, "f", len(content), upload="u")
            other.send(content[:600 * KIB])
            other.flush()
        self.wait_held(600 * KIB)
        wait_until(lambda: self.used(self.client) == 600 * KIB, what=lambda: self.used(self.client))
        self.told_before_the_body(self.client, "g", 500 * KIB)
        self.told_before_the_body(self.client, "f", 500 * KIB, upload="u", offset=600 * KIB)
        self.assertEqual(self.client.call("stat", upload="u")[0]["offset"], 600 * KIB)
        self.ok(self.client.put("f", content[600 * KIB:], upload="u", offset=600 * KIB,
                                md5=hex_digest("md5", content)))
        self.assertEqual(self.used(self.client), 900 * KIB)
        self.assertEqual(self.daemon.read("f"), content)

    def test_a_held_upload_that_begins_anew_does_not_count_twice(self):
        with self.daemon.client() as other:
            self.announce(other, "f", 800 * KIB, upload="u")
            other.send(b"x" * (700 * KIB))
            other.flush()
        self.wait_held(700 * KIB)
        self.ok(self.client.put("f", b"y" * (800 * KIB), upload="u"))
        self.assertEqual(self.used(self.client), 800 * KIB)

    def test_what_others_change_is_noticed(self):
        self.ok(self.client.put("f", b"x" * MIB))
        os.unlink(self.daemon.path("f"))
        wait_until(lambda: self.client.put("g", b"x" * (600 * KIB))[0]["ok"], what="the removed file's room")
        self.ok(self.client.request({"cmd": "exec", "command": f"head -c {400 * KIB} /dev/zero >made"}))
        wait_until(lambda: self.used(self.client) == 1000 * KIB, what=lambda: self.used(self.client))
        wait_until(lambda: self.client.put("h", b"x" * (25 * KIB))[0].get("error") == "quota_exceeded")

    def test_it_is_told_by_df_and_survives_a_restart(self):
        self.ok(self.client.put("f", b"x" * (700 * KIB)))
        header, body = self.ok(self.client.call("df"))
        self.assertEqual((header["quota"], header["quota_used"], body), (MIB, 700 * KIB, b""))
        self.client.close()
        self.daemon.stop()
        self.daemon.start()
        with self.daemon.client() as client:
            self.assertEqual(self.used(client), 700 * KIB)
            self.told_before_the_body(client, "g", 400 * KIB)


class Df(DaemonTestCase):
    def test_what_the_file_system_has(self):
        header, body = self.ok(self.request({"cmd": "df"}))
        status = os.statvfs(self.daemon.root)
        self.assertEqual(body, b"")
        self.assertEqual(header["total"], status.f_blocks * status.f_frsize)
        self.assertLess(abs(header["free"] - status.f_bavail * status.f_frsize), 1 << 30)
        self.assertEqual(header["quota"], 0)
        self.assertIsInstance(header["quota_used"], int)


class MaxFile(DaemonTestCase):
    role = {"max_file": 100000}

    def test_a_file_of_exactly_that_size(self):
        client = self.client()
        self.ok(client.put("m", b"x" * 100000))
        self.ok(client.put_parts("m", [b"x" * 60000, b"x" * 40000]))

    def test_a_larger_one_is_told_before_the_body_and_the_connection_goes_on(self):
        self.daemon.write("m", b"old")
        client = self.client()
        for size in (100001, MIB, 1 << 40):
            client.send_frame({"cmd": "put", "filename": "m", "data_size": size})
            self.refused(client.recv_reply(), "too_large")
            if size > MIB:
                break
            client.send(b"x" * size)
            self.still_works(client)
        self.assertEqual(self.daemon.read("m"), b"old")

    def test_a_total_that_is_announced_beside_the_first_part(self):
        client = self.client()
        self.refused(client.put_parts("n", [b"x"], filesize=100001), "too_large")
        self.still_works(client)

    def test_a_size_that_is_not_known_is_refused_on_the_way(self):
        self.daemon.write("m", b"old")
        client = self.client()
        self.refused(client.put_parts("m", [b"x" * 60000, b"x" * 40001]), "too_large")
        self.still_works(client)
        self.refused(client.put_parts("m", [b"x" * 30000] * 30), "too_large")
        self.still_works(client)
        self.assertEqual(self.daemon.read("m"), b"old")

    def test_a_resumed_upload_counts_as_a_whole(self):
        with self.daemon.client() as other:
            other.send_frame({"cmd": "put", "filename": "r", "upload": "r", "data_size": 90000}, b"x" * 80000)
            other.flush()
        client = self.client()
        wait_until(lambda: client.call("stat", upload="r")[0].get("offset") == 80000)
        wait_until(lambda: client.put("r", b"y" * 20001, upload="r", offset=80000)[0]["error"] == "too_large")
        wait_until(lambda: client.put("r", b"y" * 20000, upload="r", offset=80000)[0].get("error") != "busy")
        self.assertEqual(len(self.daemon.read("r")), 100000)


class FullDisk(RoomAssertions):
    """A file system of 4 MiB."""

    def setUp(self):
        self.place = small_file_system(self, 4 * MIB)

    def test_it_is_told_at_the_start(self):
        with Daemon(root=self.place) as daemon, daemon.client() as client:
            daemon.write("old", b"old")
            header = self.told_before_the_body(client, "old", 8 * MIB, "no_space")
            self.assertEqual(header["need"], 8 * MIB)
            self.assertLess(header["free"], 4 * MIB)
            self.assertEqual(daemon.files(), {"old": b"old"})
            self.ok(client.put("fits", b"x" * (2 * MIB)))
            self.told_before_the_body(client, "old", 3 * MIB, "no_space")
            self.assertEqual(self.ok(client.call("df"))[0]["total"], 4 * MIB)

    def test_what_is_reserved_is_not_given_twice(self):
        with Daemon(root=self.place) as daemon, daemon.client() as first, daemon.client() as second:
            self.announce(first, "first", 3 * MIB)
            first.send(b"x" * MIB)
            first.let_peer_read(1)
            self.told_before_the_body(second, "second", 2 * MIB, "no_space")
            first.send(b"x" * (2 * MIB))
            self.ok(first.recv_reply())

    def test_a_disk_that_fills_up_on_the_way(self):
        with Daemon(root=self.place, role={"allow": ["read", "write", "delete"]}) as daemon, daemon.client() as client:
            daemon.write("old", b"old")
            for turn in range(3):
                self.refused(client.put_parts("old", [b"marked" * 200000] * 8), "no_space")
                self.still_works(client)
                self.assertEqual(daemon.files(), {"old": b"old"})
                wait_unstaged(self.place, b"marked")
            self.ok(client.put("fits", b"x" * (3 * MIB)))
            self.refused(client.put_parts("next", [b"x" * MIB] * 3), "no_space")
            self.ok(client.call("rm", "fits"))
            self.ok(client.put_parts("next", [b"x" * MIB] * 3))

    def test_small_files_fill_it_to_the_end(self):
        with Daemon(root=self.place, role={"allow": ["read", "write", "delete"]}) as daemon, daemon.client() as client:
            content = b"x" * 30000
            replies = [client.put(f"s{number}", content)[0] for number in range(200)]
            stored = {f"s{number}" for number, header in enumerate(replies) if header["ok"]}
            self.assertLess(len(stored), 200)
            self.assertGreater(len(stored), 100)
            self.assertEqual({header["error"] for header in replies if not header["ok"]}, {"no_space"})
            self.assertEqual(daemon.files(), dict.fromkeys(stored, content))
            self.ok(client.call("rm", min(stored)))
            self.ok(client.put("again", content))

    def test_an_upload_is_resumed_once_there_is_room(self):
        content = os.urandom(3 * MIB)
        with Daemon(root=self.place, role={"allow": ["read", "write", "delete"]}) as daemon, daemon.client() as client:
            self.ok(client.put("filler", b"x" * (2 * MIB)))
            self.refused(client.put_parts("f", [content[:MIB], content[MIB:]], upload="u"), "no_space")
            self.still_works(client)
            header, _ = client.call("stat", upload="u", digest="md5")
            offset = header["offset"] if header["ok"] else 0
            self.assertEqual(header.get("md5", hex_digest("md5", b"")), hex_digest("md5", content[:offset]))
            self.ok(client.call("rm", "filler"))
            self.ok(client.put("f", content[offset:], upload="u", offset=offset, sha256=hex_digest("sha256", content)))
            self.assertEqual(daemon.read("f"), content)
