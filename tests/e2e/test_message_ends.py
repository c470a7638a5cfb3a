"""Where messages end: last frames behind pipelined requests, put with `wait` among them, what is cut off."""

import base64
import io
import json
import os
import tarfile

from ftpd_harness import SLOW, Daemon, DaemonTestCase, ReplyAssertions, frame, wait_until
from ftpd_support import hex_digest

TEN = b"0123456789"
PING = {"cmd": "ping"}


def put_of_ten(name, **fields):
    """A put of TEN in two frames, five bytes in each."""
    return (frame({"cmd": "put", "filename": name, "more": True, "data_size": 5, **fields}, TEN[:5]) +
            frame({"data_size": 5}, TEN[5:]))


def entries(root):
    """What there is below `root`, directories too: relative path -> content, None for a directory."""
    found = {}
    for directory, names, files in os.walk(root):
        if directory == root and ".ftpd" in names:
            names.remove(".ftpd")
        for name in names:
            found[os.path.relpath(os.path.join(directory, name), root)] = None
        for name in files:
            with open(os.path.join(directory, name), "rb") as file:
                found[os.path.relpath(os.path.join(directory, name), root)] = file.read()
    return found


class LastFrames(DaemonTestCase):
    """All in one write: the daemon has the last frame before it comes to the first."""

    def cases(self, prefix):
        """title -> (bytes, number of requests, name of the file of TEN). Names begin with `prefix`."""
        self.daemon.write("summed", b"abc")
        name = prefix + "d/f"
        mkdir = frame({"cmd": "mkdir", "filename": prefix + "d"})
        waiting = {"cmd": "put", "filename": name, "wait": True}
        return {
            "behind mkdir": (mkdir + put_of_ten(name), 2, name),
            "behind sum": (frame({"cmd": "sum", "filename": "summed", "digest": "sha256"}) + put_of_ten(prefix + "f"),
                           2, prefix + "f"),
            "behind sum and mkdir": (frame({"cmd": "sum", "filename": "summed", "digest": "md5"}) + mkdir +
                                     put_of_ten(name), 3, name),
            "behind a put": (frame({"cmd": "put", "filename": prefix + "a"}, b"1") + put_of_ten(prefix + "b"),
                             2, prefix + "b"),
            "waiting": (mkdir + frame(waiting, TEN), 2, name),
            "waiting, in frames": (mkdir + put_of_ten(name, wait=True), 2, name),
        }

    def test_a_put_in_frames_that_came_whole_is_answered_after_a_half_close(self):
        for number, title in enumerate(self.cases("x")):
            with self.subTest(title), self.daemon.client() as client:
                data, requests, name = self.cases(f"half{number}")[title]
                client.send(data)
                client.half_close()
                replies = [self.ok(client.recv_message()[-1]) for _ in range(requests)]
                self.assertEqual(replies[-1][0]["filesize"], 10)
                client.expect_eof()
                self.assertEqual(self.daemon.read(name), TEN)

    def test_a_put_in_frames_that_came_whole_is_done_after_a_reset(self):
        for number, title in enumerate(self.cases("x")):
            with self.subTest(title):
                data, _, name = self.cases(f"reset{number}")[title]
                client = self.client()
                client.send(data)
                client.flush()
                client.reset()
                # The file appears all at once, so it is whole when it is there.
                wait_until(lambda name=name: os.path.exists(self.daemon.path(name)), what=f"{name} is stored")
                self.assertEqual(self.daemon.read(name), TEN)


class EmptyWait(DaemonTestCase):
    def go_on(self, reply, number):
        self.assertEqual(reply, ({"ok": True, "continue": True, "more": True, "data_size": 0, "id": number}, b""))

    def final(self, reply, number):
        header, body = self.ok(reply)
        self.assertEqual((header["id"], header["filesize"], body), (number, 0, b""))
        self.assertNotIn("more", header)
        self.assertNotIn("continue", header)

    def test_an_empty_body_is_invited_once_then_answered_once(self):
        for number, fields in enumerate(({"data_size": 0}, {"filesize": 0}, {"data_size": 0, "filesize": 0})):
            for together in (True, False):
                with self.subTest(together=together, **fields):
                    client = self.client()
                    put = frame({"cmd": "put", "filename": "e", "wait": True, "id": number, **fields})
                    ping = frame(PING, id="behind")
                    client.send(put + ping if together else put)
                    self.go_on(client.recv_reply(), number)
                    self.final(client.recv_reply(), number)
                    if not together:
                        client.send(ping)
                    self.assertEqual(self.ok(client.recv_reply())[0]["id"], "behind")
                    self.assertEqual(self.daemon.read("e"), b"")
                    os.unlink(self.daemon.path("e"))

    def test_a_refusal_behind_an_empty_body_takes_no_body_and_no_other_reply(self):
        client = self.client()
        for _ in range(10):
            client.send(frame({"cmd": "put", "filename": "A", "wait": True, "data_size": 0, "id": "A"}) +
                        frame({"cmd": "put", "filename": "nodir/x", "wait": True, "data_size": 5, "id": "B"}))
            self.go_on(client.recv_reply(), "A")
            self.final(client.recv_reply(), "A")
            self.assertEqual(self.refused(client.recv_reply(), "not_found")[0]["id"], "B")
            self.still_works(client)


class Order(DaemonTestCase):
    """Uploads that follow each other closely, where one name is a directory of the other."""

    def two(self, first, second):
        client = self.client()
        client.send(first + second)
        return client.recv_reply(), client.recv_reply()

    def test_a_put_below_the_file_of_the_put_before_it_finds_no_directory(self):
        for number in range(20):
            first, second = self.two(frame({"cmd": "put", "filename": f"s{number}"}, b"7 bytes"),
                                     frame({"cmd": "put", "filename": f"s{number}/b", "parents": True}, b"below"))
            self.ok(first)
            self.refused(second, "not_directory")
            self.assertEqual(self.daemon.read(f"s{number}"), b"7 bytes")

    def test_a_put_over_the_directory_of_the_put_before_it_finds_a_directory(self):
        content = os.urandom(70000)
        for number in range(20):
            first, second = self.two(frame({"cmd": "put", "filename": f"d{number}/b", "parents": True}, content),
                                     frame({"cmd": "put", "filename": f"d{number}"}, b"7 bytes"))
            self.ok(first)
            self.refused(second, "is_directory")
            self.assertEqual(self.daemon.read(f"d{number}/b"), content)

    def test_a_tree_replaces_the_file_of_the_put_before_it(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo("x")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"new"))
        content = os.urandom(3 << 20)
        for number in range(5):
            for reply in self.two(
                    frame({"cmd": "put", "filename": f"p{number}/x", "parents": True}, content),
                    frame({"cmd": "put", "filename": f"p{number}", "format": "tar"}, out.getvalue())):
                self.ok(reply)
            self.assertEqual(self.daemon.read(f"p{number}/x"), b"new")


class DurableOrder(Order):
    """The same where names wait for the disk."""
    role = {"durability": "fsync"}


class AfterTheReply(DaemonTestCase):
    server = {"stall_timeout": "1s"}

    def outlives_a_stall(self, client):
        # Only time shows it: a connection that is wrongly taken for stalled says so after stall_timeout,
        # and one that is not says nothing at all. Half a timeout more is enough to tell them apart.
        client.expect_silence(1.5 * SLOW)
        self.still_works(client)

    def test_an_upload_that_was_refused_before_its_body_owes_nothing(self):
        self.daemon.write("there", b"old")
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "there", "wait": True, "more": True, "overwrite": "fail"})
        self.refused(client.recv_reply(), "exists")
        self.outlives_a_stall(client)

    def test_a_follower_whose_file_has_gone_owes_nothing(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        self.assertEqual(self.ok(client.request({"cmd": "get", "filename": "f", "follow": True, "more": True}))[1],
                         b"one\n")
        os.unlink(path)
        header, body = self.ok(client.recv_reply())
        self.assertEqual((header.get("more", False), body), (False, b""))
        self.outlives_a_stall(client)


class LongNames(DaemonTestCase):
    def test_a_reply_obeys_max_header_where_the_name_does_not_fit(self):
        # Each quote takes two bytes in JSON. The client asserts the limit of every header that it reads.
        name = b"/".join([b'"' * 255] * 16)
        self.assertEqual(len(name), 4095)
        encoded = base64.b64encode(name).decode()
        client = self.client()
        for wait in (False, True):
            client.send_frame({"cmd": "put", "filename_base64": encoded, "parents": True, "digest": "sha256",
                               "id": "i" * 64, "wait": wait}, TEN)
            header, _ = self.ok(client.recv_message()[-1])
            self.assertEqual((header["filesize"], header["sha256"], header["id"]),
                             (10, hex_digest("sha256", TEN), "i" * 64))
            self.still_works(client)
        self.assertEqual(self.ok(client.request({"cmd": "get", "filename_base64": encoded}))[1], TEN)


class HeldUploads(DaemonTestCase):
    def test_a_wrong_continuing_frame_lets_go_of_the_upload_before_its_reply(self):
        other = self.client()
        for number in range(30):
            with self.subTest(number=number), self.daemon.client() as client:
                put = {"cmd": "put", "filename": "u", "upload": "U"}
                client.send(frame(put, more=True) + frame(b'{"more":5}'))
                self.refused(client.recv_reply(), "bad_request")
                self.ok(other.request(put, TEN))
                self.assertEqual(self.daemon.read("u"), TEN)
                os.unlink(self.daemon.path("u"))


class Accounts(ReplyAssertions):
    """Failures that end a connection are logged and counted like any other."""
    role = {"allow": ["read", "write", "admin"]}

    def check_told(self, data, code, **options):
        with Daemon(role=self.role, **options) as daemon, daemon.client() as counter:
            def failures():
                return json.loads(self.ok(counter.request({"cmd": "stats"}))[1])["failures"]
            before = failures()
            with daemon.client() as client:
                client.send(data)
                self.refused(client.recv_reply(), code)
                client.expect_eof()
            daemon.wait_log(rf"refused .*\berror=\"?{code}\b")
            self.assertEqual(failures(), before + 1)

    def test_a_framing_error_is_logged_and_counted(self):
        for data in (b"\xff\xff\xff\xff", frame(b'{"cmd":"ping","data_size":-1}'),
                     frame({"cmd": "put", "filename": "c", "more": True}) + frame(PING)):
            with self.subTest(data=data):
                self.check_told(data, "bad_frame", listen={"dialect": "frame"})

    def test_a_stall_is_logged_and_counted(self):
        for data in (frame({"cmd": "put", "filename": "s", "data_size": 10}) + b"01234",
                     frame({"cmd": "put", "filename": "s", "more": True}), frame(PING)[:6]):
            with self.subTest(data=data):
                self.check_told(data, "timeout", server={"stall_timeout": "300ms"})


class CutOff(DaemonTestCase):
    """Commands that change names do nothing before their message is whole."""

    role = {"allow": ["read", "write", "delete"]}
    COMMANDS = ({"cmd": "rm", "filename": "file"}, {"cmd": "rm", "filename": "full", "recursive": True},
                {"cmd": "mv", "filename": "file", "to": "moved"}, {"cmd": "mkdir", "filename": "made"},
                {"cmd": "mkdir", "filename": "made/deep", "parents": True}, {"cmd": "rmdir", "filename": "empty"})

    def setUp(self):
        super().setUp()
        self.restore()

    def restore(self):
        for name in ("moved", "file"):
            if os.path.exists(self.daemon.path(name)):
                os.unlink(self.daemon.path(name))
        for name in ("made/deep", "made"):
            if os.path.exists(self.daemon.path(name)):
                os.rmdir(self.daemon.path(name))
        self.daemon.write("file", b"content")
        self.daemon.write("full/file", b"content")
        os.makedirs(self.daemon.path("empty"), exist_ok=True)
        self.before = entries(self.daemon.root)

    def test_a_body_that_is_cut_off_undoes_the_command(self):
        for header in self.COMMANDS:
            for sent in (frame(header, data_size=10), frame(header, data_size=10) + b"01234",
                         frame(header, data_size=100000) + b"x" * 99999, frame(header, more=True),
                         frame(header, TEN, more=True), frame(header, more=True) + frame({"data_size": 10}) + b"01234"):
                with self.subTest(sent=sent[:80]), self.daemon.client() as client:
                    client.send(sent)
                    client.half_close()
                    client.wait_end()  # nothing is under way any more
                    self.assertEqual(entries(self.daemon.root), self.before)

    def test_an_abort_undoes_the_command(self):
        for header in self.COMMANDS:
            for together in (True, False):
                with self.subTest(header=header, together=together):
                    client = self.client()
                    first, abort = frame(header, more=True, id="a"), frame({"abort": True})
                    if together:
                        client.send(first + abort)
                    else:
                        client.send_in_pieces(first + abort, [len(first)])
                    self.assertEqual(self.refused(client.recv_reply(), "aborted")[0]["id"], "a")
                    self.still_works(client)
                    self.assertEqual(entries(self.daemon.root), self.before)

    def test_a_body_that_comes_whole_is_discarded_and_the_command_done(self):
        for header in self.COMMANDS:
            for sent in (frame(header, TEN), frame(header, TEN, more=True) + frame({}, TEN)):
                with self.subTest(sent=sent[:80]):
                    client = self.client()
                    client.send(sent)
                    self.ok(client.recv_reply())
                    self.still_works(client)
                    self.assertNotEqual(entries(self.daemon.root), self.before)
                    self.restore()
