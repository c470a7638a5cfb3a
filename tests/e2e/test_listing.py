"""ls and stat."""

import json
import os

from ftpd_harness import DaemonTestCase


class Listing(DaemonTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("b", "a", "B", "a-b", "a.b", "\u00e9", "10", "9", "dir/z", "dir/sub/deep", "dir-x", "dir.x"):
            cls.daemon.write(name, name.encode())
        os.makedirs(cls.daemon.path("empty"))
        os.symlink("a", cls.daemon.path("link"))

    def ls(self, name, **fields):
        header, body = self.ok(self.request({"cmd": "ls", "filename": name, **fields}))
        self.assertTrue(body == b"" or body.endswith(b"\n"))
        return [json.loads(line) for line in body.splitlines()]

    def names(self, *arguments, **fields):
        return [entry["name"] for entry in self.ls(*arguments, **fields)]

    def test_names_are_sorted_by_their_bytes(self):
        names = self.names(".")
        self.assertEqual(names, sorted(set(os.listdir(self.daemon.root)) - {".ftpd"}, key=os.fsencode))
        self.assertLess(names.index("B"), names.index("a"))
        self.assertLess(names.index("10"), names.index("9"))

    def test_the_daemons_own_directory_is_never_listed(self):
        self.request({"cmd": "put", "filename": "dir/x"}, b"x")
        for recursive in (False, True):
            self.assertFalse([name for name in self.names(".", recursive=recursive) if name.startswith(".ftpd")])
        os.makedirs(self.daemon.path("dir/.ftpd"), exist_ok=True)
        self.assertIn(".ftpd", self.names("dir"))

    def test_entries_say_what_they_are(self):
        entries = {entry["name"]: entry for entry in self.ls(".")}
        self.assertEqual(entries["dir"]["type"], "directory")
        self.assertEqual(entries["link"]["type"], "symlink")
        entry = entries["a-b"]
        status = os.stat(self.daemon.path("a-b"))
        self.assertEqual((entry["type"], entry["filesize"], entry["mode"]), ("file", 3, status.st_mode & 0o777))
        self.assertAlmostEqual(entry["mtime"], status.st_mtime, places=5)

    def test_a_recursive_listing_is_relative_and_sorted_by_the_whole_name(self):
        names = self.names(".", recursive=True)
        self.assertEqual(names, sorted(names, key=os.fsencode))
        self.assertLessEqual({"dir", "dir/z", "dir/sub", "dir/sub/deep", "dir-x", "dir.x", "empty", "a"}, set(names))
        self.assertLess(names.index("dir-x"), names.index("dir/z"))
        self.assertEqual([n for n in self.names("dir", recursive=True) if n.startswith("sub")], ["sub", "sub/deep"])

    def test_an_empty_directory_has_an_empty_listing(self):
        self.assertEqual(self.ls("empty"), [])
        self.assertEqual(self.ls("empty", recursive=True), [])

    def test_what_is_no_directory_is_told(self):
        self.refused(self.request({"cmd": "ls", "filename": "a"}), "not_directory")
        self.refused(self.request({"cmd": "ls", "filename": "a/b"}), "not_directory")
        self.refused(self.request({"cmd": "ls", "filename": "missing"}), "not_found")

    def test_a_large_directory(self):
        os.makedirs(self.daemon.path("large"))
        for number in range(3000):
            open(self.daemon.path("large", f"{number:0100d}"), "wb").close()
        self.assertEqual(self.names("large"), [f"{number:0100d}" for number in range(3000)])

    def test_stat_of_each_kind(self):
        header, _ = self.ok(self.request({"cmd": "stat", "filename": "dir/z"}))
        status = os.stat(self.daemon.path("dir/z"))
        self.assertEqual((header["type"], header["filesize"], header["mode"]), ("file", 5, status.st_mode & 0o777))
        self.assertAlmostEqual(header["mtime"], status.st_mtime, places=5)
        self.assertEqual(self.ok(self.request({"cmd": "stat", "filename": "dir"}))[0]["type"], "directory")
        self.assertEqual(self.ok(self.request({"cmd": "stat", "filename": "link"}))[0]["type"], "symlink")

    def test_stat_of_what_is_not_there(self):
        self.refused(self.request({"cmd": "stat", "filename": "missing"}), "not_found")
        self.refused(self.request({"cmd": "stat", "filename": "missing/x"}), "not_found")
        self.refused(self.request({"cmd": "stat", "filename": "a/x"}), "not_directory")
