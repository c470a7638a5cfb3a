"""The end of the daemon: drain, a second signal, kill -9; and two daemons on one root."""

import os
import signal
import time

from ftpd_harness import SLOW, Daemon, ReplyAssertions, frame, wait_gone
from ftpd_support import Fifo, staged_content

PING = {"cmd": "ping"}


class Drain(ReplyAssertions):
    def idle_client(self, daemon):
        """A connection whose end tells that the daemon drains."""
        client = daemon.client()
        self.ok(client.request(PING))
        return client

    def test_an_upload_under_way_is_finished(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Daemon() as daemon:
                idle = self.idle_client(daemon)
                client = daemon.client()
                client.send_frame({"cmd": "put", "filename": "u", "data_size": 100000}, b"x" * 50000)
                client.let_peer_read(1)
                daemon.process.send_signal(number)
                idle.expect_eof()
                client.send(b"y" * 50000)
                self.ok(client.recv_reply())
                client.expect_eof()
                self.assertEqual(daemon.wait_exit(), 0)
                self.assertEqual(daemon.read("u"), b"x" * 50000 + b"y" * 50000)

    def test_a_command_under_way_is_finished(self):
        with Daemon() as daemon:
            idle = self.idle_client(daemon)
            gate = Fifo(daemon.directory)
            client = daemon.client()
            client.send_frame({"cmd": "exec", "command": f"read x <{gate.path}; echo $x"})
            client.let_peer_read(1)
            daemon.terminate()
            idle.expect_eof()
            gate.release()
            self.assertEqual(self.ok(client.recv_reply())[1], b"go\n")
            client.expect_eof()
            self.assertEqual(daemon.wait_exit(), 0)
            gate.close()

    def test_a_command_in_the_text_dialect_is_finished(self):
        with Daemon() as daemon:
            idle = self.idle_client(daemon)
            client = daemon.client()
            client.send(b"echo begin; sleep 0.5; echo end\n")
            self.assertEqual(client.recv_exact(6), b"begin\n")
            daemon.terminate()
            idle.expect_eof()
            self.assertEqual(client.recv_until_eof(), b"end\n")
            self.assertEqual(daemon.wait_exit(), 0)

    def test_a_download_under_way_is_finished(self):
        with Daemon() as daemon:
            content = os.urandom(16 << 20)
            daemon.write("d", content)
            idle = self.idle_client(daemon)
            client = daemon.client(receive_buffer=4096)
            client.send_frame({"cmd": "get", "filename": "d"})
            header = client.recv_header()
            daemon.terminate()
            idle.expect_eof()
            self.assertEqual(client.recv_exact(header["data_size"]), content)
            client.expect_eof()
            self.assertEqual(daemon.wait_exit(), 0)

    def test_nothing_new_is_accepted_while_it_drains(self):
        with Daemon() as daemon:
            idle = self.idle_client(daemon)
            client = daemon.client()
            client.send_frame({"cmd": "put", "filename": "u", "data_size": 10}, b"x")
            client.let_peer_read(1)
            daemon.terminate()
            idle.expect_eof()
            self.ask_too_late(daemon)
            client.send(b"x" * 9)
            self.ok(client.recv_reply())
            self.assertEqual(daemon.wait_exit(), 0)
            self.assertNotIn("late", daemon.files())

    def ask_too_late(self, daemon):
        """No connection, a close without a word, or a refusal."""
        try:
            with daemon.client(timeout=5 * SLOW) as late:
                late.send_what_goes(frame({"cmd": "put", "filename": "late"}, b"x"))
                self.refused(late.recv_reply(), "shutting_down")
        except ConnectionError:
            pass
        except TimeoutError:
            self.fail("whoever comes too late hangs until the daemon has gone")

    def test_a_command_that_outlives_the_drain_is_ended_and_told(self):
        with Daemon(server={"drain_timeout": "500ms"}, role={"kill_grace": "300ms"}) as daemon:
            fifo = Fifo(daemon.directory)
            client = daemon.client()
            client.send_frame({"cmd": "exec", "command":
                               f"trap '' TERM; echo out; echo $$ >{fifo.path}; while :; do sleep 1000; done"})
            pid = fifo.read_pid()
            daemon.terminate()
            header, body = self.refused(client.recv_reply(), "shutting_down")
            self.assertEqual((header["reason"], body), ("shutdown", b"out\n"))
            wait_gone(pid)
            self.assertEqual(daemon.wait_exit(), 0)

    def test_an_upload_that_outlives_the_drain_leaves_nothing(self):
        with Daemon(server={"drain_timeout": "300ms"}) as daemon:
            daemon.write("u", b"old")
            client = daemon.client()
            client.send_frame({"cmd": "put", "filename": "u", "data_size": 100}, b"unfinished")
            client.let_peer_read(1)
            daemon.terminate()
            client.wait_end()
            self.assertEqual(daemon.wait_exit(), 0)
            self.assertEqual(daemon.files(), {"u": b"old"})
            self.assertNotIn(b"unfinished", b"".join(staged_content(daemon.root)))

    def test_a_second_signal_stops_at_once(self):
        with Daemon(server={"drain_timeout": "10m"}, role={"kill_grace": "10m"}) as daemon:
            idle = self.idle_client(daemon)
            fifo = Fifo(daemon.directory)
            client = daemon.client()
            client.send_frame({"cmd": "exec", "command":
                               f"trap '' TERM; echo $$ >{fifo.path}; while :; do sleep 1000; done"})
            pid = fifo.read_pid()
            daemon.terminate()
            idle.expect_eof()
            begin = time.monotonic()
            daemon.terminate()
            self.assertEqual(daemon.wait_exit(), 0)
            self.assertLess(time.monotonic() - begin, 8 * SLOW)
            wait_gone(pid)

    def test_an_idle_daemon_stops_at_once(self):
        with Daemon(server={"drain_timeout": "10m"}) as daemon:
            clients = [self.idle_client(daemon) for _ in range(20)]
            begin = time.monotonic()
            daemon.terminate()
            for client in clients:
                client.expect_eof()
            self.assertEqual(daemon.wait_exit(), 0)
            self.assertLess(time.monotonic() - begin, 8 * SLOW)

    def test_a_background_process_does_not_outlive_the_daemon(self):
        with Daemon(role={"kill_grace": "10m"}) as daemon:
            fifo = Fifo(daemon.directory)
            with daemon.client() as client:
                client.send(b"(setsid sh -c 'trap \"\" TERM HUP; echo $$ >%s; while :; do sleep 1000; done' &)\n"
                            % fifo.path.encode())
                pid = fifo.read_pid()
                client.reset()
            daemon.terminate()
            wait_gone(pid)
            self.assertEqual(daemon.wait_exit(), 0)


class Crash(ReplyAssertions):
    MARK = b"bytes of an upload that never ended "

    def test_kill_9_during_an_upload_leaves_the_old_file_and_a_restart_tidies_up(self):
        with Daemon() as daemon:
            daemon.write("old", b"old content")
            clients = []
            for name in ("old", "new", "dir/new"):
                client = daemon.client()
                client.send_frame({"cmd": "put", "filename": name, "data_size": 1 << 20, "parents": True},
                                  self.MARK * 1000)
                client.let_peer_read(1)
                clients.append(client)
            daemon.process.kill()
            daemon.wait_exit()
            self.assertEqual(daemon.files(), {"old": b"old content"})
            daemon.start()
            self.assertEqual(daemon.files(), {"old": b"old content"})
            self.assertNotIn(self.MARK, b"".join(staged_content(daemon.root)))
            with daemon.client() as client:
                self.ok(client.request({"cmd": "put", "filename": "old"}, b"newer"))
            for client in clients:
                client.close()

    def test_kill_9_loses_nothing_that_was_answered(self):
        with Daemon(role={"durability": "fsync"}) as daemon:
            with daemon.client() as client:
                for number in range(20):
                    self.ok(client.request({"cmd": "put", "filename": f"f{number}"}, b"%d" % number))
                daemon.process.kill()
                daemon.wait_exit()
            self.assertEqual(daemon.files(), {f"f{i}": b"%d" % i for i in range(20)})
            daemon.start()

    def test_the_address_is_free_again_after_kill_9(self):
        with Daemon() as daemon:
            client = daemon.client()
            self.ok(client.request(PING))
            daemon.process.kill()
            daemon.wait_exit()
            daemon.args = ["-l", "%s:%d" % daemon.addresses[0], "-r", daemon.root]
            daemon.start()
            with daemon.client() as again:
                self.ok(again.request(PING))


class TwoDaemons(ReplyAssertions):
    def test_two_daemons_share_a_root(self):
        with Daemon() as first:
            client = first.client()
            client.send_frame({"cmd": "put", "filename": "slow", "data_size": 6}, b"abc")
            client.let_peer_read(1)
            with Daemon(root=first.root) as second:
                with second.client() as other, first.client() as same:
                    self.refused(other.request({"cmd": "get", "filename": "slow"}), "not_found")
                    self.ok(other.request({"cmd": "put", "filename": "other"}, b"from the second"))
                    reply = self.ok(same.request({"cmd": "get", "filename": "other"}))
                    self.assertEqual(reply[1], b"from the second")
                client.send(b"def")  # the second's start took nothing from the first
                self.ok(client.recv_reply())
                with second.client() as other:
                    self.assertEqual(self.ok(other.request({"cmd": "get", "filename": "slow"}))[1], b"abcdef")
            with first.client() as same:  # nor did its end
                self.ok(same.request({"cmd": "put", "filename": "after"}, b"x"))
            client.close()

    def test_an_address_in_use_is_told(self):
        with Daemon() as first:
            second = Daemon(args=["-l", first.address_text()], expect_listening=False)
            try:
                second.start()
                self.assertEqual(second.wait_exit(), 1)
                self.assertIn(str(first.port), second.log_tail())
            finally:
                second.process = None
                second.remove_files()


class Pipelined(ReplyAssertions):
    def test_requests_already_sent_are_answered_before_the_end(self):
        with Daemon() as daemon:
            client = daemon.client()
            client.send(frame({"cmd": "exec", "command": "sleep 0.5; echo a"}) + frame(PING, id=2))
            client.let_peer_read(1)
            daemon.terminate()
            self.assertEqual(self.ok(client.recv_reply())[1], b"a\n")
            rest = client.recv_until_eof()  # the ping: answered, told shutting_down, or closed over
            self.assertTrue(rest == b"" or b'"id":2' in rest, rest)
            self.assertEqual(daemon.wait_exit(), 0)
