"""What a put may say beside its name and content, and what two puts do to each other."""

import os

from ftpd_harness import DaemonTestCase
from ftpd_support import hex_digest, wait_unstaged

CONTENT = bytes(range(256)) * 500


class Options(DaemonTestCase):
    def test_all_options_at_once(self):
        client = self.client()
        header, _ = self.ok(client.put(
            "deep/er/file", CONTENT, mode=0o600, mtime=1234567890.25, overwrite="fail", parents=True, digest="sha256",
            md5=hex_digest("md5", CONTENT), sha256=hex_digest("sha256", CONTENT), id=7, wait=False))
        self.assertEqual((header["filename"], header["filesize"], header["id"]), ("deep/er/file", len(CONTENT), 7))
        self.assertEqual(header["sha256"], hex_digest("sha256", CONTENT))
        status = os.stat(self.daemon.path("deep/er/file"))
        self.assertEqual((status.st_mode & 0o7777, status.st_mtime), (0o600, 1234567890.25))
        self.assertEqual(self.daemon.read("deep/er/file"), CONTENT)

    def test_options_hold_for_an_upload_of_unknown_size(self):
        client = self.client()
        header, _ = self.ok(client.put_parts(
            "un/known", [CONTENT, b"", CONTENT], mode=0o640, mtime=99.5, parents=True, digest="md5"))
        self.assertEqual((header["filesize"], header["md5"]), (2 * len(CONTENT), hex_digest("md5", 2 * CONTENT)))
        status = os.stat(self.daemon.path("un/known"))
        self.assertEqual((status.st_mode & 0o7777, status.st_mtime), (0o640, 99.5))
        self.refused(client.put_parts("un/known", [b"x"], overwrite="fail"), "exists")
        self.refused(client.put_parts("not/there", [b"x", b"y"]), "not_found")
        self.still_works(client)

    def test_options_hold_for_empty_and_small_and_large_files(self):
        client = self.client()
        for size in (0, 1, 5000, 70000, 3 << 20):
            with self.subTest(size=size):
                content = os.urandom(size)
                header, _ = self.ok(client.put("each", content, mode=0o604, mtime=50, digest="md5",
                                               sha256=hex_digest("sha256", content)))
                self.assertEqual(header["md5"], hex_digest("md5", content))
                status = os.stat(self.daemon.path("each"))
                self.assertEqual((status.st_mode & 0o7777, status.st_mtime), (0o604, 50))

    def test_parents_that_were_made_for_a_refused_upload_hold_nothing(self):
        client = self.client()
        self.refused(client.put("new/branch/file", b"abc", parents=True, md5="0" * 32), "checksum_mismatch")
        self.refused(client.put_parts("new2/branch/file", [b"abc"], parents=True, last={"abort": True}), "aborted")
        self.assertFalse([name for name in self.daemon.files() if name.startswith("new")])

    def test_parents_over_a_file_or_a_link(self):
        self.daemon.write("plain", b"x")
        os.symlink(".", self.daemon.path("link-up"))
        client = self.client()
        self.refused(client.put("plain/a/b", b"y", parents=True), "not_directory")
        self.refused(client.put("link-up/a/b", b"y", parents=True), "denied")
        self.assertFalse(os.path.lexists(self.daemon.path("a")))

    def test_a_total_that_is_wrong_stores_nothing(self):
        self.daemon.write("total", b"old")
        client = self.client()
        for total in (0, 5, 7, 1 << 20):
            for parts in ([b"abc", b"def"], [b"abcdef"]):
                with self.subTest(total=total, parts=parts):
                    self.refused(client.put_parts("total", parts, filesize=total), "bad_request")
                    self.still_works(client)
        self.assertEqual(self.daemon.read("total"), b"old")
        self.assertEqual(self.ok(client.put_parts("total", [b"abc", b"def"], filesize=6))[0]["filesize"], 6)
        self.assertEqual(self.daemon.read("total"), b"abcdef")

    def test_a_called_off_upload_leaves_no_bytes_behind(self):
        self.daemon.write("off", b"old")
        client = self.client()
        for parts in ([], [b"a marked piece"], [b"a marked piece" * 50000] * 3):
            with self.subTest(size=sum(map(len, parts))):
                self.refused(client.put_parts("off", parts, last={"abort": True}), "aborted")
                self.still_works(client)
        self.assertEqual(self.daemon.read("off"), b"old")
        wait_unstaged(self.daemon.root, b"marked")

    def test_abort_false_is_no_abort(self):
        client = self.client()
        self.ok(client.put_parts("kept", [b"abc"], last={"abort": False}))
        self.assertEqual(self.daemon.read("kept"), b"abc")

    def test_a_wrong_type_in_the_last_frame_is_refused_and_stores_nothing(self):
        self.daemon.write("last", b"old")
        client = self.client()
        for last in ({"abort": "yes"}, {"md5": 5}, {"sha256": "zz"}, {"md5": ""}):
            with self.subTest(last=last):
                self.refused(client.put_parts("last", [b"abc"], last=last), "bad_request")
                self.still_works(client)
        self.assertEqual(self.daemon.read("last"), b"old")

    def test_options_of_the_wrong_kind_are_refused_and_nothing_is_stored(self):
        client = self.client()
        for fields in ({"mode": 0o1000}, {"mode": 0o4755}, {"mode": -1}, {"mode": "0644"}, {"mtime": "now"},
                       {"overwrite": "maybe"}, {"overwrite": True}, {"parents": 1}, {"digest": "sha1"},
                       {"digest": ["md5"]}, {"upload": 5}, {"wait": 1}, {"md5": None}):
            with self.subTest(fields=fields):
                reply = client.put("wrong", b"abc", **fields)
                self.refused(reply, "bad_request")
                if "wait" in fields:  # whether a body follows is anybody's guess
                    client = self.client()
                self.still_works(client)
        self.assertNotIn("wrong", self.daemon.files())

    def test_a_name_in_base64_takes_all_options(self):
        client = self.client()
        self.ok(client.request({"cmd": "put", "filename_base64": "ZC9uYf8=", "parents": True, "mode": 0o600,
                                "overwrite": "fail", "md5": hex_digest("md5", b"x")}, b"x"))
        path = os.path.join(os.fsencode(self.daemon.root), b"d/na\xff")
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)


class Races(DaemonTestCase):
    def setUp(self):
        super().setUp()
        self.clients = [self.client() for _ in range(20)]

    def contents(self, size):
        return [bytes([65 + number]) * (size + number) for number in range(len(self.clients))]

    def only_one_wins(self, name, replies, contents):
        winners = [number for number, (header, _) in enumerate(replies) if header["ok"]]
        self.assertEqual(len(winners), 1, [header for header, _ in replies])
        for number, reply in enumerate(replies):
            if number not in winners:
                self.refused(reply, "exists")
        self.assertEqual(self.daemon.read(name), contents[winners[0]])

    def test_overwrite_fail_has_one_winner_of_twenty(self):
        for size in (10, 3000, 200000):
            for turn in range(5):
                name = f"race-{size}-{turn}"
                contents = self.contents(size)
                for client, content in zip(self.clients, contents):
                    client.send_frame({"cmd": "put", "filename": name, "overwrite": "fail"}, content)
                self.only_one_wins(name, [client.recv_reply() for client in self.clients], contents)

    def test_overwrite_fail_has_one_winner_where_all_have_begun(self):
        contents = self.contents(100000)
        for client, content in zip(self.clients, contents):
            client.send_frame({"cmd": "put", "filename": "begun", "overwrite": "fail", "data_size": len(content)},
                              content[:-1])
        for client in self.clients:
            client.let_peer_read(1)
        self.assertNotIn("begun", self.daemon.files())
        for client, content in zip(self.clients, contents):
            client.send(content[-1:])
        self.only_one_wins("begun", [client.recv_reply() for client in self.clients], contents)

    def test_missing_parents_made_by_twenty_at_once(self):
        for client, content in zip(self.clients, self.contents(100)):
            client.send_frame({"cmd": "put", "filename": f"par/ent/s/{content[0]}", "parents": True}, content)
        for client in self.clients:
            self.ok(client.recv_reply())
        self.assertEqual(len(os.listdir(self.daemon.path("par/ent/s"))), 20)

    def test_readers_see_one_whole_version_while_twenty_write(self):
        versions = self.contents(300000)
        self.daemon.write("versions", versions[0])
        reader = self.client()
        for turn in range(4):
            for client, content in zip(self.clients, versions):
                client.send_frame({"cmd": "put", "filename": "versions"}, content)
            for _ in range(10):
                header, body = self.ok(reader.call("get", "versions", digest="sha256"))
                self.assertIn(body, versions)
                self.assertEqual(header["sha256"], hex_digest("sha256", body))
            for client in self.clients:
                self.ok(client.recv_reply())
        self.assertIn(self.daemon.read("versions"), versions)

    def test_a_file_that_is_removed_and_put_again_is_whole_or_not_there(self):
        content = os.urandom(100000)
        writer, reader = self.clients[:2]
        for _ in range(30):
            writer.send_frame({"cmd": "put", "filename": "there"}, content)
            header, body = reader.call("get", "there")
            if header["ok"]:
                self.assertEqual(body, content)
            else:
                self.assertEqual(header["error"], "not_found")
            self.ok(writer.recv_reply())
            os.unlink(self.daemon.path("there"))
