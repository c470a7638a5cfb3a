"""Paths: what is refused, links that are never followed, names that are not UTF-8."""

import base64
import json
import os
import socket

from ftpd_harness import DaemonTestCase

BAD_PATHS = [
    "", "/", "/etc/passwd", "//x", "..", "../x", "a/..", "a/../b", "a/../../b", "./a", "a/.", "a/./b", "a//b",
    "a/", "a//", "/a/", ".ftpd", ".ftpd/x", ".ftpd/../x", "nul\0x", "tab\tx", "line\nx", "return\rx",
    "escape\x1bx", "delete\x7fx", "a/\x01", "x" * 256, "a/" + "x" * 256,
]
# What only looks bad.
GOOD_PATHS = ["...", "..a", "a..", ".a", "-", "-rf", "~", "a b", " ", "a\\b", "a:b", "*", "\u00e9\u4e2d\U0001f600",
              ".ftpd2", "..ftpd", "d/.ftpd", "$(x)", "'", '"', "CON", "%2e%2e", "a\u202eb"]


def b64(raw):
    return base64.b64encode(raw).decode()


class Paths(DaemonTestCase):
    def test_bad_paths_are_refused_everywhere(self):
        client = self.client()
        for path in BAD_PATHS:
            for header in ({"cmd": "put"}, {"cmd": "put", "parents": True}, {"cmd": "get"}, {"cmd": "stat"},
                           {"cmd": "ls"}):
                with self.subTest(path=path[:30], header=header):
                    body = b"x" if header["cmd"] == "put" else b""
                    self.refused(client.request({**header, "filename": path}, body), "bad_request")
            with self.subTest(cwd=path[:30]):
                self.refused(client.request({"cmd": "exec", "argv": ["true"], "cwd": path}), "bad_request")
        self.assertEqual(self.daemon.files(), {})

    def test_the_root_itself_is_for_stat_and_ls_alone(self):
        client = self.client()
        self.assertEqual(self.ok(client.request({"cmd": "stat", "filename": "."}))[0]["type"], "directory")
        self.ok(client.request({"cmd": "ls", "filename": "."}))
        self.refused(client.request({"cmd": "put", "filename": "."}, b"x"), "bad_request")
        self.refused(client.request({"cmd": "get", "filename": "."}), "bad_request")

    def test_strange_but_valid_names(self):
        client = self.client()
        for path in GOOD_PATHS:
            with self.subTest(path=path):
                self.ok(client.request({"cmd": "put", "filename": path, "parents": True}, path.encode()))
                header, body = self.ok(client.request({"cmd": "get", "filename": path}))
                self.assertEqual((header["filename"], body), (path, path.encode()))
                self.assertEqual(self.daemon.read(path), path.encode())
        names = [json.loads(line)["name"] for line in
                 client.request({"cmd": "ls", "filename": "."})[1].splitlines()]
        self.assertLessEqual({p for p in GOOD_PATHS if "/" not in p}, set(names))


class Links(DaemonTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        outside = os.path.join(cls.daemon.directory, "outside")
        os.mkdir(outside)
        with open(os.path.join(outside, "secret"), "w", encoding="ascii") as file:
            file.write("secret")
        cls.daemon.write("real/file", b"inside")
        os.symlink(outside, cls.daemon.path("out"))
        os.symlink(os.path.join(outside, "secret"), cls.daemon.path("out-file"))
        os.symlink("real", cls.daemon.path("in"))
        os.symlink("real/file", cls.daemon.path("in-file"))
        os.symlink("nowhere", cls.daemon.path("dangling"))
        os.symlink("loop", cls.daemon.path("loop"))
        os.mkfifo(cls.daemon.path("fifo"))
        with socket.socket(socket.AF_UNIX) as sock:
            root = os.open(cls.daemon.root, os.O_RDONLY)
            sock.bind(f"/proc/self/fd/{root}/socket")  # the whole path may be too long for an address
            os.close(root)
        cls.outside = outside

    def test_a_link_is_not_followed_for_reading(self):
        for path in ("out/secret", "out-file", "in/file", "in-file", "dangling", "loop", "loop/x"):
            with self.subTest(path=path):
                self.refused(self.request({"cmd": "get", "filename": path}), "denied")

    def test_a_link_is_not_followed_for_writing(self):
        for path in ("out/new", "out-file", "in/new", "in-file", "dangling", "loop"):
            for fields in ({}, {"parents": True}, {"overwrite": "fail"}):
                with self.subTest(path=path, fields=fields):
                    header, _ = self.request({"cmd": "put", "filename": path, **fields}, b"x")
                    expected = ("denied", "exists") if fields.get("overwrite") else ("denied",)
                    self.assertIn(header.get("error"), expected, header)
        self.assertEqual(os.listdir(self.outside), ["secret"])
        self.assertEqual(self.daemon.read("real/file"), b"inside")
        self.assertTrue(os.path.islink(self.daemon.path("in-file")))
        self.assertFalse(os.path.lexists(self.daemon.path("nowhere")))

    def test_a_link_in_the_middle_is_not_followed_by_stat_and_ls(self):
        for command in ("stat", "ls"):
            for path in ("out/secret", "in/file", "loop/x"):
                self.refused(self.request({"cmd": command, "filename": path}), "denied")

    def test_a_link_is_no_working_directory(self):
        for path in ("in", "out", "dangling"):
            self.refused(self.request({"cmd": "exec", "argv": ["pwd"], "cwd": path}), "denied")

    def test_stat_tells_of_the_link_itself(self):
        for path in ("out", "in-file", "dangling", "loop"):
            self.assertEqual(self.ok(self.request({"cmd": "stat", "filename": path}))[0]["type"], "symlink")

    def test_a_recursive_listing_does_not_follow_links(self):
        _, body = self.ok(self.request({"cmd": "ls", "filename": ".", "recursive": True}))
        entries = {entry["name"]: entry["type"] for entry in map(json.loads, body.splitlines())}
        self.assertEqual(entries["in"], "symlink")
        self.assertEqual(entries["out"], "symlink")
        self.assertEqual(entries["real/file"], "file")
        self.assertFalse([name for name in entries if name.startswith(("in/", "out/"))])

    def test_what_is_neither_file_nor_directory_is_denied_and_never_blocks(self):
        client = self.client()
        for path in ("fifo", "socket"):
            with self.subTest(path=path):
                self.refused(client.request({"cmd": "get", "filename": path}), "denied")
                self.refused(client.request({"cmd": "put", "filename": path}, b"x"), "denied")
                self.assertEqual(self.ok(client.request({"cmd": "stat", "filename": path}))[0]["type"], "other")


class RawNames(DaemonTestCase):
    NAMES = [b"latin-\xe9", b"\xff\xfe", b"line\nend", b"bell\x07", b"del\x7f"]

    def setUp(self):
        super().setUp()
        for name in self.NAMES:
            with open(os.path.join(os.fsencode(self.daemon.root), name), "wb") as file:
                file.write(name)

    def test_they_are_listed_in_base64(self):
        _, body = self.ok(self.request({"cmd": "ls", "filename": "."}))
        entries = [json.loads(line) for line in body.splitlines()]
        listed = {base64.b64decode(entry["name_base64"]) for entry in entries if "name_base64" in entry}
        self.assertLessEqual(set(self.NAMES), listed)
        self.assertFalse([entry for entry in entries if "name_base64" in entry and "name" in entry])

    def test_they_are_addressed_in_base64(self):
        client = self.client()
        for name in self.NAMES + [b"plain"]:
            with self.subTest(name=name):
                self.ok(client.request({"cmd": "put", "filename_base64": b64(name)}, b"new" + name))
                self.assertEqual(self.ok(client.request({"cmd": "get", "filename_base64": b64(name)}))[1], b"new" + name)
                header, _ = self.ok(client.request({"cmd": "stat", "filename_base64": b64(name)}))
                self.assertEqual(header["filesize"], len(name) + 3)

    def test_base64_is_no_way_around_the_rules(self):
        for raw in (b"", b"/etc/passwd", b"../x", b"a/../x", b".ftpd/x", b"a\0b", b"x" * 256, b"a//b", b"\xff/../x"):
            for command in ("get", "put", "stat", "ls"):
                with self.subTest(raw=raw[:20], command=command):
                    self.refused(self.request({"cmd": command, "filename_base64": b64(raw)}), "bad_request")

    def test_what_is_no_base64_is_refused(self):
        for text in ("*", "a", "YQ=", "YQ==x", "Y Q==", 5):
            with self.subTest(text=text):
                self.refused(self.request({"cmd": "get", "filename_base64": text}), "bad_request")
