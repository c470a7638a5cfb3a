"""mkdir and rmdir, and what holds for every verb that changes names: bad paths, rights."""

import os

from ftpd_harness import Daemon, ReplyAssertions
from test_names import NamesTestCase
from test_paths import BAD_PATHS


class Directories(NamesTestCase):
    def test_mkdir(self):
        self.done("mkdir", "new")
        self.done("mkdir", "new/below")
        self.done("mkdir", "x/y/z", parents=True)
        self.done("mkdir", "x/y/z", parents=True)
        self.done("mkdir", "dir", parents=True)
        self.changed(new=["new", "new/below", "x", "x/y", "x/y/z"])
        for name in ("new", "x", "x/y/z"):
            self.assertEqual(os.stat(self.daemon.path(name)).st_mode & 0o7777, 0o755)

    def test_mkdir_where_something_is(self):
        for name in ("dir", "file", "empty"):
            self.not_done("exists", "mkdir", name)
        for name in ("in", "out", "dangling", "fifo"):
            self.not_done("exists denied", "mkdir", name)
        self.not_done("exists not_directory", "mkdir", "file", parents=True)
        for name in ("in", "dangling", "fifo"):
            self.not_done("exists denied not_directory", "mkdir", name, parents=True)

    def test_mkdir_below_what_is_missing_or_no_directory(self):
        self.not_done("not_found", "mkdir", "x/y")
        for parents in (False, True):
            self.not_done("not_directory", "mkdir", "file/x", parents=parents)
            for name in ("out/x", "in/x", "dangling/x"):
                self.not_done("denied", "mkdir", name, parents=parents)
            for name in (".", ".ftpd", ".ftpd/x"):
                self.not_done("bad_request", "mkdir", name, parents=parents)
        self.not_done("bad_request", "mkdir", "x", parents="yes")
        self.not_done("bad_request", "mkdir", None)

    def test_rmdir(self):
        self.done("rmdir", "empty")
        self.changed(["empty"])

    def test_rmdir_of_what_is_no_empty_directory(self):
        self.not_done("not_empty", "rmdir", "dir")
        self.not_done("not_directory", "rmdir", "file")
        for name in ("in", "out", "dangling", "fifo", "socket"):
            self.not_done("denied", "rmdir", name)
        self.not_done("denied", "rmdir", "in/sub")
        self.not_done("not_found", "rmdir", "missing")
        self.not_done("not_found", "rmdir", "missing/x")
        self.not_done("not_directory", "rmdir", "file/x")
        self.not_done("bad_request", "rmdir", ".")
        self.not_done("bad_request", "rmdir", ".ftpd")

    def test_bad_paths_are_refused_by_every_verb(self):
        for path in BAD_PATHS:
            for command, fields in (("rm", {}), ("rm", {"recursive": True}), ("mkdir", {}), ("mkdir", {"parents": True}),
                                    ("rmdir", {}), ("mv", {"to": "x"}), ("sum", {"digest": "md5"})):
                self.not_done("bad_request", command, path, **fields)
            self.not_done("bad_request", "mv", "file", to=path)

    def test_long_paths(self):
        path = "/".join(["d" * 255] * 15 + ["e" * 254])
        self.assertEqual(len(path), 4094)
        self.done("mkdir", path, parents=True)
        self.done("mkdir", path + "/x")
        self.done("mv", path + "/x", to="y")  # both would not fit into a header
        self.done("mv", "y", to=path + "/z")
        self.done("rmdir", path + "/z")
        self.not_done_beyond(path + "/xx")
        self.done("rm", "d" * 255, recursive=True)
        self.changed()

    def not_done_beyond(self, path):
        for command, fields in (("mkdir", {}), ("rm", {}), ("rmdir", {}), ("mv", {"to": "x"})):
            self.refused(self.connection.call(command, path, **fields), "bad_request")


class Rights(ReplyAssertions):
    def allowed(self, words, code_by_command):
        with Daemon(role={"allow": words}) as daemon, daemon.client() as client:
            for name in ("a", "b", "d/x"):
                daemon.write(name, b"x")
            os.mkdir(daemon.path("e"))
            for (command, name, fields), expected in code_by_command:
                with self.subTest(words=words, command=command):
                    header, _ = client.call(command, name, **fields)
                    self.assertEqual(header.get("error"), expected, header)
                    self.still_works(client)

    def test_writing_is_not_deleting_nor_reading(self):
        rm, rmdir = ("rm", "a", {}), ("rmdir", "e", {})
        mv, mkdir = ("mv", "b", {"to": "c"}), ("mkdir", "new", {})
        look, df = ("sum", "d/x", {"digest": "md5"}), ("df", None, {})
        for words, denied in ((["read", "write"], (rm, rmdir)), (["delete"], (mv, mkdir, look, df)),
                              (["read"], (rm, rmdir, mv, mkdir)), (["write"], (rm, rmdir, look, df)),
                              (["rm", "mkdir", "df"], (rmdir, mv, look)), ([], (rm, rmdir, mv, mkdir, look, df))):
            order = (rm, rmdir, mv, mkdir, look, df)
            self.allowed(words, [(request, "denied" if request in denied else None) for request in order])
