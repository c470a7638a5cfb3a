"""exec with `stream`: output in frames as it comes, input while it runs."""

import os
import time

from ftpd_harness import SLOW, Daemon, DaemonTestCase, ReplyAssertions, frame, wait_gone
from ftpd_support import Fifo, anonymous_memory


class StreamTestCase(DaemonTestCase):
    role = {"kill_grace": "300ms", "max_output": "1MiB"}

    def start(self, client, command, body=b"", **fields):
        client.send_frame({"cmd": "exec", "command": command, "stream": True, **fields}, body)

    def piece(self, client):
        """One frame of output: (stream, bytes)."""
        header, body = self.ok(client.recv_reply())
        self.assertTrue(header["more"], header)
        self.assertIn(header["stream"], ("stdout", "stderr"))
        return header["stream"], body

    def collect(self, frames):
        """(stdout, stderr, last header) of a whole message."""
        output = {"stdout": b"", "stderr": b""}
        for header, body in frames[:-1]:
            output[header["stream"]] += body
        header, body = frames[-1]
        self.assertEqual((header["data_size"], body), (0, b""))
        self.assertNotIn("stream", header)
        return output["stdout"], output["stderr"], header

    def run_stream(self, command, body=b"", **fields):
        with self.daemon.client() as client:
            self.start(client, command, body, **fields)
            return self.collect(client.recv_message())


class Output(StreamTestCase):
    def test_both_streams_and_the_end_are_told_apart(self):
        stdout, stderr, last = self.run_stream("echo out; echo err >&2; exit 3")
        self.assertEqual((stdout, stderr), (b"out\n", b"err\n"))
        self.assertTrue(last["ok"])
        self.assertEqual((last["reason"], last["exit"]), ("exited", 3))
        self.assertGreaterEqual(last["duration_ms"], 0)

    def test_a_signal_is_told(self):
        stdout, _, last = self.run_stream("echo out; kill -SEGV $$")
        self.assertEqual((stdout, last["reason"], last["signal"]), (b"out\n", "signalled", "SIGSEGV"))

    def test_output_comes_as_it_is_written(self):
        gate = Fifo(self.daemon.directory, self.id().rsplit(".", 1)[1])
        self.addCleanup(gate.close)
        client = self.client()
        self.start(client, f"echo one; read x <{gate.path}; echo two >&2; read x <{gate.path}; echo three")
        self.assertEqual(self.piece(client), ("stdout", b"one\n"))
        gate.release()
        self.assertEqual(self.piece(client), ("stderr", b"two\n"))
        gate.release()
        self.assertEqual(self.piece(client), ("stdout", b"three\n"))
        self.assertEqual(self.ok(client.recv_reply())[0]["exit"], 0)

    def test_every_frame_echoes_the_id(self):
        client = self.client()
        self.start(client, "echo a; sleep 0.05; echo b", id="mine")
        self.assertEqual({header["id"] for header, _ in client.recv_message()}, {"mine"})

    def test_no_output_is_one_frame(self):
        client = self.client()
        self.start(client, "true")
        self.assertEqual(len(client.recv_message()), 1)

    def test_merged_output_counts_as_stdout(self):
        stdout, stderr, _ = self.run_stream("echo a; echo b >&2; echo c", merge=True)
        self.assertEqual((stdout, stderr), (b"a\nb\nc\n", b""))

    def test_max_output_does_not_count(self):
        stdout, stderr, last = self.run_stream("head -c 20000000 /dev/zero; head -c 3000000 /dev/zero >&2")
        self.assertEqual((len(stdout), len(stderr)), (20000000, 3000000))
        self.assertFalse(last.get("truncated", False))

    def test_binary_output_in_order(self):
        content = os.urandom(5 << 20)
        self.daemon.write("bin", content)
        self.assertEqual(self.run_stream("cat bin")[0], content)

    def test_replies_stay_in_order(self):
        client = self.client()
        client.send(frame({"cmd": "exec", "command": "sleep 0.1; echo a", "stream": True, "id": 1}) +
                    frame({"cmd": "ping", "id": 2}) +
                    frame({"cmd": "exec", "argv": ["echo", "b"], "stream": True, "id": 3}) + frame({"cmd": "ping", "id": 4}))
        self.assertEqual(self.collect(client.recv_message())[0], b"a\n")
        self.assertEqual(client.recv_reply()[0]["id"], 2)
        self.assertEqual(self.collect(client.recv_message())[0], b"b\n")
        self.assertEqual(client.recv_reply()[0]["id"], 4)

    def test_what_can_not_start_is_one_refusal(self):
        client = self.client()
        self.refused(client.request({"cmd": "exec", "argv": ["/no/such"], "stream": True}), "not_found")
        self.still_works(client)

    def test_a_slow_reader_slows_the_command_and_costs_no_memory(self):
        self.run_stream("true")
        before = anonymous_memory(self.daemon.pid)
        client = self.client(receive_buffer=4096)
        self.start(client, "yes; echo unreachable")
        self.piece(client)
        time.sleep(1)  # no event tells that nothing more happens
        if not self.daemon.sanitized():
            self.assertLess(anonymous_memory(self.daemon.pid) - before, 16 << 20)
        for _ in range(50):
            self.piece(client)
        client.reset()

    def test_a_waiting_reader_is_not_stalled(self):
        with Daemon(server={"stall_timeout": "300ms", "idle_timeout": "300ms"}) as daemon, daemon.client() as client:
            self.start(client, "sleep 1; echo a")
            self.assertEqual(self.collect(client.recv_message())[0], b"a\n")


class Input(StreamTestCase):
    def test_input_is_fed_while_output_comes_back(self):
        client = self.client()
        self.start(client, "while read line; do echo got $line; done; echo end", more=True)
        for word in ("one", "two", "three"):
            client.send_frame({"more": True}, word.encode() + b"\n")
            self.assertEqual(self.piece(client), ("stdout", f"got {word}\n".encode()))
        client.send_frame({})
        self.assertEqual(self.collect(client.recv_message())[0], b"end\n")
        self.still_works(client)

    def test_much_input_and_output_at_the_same_time(self):
        content = os.urandom(8 << 20)
        with self.daemon.client() as client:
            client.send_frame({"cmd": "exec", "argv": ["cat"], "stream": True, "more": True})
            received = b""
            for position in range(0, len(content), 1 << 16):
                client.send_frame({"more": True}, content[position:position + (1 << 16)])
                while client.readable():
                    received += self.piece(client)[1]
            client.send_frame({})
            self.assertEqual(received + self.collect(client.recv_message())[0], content)

    def test_the_whole_input_may_come_at_once(self):
        content = os.urandom(1 << 20)
        self.assertEqual(self.run_stream("cat", content)[0], content)

    def test_a_command_that_ends_before_its_input(self):
        client = self.client()
        self.start(client, "read x; echo $x", more=True)
        client.send_frame({"more": True}, b"first\nsecond\n")
        self.assertEqual(self.collect(client.recv_message())[0], b"first\n")
        client.send_frame({"more": True}, b"x" * 100000)
        client.send_frame({})
        self.still_works(client)


class Ends(StreamTestCase):
    def test_a_timeout_is_told_last(self):
        stdout, _, last = self.run_stream("echo a; exec sleep 1000", timeout_ms=300)
        self.assertEqual((stdout, last["ok"], last["error"], last["reason"]), (b"a\n", False, "timeout", "timeout"))

    def test_an_abort_is_told_last(self):
        client = self.client()
        self.start(client, "echo a; exec sleep 1000", more=True)
        self.assertEqual(self.piece(client)[1], b"a\n")
        client.send_frame({"abort": True})
        _, _, last = self.collect(client.recv_message())
        self.assertEqual((last["error"], last["reason"]), ("aborted", "cancelled"))
        self.still_works(client)

    def test_a_gone_client_ends_the_command(self):
        for command in ("echo $$; exec sleep 1000", "echo $$; exec yes"):
            client = self.client()
            self.start(client, command)
            pid = int(self.piece(client)[1].split()[0])
            client.reset()
            wait_gone(pid, 10 * SLOW)

    def test_an_end_of_input_lets_it_finish(self):
        client = self.client()
        self.start(client, "sleep 0.3; echo late")
        client.half_close()
        self.assertEqual(self.collect(client.recv_message())[0], b"late\n")
        client.expect_eof()

    def test_a_background_process_does_not_delay_the_end(self):
        begin = time.monotonic()
        stdout, _, last = self.run_stream("sleep 1000 & echo hi")
        self.assertEqual((stdout, last["exit"]), (b"hi\n", 0))
        self.assertLess(time.monotonic() - begin, 0.3 + 5 * SLOW)


class Shutdown(ReplyAssertions):
    def test_a_drain_ends_the_command_and_tells(self):
        with Daemon(server={"drain_timeout": "300ms"}, role={"kill_grace": "300ms"}) as daemon, daemon.client() as client:
            client.send_frame({"cmd": "exec", "command": "echo a; exec sleep 1000", "stream": True})
            self.assertEqual(client.recv_reply()[1], b"a\n")
            daemon.terminate()
            header, _ = client.recv_message()[-1]
            self.assertEqual((header["error"], header["reason"]), ("shutting_down", "shutdown"))
            client.expect_eof()
