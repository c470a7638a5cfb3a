"""Messages: order, continuing frames, early replies, ends of input."""

import os

from ftpd_harness import DaemonTestCase, frame, wait_until

PING = {"cmd": "ping"}


class Pipelining(DaemonTestCase):
    def mixed_requests(self, count):
        """(frames, checks): `checks` take the reply of their request."""
        kinds = [
            (lambda i: frame(PING, id=i), None),
            (lambda i: frame({"cmd": "put", "filename": f"p{i % 50}", "id": i}, b"%d" % i), None),
            (lambda i: frame({"cmd": "get", "filename": "fixed", "id": i}), b"fixed content"),
            (lambda i: frame({"cmd": "get", "filename": "missing", "id": i}), "not_found"),
            (lambda i: frame({"cmd": "stat", "filename": "fixed", "id": i}), None),
            (lambda i: frame({"cmd": "nonsense", "id": i}, b"a body"), "unknown_command"),
            (lambda i: frame({"cmd": "put", "filename": "../x", "id": i}, b"a body"), "bad_request"),
        ]
        return [(kinds[i % 7][0](i), kinds[i % 7][1]) for i in range(count)]

    def check_mixed(self, client, requests):
        for number, (_, expected) in enumerate(requests):
            header, body = client.recv_reply()
            self.assertEqual(header["id"], number)
            if isinstance(expected, str):
                self.assertEqual(header["error"], expected)
            else:
                self.assertTrue(header["ok"], header)
            if isinstance(expected, bytes):
                self.assertEqual(body, expected)

    def test_1000_mixed_requests_in_one_send_are_answered_in_order(self):
        self.daemon.write("fixed", b"fixed content")
        requests = self.mixed_requests(1000)
        client = self.client()
        client.send(b"".join(data for data, _ in requests))
        self.check_mixed(client, requests)
        self.still_works(client)

    def test_the_replies_come_after_the_client_shut_its_side_down(self):
        self.daemon.write("fixed", b"fixed content")
        requests = self.mixed_requests(300)
        client = self.client()
        client.send(b"".join(data for data, _ in requests))
        client.half_close()
        self.check_mixed(client, requests)
        client.expect_eof()

    def test_exec_keeps_its_place_in_the_order(self):
        client = self.client()
        client.send(frame(PING, id=1) + frame({"cmd": "exec", "command": "sleep 0.1; echo a", "id": 2}) +
                    frame(PING, id=3) + frame({"cmd": "exec", "argv": ["echo", "b"], "id": 4}) +
                    frame(PING, id=5))
        replies = [client.recv_reply() for _ in range(5)]
        self.assertEqual([header["id"] for header, _ in replies], [1, 2, 3, 4, 5])
        self.assertEqual((replies[1][1], replies[3][1]), (b"a\n", b"b\n"))

    def test_a_request_sees_what_the_one_before_it_did(self):
        client = self.client()
        for number in range(50):
            content = b"%d" % number * 100
            client.send(frame({"cmd": "put", "filename": "seen"}, content) + frame({"cmd": "get", "filename": "seen"}) +
                        frame({"cmd": "exec", "command": "cat seen"}))
            self.ok(client.recv_reply())
            self.assertEqual(self.ok(client.recv_reply())[1], content)
            self.assertEqual(self.ok(client.recv_reply())[1], content)

    def test_an_end_of_input_without_a_request_closes_silently(self):
        client = self.client()
        client.half_close()
        client.expect_eof()

    def test_the_daemon_says_nothing_before_it_is_asked(self):
        client = self.client()
        client.expect_silence()
        self.still_works(client)


class DurablePipelining(DaemonTestCase):
    role = {"durability": "fsync"}

    def test_replies_of_flushed_uploads_stay_in_order(self):
        client = self.client()
        data = b""
        for number in range(200):
            data += frame({"cmd": "put", "filename": f"d{number % 20}", "id": 2 * number}, b"%d" % number)
            data += frame(PING, id=2 * number + 1)
        client.send(data)
        for number in range(400):
            self.assertEqual(self.ok(client.recv_reply())[0]["id"], number)
        self.assertEqual(self.daemon.read("d19"), b"199")


class Closing(DaemonTestCase):
    def test_quit_is_answered_then_the_daemon_closes(self):
        client = self.client()
        client.send(frame(PING, id=1) + frame({"cmd": "quit", "id": 2}))
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], 1)
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], 2)
        client.expect_eof()

    def test_close_on_any_request_closes_after_its_reply(self):
        self.daemon.write("c", b"content")
        for header, body in ((PING, b""), ({"cmd": "get", "filename": "c"}, b""), ({"cmd": "put", "filename": "d"}, b"x"),
                             ({"cmd": "get", "filename": "missing"}, b""), ({"cmd": "nonsense"}, b"body"),
                             ({"cmd": "exec", "command": "echo a"}, b"")):
            with self.subTest(header=header), self.daemon.client() as client:
                client.request(header, body, close=True)
                client.expect_eof()

    def test_close_false_changes_nothing(self):
        client = self.client()
        self.ok(client.request({"cmd": "ping", "close": False}))
        self.still_works(client)


class Continuing(DaemonTestCase):
    def test_an_upload_of_unknown_size(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "u", "more": True, "id": "x"})
        content = b""
        for number in range(20):
            piece = os.urandom(number * 1000)
            content += piece
            client.send_frame({"data_size": len(piece), "more": True}, piece)
        client.send_frame({"data_size": 0})
        header, _ = self.ok(client.recv_reply())
        self.assertEqual((header["id"], header["filename"], header["filesize"]), ("x", "u", len(content)))
        self.assertEqual(self.daemon.read("u"), content)
        self.still_works(client)

    def test_an_upload_of_unknown_size_with_content_in_first_and_last_frame(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "u", "more": True, "data_size": 3}, b"abc")
        client.send_frame({"more": True})
        client.send_frame({}, b"def")
        self.ok(client.recv_reply())
        self.assertEqual(self.daemon.read("u"), b"abcdef")

    def test_an_upload_in_frames_whose_total_was_announced(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "t", "more": True, "data_size": 4, "filesize": 10}, b"0123")
        client.send_frame({"more": True}, b"456")
        client.send_frame({}, b"789")
        self.assertEqual(self.ok(client.recv_reply())[0]["filesize"], 10)
        self.assertEqual(self.daemon.read("t"), b"0123456789")

    def test_an_upload_in_frames_with_another_total_than_announced_is_refused(self):
        for total in (0, 9, 11):
            with self.subTest(total=total):
                client = self.client()
                client.send_frame({"cmd": "put", "filename": "w", "more": True, "data_size": 4, "filesize": total}, b"0123")
                client.send_frame({"more": True}, b"456")
                client.send_frame({}, b"789")
                self.refused(client.recv_reply(), "bad_request")
                self.still_works(client)
        self.assertNotIn("w", self.daemon.files())

    def test_an_aborted_upload_is_undone(self):
        self.daemon.write("a", b"old")
        for announced in ({}, {"filesize": 10}):
            client = self.client()
            client.send_frame({"cmd": "put", "filename": "a", "more": True, "data_size": 4, "id": 9, **announced}, b"0123")
            client.send_frame({"more": True}, b"45")
            client.send_frame({"abort": True})
            header, _ = self.refused(client.recv_reply(), "aborted")
            self.assertEqual(header["id"], 9)
            self.still_works(client)
            self.assertEqual(self.daemon.read("a"), b"old")

    def test_an_abort_and_a_close_that_arrive_together(self):
        for _ in range(20):
            with self.daemon.client() as client:
                client.send_frame({"cmd": "put", "filename": "called-off", "more": True, "data_size": 100000}, b"x" * 100000)
                client.send(frame({"abort": True}) + frame({"cmd": "ping", "close": True}))
                self.refused(client.recv_reply(), "aborted")
                self.ok(client.recv_reply())
                client.expect_eof()
        self.assertNotIn("called-off", self.daemon.files())

    def test_an_aborted_command_is_killed(self):
        client = self.client()
        client.send_frame({"cmd": "exec", "command": "echo before; exec sleep 1000", "more": True})
        client.send_frame({"abort": True})
        header, _ = self.refused(client.recv_reply(), "aborted")
        self.assertEqual(header.get("reason"), "cancelled")
        self.still_works(client)

    def test_a_command_in_a_continuing_frame_is_a_framing_error(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "c", "more": True}, b"")
        client.send_frame({"cmd": "ping"})
        self.refused(client.recv_reply(), "bad_frame")
        client.expect_eof()
        self.assertNotIn("c", self.daemon.files())

    def test_a_framing_error_in_a_continuing_frame_undoes_the_upload(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "c", "more": True, "data_size": 3}, b"abc")
        client.send_frame(b'{"data_size":-1}')
        self.refused(client.recv_reply(), "bad_frame")
        client.expect_eof()
        self.assertNotIn("c", self.daemon.files())

    def test_a_frame_that_continues_nothing_is_refused(self):
        client = self.client()
        self.refused(client.request({"data_size": 5}, b"01234"), "bad_request")
        self.still_works(client)

    def test_a_ping_that_continues_is_answered_once(self):
        client = self.client()
        client.send_frame({"cmd": "ping", "id": 1, "more": True})
        client.send_frame({"more": True}, b"x" * 1000)
        client.send_frame({})
        client.send_frame({"cmd": "ping", "id": 2})
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], 1)
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], 2)


class EarlyReplies(DaemonTestCase):
    def test_a_refusal_comes_before_the_body(self):
        self.daemon.write("file", b"x")
        client = self.client()
        for fields, code in (({"filename": "../a"}, "bad_request"), ({"filename": "no/such/dir"}, "not_found"),
                             ({"filename": "file/below"}, "not_directory"),
                             ({"filename": "file", "overwrite": "fail"}, "exists")):
            with self.subTest(fields=fields):
                client.send_frame({"cmd": "put", "data_size": 1000, **fields})
                self.refused(client.recv_reply(), code)
                client.send(b"x" * 1000)
                self.still_works(client)

    def test_the_rest_of_a_refused_message_is_discarded(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "../a", "more": True, "id": 1})
        self.refused(client.recv_reply(), "bad_request")
        client.send_frame({"more": True}, b"x" * 5000)
        client.send_frame({}, b"x" * 5000)
        self.still_works(client)

    def test_a_command_ends_the_rest_of_a_refused_message(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "../a", "more": True})
        self.refused(client.recv_reply(), "bad_request")
        client.send_frame({"more": True}, b"x" * 5000)
        self.still_works(client)
        self.still_works(client)

    def test_frames_to_a_command_that_has_exited_are_discarded(self):
        client = self.client()
        client.send_frame({"cmd": "exec", "command": "exec <&-; exit 3", "more": True})
        header, _ = self.ok(client.recv_reply())
        self.assertEqual(header["exit"], 3)
        client.send_frame({"more": True}, b"x" * 100000)
        client.send_frame({}, b"the last")
        self.still_works(client)


class DiscardLimit(DaemonTestCase):
    server = {"discard_limit": "64KiB"}

    def test_a_refused_body_within_the_limit_is_read_past(self):
        client = self.client()
        self.refused(client.request({"cmd": "put", "filename": "../a"}, b"x" * 65536), "bad_request")
        self.still_works(client)

    def test_a_refused_body_beyond_the_limit_closes_after_the_reply(self):
        for header in ({"cmd": "put", "filename": "../a"}, {"cmd": "nonsense"}, {"cmd": "get", "filename": "none"}):
            with self.subTest(header=header), self.daemon.client() as client:
                client.send_frame({**header, "data_size": 10 << 20})
                self.assertFalse(client.recv_reply()[0]["ok"])
                client.send_what_goes(b"x" * (10 << 20))
                client.expect_closed()

    def test_the_limit_counts_all_frames_of_a_message_together(self):
        with self.daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": "../a", "more": True})
            self.refused(client.recv_reply(), "bad_request")
            client.send_what_goes(frame({"more": True}, b"x" * 10000) * 10)
            client.expect_closed()

    def test_the_limit_begins_anew_with_each_message(self):
        client = self.client()
        for _ in range(10):
            self.refused(client.request({"cmd": "put", "filename": "../a"}, b"x" * 50000), "bad_request")
        self.still_works(client)


class GoneClients(DaemonTestCase):
    def test_a_reset_in_the_middle_of_a_body_leaves_the_old_file(self):
        self.daemon.write("kept", b"old content")
        for name, before in (("kept", b"old content"), ("new", None)):
            for end in ("reset", "half_close"):
                with self.subTest(name=name, end=end):
                    with self.daemon.client() as client:
                        client.send_frame({"cmd": "put", "filename": name, "data_size": 1 << 20}, b"x" * 500000)
                        client.let_peer_read(2)
                        getattr(client, end)()
                        if end == "half_close":
                            client.wait_end()
                    self.request(PING)
                    self.assertEqual(self.daemon.files().get(name), before)

    def test_an_end_in_the_middle_of_a_message_leaves_nothing(self):
        client = self.client()
        client.send_frame({"cmd": "put", "filename": "m", "more": True, "data_size": 3}, b"abc")
        client.half_close()
        client.wait_end()
        self.assertNotIn("m", self.daemon.files())

    def test_an_end_in_the_middle_of_a_length_or_header_closes(self):
        whole = frame({"cmd": "put", "filename": "m"}, b"abc")
        for size in (3, 4, 5, 20):
            with self.subTest(size=size), self.daemon.client() as client:
                client.send(frame(PING))
                self.ok(client.recv_reply())
                client.send(whole[:size])
                client.half_close()
                client.wait_end()

    def test_what_arrived_whole_before_a_reset_is_done(self):
        for run in range(5):
            client = self.daemon.client()
            client.send(b"".join(frame({"cmd": "put", "filename": f"r{run}-{i}"}, b"%d" % i) for i in range(50)))
            client.flush()
            client.reset()
            expected = {f"r{run}-{i}": b"%d" % i for i in range(50)}
            wait_until(lambda: expected.items() <= self.daemon.files().items(), what=f"uploads of run {run}")

    def test_a_command_that_arrived_before_a_reset_is_not_finished(self):
        client = self.daemon.client()
        client.send(frame({"cmd": "exec", "command": "sleep 0.5; touch finished"}))
        client.reset()
        with self.daemon.client() as other:
            self.ok(other.request({"cmd": "exec", "command": "sleep 1"}))
        self.assertNotIn("finished", self.daemon.files())
