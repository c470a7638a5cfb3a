"""Nothing escapes from the root, and nothing that is no file blocks: links, swaps, FIFOs, devices."""

import ctypes
import json
import os
import shutil
import socket
import stat
import threading

from ftpd_harness import DaemonTestCase
from ftpd_support import hex_digest, memory_options, remove_all, tree

EVERYTHING = {"allow": ["read", "write", "delete", "exec"]}
_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2

# (command, fields, body): every way to name something.
READS = [("get", {}, b""), ("get", {"digest": "md5"}, b""), ("get", {"digest": "md5", "trailer": True}, b""),
         ("get", {"offset": 1, "length": 1}, b""), ("get", {"follow": True}, b""), ("sum", {"digest": "sha256"}, b"")]
WRITES = [("put", {}, b"x"), ("put", {}, b"x" * 100000), ("put", {"parents": True}, b"x"),
          ("put", {"overwrite": "fail"}, b"x"), ("put", {"upload": "escape"}, b"x"),
          ("put", {"mode": 0o777, "mtime": 1}, b"x")]
NAMES = [("mkdir", {}, b""), ("mkdir", {"parents": True}, b""), ("rmdir", {}, b""), ("rm", {}, b""),
         ("rm", {"recursive": True}, b""), ("mv", {"to": "moved-out"}, b"")]
LOOKS = [("ls", {}, b""), ("ls", {"recursive": True}, b""), ("stat", {}, b"")]


def exchange(one, other):
    """Swaps two names in one step; false where one is not there."""
    return _libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0


class Swapper(threading.Thread):
    """Swaps two names all the time, until stopped."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other, self.running, self.swaps = one, other, True, 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.running = False
        self.join()

    def run(self):
        while self.running:
            self.swaps += exchange(self.one, self.other)


class EscapeTestCase(DaemonTestCase):
    role = EVERYTHING

    @classmethod
    def setUpClass(cls):
        cls.daemon_options = memory_options(cls)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.outside = os.path.join(os.path.dirname(self.daemon.root), "outside")
        shutil.rmtree(self.outside, ignore_errors=True)
        remove_all(self.daemon.root)
        for place, word in ((self.outside, b"the outside"), (self.daemon.path("d"), b"inside")):
            for name in ("secret", "victim", "t/x", "t/y/z"):
                os.makedirs(os.path.dirname(os.path.join(place, name)), exist_ok=True)
                with open(os.path.join(place, name), "wb") as file:
                    file.write(word)
        os.mkdir(os.path.join(self.outside, "hollow"))
        self.outside_before = self.look_outside()
        self.connection = self.client()

    def look_outside(self):
        names = {path: sorted(names + files) for path, names, files in os.walk(self.outside)}
        times = {path: os.stat(path).st_mtime_ns for path in names}
        return names, times, tree(self.outside)

    def tearDown(self):
        self.assertEqual(self.look_outside(), self.outside_before)
        super().tearDown()

    def send(self, command, name, fields, body=b""):
        """One request; the first header of its reply, with a digest of the last, and the whole body."""
        client = self.connection
        client.send_frame({"cmd": command, "filename": name, "data_size": len(body), **fields}, body)
        header, content = client.recv_reply()
        last = header
        while last.get("more"):
            last, more = client.recv_reply()
            content += more
        return {**last, **header}, content


class Links(EscapeTestCase):
    def setUp(self):
        super().setUp()
        os.symlink(self.outside, self.daemon.path("out"))
        os.symlink("../../outside", self.daemon.path("d/up"))
        os.symlink("d", self.daemon.path("in"))
        os.symlink("/", self.daemon.path("slash"))
        os.symlink("/proc/self/root", self.daemon.path("magic"))
        os.symlink(os.path.join(self.outside, "secret"), self.daemon.path("out-file"))
        os.symlink(f"/proc/{self.daemon.pid}/cwd", self.daemon.path("cwd"))

    def test_a_link_on_the_way_is_denied_to_every_command(self):
        slash = self.outside[1:]
        for name in ("out/secret", "out/new", "out/t/x", "out/hollow", "d/up/secret", "d/up/t", "in/secret", "in/t",
                     f"slash/{slash}/secret", f"magic/{slash}/secret", "cwd/ftpd.toml", "out-file/x"):
            for command, fields, body in READS + WRITES + NAMES + LOOKS:
                with self.subTest(name=name, command=command, **fields):
                    self.refused(self.send(command, name, fields, body), "denied")
                    self.still_works(self.connection)
            self.refused(self.send("mv", "d/secret", {"to": name}), "denied")
            self.refused(self.send("mv", "d/t", {"to": name}), "denied")
        self.assertEqual(self.daemon.read("d/secret"), b"inside")

    def test_a_link_at_the_end_is_denied_or_meant_itself(self):
        for name in ("out", "out-file", "in", "slash", "magic", "d/up"):
            for command, fields, body in READS + WRITES + [("rmdir", {}, b"")]:
                with self.subTest(name=name, command=command, **fields):
                    code = self.send(command, name, fields, body)[0].get("error")
                    self.assertIn(code, ("denied", "exists") if "overwrite" in fields else ("denied",))
                    self.assertTrue(os.path.islink(self.daemon.path(name)))
            for fields in ({}, {"recursive": True}):
                header, body = self.send("ls", name, fields)
                self.assertFalse(header["ok"], body)
            self.assertEqual(self.ok(self.send("stat", name, {}))[0]["type"], "symlink")
            self.refused(self.send("exec", "", {"argv": ["pwd"], "cwd": name}), "denied")
            self.assertFalse(self.send("mkdir", name, {})[0]["ok"])
            self.assertFalse(self.send("put", name, {"parents": True}, b"x")[0]["ok"])
            self.ok(self.send("mv", name, {"to": "moved"}))
            self.assertTrue(os.path.islink(self.daemon.path("moved")))
            self.ok(self.send("rm", "moved", {"recursive": True}))

    def test_a_removed_tree_takes_its_links_and_nothing_behind_them(self):
        os.symlink(self.outside, self.daemon.path("d/t/y/link"))
        self.ok(self.send("rm", "d", {"recursive": True}))
        self.assertFalse(os.path.lexists(self.daemon.path("d")))


class Swaps(EscapeTestCase):
    ROUNDS = 100

    def test_a_directory_that_turns_into_a_link_all_the_time(self):
        os.symlink(self.outside, self.daemon.path("l"))
        inside = os.open(self.daemon.path("d"), os.O_RDONLY)
        self.addCleanup(os.close, inside)
        with open(self.daemon.path("fixed"), "wb") as file:
            file.write(b"inside")
        outcomes = set()
        with Swapper(self.daemon.path("d"), self.daemon.path("l")) as swapper:
            for number in range(self.ROUNDS):
                self.read_all(outcomes)
                self.write_all(number, outcomes)
                self.make_victims(inside)
        self.assertGreater(swapper.swaps, self.ROUNDS)
        self.assertLessEqual({(command, end) for command in ("get", "put", "rm", "mv", "mkdir", "sum")
                              for end in ("ok", "denied")}, outcomes, "the race was never lost, or never won")

    def attempt(self, outcomes, command, name, fields, body=b""):
        header, content = self.send(command, name, fields, body)
        outcomes.add((command, "ok" if header["ok"] else header["error"]))
        self.assertIn(header.get("error", "denied"), ("denied", "not_found", "exists", "not_empty", "is_directory",
                                                      "not_directory"), header)
        return header, content

    def read_all(self, outcomes):
        for fields in ({}, {"digest": "md5"}, {"digest": "md5", "trailer": True}):
            header, body = self.attempt(outcomes, "get", "d/secret", fields)
            self.assertEqual(body, b"inside" if header["ok"] else b"")
            self.assertEqual(header.get("md5", hex_digest("md5", b"inside")), hex_digest("md5", b"inside"))
        header, _ = self.attempt(outcomes, "sum", "d/secret", {"digest": "md5"})
        self.assertEqual(header.get("md5", hex_digest("md5", b"inside")), hex_digest("md5", b"inside"))
        header, _ = self.attempt(outcomes, "stat", "d/secret", {})
        self.assertEqual(header.get("filesize", 6), 6)
        for name, recursive in (("d", False), ("d", True), (".", True)):
            _, body = self.attempt(outcomes, "ls", name, {"recursive": recursive})
            self.assertFalse([line for line in body.splitlines() if "hollow" in json.loads(line)["name"]])

    def write_all(self, number, outcomes):
        for name, fields, body in (("d/new", {}, b"x"), ("d/large", {}, b"x" * 100000), ("d/secret", {}, b"inside"),
                                   (f"d/p{number}/q", {"parents": True}, b"x"),
                                   (f"d/n{number}", {"overwrite": "fail"}, b"x"),
                                   ("d/held", {"upload": "held"}, b"x" * 1000)):
            self.attempt(outcomes, "put", name, fields, body)
        self.attempt(outcomes, "mkdir", f"d/m{number}", {})
        self.attempt(outcomes, "mkdir", f"d/m{number}/a/b", {"parents": True})
        self.attempt(outcomes, "rmdir", f"d/m{number}", {})
        self.attempt(outcomes, "rmdir", "d/hollow", {})
        self.attempt(outcomes, "mv", "d/victim", {"to": f"d/moved{number}"})
        self.attempt(outcomes, "mv", "d/victim", {"to": "stolen"})
        self.attempt(outcomes, "mv", "fixed", {"to": "d/victim"})
        self.attempt(outcomes, "mv", "d/victim", {"to": "fixed"})
        self.attempt(outcomes, "rm", "d/victim", {})
        self.attempt(outcomes, "rm", "d/t", {"recursive": True})
        if os.path.exists(self.daemon.path("stolen")):
            self.assertEqual(self.daemon.read("stolen"), b"inside")

    def make_victims(self, inside):
        def put(name):
            descriptor = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, dir_fd=inside)
            os.write(descriptor, b"inside")
            os.close(descriptor)
        for name in ("t", "t/y"):
            try:
                os.mkdir(name, dir_fd=inside)
            except FileExistsError:
                pass
        for name in ("victim", "secret", "t/x", "t/y/z"):
            put(name)
        if not os.path.exists(self.daemon.path("fixed")):
            with open(self.daemon.path("fixed"), "wb") as file:
                file.write(b"inside")

    def test_a_tree_that_is_removed_while_a_directory_in_it_turns_into_a_link(self):
        for number in range(20):
            place = self.daemon.path(f"tree-{number}")
            for part in range(20):
                os.makedirs(os.path.join(place, "d", f"s{part}", "t"))
            os.symlink(self.outside, os.path.join(place, "l"))
            with Swapper(os.path.join(place, "d"), os.path.join(place, "l")):
                header, _ = self.send("rm", f"tree-{number}", {"recursive": True})
            if not header["ok"]:  # told, and the rest goes at the second try
                self.assertIn(header["error"], ("not_empty", "not_found", "denied", "not_directory", "is_directory"), header)
                self.ok(self.send("rm", f"tree-{number}", {"recursive": True}))
            self.assertFalse(os.path.lexists(place))


class SpecialFiles(EscapeTestCase):
    def setUp(self):
        super().setUp()
        os.mkfifo(self.daemon.path("fifo"))
        with socket.socket(socket.AF_UNIX) as sock:
            root = os.open(self.daemon.root, os.O_RDONLY)
            sock.bind(f"/proc/self/fd/{root}/socket")
            os.close(root)
        self.specials = ["fifo", "socket"]
        try:
            for name, minor in (("null", 3), ("full", 7)):
                os.mknod(self.daemon.path(name), stat.S_IFCHR | 0o666, os.makedev(1, minor))
                self.specials.append(name)
        except PermissionError:  # only root makes devices
            pass

    def test_no_command_blocks_or_touches_them(self):
        for name in self.specials:
            before = os.lstat(self.daemon.path(name))
            for command, fields, body in READS + WRITES + [("rmdir", {}, b"")]:
                with self.subTest(name=name, command=command, **fields):
                    code = self.send(command, name, fields, body)[0].get("error")
                    self.assertIn(code, ("denied", "exists") if "overwrite" in fields else ("denied",))
                    self.still_works(self.connection)
            for command, fields in (("mkdir", {}), ("mkdir", {"parents": True}), ("ls", {}), ("ls", {"recursive": True})):
                with self.subTest(name=name, command=command, **fields):
                    code = self.send(command, name, fields)[0].get("error")
                    self.assertIn(code, ("denied", "exists", "not_directory"))
                    self.still_works(self.connection)
            self.assertEqual(self.ok(self.send("stat", name, {}))[0]["type"], "other")
            after = os.lstat(self.daemon.path(name))
            self.assertEqual((after.st_ino, after.st_mode, after.st_mtime_ns),
                             (before.st_ino, before.st_mode, before.st_mtime_ns))

    def test_nothing_is_below_them(self):
        for name in self.specials:
            for command, fields, body in READS + WRITES + NAMES + LOOKS:
                with self.subTest(name=name, command=command, **fields):
                    code = self.send(command, name + "/x", fields, body)[0].get("error")
                    self.assertIn(code, ("denied", "not_directory"))
                    self.still_works(self.connection)

    def test_they_are_listed_moved_and_removed_themselves(self):
        _, body = self.ok(self.send("ls", ".", {"recursive": True}))
        types = {entry["name"]: entry["type"] for entry in map(json.loads, body.splitlines())}
        for name in self.specials:
            self.assertEqual(types[name], "other")
            self.ok(self.send("mv", name, {"to": "d/" + name}))
        self.ok(self.send("rm", "d/fifo", {}))
        self.ok(self.send("rm", "d", {"recursive": True}))

    def test_one_that_takes_the_place_of_a_file_never_blocks(self):
        self.daemon.write("file", b"inside")
        with Swapper(self.daemon.path("file"), self.daemon.path("fifo")):
            for _ in range(100):
                for command, fields, _ in READS:
                    if "follow" in fields:
                        continue
                    header, _ = self.send(command, "file", fields)
                    self.assertIn(header.get("error", "denied"), ("denied",), header)
                self.ok(self.send("put", "new", {}, b"x"))
        self.still_works(self.connection)
