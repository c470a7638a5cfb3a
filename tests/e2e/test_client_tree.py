"""ftpc's trees: put -r and get -r, each as one tar stream."""

import hashlib
import io
import json
import os
import stat
import tarfile

from ftpc_peers import ScriptedServer
from test_client import FtpcTestCase, run_ftpc

HARD_NAMES = (b"plain", b"with space", b"-r", b"[a,b]", b"%s", b"x" * 255, "ä€".encode(), b"\xff\xfe", b"'\"\\$")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def describe(top):
    """Name -> (mode, seconds, content or None for a directory) of all that is below."""
    found = {}
    top = os.fsencode(top)
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            about = os.lstat(path)
            content = None
            if stat.S_ISREG(about.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, top)] = (oct(stat.S_IMODE(about.st_mode)), about.st_mtime_ns, content)
    return found


def tar_of(members):
    """A pax stream of (name, content) pairs, None for a directory, or of TarInfo objects."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = 0o640, 1234567890.5
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o750
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def link_to(name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


class TreeTestCase(FtpcTestCase):
    def make_tree(self, top):
        """A tree with everything that may be hard, below `top` in the test's directory."""
        base = os.fsencode(os.path.join(self.directory, top))
        os.makedirs(os.path.join(base, b"d", b"e", b"f"))
        os.makedirs(os.path.join(base, b"empty"))
        files = [(name, os.urandom(100)) for name in HARD_NAMES]
        files += [(os.path.join(b"d", b"e", b"large"), os.urandom(1 << 20)), (b"d/none", b"")]
        for number, (name, content) in enumerate(files):
            path = os.path.join(base, name)
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, (0o600, 0o644, 0o755, 0o440)[number % 4])
            os.utime(path, ns=(10**18 + number * 10**9 + 123456789,) * 2)
        for name, mode in ((b"empty", 0o700), (b"d/e/f", 0o555), (b"d", 0o711)):
            os.chmod(os.path.join(base, name), mode)
        for name in (b"empty", b"d/e/f", b"d/e", b"d"):
            os.utime(os.path.join(base, name), ns=(10**18 + 987654321,) * 2)
        return os.fsdecode(base)

    def names(self, *parts):
        return sorted(os.listdir(os.path.join(self.directory, *parts)))

    def against(self, script, *arguments, **options):
        with ScriptedServer(script) as server:
            return run_ftpc(server.address, *arguments, cwd=self.directory, **options)


class PutTrees(TreeTestCase):
    def receive(self, *arguments, status=0, **reply):
        """ftpc against a server that takes a tree: (what subprocess.run gives, headers, the stream)."""
        seen = []

        def script(wire, _number):
            headers, stream = wire.read_message()
            seen.append((headers, stream))
            wire.write({"ok": True, "filename": headers[0]["filename"], "files": 1, "directories": 0,
                        "sha256": sha256(stream), **reply})
        done = self.against(script, *arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        (headers, stream), = seen
        return done, headers, stream

    def test_a_directory_travels_as_one_pax_stream(self):
        self.make_tree("t")
        done, headers, stream = self.receive("--json", "put", "-r", "t")
        self.assertEqual({key: headers[0][key] for key in ("cmd", "filename", "format", "parents", "digest", "more")},
                         {"cmd": "put", "filename": "t", "format": "tar", "parents": True, "digest": "sha256",
                          "more": True})
        self.assertEqual((headers[-1]["sha256"], headers[-1]["data_size"]), (sha256(stream), 0))
        self.assertLess(max(header["data_size"] for header in headers), 1 << 19)
        result = json.loads(done.stdout)
        self.assertEqual((result["verb"], result["subject"], result["ok"]), ("put", "t", True))
        with tarfile.open(fileobj=io.BytesIO(stream), encoding="utf-8", errors="surrogateescape") as archive:
            members = {os.fsencode(member.name): member for member in archive}
            there = describe(os.path.join(self.directory, "t"))
            self.assertEqual(set(members), set(there))
            for name, (mode, mtime, content) in there.items():
                member = members[name]
                self.assertEqual((oct(member.mode), member.isdir()), (mode, content is None), name)
                self.assertAlmostEqual(member.mtime, mtime / 1e9, places=5)
                if content is not None:
                    self.assertEqual(archive.extractfile(member).read(), content)

    def test_links_and_special_files_are_left_out_with_a_note(self):
        self.local("t/f", b"x")
        os.symlink("/etc", os.path.join(self.directory, "t", "link"))
        os.mkfifo(os.path.join(self.directory, "t", "fifo"))
        done, _, stream = self.receive("put", "-r", "t")
        with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
            self.assertEqual(archive.getnames(), ["f"])
        self.assertIn(b"ftpc: put t/link: not sent: a symbolic link\n", done.stderr)
        self.assertIn(b"ftpc: put t/fifo: not sent: no regular file\n", done.stderr)

    def test_the_name_over_there(self):
        self.local("a/b/f", b"x")
        for arguments, name in ((("a/b",), "b"), (("a/b/",), "b"), (("--to", "x/y", "a/b"), "x/y"),
                                (("--to", "x/", "a/b"), "x/b"), ((".",), ".")):
            _, headers, _ = self.receive("put", "-r", *arguments)
            self.assertEqual(headers[0]["filename"], name)

    def test_without_verification_there_is_no_digest(self):
        self.local("t/f", b"x")
        _, headers, _ = self.receive("put", "-r", "--no-verify", "t")
        self.assertFalse(any("digest" in header or "sha256" in header for header in headers))

    def test_a_server_that_received_something_else_is_found_out(self):
        self.local("t/f", b"x")
        done, _, _ = self.receive("put", "-r", "t", status=1, sha256=sha256(b"other"))
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: put t: checksum_mismatch: ")

    def test_a_refusal_in_the_middle_ends_it_and_the_next_operand_is_sent(self):
        os.makedirs(os.path.join(self.directory, "t"))
        with open(os.path.join(self.directory, "t", "huge"), "wb") as file:
            file.truncate(200 << 20)
        self.local("f", b"x")
        seen = []

        def script(wire, number):
            if number == 0:
                wire.read()
                wire.write({"ok": False, "error": "no_space", "message": "no room"})
            else:
                seen.append(wire.read_message())
                wire.write({"ok": True})
        done = self.against(script, "put", "-r", "t", "f")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: put t: no_space: ")
        self.assertEqual(seen[0][1], b"x")


class GetTrees(TreeTestCase):
    def send(self, stream, **last):
        """A script that answers with a tree."""
        def script(wire, _number):
            header, _ = wire.read()
            self.assertEqual((header["cmd"], header["format"], header["digest"]), ("get", "tar", "sha256"))
            for at in range(0, len(stream), 100000):
                wire.write({"ok": True, "more": True}, stream[at:at + 100000])
            wire.write({"ok": True, "files": 1, "directories": 1, "skipped": 0, "sha256": sha256(stream), **last})
        return script

    def break_off(self, stream, size):
        def script(wire, _number):
            wire.read()
            wire.write({"ok": True, "more": True, "data_size": len(stream)})
            wire.peer.sendall(stream[:size])
        return script

    def test_a_tree_is_unpacked_with_modes_and_times(self):
        large = os.urandom(1 << 20)
        stream = tar_of([("d", None), ("d/f", b"one"), ("d/large", large), ("implied/by/its/name", b"two")])
        done = self.against(self.send(stream, skipped=2), "--json", "get", "-r", "remote/t")
        self.assertEqual(done.returncode, 0, done.stderr)
        there = describe(os.path.join(self.directory, "t"))
        self.assertEqual(there[b"d"], ("0o750", 1234567890500000000, None))
        self.assertEqual(there[b"d/f"], ("0o640", 1234567890500000000, b"one"))
        self.assertEqual((there[b"d/large"][2], there[b"implied/by/its/name"][2]), (large, b"two"))
        self.assertIn(b"left out: 2", done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertTrue(json.loads(done.stdout)["ok"])
        self.assertEqual(self.names(), ["t"])

    def test_an_empty_tree_is_an_empty_directory(self):
        done = self.against(self.send(tar_of([])), "get", "-r", "t")
        self.assertEqual((done.returncode, self.names(), self.names("t")), (0, ["t"], []), done.stderr)

    def test_nothing_of_a_broken_tree_is_kept(self):
        stream = tar_of([(f"d{number}/f", os.urandom(50000)) for number in range(20)])
        failure = {"ok": False, "error": "io_error", "message": "the disk is gone"}

        def refused_in_the_middle(wire, _number):
            wire.read()
            wire.write({"ok": True, "more": True}, stream[:300000])
            wire.write(failure)
        for script, status, said in ((self.break_off(stream, 300000), 255, ""),
                                     (self.send(stream, sha256=sha256(b"")), 1, "checksum_mismatch"),
                                     (self.send(stream, sha256=None), 1, "not verified"),
                                     (self.send(stream[:300000]), 255, "tar stream is broken"),
                                     (refused_in_the_middle, 1, "io_error"),
                                     (self.send(b"no tar at all" * 1000), 255, "tar stream is broken")):
            with self.subTest(said=said, status=status):
                done = self.against(script, "get", "-r", "t")
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(said, done.stderr.decode())
                self.assertIn(b"nothing of it is kept", done.stderr)
                self.assertEqual(self.names(), [])

    def test_files_that_are_there_stay_whole_when_a_tree_breaks_off(self):
        stream = tar_of([("a", b"new"), ("b", os.urandom(500000))])
        self.local("t/b", b"old")
        self.local("t/c", b"mine")
        done = self.against(self.break_off(stream, 300000), "get", "-r", "t")
        self.assertEqual(done.returncode, 255, done.stderr)
        self.assertIn(b"t may be incomplete", done.stderr)
        self.assertEqual({name: content for name, (_, _, content) in describe(os.path.join(self.directory, "t")).items()},
                         {b"a": b"new", b"b": b"old", b"c": b"mine"})

    def test_names_that_lead_elsewhere_are_refused(self):
        for name in ("../out", "/tmp/out", "a/../../out", "a//b", "a/./b", "..", "a/.."):
            with self.subTest(name=name):
                info = tarfile.TarInfo(name)
                done = self.against(self.send(tar_of([("first", b"x"), info])), "get", "-r", "t")
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(b"leads elsewhere", done.stderr)
                self.assertEqual(self.names(), [])

    def test_links_in_the_stream_are_not_made(self):
        outside = os.path.join(self.directory, "outside")
        os.makedirs(outside)
        stream = tar_of([link_to("link", outside), ("link/f", b"x")])
        done = self.against(self.send(stream), "get", "-r", "t")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse(os.path.islink(os.path.join(self.directory, "t", "link")))
        self.assertEqual((self.names("outside"), self.names("t", "link")), ([], ["f"]))

    def test_a_link_that_is_there_is_not_followed(self):
        os.makedirs(os.path.join(self.directory, "outside"))
        os.makedirs(os.path.join(self.directory, "t"))
        os.symlink("../outside", os.path.join(self.directory, "t", "link"))
        done = self.against(self.send(tar_of([("link/f", b"x")])), "get", "-r", "t")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(self.names("outside"), [])

    def test_a_file_may_be_asked_for(self):
        def script(wire, _number):
            wire.read()
            wire.write({"ok": False, "error": "not_directory", "message": "a file"})
            header, _ = wire.read()
            self.assertNotIn("format", header)
            wire.write({"ok": True, "filename": "f", "filesize": 2, "sha256": sha256(b"hi")}, b"hi")
        done = self.against(script, "get", "-r", "f")
        self.assertEqual((done.returncode, self.read_local("f")), (0, b"hi"), done.stderr)
        self.assertEqual(done.stderr, b"")

    def test_a_missing_tree_leaves_nothing(self):
        done = self.ftpc("get", "-r", "missing", "new/place", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: get missing: not_found: ")
        self.assertEqual(self.names(), [])


class RoundTrips(TreeTestCase):
    def test_everything_survives_there_and_back(self):
        top = self.make_tree("t")
        done = self.ftpc("--json", "put", "-r", "--to", "deep/er", "t")
        result = json.loads(done.stdout)
        self.assertEqual((result["files"], result["directories"]), (len(HARD_NAMES) + 2, 4))
        self.assertEqual(describe(self.daemon.path("deep/er")), describe(top))
        self.ftpc("get", "-r", "deep/er", "back")
        self.assertEqual(describe(os.path.join(self.directory, "back")), describe(top))

    def test_a_tree_goes_into_one_that_is_there(self):
        self.daemon.write("merge/old", b"old")
        self.daemon.write("merge/d/f", b"old")
        self.local("merge/d/f", b"new")
        self.ftpc("put", "-r", "merge")
        self.assertEqual((self.daemon.read("merge/old"), self.daemon.read("merge/d/f")), (b"old", b"new"))
        self.local("merge/d/f", b"mine")
        self.local("merge/mine", b"mine")
        self.ftpc("get", "-r", "merge", ".")
        self.assertEqual([self.read_local(f"merge/{name}") for name in ("old", "d/f", "mine")], [b"old", b"new", b"mine"])

    def test_several_directories_and_files(self):
        self.local("one/a", b"1")
        self.local("two/b", b"2")
        self.local("three", b"3" * 100000)
        self.ftpc("put", "-r", "--to", "several", "three", "one", "two")
        self.assertEqual([self.daemon.read(f"several/{name}") for name in ("one/a", "two/b", "three")],
                         [b"1", b"2", b"3" * 100000])

    def test_an_empty_directory(self):
        os.makedirs(os.path.join(self.directory, "nothing"))
        self.ftpc("put", "-r", "nothing")
        self.assertTrue(os.path.isdir(self.daemon.path("nothing")))
        self.ftpc("get", "-r", "nothing", "again")
        self.assertEqual(self.names("again"), [])

    def test_many_small_files(self):
        for number in range(2000):
            self.local(f"many/{number % 13}/{number}", b"%d" % number)
        self.ftpc("put", "-r", "many")
        self.ftpc("get", "-r", "many", "back")
        self.assertEqual(describe(os.path.join(self.directory, "back")), describe(os.path.join(self.directory, "many")))
