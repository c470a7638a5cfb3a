"""The text dialect: lines that are commands, for netcat, telnet and clients without a length."""

import struct
import time

from ftpd_harness import SLOW, DaemonTestCase, frame, wait_gone

HTTP = (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /x HTTP/1.0\r\nContent-Length: 20\r\n\r\ntouch ran-by-browser\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n")
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(190)


class TextTestCase(DaemonTestCase):
    def ask(self, data, listener=0, end=True):
        """Everything that comes back for `data`, as printf … | nc -N does it."""
        with self.daemon.client(listener) as client:
            client.send(data)
            if end:
                client.half_close()
            return client.recv_until_eof()


class Plain(TextTestCase):
    def test_a_line_runs_and_its_output_comes_back(self):
        self.assertEqual(self.ask(b"echo hello\n"), b"hello\n")

    def test_without_a_line_end_the_end_of_input_ends_the_line(self):
        self.assertEqual(self.ask(b"echo hello"), b"hello\n")

    def test_both_streams_come_in_order(self):
        self.assertEqual(self.ask(b"echo a; echo b >&2; echo c\n"), b"a\nb\nc\n")

    def test_several_lines_run_one_after_the_other(self):
        self.assertEqual(self.ask(b"echo a >x; sleep 0.2\ncat x\necho b"), b"a\nb\n")

    def test_cr_before_lf_is_dropped(self):
        self.assertEqual(self.ask(b"echo a\r\nprintf '%s|' b\r\n"), b"a\nb|")

    def test_empty_lines_are_skipped(self):
        self.assertEqual(self.ask(b"\n\r\n\n\necho a\n\n\necho b\n\r\n"), b"a\nb\n")
        self.assertEqual(self.ask(b"\n\n\n"), b"")

    def test_a_tab_is_text(self):
        self.assertEqual(self.ask(b"echo\ta\n"), b"a\n")

    def test_utf_8_is_text(self):
        self.assertEqual(self.ask("echo \u4e2d\u6587\n".encode()), "\u4e2d\u6587\n".encode())

    def test_the_shortest_lines(self):
        for line in (b":\n", b":", b":\n:\n", b"w"):
            with self.subTest(line=line):
                self.ask(line)

    def test_no_input_is_no_request(self):
        self.assertEqual(self.ask(b""), b"")

    def test_output_of_20_mib(self):
        self.assertEqual(len(self.ask(b"head -c 20971520 /dev/zero\n")), 20971520)

    def test_output_comes_as_the_command_writes_it(self):
        client = self.client()
        client.send(b"echo first; sleep 1000\n")
        self.assertEqual(client.recv_exact(6), b"first\n")

    def test_a_command_reads_dev_null_not_the_connection(self):
        self.assertEqual(self.ask(b"cat; echo end\nread x; echo $?\n"), b"end\n1\n")

    def test_quit_closes(self):
        self.assertEqual(self.ask(b"echo a\nquit\n", end=False), b"a\n")
        self.assertEqual(self.ask(b"quit\r\n", end=False), b"")

    def test_the_dialect_is_for_life(self):
        """A frame behind a line is no frame: it holds a NUL, so it is refused."""
        client = self.client()
        client.send(b"echo a\n")
        self.assertEqual(client.recv_exact(2), b"a\n")
        client.send(frame({"cmd": "ping"}))
        self.refused(client.recv_reply(), "bad_frame")
        client.expect_eof()

    def test_a_gone_client_ends_its_command(self):
        client = self.client()
        client.send(b"echo $$; exec sleep 1000\n")
        pid = int(client.recv_exact(1) + client.sock.recv(20))
        client.reset()
        wait_gone(pid, 10 * SLOW)

    def test_an_end_of_input_does_not_end_the_command(self):
        self.assertEqual(self.ask(b"sleep 0.5; echo late"), b"late\n")


class Splits(TextTestCase):
    server = {"text_idle": "10s"}

    def test_a_line_split_at_every_byte(self):
        data = b"echo a\r\necho b\n"
        for cut in range(1, len(data)):
            with self.subTest(cut=cut), self.daemon.client() as client:
                client.send(data[:cut])
                client.let_peer_read(0.01)
                client.send(data[cut:])
                client.half_close()
                self.assertEqual(client.recv_until_eof(), b"a\nb\n")


class IdleRule(TextTestCase):
    def test_a_line_without_end_runs_when_nothing_more_comes(self):
        client = self.client()
        for number in range(3):
            client.send(b"echo %d" % number)
            self.assertEqual(client.recv_exact(2), b"%d\n" % number)

    def test_one_byte_alone_waits(self):
        client = self.client()
        client.send(b"w")
        client.expect_silence(0.2)
        client.half_close()
        client.wait_end()

    def test_once_a_line_end_was_sent_only_line_ends_count(self):
        client = self.client()
        client.send(b"echo a\n")
        self.assertEqual(client.recv_exact(2), b"a\n")
        client.send(b"echo b")
        client.expect_silence(0.2)
        client.send(b"c\n")
        self.assertEqual(client.recv_exact(3), b"bc\n")

    def test_the_clock_stands_while_a_command_runs(self):
        client = self.client()
        client.send(b"sleep 0.3; echo a")
        time.sleep(0.1)
        client.send(b"echo ")
        time.sleep(0.1)
        client.send(b"b")
        self.assertEqual(client.recv_exact(4), b"a\nb\n")

    def test_a_pause_inside_a_character_ends_nothing(self):
        client = self.client()
        client.send(b"echo caf\xc3")
        client.expect_silence(0.2)
        client.send(b"\xa9")
        self.assertEqual(client.recv_exact(6), "caf\u00e9\n".encode())

    def test_a_slow_http_request_is_refused_all_the_same(self):
        client = self.client()
        client.send(b"GET / ")
        client.expect_silence(0.2)
        client.send(b"HTTP/1.1\r\n\r\n")
        self.assertRegex(client.recv_until_eof(), rb"\Aftpd: bad_request: [^\n]+\n\Z")


class Refusals(TextTestCase):
    listen = [{"dialect": "both"}, {"dialect": "text"}, {"dialect": "frame"}]

    def test_http_is_refused_before_anything_runs(self):
        for listener in (0, 1):
            for request in HTTP:
                with self.subTest(listener=listener, request=request):
                    self.assertRegex(self.ask(request, listener, end=False), rb"\Aftpd: bad_request: [^\n]+\n\Z")
        self.assertEqual(self.daemon.files(), {})

    def test_http_where_only_frames_are_taken_is_a_framing_error(self):
        for request in HTTP + (TLS_HELLO,):
            with self.daemon.client(2) as client:
                client.send(request)
                self.refused(client.recv_reply(), "bad_frame")
                client.expect_closed()
        self.assertEqual(self.daemon.files(), {})

    def test_a_tls_hello_is_refused_with_a_frame(self):
        for listener in (0, 1):
            with self.daemon.client(listener) as client:
                client.send(TLS_HELLO)
                self.refused(client.recv_reply(), "bad_frame")
                client.expect_closed()

    def test_what_is_no_text_is_refused_and_nothing_behind_it_runs(self):
        for bad in (b"touch one\0\n", b"touch one; \x01\n", b"touch \x1b[A one\n", b"touch one \xff\n", b"touch one \x7f\n",
                    b"touch one \xc0\xaf\n", b"touch one \xed\xa0\x80\n", b"touch one \x08\n", b"touch one \x0b\n"):
            for listener in (0, 1):
                with self.subTest(bad=bad, listener=listener), self.daemon.client(listener) as client:
                    client.send(bad + b"touch two\n")
                    self.refused(client.recv_reply(), "bad_frame")
                    client.expect_eof()
        self.assertEqual(self.daemon.files(), {})

    def test_lines_before_what_is_no_text_are_answered_first(self):
        client = self.client()
        client.send(b"echo a\ntouch \0\ntouch two\n")
        self.assertEqual(client.recv_exact(2), b"a\n")
        self.refused(client.recv_reply(), "bad_frame")
        client.expect_eof()
        self.assertEqual(self.daemon.files(), {})

    def test_a_line_longer_than_the_maximum_is_refused_and_closed(self):
        for line in (b"echo " + b"a" * 9000 + b"\n", b"echo " + b"a" * 100000):
            with self.daemon.client(1) as client:
                client.send_what_goes(line)
                self.assertRegex(client.recv_until_eof(), rb"\Aftpd: [a-z_]+: [^\n]+\n\Z")

    def test_a_line_of_exactly_the_maximum_runs(self):
        line = b": " + b"a" * (8191 - 2)
        self.assertEqual(self.ask(line + b"\necho ok\n", 1), b"ok\n")

    def test_frames_where_only_text_is_taken_are_refused(self):
        with self.daemon.client(1) as client:
            client.send(frame({"cmd": "put", "filename": "one"}, b"x"))
            self.refused(client.recv_reply(), "bad_frame")
            client.expect_closed()
        self.assertEqual(self.daemon.files(), {})


class WithoutCommands(TextTestCase):
    listen = [{"text_reply": "plain"}, {"text_reply": "length"}, {"text_reply": "json"}]
    role = {"allow": ["read", "write", "exec"]}  # argv is no shell

    def test_a_role_without_shell_is_denied_in_each_form(self):
        message = self.ask(b"touch x\n", 0)
        self.assertRegex(message, rb"\Aftpd: denied: [^\n]+\n\Z")
        self.assertEqual(self.ask(b"touch x\n", 1), struct.pack("<i", len(message)) + message)
        answer = self.ask(b"touch x\n", 2)
        self.assertTrue(answer.endswith(message))
        self.assertEqual(self.daemon.files(), {})

    def test_the_connection_goes_on(self):
        self.assertEqual(self.ask(b"a\nb\n").count(b"ftpd: denied: "), 2)


class TextTimeout(TextTestCase):
    role = {"exec_timeout": "300ms", "kill_grace": "300ms"}

    def test_a_command_over_its_time_is_told_in_a_line(self):
        self.assertRegex(self.ask(b"echo a; sleep 1000\n"), rb"\Aa\nftpd: timeout: [^\n]+\n\Z")
