"""The end of commands: whole process trees, gone clients, the queue of commands."""

import os
import signal
import time

from ftpd_harness import SLOW, DaemonTestCase, frame, is_gone, wait_gone, wait_until
from ftpd_support import Fifo, children

# Two processes that only a kill of the whole tree reaches: one in a session of its own that ignores
# SIGTERM, and the command itself. Each writes its pid to the FIFO.
STUBBORN = ("setsid sh -c 'trap \"\" TERM HUP INT; echo $$ >{fifo}; while :; do sleep 1000; done' & "
            "echo $$ >{fifo}; while :; do sleep 1000; done")
# The same, but the first has lost its parent before: an orphan.
ORPHAN = ("(setsid sh -c 'trap \"\" TERM; echo $$ >{fifo}; while :; do sleep 1000; done' &) ; "
          "echo $$ >{fifo}; while :; do sleep 1000; done")
# ... and it has taken the daemon's mark off its environment.
DISGUISED = ("(setsid env -i /bin/sh -c 'trap \"\" TERM; echo $$ >{fifo}; while :; do /bin/sleep 1000; done' &) ; "
             "echo $$ >{fifo}; while :; do sleep 1000; done")


class EndTestCase(DaemonTestCase):
    role = {"kill_grace": "300ms"}

    def setUp(self):
        super().setUp()
        self.fifo = Fifo(self.daemon.directory, self.id().rsplit(".", 1)[1])
        self.addCleanup(self.fifo.close)

    def start_tree(self, shape, **fields):
        """Starts one of the commands above; the client and the pids."""
        client = self.client()
        client.send_frame({"cmd": "exec", "command": shape.format(fifo=self.fifo.path), **fields})
        pids = [self.fifo.read_pid(), self.fifo.read_pid()]
        return client, pids


class GoneClients(EndTestCase):
    def test_a_reset_kills_the_whole_tree(self):
        for name, shape in (("stubborn", STUBBORN), ("orphan", ORPHAN), ("disguised", DISGUISED)):
            with self.subTest(name):
                client, pids = self.start_tree(shape)
                client.reset()
                for pid in pids:
                    wait_gone(pid, 10 * SLOW)

    def test_an_abort_kills_the_whole_tree(self):
        client, pids = self.start_tree(STUBBORN, more=True)
        client.send_frame({"abort": True})
        self.refused(client.recv_reply(), "aborted")
        for pid in pids:
            wait_gone(pid, 10 * SLOW)
        self.still_works(client)

    def test_a_timeout_kills_the_whole_tree(self):
        client, pids = self.start_tree(STUBBORN, timeout_ms=500)
        self.refused(client.recv_reply(), "timeout")
        for pid in pids:
            wait_gone(pid, 10 * SLOW)

    def test_an_end_in_the_middle_of_a_message_kills_the_whole_tree(self):
        client, pids = self.start_tree(STUBBORN, more=True)
        client.half_close()
        for pid in pids:
            wait_gone(pid, 10 * SLOW)
        client.wait_end()

    def test_an_end_of_input_lets_the_command_finish(self):
        for fields in ({}, {"on_eof": "finish"}):
            client = self.client()
            client.send_frame({"cmd": "exec", "command": "sleep 0.5; echo done", **fields})
            client.half_close()
            self.assertEqual(self.ok(client.recv_reply())[1], b"done\n")
            client.expect_eof()

    def test_an_end_of_input_kills_on_request(self):
        client, pids = self.start_tree(STUBBORN, on_eof="kill")
        client.half_close()
        for pid in pids:
            wait_gone(pid, 10 * SLOW)
        client.wait_end()

    def test_a_pipelined_command_of_a_gone_client_does_not_start(self):
        client = self.client()
        client.send(frame({"cmd": "exec", "command": f"echo $$ >{self.fifo.path}; exec sleep 1000"}) +
                    frame({"cmd": "exec", "command": "touch second"}))
        pid = self.fifo.read_pid()
        client.reset()
        wait_gone(pid, 10 * SLOW)
        self.ok(self.request({"cmd": "exec", "command": "sleep 0.3"}))
        self.assertNotIn("second", self.daemon.files())

    def test_no_process_is_left_unreaped(self):
        for _ in range(3):
            client, pids = self.start_tree(ORPHAN)
            client.reset()
            for pid in pids:
                wait_gone(pid, 10 * SLOW)
        self.ok(self.request({"cmd": "exec", "command": "true"}))
        wait_until(lambda: not children(self.daemon.pid), what="the daemon has no children")


class Background(EndTestCase):
    def test_a_background_process_does_not_delay_the_reply(self):
        for redirect in ("", ">/dev/null 2>&1 </dev/null"):
            with self.subTest(redirect=redirect):
                begin = time.monotonic()
                _, body = self.ok(self.request(
                    {"cmd": "exec", "command": f"sh -c 'echo $$ >{self.fifo.path}; exec sleep 1000' {redirect} & echo hi"}))
                self.assertLess(time.monotonic() - begin, 0.3 + 5 * SLOW)
                self.assertEqual(body, b"hi\n")
                wait_gone(self.fifo.read_pid(), 10 * SLOW)

    def test_a_background_process_gets_its_grace(self):
        client = self.client()
        self.ok(client.request({"cmd": "exec", "command": "(sleep 0.1; echo late >late) >/dev/null 2>&1 & true"}))
        self.assertEqual(self.ok(client.request({"cmd": "exec", "command": "sleep 0.25; cat late"}))[1], b"late\n")

    def test_a_background_process_that_ignores_everything_is_killed(self):
        stubborn = f"trap \"\" TERM HUP; echo $$ >{self.fifo.path}; while :; do sleep 1000; done"
        self.ok(self.request({"cmd": "exec", "command": f"setsid sh -c '{stubborn}' & :"}))
        wait_gone(self.fifo.read_pid(), 10 * SLOW)


class Queue(EndTestCase):
    role = {"max_exec": 1, "queue_timeout": "300ms", "kill_grace": "300ms"}

    def occupy(self):
        """A client whose command holds the only place until the FIFO lets it go."""
        client = self.client()
        gate = self.fifo.path + "-gate"
        client.send_frame({"cmd": "exec", "command": f"mkfifo {gate}; echo ready >{self.fifo.path}; "
                                                     f"read x <{gate}; rm {gate}; echo first"})
        self.fifo.read_line()
        return client, gate

    def let_go(self, gate):
        with open(gate, "w", encoding="ascii") as file:
            file.write("go\n")

    def test_a_command_that_waits_too_long_is_told_busy(self):
        holder, gate = self.occupy()
        client = self.client()
        header, _ = self.refused(client.request({"cmd": "exec", "command": "echo second"}, b"input"), "busy")
        self.assertIsInstance(header["retry_after_ms"], int)
        self.still_works(client)
        self.let_go(gate)
        self.assertEqual(self.ok(holder.recv_reply())[1], b"first\n")
        self.assertEqual(self.ok(client.request({"cmd": "exec", "command": "echo second"}))[1], b"second\n")

    def test_other_requests_are_not_held_up(self):
        holder, gate = self.occupy()
        client = self.client()
        self.still_works(client)
        self.ok(client.request({"cmd": "put", "filename": "x"}, b"x"))
        self.let_go(gate)
        self.ok(holder.recv_reply())


class PatientQueue(Queue):
    role = {"max_exec": 1, "queue_timeout": "60s"}

    def test_a_command_that_waits_too_long_is_told_busy(self):
        holder, gate = self.occupy()
        waiting = [self.client() for _ in range(5)]
        for number, client in enumerate(waiting):
            client.send_frame({"cmd": "exec", "command": f"echo {number}"})
        waiting[0].expect_silence(0.2)
        self.let_go(gate)
        self.ok(holder.recv_reply())
        for number, client in enumerate(waiting):
            self.assertEqual(self.ok(client.recv_reply())[1], b"%d\n" % number)

    def test_a_waiting_client_that_goes_leaves_the_queue(self):
        holder, gate = self.occupy()
        gone = self.client()
        gone.send_frame({"cmd": "exec", "command": "touch ran-for-nobody"})
        gone.let_peer_read(1)
        gone.reset()
        behind = self.client()
        behind.send_frame({"cmd": "exec", "command": "echo behind"})
        behind.expect_silence(0.2)
        self.let_go(gate)
        self.ok(holder.recv_reply())
        self.assertEqual(self.ok(behind.recv_reply())[1], b"behind\n")
        self.assertNotIn("ran-for-nobody", self.daemon.files())


class KilledFromOutside(EndTestCase):
    def test_a_command_that_somebody_kills_is_told_as_signalled(self):
        client = self.client()
        client.send_frame({"cmd": "exec", "command": f"echo $$ >{self.fifo.path}; exec sleep 1000"})
        pid = self.fifo.read_pid()
        self.assertFalse(is_gone(pid))
        os.kill(pid, signal.SIGKILL)
        header, _ = self.ok(client.recv_reply())
        self.assertEqual((header["reason"], header["signal"]), ("signalled", "SIGKILL"))
