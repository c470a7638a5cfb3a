"""ftpc's verbs that act on names over there: sum, rm, mv, mkdir, rmdir, df."""

import hashlib
import json
import os
import shutil

from test_client import FtpcTestCase


class Names(FtpcTestCase):
    role = {"allow": ["read", "write", "delete"]}

    def setUp(self):
        super().setUp()
        for name in os.listdir(os.fsencode(self.daemon.root)):
            path = os.path.join(os.fsencode(self.daemon.root), name)
            if name != b".ftpd":
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    def there(self, *parts):
        return os.path.lexists(self.daemon.path(*parts))

    def results(self, done):
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_sum_prints_what_sha256sum_and_md5sum_print(self):
        content = os.urandom(300000)
        self.daemon.write("d/f", content)
        sha256, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()
        self.assertEqual(self.ftpc("sum", "d/f").stdout.decode(), f"{sha256}  d/f\n")
        self.assertEqual(self.ftpc("sum", "--sha256", "d/f").stdout.decode(), f"{sha256}  d/f\n")
        self.assertEqual(self.ftpc("sum", "--md5", "d/f").stdout.decode(), f"{md5}  d/f\n")
        self.assertEqual(self.results(self.ftpc("--json", "sum", "d/f"))[0]["sha256"], sha256)

    def test_sum_of_several_files_tells_what_fails_and_goes_on(self):
        self.daemon.write("a", b"a")
        self.daemon.write("b", b"b")
        done = self.ftpc("sum", "a", "none", "b", status=1)
        self.assertEqual([line.split()[1] for line in done.stdout.splitlines()], [b"a", b"b"])
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: sum none: not_found: ")

    def test_rm_removes_files_and_with_r_directories(self):
        for name in ("a", "b", "d/e/f"):
            self.daemon.write(name, b"x")
        self.assertEqual(self.ftpc("rm", "a", "b").stdout, b"")
        self.assertFalse(self.there("a") or self.there("b"))
        done = self.ftpc("rm", "d", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: rm d: is_directory: ")
        self.assertTrue(self.there("d", "e", "f"))
        self.ftpc("rm", "-r", "d")
        self.assertFalse(self.there("d"))

    def test_rm_goes_on_after_a_refusal(self):
        self.daemon.write("b", b"x")
        lines = self.results(self.ftpc("--json", "rm", "none", "b", status=1))
        self.assertEqual([(line["verb"], line["subject"], line["ok"]) for line in lines],
                         [("rm", "none", False), ("rm", "b", True)])
        self.assertEqual(lines[0]["error"], "not_found")
        self.assertFalse(self.there("b"))

    def test_mv_replaces_unless_told_not_to(self):
        self.daemon.write("from", b"new")
        self.daemon.write("to", b"old")
        done = self.ftpc("mv", "-n", "from", "to", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: mv from: exists: ")
        self.assertEqual(self.daemon.read("to"), b"old")
        self.ftpc("mv", "from", "to")
        self.assertEqual(self.daemon.read("to"), b"new")
        self.assertFalse(self.there("from"))

    def test_names_that_are_not_utf8(self):
        directory = os.fsencode(self.daemon.root)
        with open(os.path.join(directory, b"\xff"), "wb") as file:
            file.write(b"x")
        self.ftpc("mv", b"\xff", b"\xfe\n")
        self.assertIn(b"\xfe\n", os.listdir(directory))
        self.ftpc("rm", b"\xfe\n")
        self.assertNotIn(b"\xfe\n", os.listdir(directory))

    def test_mkdir_and_rmdir(self):
        self.ftpc("mkdir", "d", "d/e")
        self.assertTrue(os.path.isdir(self.daemon.path("d/e")))
        self.assertRegex(self.ftpc("mkdir", "d", status=1).stderr.decode(), r"(?m)^ftpc: mkdir d: exists: ")
        self.ftpc("mkdir", "x/y/z", status=1)
        self.ftpc("mkdir", "-p", "x/y/z", "d")
        self.assertTrue(os.path.isdir(self.daemon.path("x/y/z")))
        self.assertRegex(self.ftpc("rmdir", "d", status=1).stderr.decode(), r"(?m)^ftpc: rmdir d: not_empty: ")
        self.ftpc("rmdir", "d/e", "d")
        self.assertFalse(self.there("d"))

    def test_df_tells_the_room(self):
        lines = dict(line.split(":", 1) for line in self.ftpc("df").stdout.decode().splitlines())
        self.assertRegex(lines["total"], r"^ +[\d.]+ \w+$")
        self.assertRegex(lines["free"], r"^ +[\d.]+ \w+ +\d+%$")
        reply = self.results(self.ftpc("--json", "df"))[0]
        self.assertGreaterEqual(reply["total"], reply["free"])
        self.assertGreater(reply["total"], 0)

    def test_many_names_at_once(self):
        names = [f"n{number}" for number in range(500)]
        for name in names:
            self.daemon.write(name, b"x")
        self.ftpc("rm", *names)
        self.assertEqual(set(self.daemon.files()) & set(names), set())


class Denied(FtpcTestCase):
    role = {"allow": ["read", "write"]}

    def test_what_a_role_may_not_do_is_told(self):
        self.daemon.write("a", b"x")
        self.assertRegex(self.ftpc("rm", "a", status=1).stderr.decode(), r"(?m)^ftpc: rm a: denied: ")
        self.assertEqual(self.daemon.read("a"), b"x")
