"""put and get: content, ranges, times, modes, and files that appear all at once."""

import os
import shutil
import tempfile
import unittest

from ftpd_harness import Daemon, DaemonTestCase, ReplyAssertions, frame


class Put(DaemonTestCase):
    def put(self, name, body=b"", **fields):
        return self.request({"cmd": "put", "filename": name, **fields}, body)

    def test_a_file_of_each_size_round_trips(self):
        client = self.client()
        for size in (0, 1, 4095, 4096, 4097, 65536, 65537, 1 << 20, (8 << 20) + 3):
            with self.subTest(size=size):
                content = os.urandom(size)
                header, _ = self.ok(client.request({"cmd": "put", "filename": "f", "data_size": size}, content))
                self.assertEqual((header["filename"], header["filesize"], header["data_size"]), ("f", size, 0))
                self.assertEqual(self.daemon.read("f"), content)
                self.assertEqual(self.ok(client.request({"cmd": "get", "filename": "f"}))[1], content)

    def test_filesize_alone_announces_the_body(self):
        client = self.client()
        self.ok(client.request({"cmd": "put", "filename": "old", "filesize": 5}, b"01234"))
        self.assertEqual(self.daemon.read("old"), b"01234")
        self.still_works(client)

    def test_no_size_at_all_is_an_empty_file(self):
        self.assertEqual(self.ok(self.put("empty"))[0]["filesize"], 0)
        self.assertEqual(self.daemon.read("empty"), b"")

    def test_content_that_looks_like_frames_is_content(self):
        content = frame({"cmd": "put", "filename": "inner"}, b"x") * 1000
        self.ok(self.put("outer", content))
        self.assertEqual(self.daemon.read("outer"), content)
        self.assertNotIn("inner", self.daemon.files())

    def test_an_existing_file_is_replaced(self):
        self.daemon.write("r", b"a long old content")
        self.ok(self.put("r", b"new"))
        self.assertEqual(self.daemon.read("r"), b"new")
        self.ok(self.put("r", b"newer", overwrite="replace"))
        self.assertEqual(self.daemon.read("r"), b"newer")

    def test_overwrite_fail_keeps_an_existing_file(self):
        self.daemon.write("k", b"old")
        self.refused(self.put("k", b"new", overwrite="fail"), "exists")
        self.assertEqual(self.daemon.read("k"), b"old")
        self.ok(self.put("k2", b"new", overwrite="fail"))
        self.assertEqual(self.daemon.read("k2"), b"new")

    def test_overwrite_fail_holds_against_a_file_that_appears_meanwhile(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "race", "overwrite": "fail", "data_size": 6}, b"abc")
        client.let_peer_read(1)
        self.ok(self.put("race", b"first"))
        client.send(b"def")
        self.refused(client.recv_reply(), "exists")
        self.assertEqual(self.daemon.read("race"), b"first")

    def test_the_mode_is_0644_or_what_was_asked(self):
        for mode in (None, 0o600, 0o755, 0o444, 0o000, 0o777):
            with self.subTest(mode=mode):
                fields = {} if mode is None else {"mode": mode}
                self.ok(self.put("m", b"x", **fields))
                self.assertEqual(os.stat(self.daemon.path("m")).st_mode & 0o7777, 0o644 if mode is None else mode)

    def test_the_time_of_modification_is_what_was_asked(self):
        for mtime in (0, 1, 1234567890, 1234567890.5, 4000000000.25):
            with self.subTest(mtime=mtime):
                self.ok(self.put("t", b"x", mtime=mtime))
                self.assertAlmostEqual(os.stat(self.daemon.path("t")).st_mtime, mtime, places=5)
                self.assertAlmostEqual(self.request({"cmd": "get", "filename": "t"})[0]["mtime"], mtime, places=5)

    def test_missing_directories_are_made_only_on_request(self):
        self.refused(self.put("a/b/c.txt", b"x"), "not_found")
        self.assertFalse(os.path.exists(self.daemon.path("a")))
        self.ok(self.put("a/b/c.txt", b"x", parents=True))
        self.assertEqual(self.daemon.read("a/b/c.txt"), b"x")
        self.assertEqual(os.stat(self.daemon.path("a")).st_mode & 0o7777, 0o755)
        self.ok(self.put("a/b/d.txt", b"y", parents=True))
        self.ok(self.put("a/e.txt", b"z"))

    def test_a_directory_is_not_replaced(self):
        os.makedirs(self.daemon.path("dir/sub"), exist_ok=True)
        self.refused(self.put("dir", b"x"), "is_directory")
        self.refused(self.put("dir/sub", b"x"), "is_directory")

    def test_a_file_is_no_directory(self):
        self.daemon.write("plain", b"x")
        self.refused(self.put("plain/below", b"x"), "not_directory")
        self.refused(self.put("plain/below/deeper", b"x", parents=True), "not_directory")
        self.assertEqual(self.daemon.read("plain"), b"x")

    def test_a_reader_sees_the_old_file_until_the_upload_is_complete(self):
        self.daemon.write("atomic", b"old")
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "atomic", "data_size": 100000}, b"x" * 99999)
        client.let_peer_read(2)
        self.assertEqual(self.request({"cmd": "get", "filename": "atomic"})[1], b"old")
        self.assertEqual(self.daemon.read("atomic"), b"old")
        client.send(b"x")
        self.ok(client.recv_reply())
        self.assertEqual(self.daemon.read("atomic"), b"x" * 100000)

    def test_an_upload_that_is_not_complete_is_not_listed(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "coming", "data_size": 10}, b"x" * 9)
        client.let_peer_read(1)
        self.assertNotIn(b"coming", self.request({"cmd": "ls", "filename": "."})[1])
        self.refused(self.request({"cmd": "stat", "filename": "coming"}), "not_found")
        client.send(b"x")
        self.ok(client.recv_reply())
        self.assertIn(b"coming", self.request({"cmd": "ls", "filename": "."})[1])

    def test_an_open_file_that_is_replaced_is_read_to_its_end(self):
        old = os.urandom(16 << 20)
        self.daemon.write("big", old)
        client = self.client(receive_buffer=4096)
        client.send_frame({"cmd": "get", "filename": "big"})
        header = client.recv_header()
        self.ok(self.put("big", b"new"))
        self.assertEqual(client.recv_exact(header["data_size"]), old)
        self.assertEqual(self.request({"cmd": "get", "filename": "big"})[1], b"new")

    def test_many_uploads_of_one_name_at_once_leave_one_whole(self):
        clients = [self.client() for _ in range(8)]
        contents = [bytes([65 + i]) * (100000 + i) for i in range(8)]
        for client, content in zip(clients, contents):
            client.send_frame({"cmd": "put", "filename": "contended"}, content)
        for client in clients:
            self.ok(client.recv_reply())
        self.assertIn(self.daemon.read("contended"), contents)

    def test_an_impossible_size_is_told_at_the_start(self):
        for size in (1 << 50, (1 << 53) - 1):
            with self.subTest(size=size), self.daemon.client() as client:
                client.send_frame({"cmd": "put", "filename": "huge", "data_size": size})
                header, _ = client.recv_reply()
                self.assertFalse(header["ok"])
                self.assertIn(header["error"], ("no_space", "too_large"))
        self.assertNotIn("huge", self.daemon.files())


class PutInMemory(Put):
    """The same on a file system that lives in memory."""

    @classmethod
    def setUpClass(cls):
        try:
            cls.place = tempfile.mkdtemp(prefix="ftpd-e2e-", dir="/dev/shm")
        except OSError as error:
            raise unittest.SkipTest(f"no /dev/shm: {error}") from None
        cls.addClassCleanup(shutil.rmtree, cls.place, True)
        cls.daemon_options = {"root": os.path.join(cls.place, "root")}
        super().setUpClass()


class Umask(ReplyAssertions):
    def test_the_mode_does_not_depend_on_the_daemons_umask(self):
        with Daemon(umask=0o077) as daemon, daemon.client() as client:
            self.ok(client.request({"cmd": "put", "filename": "d/m", "parents": True}, b"x"))
            self.assertEqual(os.stat(daemon.path("d/m")).st_mode & 0o7777, 0o644)
            self.assertEqual(os.stat(daemon.path("d")).st_mode & 0o7777, 0o755)


class Get(DaemonTestCase):
    CONTENT = bytes(range(256)) * 40

    def setUp(self):
        super().setUp()
        self.daemon.write("g", self.CONTENT)

    def get(self, name="g", **fields):
        return self.request({"cmd": "get", "filename": name, **fields})

    def test_the_reply_describes_the_file(self):
        os.chmod(self.daemon.path("g"), 0o640)
        os.utime(self.daemon.path("g"), (1234567890.5, 1234567890.5))
        header, body = self.ok(self.get())
        self.assertEqual(body, self.CONTENT)
        self.assertEqual((header["filename"], header["file_name"]), ("g", "g"))
        self.assertEqual((header["filesize"], header["file_size"]), (len(self.CONTENT), len(self.CONTENT)))
        self.assertEqual(header["mode"], 0o640)
        self.assertAlmostEqual(header["mtime"], 1234567890.5, places=5)

    def test_ranges(self):
        size = len(self.CONTENT)
        for offset, length in ((0, None), (1, None), (size - 1, None), (size, None), (0, 0), (0, 1), (0, size),
                               (0, size + 1), (100, 5000), (size - 1, 1), (size - 1, 100), (size, 0), (size, 5),
                               (5, 2**53 - 1), (None, 7)):
            with self.subTest(offset=offset, length=length):
                fields = {k: v for k, v in (("offset", offset), ("length", length)) if v is not None}
                header, body = self.ok(self.get(**fields))
                start = offset or 0
                end = size if length is None else min(size, start + length)
                self.assertEqual(body, self.CONTENT[start:end])
                self.assertEqual(header["filesize"], size)

    def test_an_offset_beyond_the_end_is_refused(self):
        for offset in (len(self.CONTENT) + 1, 2**53 - 1, 2**53, 2**63 - 1, 2**64 - 1):
            with self.subTest(offset=offset):
                self.refused(self.get(offset=offset), "bad_request")

    def test_an_empty_file(self):
        self.daemon.write("e", b"")
        self.assertEqual(self.ok(self.get("e"))[1], b"")
        self.assertEqual(self.ok(self.get("e", offset=0))[1], b"")
        self.refused(self.get("e", offset=1), "bad_request")

    def test_what_is_no_file_is_told_apart(self):
        os.makedirs(self.daemon.path("dir"), exist_ok=True)
        self.refused(self.get("missing"), "not_found")
        self.refused(self.get("missing/below"), "not_found")
        self.refused(self.get("dir"), "is_directory")
        self.refused(self.get("g/below"), "not_directory")

    def test_a_file_that_shrinks_is_never_padded(self):
        path = self.daemon.write("shrinks", os.urandom(32 << 20))
        client = self.client(receive_buffer=4096)
        client.send_frame({"cmd": "get", "filename": "shrinks"})
        header = client.recv_header()
        os.truncate(path, 1000)
        with self.assertRaises(ConnectionError):
            client.recv_exact(header["data_size"])

    def test_a_file_that_grows_is_sent_as_announced(self):
        content = os.urandom(8 << 20)
        path = self.daemon.write("grows", content)
        client = self.client(receive_buffer=4096)
        client.send_frame({"cmd": "get", "filename": "grows"})
        header = client.recv_header()
        with open(path, "ab") as file:
            file.write(b"more")
        self.assertEqual(client.recv_exact(header["data_size"]), content)
        self.still_works(client)

    def test_a_file_whose_mode_forbids_everything_is_the_daemons_business(self):
        os.chmod(self.daemon.write("secret", b"x"), 0)
        header, _ = self.get("secret")
        self.assertTrue(header["ok"] if os.geteuid() == 0 else header["error"] == "denied", header)


class LongNames(DaemonTestCase):
    """Paths at their bounds: a component of 255 bytes, 4,096 bytes in all."""

    @staticmethod
    def long_path(size):
        """16 directories deep and `size` bytes long, in components of at most 255 bytes."""
        path = "/".join(["d" * 250] * 15) + "/"
        rest = size - len(path)
        return path + "e" * (rest // 2) + "/" + "f" * (rest - rest // 2 - 1)

    def test_long_paths_are_taken(self):
        client = self.client()
        for size in (4000, 4094, 4095, 4096):
            with self.subTest(size=size):
                path = self.long_path(size)
                self.assertEqual(len(path), size)
                self.ok(client.request({"cmd": "put", "filename": path, "parents": True}, b"%d" % size))
                # The reply obeys the limit of a header: check_reply looks.
                header, body = self.ok(client.request({"cmd": "get", "filename": path}))
                self.assertEqual(body, b"%d" % size)
                self.assertIn(header.get("filename", path), (path,))
                self.ok(client.request({"cmd": "stat", "filename": path}))
                self.refused(client.request({"cmd": "get", "filename": path[:-1] + "x"}), "not_found")

    def test_longer_paths_are_refused(self):
        client = self.client()
        self.refused(client.request({"cmd": "put", "filename": self.long_path(4097), "parents": True}, b"x"), "bad_request")
        self.refused(client.request({"cmd": "get", "filename": self.long_path(4097)}), "bad_request")

    def test_long_components(self):
        client = self.client()
        for name in ("n" * 255, "\u00e9" * 127 + "x"):
            self.ok(client.request({"cmd": "put", "filename": name}, b"x"))
            self.ok(client.request({"cmd": "get", "filename": name}))
        for name in ("n" * 256, "\u00e9" * 128, "d/" + "n" * 256, "n" * 256 + "/d"):
            self.refused(client.request({"cmd": "put", "filename": name}, b"x"), "bad_request")
