"""A role's rate: bytes a second each way, shared fairly, and no reason to take a peer for stalled."""

import os
import threading
import time

from ftpd_harness import SLOW, Daemon, DaemonTestCase, ReplyAssertions, frame, wait_until

MIB = 1 << 20
RATE = 2 * MIB
PING = {"cmd": "ping"}
SAVED_UP = RATE // 10 + 4096  # passes without delay: the burst, and what goes ahead


class Timed(ReplyAssertions):
    """How long transfers take."""

    def assert_paced(self, size, seconds, rate=RATE, saved_up=SAVED_UP):
        self.assertGreater(seconds, (size - saved_up) / rate)
        self.assertLess(seconds, size / rate * 1.5 + 1.5 * SLOW)

    @staticmethod
    def seconds_of(call, *arguments):
        begin = time.monotonic()
        call(*arguments)
        return time.monotonic() - begin


class TogetherMixin:
    """Runs calls at once; a failure of one is the test's."""

    def together(self, *calls):
        """The seconds that each took."""
        took, failures = [0.0] * len(calls), []

        def run(index):
            try:
                took[index] = Timed.seconds_of(calls[index])
            except BaseException as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return took


class Paced(DaemonTestCase, Timed, TogetherMixin):
    server = {"stall_timeout": "1s"}
    role = {"rate": "2MiB"}

    def upload(self, name, size):
        with self.daemon.client() as client:
            self.ok(client.put(name, bytes(size)))

    def download(self, name, size):
        with self.daemon.client() as client:
            header, body = self.ok(client.request({"cmd": "get", "filename": name}))
            self.assertEqual((header["data_size"], body), (size, bytes(size)))

    def test_each_way_has_the_whole_rate(self):
        self.daemon.write("down", bytes(4 * MIB))
        for seconds in self.together(lambda: self.upload("up", 4 * MIB), lambda: self.download("down", 4 * MIB)):
            self.assert_paced(4 * MIB, seconds)
        self.assertEqual(self.daemon.read("up"), bytes(4 * MIB))

    def test_small_files_count_as_well(self):
        def upload():
            with self.daemon.client() as client:
                client.send(b"".join(frame({"cmd": "put", "filename": f"small-{i}"}, bytes(32768)) for i in range(64)))
                for _ in range(64):
                    self.ok(client.recv_reply())
        self.assert_paced(2 * MIB, self.seconds_of(upload))

    def test_a_commands_output_counts_as_well(self):
        def run():
            with self.daemon.client() as client:
                client.send_frame({"cmd": "exec", "argv": ["head", "-c", str(2 * MIB), "/dev/zero"], "stream": True})
                self.assertEqual(sum(len(body) for _, body in client.recv_message()), 2 * MIB)
        self.assert_paced(2 * MIB, self.seconds_of(run))

    def test_two_uploads_share_fairly(self):
        first, second = sorted(self.together(*(lambda name=name: self.upload(name, 2 * MIB) for name in ("a", "b"))))
        self.assert_paced(4 * MIB, second)
        self.assertGreater(first, second * 0.75)  # at 2 : 1 the first is through when half of the other is

    def test_two_downloads_share_fairly(self):
        self.daemon.write("shared", bytes(2 * MIB))
        first, second = sorted(self.together(*(lambda: self.download("shared", 2 * MIB),) * 2))
        self.assert_paced(4 * MIB, second)
        self.assertGreater(first, second * 0.75)

    def test_one_that_comes_later_gets_its_share_at_once(self):
        self.daemon.write("long", bytes(4 * MIB))
        self.daemon.write("short", bytes(MIB))
        with self.daemon.client() as client:
            client.send_frame({"cmd": "get", "filename": "long"})
            client.recv_header()
            client.recv_exact(MIB)
            seconds = self.seconds_of(self.download, "short", MIB)
            self.assertLess(seconds, 2 * MIB / RATE * 1.5 + 0.5 * SLOW)

    def test_small_requests_get_through_while_large_files_move(self):
        self.daemon.write("large", bytes(2 * MIB))
        over = threading.Event()
        slowest = []

        def ping():
            while not over.is_set():
                with self.daemon.client() as client:
                    slowest.append(self.seconds_of(lambda: self.ok(client.request(PING))))
                    slowest.append(self.seconds_of(lambda: self.ok(client.request(PING))))
                over.wait(0.05)

        pinging = threading.Thread(target=ping)
        pinging.start()
        try:
            self.together(*(lambda: self.download("large", 2 * MIB),) * 2,
                          *(lambda name=name: self.upload(name, 2 * MIB) for name in ("c", "d")))
        finally:
            over.set()
            pinging.join()
        self.assertGreater(len(slowest), 20)
        self.assertLess(max(slowest), SLOW)

    def test_old_clients_that_read_no_reply_are_served(self):
        with self.daemon.client() as client:
            for i in range(200):
                body = bytes([i]) * 16384
                client.send(frame({"cmd": "put", "filename": f"old-{i}", "filesize": len(body)}, body))
        wait_until(lambda: sum(name.startswith("old-") for name in self.daemon.files()) == 200, what="200 files")
        for i in range(200):
            self.assertEqual(self.daemon.read(f"old-{i}"), bytes([i]) * 16384)

    def test_a_peer_that_stalls_is_told_all_the_same(self):
        client = self.client()
        client.send(frame({"cmd": "put", "filename": "stalled", "data_size": 2 * MIB}, bytes(MIB)))
        self.refused(client.recv_reply(), "timeout")
        client.expect_eof()
        self.assertNotIn("stalled", self.daemon.files())

    def test_a_peer_that_does_not_read_is_closed_all_the_same(self):
        self.daemon.write("unread", bytes(32 * MIB))
        client = self.client(receive_buffer=4096)
        client.send_frame({"cmd": "get", "filename": "unread"})
        wait_until(lambda: client.peer_state() in (None, "FIN_WAIT1", "FIN_WAIT2", "CLOSING", "TIME_WAIT"),
                   what="the close of a peer that reads nothing")


class Slow(Timed, TogetherMixin):
    """So slow that each pause is longer than stall_timeout and idle_timeout."""

    SIZE = 26 * 1024
    SETTINGS = {"server": {"stall_timeout": "1s", "idle_timeout": "1s"}, "role": {"rate": "2KiB"}}

    def test_a_pause_is_no_stall(self):
        with Daemon(**self.SETTINGS) as daemon, daemon.client() as sender, daemon.client() as reader:
            content = os.urandom(self.SIZE)
            daemon.write("down", content)

            def upload():
                self.ok(sender.put("up", content))

            def download():
                self.assertEqual(self.ok(reader.request({"cmd": "get", "filename": "down"}))[1], content)

            for seconds in self.together(upload, download):
                self.assert_paced(self.SIZE, seconds, rate=2048, saved_up=16384 + 4096)
            self.assertEqual(daemon.read("up"), content)

    def test_a_line_without_an_end_is_not_cut_by_a_pause(self):
        with Daemon(**self.SETTINGS) as daemon, daemon.client() as busy, daemon.client() as client:
            busy.send(frame({"cmd": "put", "filename": "busy", "data_size": MIB}, bytes(22 * 1024)))
            wait_until(busy.peer_unread, what="the rate to hold the upload up")
            client.send(b"echo " + b"x" * 7000)
            self.assertEqual(client.recv_exact(7001), b"x" * 7000 + b"\n")


class Alone(ReplyAssertions):
    def test_a_role_without_a_rate_is_not_slowed(self):
        with Daemon(role={"rate": "64KiB"}, listen=[{}, {"role": "free"}],
                    roles={"free": {"root": "free", "durability": "none"}}) as daemon:
            with daemon.client() as busy, daemon.client(1) as client:
                busy.send(frame({"cmd": "put", "filename": "busy", "data_size": 64 * MIB}, bytes(128 * 1024)))
                took = Timed.seconds_of(lambda: self.ok(client.put("x", bytes(8 * MIB))))
                self.assertLess(took, 8 * SLOW)  # at that rate it would be two minutes

    def test_what_is_under_way_finishes_at_its_rate_when_the_daemon_stops(self):
        with Daemon(role={"rate": "1MiB"}) as daemon:
            with daemon.client() as idle, daemon.client() as client:
                self.still_works(idle)
                begin = time.monotonic()
                self.ok(client.call("put", "x", wait=True, data_size=2 * MIB))
                client.send(bytes(MIB))
                daemon.terminate()
                idle.expect_eof()
                client.send(bytes(MIB))
                self.ok(client.recv_reply())
                self.assertGreater(time.monotonic() - begin, 1.8)
                client.expect_eof()
                self.assertEqual(daemon.wait_exit(), 0)
                self.assertEqual(daemon.read("x"), bytes(2 * MIB))
