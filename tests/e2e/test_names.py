"""rm and mv: what they do, and what they refuse."""

import base64
import os
import shutil
import socket

from ftpd_harness import DaemonTestCase
from ftpd_support import memory_options, remove_all

EVERYTHING = {"allow": ["read", "write", "delete"]}


def all_names(root):
    """Every name below `root` but the daemon's own, links and directories included."""
    found = set()
    for directory, names, files in os.walk(root):
        if directory == root and ".ftpd" in names:
            names.remove(".ftpd")
        found |= {os.path.relpath(os.path.join(directory, name), root) for name in names + files}
    return found


class NamesTestCase(DaemonTestCase):
    """A tree with one of everything, made anew for each test."""

    role = EVERYTHING

    @classmethod
    def setUpClass(cls):
        cls.daemon_options = memory_options(cls)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.outside = os.path.join(self.daemon.directory, "outside")
        remove_all(self.daemon.root)
        shutil.rmtree(self.outside, ignore_errors=True)
        os.mkdir(self.outside)
        with open(os.path.join(self.outside, "secret"), "wb") as file:
            file.write(b"secret")
        for name in ("file", "dir/a", "dir/b", "dir/sub/c"):
            self.daemon.write(name, name.encode())
        os.mkdir(self.daemon.path("empty"))
        os.symlink(self.outside, self.daemon.path("out"))
        os.symlink("dir", self.daemon.path("in"))
        os.symlink("nowhere", self.daemon.path("dangling"))
        os.mkfifo(self.daemon.path("fifo"))
        with socket.socket(socket.AF_UNIX) as sock:
            root = os.open(self.daemon.root, os.O_RDONLY)
            sock.bind(f"/proc/self/fd/{root}/socket")
            os.close(root)
        self.before = all_names(self.daemon.root)
        self.connection = self.client()

    def tearDown(self):
        self.assertEqual(os.listdir(self.outside), ["secret"])
        super().tearDown()

    def done(self, command, name, **fields):
        header, body = self.ok(self.connection.call(command, name, **fields))
        self.assertEqual((header["data_size"], body), (0, b""))

    def not_done(self, code, command, name, **fields):
        """Refused with `code` (one, or several that would do), and nothing has changed."""
        with self.subTest(command=command, name=str(name)[:40], **fields):
            header, _ = self.connection.call(command, name, **fields)
            self.assertFalse(header["ok"], header)
            self.assertIn(header["error"], code.split(), header)
            self.assertEqual(all_names(self.daemon.root), self.before)
            self.still_works(self.connection)

    def changed(self, gone=(), new=()):
        self.assertEqual(all_names(self.daemon.root), self.before - set(gone) | set(new))


class Rm(NamesTestCase):
    def test_files_links_and_special_files(self):
        gone = ["file", "dir/a", "out", "in", "dangling", "fifo", "socket"]
        for name in gone:
            self.done("rm", name)
        self.changed(gone)

    def test_recursive_on_what_is_no_directory(self):
        for name in ("file", "out", "in", "fifo"):
            self.done("rm", name, recursive=True)
        self.changed(["file", "out", "in", "fifo"])

    def test_a_directory_only_if_asked(self):
        self.not_done("is_directory", "rm", "dir")
        self.not_done("is_directory", "rm", "empty")
        self.not_done("is_directory", "rm", "dir", recursive=False)
        os.symlink(self.outside, self.daemon.path("dir/sub/out"))
        self.done("rm", "dir", recursive=True)
        self.done("rm", "empty", recursive=True)
        self.changed([name for name in self.before if name.startswith(("dir", "empty"))])

    def test_what_is_not_there_or_not_ours(self):
        for recursive in (False, True):
            self.not_done("not_found", "rm", "missing", recursive=recursive)
            self.not_done("not_found", "rm", "missing/x", recursive=recursive)
            self.not_done("not_directory", "rm", "file/x", recursive=recursive)
            self.not_done("denied", "rm", "out/secret", recursive=recursive)
            self.not_done("denied", "rm", "in/a", recursive=recursive)
            self.not_done("bad_request", "rm", ".", recursive=recursive)
            self.not_done("bad_request", "rm", ".ftpd", recursive=recursive)
        self.not_done("bad_request", "rm", None)
        self.not_done("bad_request", "rm", "dir", recursive="yes")

    def test_an_open_file_is_read_to_its_end(self):
        content = os.urandom(16 << 20)
        self.daemon.write("dir/big", content)
        reader = self.client(receive_buffer=4096)
        reader.send_frame({"cmd": "get", "filename": "dir/big"})
        header = reader.recv_header()
        self.done("rm", "dir", recursive=True)
        self.assertEqual(reader.recv_exact(header["data_size"]), content)
        self.still_works(reader)

    def test_a_deep_tree_goes_though_its_path_is_longer_than_any_path(self):
        here = os.open(self.daemon.root, os.O_RDONLY)
        for name in ["deep"] + ["component-of-a-deep-tree"] * 500:
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
        self.done("rm", "deep", recursive=True)
        self.changed()

    def test_a_wide_tree_goes_while_somebody_reads_it(self):
        for number in range(5000):
            self.daemon.write(f"wide/{number % 7}/{number}", b"")
        reader = self.client()
        self.connection.send_frame({"cmd": "rm", "filename": "wide", "recursive": True})
        for number in range(5):
            for request in ({"cmd": "ls", "filename": "wide", "recursive": True},
                            {"cmd": "get", "filename": f"wide/{number % 7}/{number}"}):
                header, _ = reader.request(request)
                self.assertIn(header.get("error", "not_found"), ("not_found",), header)
        self.ok(self.connection.recv_reply())
        self.changed()


class Mv(NamesTestCase):
    def test_files_directories_links_and_special_files(self):
        moves = [("file", "file2"), ("file2", "dir/file3"), ("empty", "dir/empty2"), ("dir/sub", "sub2"), ("in", "in2"),
                 ("dangling", "dir/dangling2"), ("fifo", "fifo2"), ("socket", "socket2")]
        for name, to in moves:
            self.done("mv", name, to=to)
        self.changed(["file", "empty", "dir/sub", "dir/sub/c", "in", "dangling", "fifo", "socket"],
                     ["dir/file3", "dir/empty2", "sub2", "sub2/c", "in2", "dir/dangling2", "fifo2", "socket2"])
        self.assertEqual(self.daemon.read("dir/file3"), b"file")
        self.assertEqual(os.readlink(self.daemon.path("in2")), "dir")

    def test_a_file_over_a_file(self):
        self.not_done("exists", "mv", "file", to="dir/a", overwrite="fail")
        self.assertEqual(self.daemon.read("dir/a"), b"dir/a")
        self.done("mv", "file", to="dir/a")
        self.done("mv", "dir/a", to="dir/b", overwrite="replace")
        self.assertEqual(self.daemon.read("dir/b"), b"file")
        self.done("mv", "dir/b", to="free", overwrite="fail")
        self.changed(["file", "dir/a", "dir/b"], ["free"])

    def test_nothing_replaces_a_directory_and_a_directory_nothing(self):
        for overwrite in ({}, {"overwrite": "replace"}, {"overwrite": "fail"}):
            for to in ("dir", "empty"):
                self.not_done("is_directory exists", "mv", "file", to=to, **overwrite)
            self.not_done("exists not_directory", "mv", "dir", to="file", **overwrite)
            self.not_done("exists is_directory not_empty", "mv", "empty", to="dir", **overwrite)
            self.not_done("exists is_directory", "mv", "dir", to="empty", **overwrite)

    def test_a_directory_into_itself(self):
        for to in ("dir/x", "dir/sub/x", "dir/sub/x/y"):
            self.not_done("bad_request" if not to.endswith("y") else "bad_request not_found", "mv", "dir", to=to)

    def test_a_file_onto_itself(self):
        self.connection.call("mv", "file", to="file")
        self.assertEqual(self.daemon.read("file"), b"file")
        self.not_done("exists", "mv", "file", to="file", overwrite="fail")

    def test_what_is_not_there_or_not_ours(self):
        self.not_done("not_found", "mv", "missing", to="x")
        self.not_done("not_found", "mv", "file", to="missing/x")
        self.not_done("not_directory", "mv", "file/x", to="y")
        self.not_done("not_directory", "mv", "dir/a", to="file/x")
        self.not_done("denied", "mv", "out/secret", to="x")
        self.not_done("denied", "mv", "in/a", to="x")
        self.not_done("denied", "mv", "file", to="out/x")
        self.not_done("denied", "mv", "file", to="in/x")
        for path in (".", ".ftpd", ".ftpd/x"):
            self.not_done("bad_request", "mv", path, to="x")
            self.not_done("bad_request", "mv", "file", to=path)

    def test_a_link_in_the_place_of_the_new_name_is_never_followed(self):
        for to in ("out", "in", "dangling"):
            self.connection.call("mv", "file", to=to)
            self.daemon.write("file", b"file")
        self.not_done("exists denied", "mv", "file", to="in", overwrite="fail")
        self.assertEqual(self.daemon.read("dir/a"), b"dir/a")
        self.assertFalse(os.path.lexists(self.daemon.path("nowhere")))

    def test_wrong_requests(self):
        for fields in ({}, {"to": 5}, {"to": None}, {"to_base64": "*"}, {"to_base64": 5}, {"to": "x", "overwrite": "maybe"},
                       {"to": "x", "overwrite": False}):
            self.not_done("bad_request", "mv", "file", **fields)
        self.not_done("bad_request", "mv", None, to="x")

    def test_names_in_base64(self):
        raw = b"dir/\xff\x01"
        self.done("mv", "file", to_base64=base64.b64encode(raw).decode())
        self.assertTrue(os.path.exists(os.path.join(os.fsencode(self.daemon.root), raw)))
        self.ok(self.connection.call("mv", filename_base64=base64.b64encode(raw).decode(), to="file"))
        self.changed()
        for path in (b"../x", b"/x", b"", b".ftpd/x", b"\xff/../x"):
            self.not_done("bad_request", "mv", "file", to_base64=base64.b64encode(path).decode())

    def test_two_that_move_one_file_leave_it_once(self):
        clients = [self.client() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send_frame({"cmd": "mv", "filename": "file", "to": f"moved-{number}"})
        won = [number for number, client in enumerate(clients) if client.recv_reply()[0]["ok"]]
        self.assertEqual(len(won), 1)
        self.changed(["file"], [f"moved-{won[0]}"])
