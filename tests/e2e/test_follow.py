"""get with follow: tail -f. Growth, truncation, replacement, and the ways in which it ends."""

import contextlib
import os
import socket
import time

from ftpd_harness import SLOW, Daemon, DaemonTestCase, ReplyAssertions, frame, wait_until

LAST = {"ok": True, "data_size": 0}
# Only looking finds what no event tells; that is done once a second.
LOOKS_EVERY = 1


def resident_memory(pid):
    """Bytes of a process that are in memory."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("status has no VmRSS line")


def append(path, data):
    with open(path, "ab", buffering=0) as file:
        file.write(data)


class Following(ReplyAssertions):
    """How tests speak about a follower."""

    def follow(self, client, name, body, **fields):
        """Begins to follow; the first header, which must come with `body`."""
        header, first = self.ok(client.request({"cmd": "get", "filename": name, "follow": True, **fields}))
        self.assertIs(header.get("more"), True, header)
        self.assertEqual(first, body)
        return header

    def grown(self, client, data, truncated=False, **fields):
        """`data` comes, in as many frames as it takes, the first of which may say `truncated`."""
        got = b""
        while len(got) < len(data):
            header, body = client.recv_reply()
            expected = {"ok": True, "more": True, "data_size": len(body), **fields}
            if truncated and not got:
                expected["truncated"] = True
            self.assertEqual(header, expected)
            self.assertNotEqual(body, b"")
            got += body
        self.assertEqual(got, data)

    def ended(self, client, **fields):
        self.assertEqual(client.recv_reply(), ({**LAST, **fields}, b""))


class Follow(Following, DaemonTestCase):
    role = {"allow": ["read", "write", "delete", "exec", "shell", "admin"]}

    def test_the_content_comes_first_with_the_header_of_get(self):
        path = self.daemon.write("d/f", b"content\n")
        os.utime(path, (1000, 1000.5))
        os.chmod(path, 0o640)
        client = self.client()
        header = self.follow(client, "d/f", b"content\n")
        self.assertEqual(header, {
            "ok": True, "filename": "d/f", "filesize": 8, "file_name": "d/f", "file_size": 8, "mtime": 1000.5,
            "mode": 0o640, "more": True, "data_size": 8})
        client.expect_silence()

    def test_an_empty_file_is_followed(self):
        path = self.daemon.write("empty", b"")
        client = self.client()
        self.follow(client, "empty", b"")
        append(path, b"a")
        self.grown(client, b"a")

    def test_what_is_added_comes_at_once(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        self.follow(client, "f", b"one\n")
        times = []
        for number in range(20):
            time.sleep(0.02)  # so that the daemon is at rest: what follows is an event's doing
            line = b"line %d\n" % number
            begin = time.monotonic()
            append(path, line)
            self.grown(client, line)
            times.append(time.monotonic() - begin)
        # Whoever only looks once a second needs half of that on the average.
        self.assertLess(sorted(times)[len(times) // 2], LOOKS_EVERY / 4 * SLOW)

    def test_many_small_additions_lose_nothing(self):
        path = self.daemon.write("f", b"")
        client = self.client()
        self.follow(client, "f", b"")
        expected = b"".join(b"%d\n" % number for number in range(5000))
        with open(path, "ab", buffering=0) as file:
            for number in range(5000):
                file.write(b"%d\n" % number)
        self.grown(client, expected)
        client.expect_silence()

    def test_a_large_file_comes_whole_and_goes_on(self):
        content = os.urandom((5 << 20) + 12345)
        path = self.daemon.write("f", content)
        client = self.client()
        header, got = self.ok(client.request({"cmd": "get", "filename": "f", "follow": True}))
        self.assertEqual(header["filesize"], len(content))
        self.grown(client, content[len(got):])
        self.assertEqual(got, content[:len(got)])
        append(path, b"tail")
        self.grown(client, b"tail")

    def test_offset_says_where_it_begins(self):
        path = self.daemon.write("f", b"0123456789")
        client = self.client()
        header = self.follow(client, "f", b"789", offset=7)
        self.assertEqual(header["filesize"], 10)
        append(path, b"ab")
        self.grown(client, b"ab")
        at_the_end = self.client()
        self.follow(at_the_end, "f", b"", offset=12)
        append(path, b"c")
        self.grown(at_the_end, b"c")
        self.refused(self.client().request({"cmd": "get", "filename": "f", "follow": True, "offset": 14}),
                     "bad_request")

    def test_what_makes_no_sense_is_refused(self):
        self.daemon.write("f", b"content")
        client = self.client()
        for fields, named in (({"length": 3}, "length"), ({"digest": "md5"}, "digest"),
                              ({"digest": "sha256", "trailer": True}, "digest"), ({"trailer": True}, "trailer"),
                              ({"offset": 8}, "offset"), ({"offset": -1}, "offset"), ({"offset": "1"}, "offset"),
                              ({"length": "3"}, "length"), ({"digest": 1}, "digest"), ({"trailer": 1}, "trailer"),
                              ({"follow": 1}, "follow"), ({"follow": None}, "follow"),
                              ({"filename": "../f"}, "filename"), ({"filename": 1}, "filename")):
            with self.subTest(fields=fields):
                header, _ = self.refused(
                    client.request({"cmd": "get", "filename": "f", "follow": True, **fields}), "bad_request")
                self.assertIn(named, header["message"])
                self.still_works(client)
        self.refused(client.request({"cmd": "get", "follow": True}), "bad_request")
        self.ok(client.request({"cmd": "get", "filename": "f", "follow": False, "length": 3}))

    def test_what_is_no_file_is_refused(self):
        os.makedirs(self.daemon.path("dir"), exist_ok=True)
        os.mkfifo(self.daemon.path("fifo"))
        os.symlink("f", self.daemon.path("link"))
        client = self.client()
        for name, code in (("missing", "not_found"), ("dir", "is_directory"), ("fifo", "denied"), ("link", "denied")):
            with self.subTest(name=name):
                self.refused(client.request({"cmd": "get", "filename": name, "follow": True, "id": 1}), code)
                self.still_works(client)

    def test_a_truncated_file_begins_again(self):
        path = self.daemon.write("f", b"a long beginning\n")
        client = self.client()
        self.follow(client, "f", b"a long beginning\n")
        with open(path, "r+b") as file:  # in two steps, as a program does that empties its log
            file.truncate(0)
            client.expect_silence()
            file.write(b"new\n")
        self.grown(client, b"new\n", truncated=True)
        append(path, b"more\n")
        self.grown(client, b"more\n")  # it is said once
        os.truncate(path, 4)
        self.grown(client, b"new\n", truncated=True)

    def test_removal_ends_it_behind_the_last_bytes(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        self.follow(client, "f", b"one\n", id="r")
        with open(path, "ab") as file:
            os.unlink(path)
            file.write(b"the last words\n")
            file.flush()
            frames = client.recv_message()
        self.assertEqual(frames[-1], ({**LAST, "id": "r"}, b""))
        # What is written to a file without a name may come too late, but never in part.
        self.assertIn(b"".join(body for _, body in frames), (b"", b"the last words\n"))
        self.still_works(client)

    def test_what_was_written_before_the_removal_is_sent(self):
        begin = time.monotonic()
        for _ in range(20):
            path = self.daemon.write("f", b"")
            client = self.client()
            self.follow(client, "f", b"")
            append(path, b"x" * 1000)
            append(path, b"y" * 300000)
            os.unlink(path)
            self.grown(client, b"x" * 1000 + b"y" * 300000)
            self.ended(client)
            self.still_works(client)
        # The removal is seen, too, where it comes while the bytes before it are being read.
        self.assertLess(time.monotonic() - begin, 20 * LOOKS_EVERY / 4 * SLOW)

    def test_a_request_to_remove_ends_it(self):
        self.daemon.write("f", b"one\n")
        client = self.client()
        self.follow(client, "f", b"one\n")
        self.ok(self.request({"cmd": "rm", "filename": "f"}))
        self.ended(client)

    def test_a_file_renamed_away_or_over_it_ends_it(self):
        for source, target in (("f", "away"), ("other", "f")):
            with self.subTest(source=source, target=target):
                path = self.daemon.write("f", b"old\n")
                self.daemon.write("other", b"new and longer\n")
                client = self.client()
                self.follow(client, "f", b"old\n")
                append(path, b"last\n")
                os.rename(self.daemon.path(source), self.daemon.path(target))
                self.grown(client, b"last\n")
                self.ended(client)
                self.still_works(client)

    def test_a_put_of_the_same_name_ends_it(self):
        self.daemon.write("f", b"old\n")
        client = self.client()
        self.follow(client, "f", b"old\n")
        self.ok(self.request({"cmd": "put", "filename": "f"}, b"new\n"))
        self.ended(client)
        self.follow(client, "f", b"new\n")

    def test_a_link_or_a_directory_in_its_place_ends_it(self):
        for make in (lambda path: os.symlink("moved", path), os.mkdir):
            path = self.daemon.write("f", b"old\n")
            client = self.client()
            self.follow(client, "f", b"old\n")
            os.rename(path, self.daemon.path("moved"))
            make(path)
            self.ended(client)
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)

    def test_a_directory_renamed_above_it_ends_it(self):
        path = self.daemon.write("above/dir/f", b"old\n")
        client = self.client()
        self.follow(client, "above/dir/f", b"old\n")
        append(path, b"x")
        self.grown(client, b"x")
        os.rename(self.daemon.path("above"), self.daemon.path("moved-above"))
        self.ended(client)  # nothing tells of that: found by looking

    def test_other_changes_do_not_end_it(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        self.follow(client, "f", b"one\n")
        os.chmod(path, 0o600)
        os.utime(path, (1, 1))
        os.link(path, self.daemon.path("another-name"))
        os.unlink(self.daemon.path("another-name"))
        os.rename(path, self.daemon.path("for-a-moment"))  # may be seen, and then it ends
        os.rename(self.daemon.path("for-a-moment"), path)
        append(path, b"two\n")
        frames = [client.recv_reply()]
        if frames[0][0].get("more"):
            self.assertEqual(frames[0][1], b"two\n")
        else:
            self.assertEqual(frames[0], (LAST, b""))

    def test_abort_ends_it_and_the_connection_goes_on(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        self.follow(client, "f", b"one\n", more=True, id=7)
        append(path, b"two\n")
        self.grown(client, b"two\n", id=7)
        client.send_frame({"more": True})  # says nothing, and means nothing
        client.send_frame({"more": True}, b"nor does a body")
        append(path, b"three\n")
        self.grown(client, b"three\n", id=7)
        client.send_frame({"abort": True})
        self.ended(client, id=7)
        append(path, b"four\n")
        self.still_works(client)

    def test_abort_at_once_still_gets_the_first_frame(self):
        self.daemon.write("f", b"one\n")
        client = self.client()
        client.send(frame({"cmd": "get", "filename": "f", "follow": True, "more": True}) + frame({"abort": True}))
        header, body = self.ok(client.recv_reply())
        self.assertEqual((header["filename"], header["more"], body), ("f", True, b"one\n"))
        self.ended(client)
        client.send(frame({"cmd": "get", "filename": "no", "follow": True, "more": True}) + frame({"abort": True}))
        self.refused(client.recv_reply(), "not_found")
        self.still_works(client)

    def test_a_message_that_simply_ends_keeps_following(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        self.follow(client, "f", b"one\n", more=True)
        client.send_frame({})
        client.let_peer_read()
        append(path, b"two\n")
        self.grown(client, b"two\n")

    def test_requests_behind_it_wait_until_it_ends(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        self.follow(client, "f", b"one\n", id="first")
        client.send_frame({"cmd": "ping", "id": "second"})
        client.expect_silence()
        os.unlink(path)
        self.ended(client, id="first")
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], "second")

    def test_the_id_is_in_every_frame(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        header = self.follow(client, "f", b"one\n", id="an id")
        self.assertEqual(header["id"], "an id")
        append(path, b"two\n")
        self.grown(client, b"two\n", id="an id")
        os.truncate(path, 1)
        self.grown(client, b"o", truncated=True, id="an id")
        os.unlink(path)
        self.ended(client, id="an id")

    def test_the_end_of_input_is_not_the_end_of_it(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        client.send_frame({"cmd": "get", "filename": "f", "follow": True})
        client.half_close()
        self.assertEqual(self.ok(client.recv_reply())[1], b"one\n")
        client.expect_silence()
        append(path, b"two\n")
        self.grown(client, b"two\n")
        os.unlink(path)
        self.ended(client)
        client.expect_eof()

    def test_a_client_that_is_gone_leaves_nothing_open(self):
        path = os.path.realpath(self.daemon.write("f", b"one\n"))
        clients = [self.client() for _ in range(10)]
        for client in clients:
            self.follow(client, "f", b"one\n")
        self.assertGreaterEqual(self.holders(path), 10)
        for client in clients[:5]:
            client.reset()
        for client in clients[5:]:
            client.close()  # without a word: the next bytes find it gone
        append(path, b"two\n")
        wait_until(lambda: self.holders(path) == 0, what="the daemon closes the file")

    def holders(self, path):
        """Descriptors of the daemon that lead to `path`."""
        directory = f"/proc/{self.daemon.pid}/fd"
        count = 0
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(os.path.join(directory, name)) == path
        return count

    def test_a_hundred_followers_of_one_file(self):
        path = self.daemon.write("f", b"one\n")
        clients = [self.client() for _ in range(100)]
        for client in clients:
            client.send_frame({"cmd": "get", "filename": "f", "follow": True})
        for client in clients:
            self.assertEqual(self.ok(client.recv_reply())[1], b"one\n")
        for line in (b"two\n", b"three\n", b"x" * 100000):
            append(path, line)
            for client in clients:
                self.grown(client, line)
        for client in clients[::2]:  # half of them leave, the others hear on
            client.close()
        append(path, b"four\n")
        for client in clients[1::2]:
            self.grown(client, b"four\n")
        os.unlink(path)
        for client in clients[1::2]:
            self.ended(client)

    def test_a_slow_reader_of_a_growing_file_costs_no_memory(self):
        path = self.daemon.write("f", b"")
        client = self.client(receive_buffer=4096)
        self.follow(client, "f", b"")
        before = resident_memory(self.daemon.pid)
        block = os.urandom(1 << 20)
        with open(path, "ab", buffering=0) as file:
            for _ in range(50):
                file.write(block)
        sizes = []
        for _ in range(20):  # time enough to read it all, were there no bound
            time.sleep(0.05)
            sizes.append(resident_memory(self.daemon.pid))
        if not self.daemon.sanitized():
            self.assertLess(max(sizes) - before, 8 << 20)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        received = 0
        while received < 50 << 20:  # and then it reads, and nothing is missing
            header, body = client.recv_reply()
            self.assertTrue(header["more"], header)
            begin = received % len(block)
            self.assertTrue((block + block)[begin:begin + len(body)] == body, f"at {received}")
            received += len(body)
        client.expect_silence()


class Deadlines(Following, DaemonTestCase):
    server = {"stall_timeout": "1s", "idle_timeout": "1s"}

    def test_a_file_on_which_nothing_happens_is_no_stall(self):
        path = self.daemon.write("f", b"one\n")
        clients = {fields: self.client() for fields in ((), (("more", True),))}
        for fields, client in clients.items():
            self.follow(client, "f", b"one\n", **dict(fields))
        half_closed = self.client()
        self.follow(half_closed, "f", b"one\n")
        half_closed.half_close()
        time.sleep(2.5)
        append(path, b"two\n")
        for client in (*clients.values(), half_closed):
            self.grown(client, b"two\n")

    def test_afterwards_the_connection_is_idle_as_any_other(self):
        path = self.daemon.write("f", b"one\n")
        client = self.client()
        self.follow(client, "f", b"one\n")
        os.unlink(path)
        self.ended(client)
        client.expect_eof()


class End(Following):
    def test_a_drain_ends_it_at_once(self):
        with Daemon(server={"drain_timeout": "10m"}) as daemon:
            daemon.write("f", b"one\n")
            clients = [daemon.client() for _ in range(5)]
            for client in clients[:3]:
                self.follow(client, "f", b"one\n", id=1)
            for client in clients[3:]:  # in the middle of their message
                self.follow(client, "f", b"one\n", id=1, more=True)
            begin = time.monotonic()
            daemon.terminate()
            for client in clients:
                self.ended(client, id=1)
                client.expect_eof()
                client.close()
            self.assertEqual(daemon.wait_exit(), 0)
            self.assertLess(time.monotonic() - begin, 8 * SLOW)

    def test_whoever_may_not_read_may_not_follow(self):
        with Daemon(role={"allow": ["write"]}) as daemon, daemon.client() as client:
            daemon.write("f", b"one\n")
            self.refused(client.request({"cmd": "get", "filename": "f", "follow": True}), "denied")
            self.still_works(client)
