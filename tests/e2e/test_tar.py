"""put and get with "format":"tar": a directory as one stream, whole or not at all."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import unittest

from ftpd_harness import Daemon, DaemonTestCase, ReplyAssertions, frame, wait_until
from ftpd_support import staged_content

NAMES = ["plain", "with space", "grün", "文", "decomposed u\u0308", "-rf", "line\nbreak", "bad\udcff\udcfebytes"]


def make_tar(members, form=tarfile.PAX_FORMAT):
    """A tar stream; members: name -> content, None for a directory; or TarInfo objects."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1000.5 if form == tarfile.PAX_FORMAT else 1000
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def read_tar(stream):
    """name -> content, None for a directory."""
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        return {info.name: None if info.isdir() else tar.extractfile(info).read() for info in tar}


class TarCase(DaemonTestCase):
    def setUp(self):
        super().setUp()
        for name in os.listdir(self.daemon.root):
            if name != ".ftpd":
                path = self.daemon.path(name)
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                else:
                    os.unlink(path)

    def put_tar(self, name, stream, client=None, **fields):
        header = {"cmd": "put", "filename": name, "format": "tar", "data_size": len(stream), **fields}
        return client.request(header, stream) if client else self.request(header, stream)

    def get_tar(self, name, client=None, **fields):
        """(first header, stream, last header)"""
        client = client or self.client()
        client.send_frame({"cmd": "get", "filename": name, "format": "tar", **fields})
        frames = client.recv_message()
        for header, _ in frames:
            self.assertTrue(header["ok"], header)
        for header, _ in frames[:-1]:
            self.assertIs(header["more"], True)
        self.assertEqual(frames[-1][0]["data_size"], 0)
        return frames[0][0], b"".join(body for _, body in frames), frames[-1][0]

    def staging_is_clean(self):
        wait_until(lambda: not staged_content(self.daemon.root), what="nothing is staged any more")


class Put(TarCase):
    def test_a_tree_appears_with_content_modes_and_times(self):
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            with self.subTest(form=form):
                stream = make_tar({"d": None, "d/e": None, "d/e/f": b"content", "g": b"x" * 100000}, form)
                name = f"t{form}"
                header, _ = self.ok(self.put_tar(name, stream))
                self.assertEqual((header["filename"], header["files"], header["directories"], header["filesize"]),
                                 (name, 2, 2, 100007))
                self.assertEqual(self.daemon.read(f"{name}/d/e/f"), b"content")
                self.assertEqual(self.daemon.read(f"{name}/g"), b"x" * 100000)
                status = os.stat(self.daemon.path(name, "d"))
                self.assertEqual(status.st_mode & 0o7777, 0o755)
                self.assertEqual(int(status.st_mtime), 1000)
        self.staging_is_clean()

    def test_hard_names_survive(self):
        members = {}
        for name in NAMES:
            members["dir " + name] = None
            members[f"dir {name}/{name}"] = name.encode("utf-8", "surrogateescape")
        members["p" * 200 + "/" + "q" * 255] = b"long"
        for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            self.ok(self.put_tar(f"n{form}", make_tar(members, form)))
            for name, content in members.items():
                path = self.daemon.path(f"n{form}", name)
                if content is None:
                    self.assertTrue(os.path.isdir(path), name)
                else:
                    with open(path, "rb") as file:
                        self.assertEqual(file.read(), content)

    def test_the_system_s_tar_is_understood(self):
        with tempfile.TemporaryDirectory(prefix="ftpd-e2e-") as place:
            os.makedirs(f"{place}/a/b")
            with open(f"{place}/a/b/f", "wb") as file:
                file.write(b"x" * 5000)
            with open(f"{place}/sparse", "wb") as file:
                file.truncate(1 << 20)
                file.seek(1 << 19)
                file.write(b"middle")
            for options in ([], ["--format=gnu", "-S"], ["--format=pax", "-S"], ["--format=v7"]):
                with self.subTest(options=options):
                    stream = subprocess.run(["tar", *options, "-C", place, "-cf", "-", "."], check=True,
                                            stdout=subprocess.PIPE).stdout
                    self.ok(self.put_tar("t", stream))
                    self.assertEqual(self.daemon.read("t/a/b/f"), b"x" * 5000)
                    with open(f"{place}/sparse", "rb") as file:
                        self.assertEqual(self.daemon.read("t/sparse"), file.read())
                    shutil.rmtree(self.daemon.path("t"))

    def test_the_stream_may_be_cut_anywhere(self):
        stream = make_tar({"d": None, "d/f": b"x" * 3000, "grün": b"y"})
        whole = frame({"cmd": "put", "filename": "t", "format": "tar"}, stream)
        for step in (1, 7, 511, 513, 1000):
            with self.subTest(step=step), self.daemon.client() as client:
                for at in range(0, len(whole), step):
                    client.send(whole[at:at + step])
                self.ok(client.recv_reply())
                self.assertEqual(self.daemon.read("t/d/f"), b"x" * 3000)

    def test_a_stream_of_unknown_size_comes_in_frames(self):
        stream = make_tar({"f": os.urandom(300000), "g": b"y"})
        for step in (1000, 65536, 100001):
            with self.subTest(step=step), self.daemon.client() as client:
                client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "more": True, "id": 7})
                for at in range(0, len(stream), step):
                    client.send_frame({"more": True}, stream[at:at + step])
                client.send_frame({})
                header, _ = self.ok(client.recv_reply())
                self.assertEqual(header["id"], 7)
                self.assertEqual(header["files"], 2)
                self.still_works(client)

    def test_a_large_stream_passes_with_bounded_memory(self):
        content = os.urandom(1 << 20)
        stream = make_tar({f"f{index}": content for index in range(64)})
        self.ok(self.put_tar("t", stream))
        self.assertEqual(len(os.listdir(self.daemon.path("t"))), 64)
        self.assertEqual(self.daemon.read("t/f63"), content)

    def test_it_merges_into_a_directory_that_is_there(self):
        self.daemon.write("t/kept", b"kept")
        self.daemon.write("t/d/replaced", b"old")
        self.ok(self.put_tar("t", make_tar({"d/replaced": b"new", "d/added": b"added"})))
        self.assertEqual(self.daemon.files(),
                         {"t/kept": b"kept", "t/d/replaced": b"new", "t/d/added": b"added"})

    def test_the_root_takes_a_tree(self):
        header, _ = self.ok(self.put_tar(".", make_tar({"f": b"x"})))
        self.assertEqual(header["filename"], ".")
        self.assertEqual(self.daemon.files(), {"f": b"x"})
        self.refused(self.put_tar(".", make_tar({".ftpd/x": b"x"})), "bad_request")

    def test_overwrite_fail_refuses_files_that_are_there_and_changes_nothing(self):
        self.daemon.write("t/f", b"old")
        self.refused(self.put_tar("t", make_tar({"a": b"1", "f": b"2"}), overwrite="fail"), "exists")
        self.assertEqual(self.daemon.files(), {"t/f": b"old"})
        self.ok(self.put_tar("t", make_tar({"a": b"1"}), overwrite="fail"))

    def test_directories_on_the_way_are_made_on_request(self):
        self.refused(self.put_tar("a/b/t", make_tar({"f": b"x"})), "not_found")
        self.ok(self.put_tar("a/b/t", make_tar({"f": b"x"}), parents=True))
        self.assertEqual(self.daemon.files(), {"a/b/t/f": b"x"})

    def test_the_digest_of_the_stream_is_told_and_checked(self):
        stream = make_tar({"f": b"x" * 100000})
        for kind in ("md5", "sha256"):
            digest = hashlib.new(kind, stream).hexdigest()
            wrong = hashlib.new(kind, b"another").hexdigest()
            header, _ = self.ok(self.put_tar("t", stream, digest=kind))
            self.assertEqual(header[kind], digest)
            header, _ = self.ok(self.put_tar("u", stream, **{kind: digest}))
            self.assertNotIn(kind, header)
            self.refused(self.put_tar("v", stream, **{kind: wrong}), "checksum_mismatch")
            for late, outcome in ((digest, None), (wrong, "checksum_mismatch")):
                with self.daemon.client() as client:
                    client.send_frame({"cmd": "put", "filename": "w", "format": "tar", "more": True, "digest": kind})
                    client.send_frame({"more": True}, stream)
                    client.send_frame({kind: late})
                    reply = client.recv_reply()
                    self.refused(reply, outcome) if outcome else self.ok(reply)
                    self.still_works(client)
            self.assertFalse(os.path.exists(self.daemon.path("v")))
            self.assertTrue(os.path.exists(self.daemon.path("w")))
            shutil.rmtree(self.daemon.path("w"))
        self.staging_is_clean()

    def test_a_digest_in_the_last_frame_needs_to_be_asked_for(self):
        stream = make_tar({"f": b"x"})
        with self.daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "more": True})
            client.send_frame({"more": True}, stream)
            client.send_frame({"md5": hashlib.md5(stream).hexdigest()})
            self.refused(client.recv_reply(), "bad_request")
            self.still_works(client)
        self.assertEqual(self.daemon.files(), {})

    def test_what_speaks_of_a_single_file_is_refused(self):
        for field, value in (("mode", 0o644), ("mtime", 1), ("upload", "u"), ("offset", 0)):
            with self.subTest(field=field):
                self.refused(self.put_tar("t", make_tar({"f": b"x"}), **{field: value}), "bad_request")
        for value in ("zip", "", 1, None):
            with self.subTest(value=value):
                self.refused(self.put_tar("t", make_tar({"f": b"x"}), format=value), "bad_request")
        self.assertEqual(self.daemon.files(), {})

    def test_a_total_that_is_wrong_stores_nothing(self):
        stream = make_tar({"f": b"x"})
        with self.daemon.client() as client:
            for total, outcome in ((len(stream) + 1, "bad_request"), (len(stream), None)):
                client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "more": True, "data_size": 0,
                                   "filesize": total})
                client.send_frame({}, stream)
                reply = client.recv_reply()
                self.refused(reply, outcome) if outcome else self.ok(reply)

    def test_a_client_that_waits_for_the_word_gets_it_or_the_error(self):
        stream = make_tar({"f": b"x"})
        self.daemon.write("file", b"x")
        with self.daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "data_size": len(stream), "wait": True})
            header, _ = client.recv_reply()
            self.assertTrue(header["continue"] and header["more"], header)
            client.send(stream)
            self.ok(client.recv_reply())
            client.send_frame({"cmd": "put", "filename": "file", "format": "tar", "data_size": 5, "wait": True})
            self.refused(client.recv_reply(), "not_directory")
            self.still_works(client)

    def test_a_whole_upload_is_done_though_the_client_resets(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "t", "format": "tar"}, make_tar({"f": b"x" * 100000}))
        client.flush()
        client.reset()
        wait_until(lambda: self.daemon.files() == {"t/f": b"x" * 100000}, what="the tree is there")


class Refused(TarCase):
    def refuse(self, stream, code, name="t"):
        with self.daemon.client() as client:
            header, _ = self.refused(self.put_tar(name, stream, client), code)
            self.still_works(client)
        self.assertEqual(self.daemon.files(), {})
        self.assertFalse(os.path.exists(self.daemon.path("t")))
        return header

    def tar_of(self, name, kind, link=""):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("before"))
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            tar.addfile(info)
            tar.addfile(tarfile.TarInfo("behind"))
        return out.getvalue()

    def test_names_that_lead_out(self):
        for name in ("../x", "/tmp/ftpd-e2e-x", "a/../../x"):
            with self.subTest(name=name):
                self.assertIn(name, self.refuse(make_tar({"good": b"x", name: b"bad"}), "denied")["message"])

    def test_links_and_special_files(self):
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
            with self.subTest(kind=kind):
                self.refuse(self.tar_of("bad", kind, "before"), "denied")

    def test_what_is_no_tar_or_is_cut_off(self):
        stream = make_tar({"d": None, "f": b"x" * 600})
        self.refuse(b"", "bad_request")
        self.refuse(b"x" * 10000, "bad_request")
        for size in range(0, stream.rstrip(b"\0").__len__() + 512, 512):
            with self.subTest(size=size):
                self.refuse(stream[:size], "bad_request")

    def test_an_error_in_the_middle_is_told_before_the_rest_has_come(self):
        stream = self.tar_of("bad", tarfile.SYMTYPE, "x")
        rest = 4 << 20
        with self.daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "data_size": len(stream) + rest}, stream)
            self.refused(client.recv_reply(), "denied")
            client.send(b"x" * rest)
            self.still_works(client)

    def test_an_impossible_size_is_told_at_the_start(self):
        with self.daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "data_size": 1 << 52})
            header, _ = self.refused(client.recv_reply(), "no_space")
            self.assertEqual(header["need"], 1 << 52)
            self.assertIn("free", header)

    def test_a_target_that_is_no_directory(self):
        self.daemon.write("file", b"x")
        os.symlink("/tmp", self.daemon.path("link"))
        self.refused(self.put_tar("file", make_tar({"f": b"x"})), "not_directory")
        self.refused(self.put_tar("link", make_tar({"f": b"x"})), "denied")
        self.refused(self.put_tar("../x", make_tar({"f": b"x"})), "bad_request")


class CalledOff(TarCase):
    def begin(self):
        """An upload under way: a file is staged."""
        client = self.client()
        stream = make_tar({"f": b"x" * 100000, "g": b"y"})
        client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "more": True})
        client.send_frame({"more": True}, stream[:60000])
        wait_until(lambda: staged_content(self.daemon.root), what="something is staged")
        return client

    def gone(self):
        self.staging_is_clean()
        self.assertFalse(os.path.exists(self.daemon.path("t")))

    def test_abort(self):
        client = self.begin()
        client.send_frame({"abort": True})
        self.refused(client.recv_reply(), "aborted")
        self.still_works(client)
        self.gone()

    def test_the_connection_ends_in_the_middle(self):
        self.begin().close()
        self.gone()

    def test_the_connection_is_reset_in_the_middle(self):
        self.begin().reset()
        self.gone()

    def test_the_end_of_input_in_the_middle(self):
        client = self.begin()
        client.half_close()
        client.wait_end()
        self.gone()

    def test_get_is_called_off(self):
        for index in range(20):
            self.daemon.write(f"big/{index}", os.urandom(1 << 20))
        client = self.client(receive_buffer=4096)
        client.send_frame({"cmd": "get", "filename": "big", "format": "tar", "more": True})
        header, _ = self.ok(client.recv_reply())
        self.assertEqual(header["format"], "tar")
        client.send_frame({"abort": True})
        frames = client.recv_message()
        self.refused(frames[-1], "aborted")
        self.still_works(client)

    def test_a_reader_that_goes_away_frees_its_thread(self):
        for index in range(20):
            self.daemon.write(f"big/{index}", os.urandom(1 << 20))
        for _ in range(100):  # more than there are threads
            client = self.client(receive_buffer=4096)
            client.send_frame({"cmd": "get", "filename": "big", "format": "tar"})
            self.ok(client.recv_reply())
            client.reset()
        wait_until(lambda: self.request({"cmd": "get", "filename": "big", "format": "tar"})[0]["ok"])

    def test_a_limit_on_how_many_at_once(self):
        clients = []
        for _ in range(200):
            client = self.client()
            clients.append(client)
            client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "data_size": 10240, "wait": True})
            header, _ = client.recv_reply()
            if not header["ok"]:
                break
        self.assertEqual(header["error"], "busy")
        self.assertGreater(header["retry_after_ms"], 0)
        self.assertGreaterEqual(len(clients), 16)
        for client in clients:
            client.close()
        wait_until(lambda: self.put_tar("t", make_tar({"f": b"x"}))[0]["ok"], what="a thread is free")


class Get(TarCase):
    def test_a_tree_comes_whole(self):
        os.makedirs(self.daemon.path("t/empty"))
        expected = {"empty": None, "big": os.urandom(3 << 20), "zero": b""}
        for name in NAMES:
            expected["dir " + name] = None
            expected[f"dir {name}/{name}"] = name.encode("utf-8", "surrogateescape")
        expected["p" * 200] = None
        expected["p" * 200 + "/" + "q" * 255] = b"long"
        for name, content in expected.items():
            if content is not None:
                self.daemon.write(os.path.join("t", name), content)
        os.utime(self.daemon.path("t/zero"), ns=(0, 1234567890123456789))
        os.chmod(self.daemon.path("t/zero"), 0o640)
        first, stream, last = self.get_tar("t", digest="sha256", id="an id")
        self.assertEqual((first["filename"], first["format"], first["id"]), ("t", "tar", "an id"))
        self.assertEqual(last["id"], "an id")
        self.assertEqual(read_tar(stream), expected)
        self.assertEqual((last["files"] + last["directories"], last["skipped"]), (len(expected), 0))
        self.assertEqual(last["filesize"], sum(len(content) for content in expected.values() if content))
        self.assertEqual(last["sha256"], hashlib.sha256(stream).hexdigest())
        with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
            zero = tar.getmember("zero")
            self.assertEqual((zero.mode, zero.uid, zero.uname), (0o640, 0, ""))
            self.assertAlmostEqual(zero.mtime, 1234567890.123456789, places=6)

    def test_the_system_s_tar_understands_it(self):
        for name in NAMES:
            self.daemon.write(os.path.join("t", name), b"x")
        _, stream, _ = self.get_tar("t")
        with tempfile.TemporaryDirectory(prefix="ftpd-e2e-") as place:
            done = subprocess.run(["tar", "-C", place, "-xf", "-"], input=stream, stderr=subprocess.PIPE, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(sorted(os.listdir(place)), sorted(NAMES))

    def test_what_comes_out_goes_in_again(self):
        self.daemon.write("t/a/b/c", b"x" * 5000)
        self.daemon.write("t/grün", b"y")
        os.makedirs(self.daemon.path("t/empty"))
        _, stream, _ = self.get_tar("t")
        self.ok(self.put_tar("u", stream))
        self.assertEqual(self.get_tar("u")[1], stream)

    def test_the_root_comes_without_the_daemon_s_own(self):
        self.daemon.write("f", b"x")
        first, stream, _ = self.get_tar(".")
        self.assertEqual(first["filename"], ".")
        self.assertEqual(read_tar(stream), {"f": b"x"})

    def test_links_and_special_files_are_skipped(self):
        self.daemon.write("t/f", b"x")
        os.symlink("/etc/passwd", self.daemon.path("t/link"))
        os.mkfifo(self.daemon.path("t/fifo"))
        _, stream, last = self.get_tar("t")
        self.assertEqual(read_tar(stream), {"f": b"x"})
        self.assertEqual(last["skipped"], 2)

    def test_what_is_no_directory_is_refused(self):
        self.daemon.write("file", b"x")
        with self.daemon.client() as client:
            for name, code in (("file", "not_directory"), ("missing", "not_found"), ("../x", "bad_request")):
                self.refused(client.request({"cmd": "get", "filename": name, "format": "tar"}), code)
            for field, value in (("offset", 0), ("length", 1), ("follow", True), ("trailer", True)):
                request = {"cmd": "get", "filename": ".", "format": "tar", field: value}
                self.refused(client.request(request), "bad_request")
            self.still_works(client)

    def test_replies_keep_their_order(self):
        self.daemon.write("t/f", b"x" * 1000000)
        client = self.client()
        for index in range(10):
            client.send_frame({"cmd": "get", "filename": "t", "format": "tar", "id": index})
            client.send_frame({"cmd": "ping", "id": f"ping {index}"})
        for index in range(10):
            frames = client.recv_message()
            self.assertEqual({header["id"] for header, _ in frames}, {index})
            self.assertEqual(read_tar(b"".join(body for _, body in frames)), {"f": b"x" * 1000000})
            self.assertEqual(client.recv_reply()[0]["id"], f"ping {index}")

    def test_others_are_served_while_a_slow_reader_takes_its_time(self):
        for index in range(20):
            self.daemon.write(f"big/{index}", os.urandom(1 << 20))
        slow = self.client(receive_buffer=4096)
        slow.send_frame({"cmd": "get", "filename": "big", "format": "tar"})
        self.ok(slow.recv_reply())
        for _ in range(10):
            self.ok(self.request({"cmd": "ping"}))
        _, stream, _ = self.get_tar("big")
        rest = slow.recv_message()
        self.assertTrue(rest[-1][0]["ok"])
        self.assertGreater(len(stream), 20 << 20)


class Together(TarCase):
    def test_two_at_once_on_one_target_leave_each_file_whole(self):
        contents = [bytes([65 + index]) * (50000 + index) for index in range(4)]
        streams = [make_tar({f"d{i}/f": content for i in range(20)}) for content in contents]
        replies = [None] * 4

        def put(index):
            replies[index] = self.put_tar("t", streams[index])

        threads = [threading.Thread(target=put, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for reply in replies:
            self.ok(reply)
        files = self.daemon.files()
        self.assertEqual(len(files), 20)
        for content in files.values():
            self.assertIn(content, contents)
        self.staging_is_clean()


class Limits(ReplyAssertions):
    def test_max_file_and_quota_hold_for_members(self):
        with Daemon(role={"max_file": 1000, "quota": 5000}) as daemon, daemon.client() as client:
            def put(stream):
                return client.request({"cmd": "put", "filename": "t", "format": "tar"}, stream)
            self.refused(put(make_tar({"f": b"x" * 1001})), "too_large")
            reply, _ = self.refused(put(make_tar({f"f{i}": b"x" * 900 for i in range(10)})), "quota_exceeded")
            self.assertIn("need", reply)
            self.assertIn("free", reply)
            self.assertEqual(daemon.files(), {})
            self.ok(put(make_tar({f"f{i}": b"x" * 900 for i in range(5)})))

    def test_without_the_right_nothing_is_taken_or_sent(self):
        with Daemon(role={"allow": ["read"]}) as daemon, daemon.client() as client:
            stream = make_tar({"f": b"x"})
            self.refused(client.request({"cmd": "put", "filename": "t", "format": "tar"}, stream), "denied")
        with Daemon(role={"allow": ["write"]}) as daemon, daemon.client() as client:
            self.refused(client.request({"cmd": "get", "filename": ".", "format": "tar"}), "denied")

    def test_a_durable_role_stores_trees_too(self):
        with Daemon(role={"durability": "fsync"}) as daemon, daemon.client() as client:
            for name in ("t", "t", "."):
                stream = make_tar({"d/e/f": b"x", "g": b"y"})
                self.ok(client.request({"cmd": "put", "filename": name, "format": "tar"}, stream))
            self.assertEqual(len(daemon.files()), 4)

    def test_the_daemon_stops_in_the_middle_and_leaves_nothing(self):
        with Daemon(server={"drain_timeout": "300ms"}) as daemon:
            daemon.write("big/f", b"x" * (8 << 20))
            with daemon.client() as client, daemon.client(receive_buffer=4096) as reader:
                client.send_frame({"cmd": "put", "filename": "t", "format": "tar", "more": True})
                client.send_frame({"more": True}, make_tar({"f": b"x" * 100000})[:50000])
                reader.send_frame({"cmd": "get", "filename": "big", "format": "tar"})
                self.ok(reader.recv_reply())
                wait_until(lambda: staged_content(daemon.root))
                daemon.terminate()
                self.refused(client.recv_reply(), "shutting_down")
                daemon.stop()
            self.assertFalse(os.path.exists(daemon.path("t")))
            self.assertEqual(staged_content(daemon.root), [])


if __name__ == "__main__":
    unittest.main()
