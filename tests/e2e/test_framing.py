"""Frames: lengths, headers, sizes, and bytes that arrive split or glued."""

import functools
import struct

from ftpd_harness import DaemonTestCase, frame, wait_until

PING = {"cmd": "ping"}
SEQUENCE = frame({"cmd": "put", "filename": "split.bin"}, b"0123456789") + frame(PING, id=7)


def nested(depth):
    """A ping whose header is `depth` deep, the object itself being 1."""
    return b'{"cmd":"ping","x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


BAD_HEADERS = {
    "an array": b'["cmd","ping"]',
    "a string": b'"ping"',
    "a number": b"1",
    "null": b"null",
    "blanks": b"   ",
    "cut off": b'{"cmd":"ping"',
    "no value": b'{"cmd":}',
    "a byte behind": b'{"cmd":"ping"}x',
    "a NUL behind": b'{"cmd":"ping"}\0',
    "two objects": b'{"cmd":"ping"}{"cmd":"ping"}',
    "a comma behind the last member": b'{"cmd":"ping",}',
    "single quotes": b"{'cmd':'ping'}",
    "a key without quotes": b'{cmd:"ping"}',
    "a comment": b'{"cmd":"ping"/* */}',
    "a byte order mark": b'\xef\xbb\xbf{"cmd":"ping"}',
    "UTF-16": '{"cmd":"ping"}'.encode("utf-16-le"),
    "a byte that is no UTF-8": b'{"cmd":"ping","x":"\xff"}',
    "overlong UTF-8": b'{"cmd":"ping","x":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"cmd":"ping","x":"\xed\xa0\x80"}',
    "a cut UTF-8 character": b'{"cmd":"ping","x":"\xc3"}',
    "a line end in a string": b'{"cmd":"ping","x":"a\nb"}',
    "a bad escape": b'{"cmd":"ping","x":"\\q"}',
    "a duplicate key": b'{"cmd":"ping","cmd":"ping"}',
    "a duplicate unknown key": b'{"cmd":"ping","x":1,"y":2,"x":1}',
    "a duplicate key after unescaping": b'{"cmd":"ping","\\u0063md":"ping"}',
    "a duplicate key in an object": b'{"cmd":"ping","x":{"a":1,"a":1}}',
    "a duplicate key deep inside": b'{"cmd":"ping","x":[1,{"y":[{"a":1,"b":2,"\\u0061":3}]}]}',
    "arrays 33 deep": nested(33),
    "arrays 1,000 deep": nested(1000),
    "objects 33 deep": b'{"cmd":"ping","x":' + b'{"x":' * 32 + b"1" + b"}" * 33,
    "a number beyond a double": b'{"cmd":"ping","x":1e400}',
    "a negative number beyond a double": b'{"cmd":"ping","x":-1e400}',
    "2^64": b'{"cmd":"ping","x":18446744073709551616}',
    "-2^63-1": b'{"cmd":"ping","x":-9223372036854775809}',
    "an integer of 400 digits": b'{"cmd":"ping","x":' + b"9" * 400 + b"}",
    "NaN": b'{"cmd":"ping","x":NaN}',
    "Infinity": b'{"cmd":"ping","x":Infinity}',
    "a leading zero": b'{"cmd":"ping","x":01}',
    "a plus sign": b'{"cmd":"ping","x":+1}',
    "hexadecimal": b'{"cmd":"ping","x":0x10}',
}

GOOD_HEADERS = {
    "blanks around": b' \t\r\n{ "cmd" : "ping" } \n',
    "an escaped key": b'{"\\u0063md":"ping"}',
    "arrays 32 deep": nested(32),
    "objects 32 deep": b'{"cmd":"ping","x":' + b'{"x":' * 30 + b"{}" + b"}" * 31,
    "the same key in two objects": b'{"cmd":"ping","x":{"a":1},"y":{"a":1}}',
    "the largest integer": b'{"cmd":"ping","x":18446744073709551615}',
    "the least integer": b'{"cmd":"ping","x":-9223372036854775808}',
    "a large double": b'{"cmd":"ping","x":1e308}',
    "unknown fields of every type": b'{"cmd":"ping","a":null,"b":true,"c":[1,"x"],"d":{"e":1.5},"":0}',
    "a surrogate pair": b'{"cmd":"ping","x":"\\ud83d\\ude00"}',
    "filesize outside put": b'{"cmd":"ping","filesize":100}',
    "a filesize of another type outside put": b'{"cmd":"ping","filesize":"large"}',
}

BAD_SIZES = ["-1", "1.0", "1.5", "1e2", '"5"', "null", "true", "[]", "{}", "9007199254740992",
             "18446744073709551615", "-9223372036854775808"]


def on_each_listener(test):
    """Runs the test once for each listener of its daemon."""
    @functools.wraps(test)
    def run(self):
        for listener, dialect in enumerate(self.daemon.dialects):
            with self.subTest(dialect=dialect):
                test(self, listener)
    return run


class Framing(DaemonTestCase):
    """Most tests run on both listeners: the first takes frames alone, the second text too."""

    listen = [{"dialect": "frame"}, {"dialect": "both"}]

    def expect_bad_frame(self, listener, data):
        with self.daemon.client(listener) as client:
            client.send(data)
            self.refused(client.recv_reply(), "bad_frame")
            client.expect_eof()

    @on_each_listener
    def test_the_sequence_split_at_every_byte(self, listener):
        for cut in range(1, len(SEQUENCE)):
            with self.daemon.client(listener) as client:
                client.send_in_pieces(SEQUENCE, [cut])
                self.ok(client.recv_reply())
                self.assertEqual(self.ok(client.recv_reply())[0]["id"], 7)
            self.assertEqual(self.daemon.read("split.bin"), b"0123456789")

    @on_each_listener
    def test_the_sequence_byte_by_byte(self, listener):
        client = self.client(listener)
        client.send_in_pieces(SEQUENCE, [1] * len(SEQUENCE))
        self.ok(client.recv_reply())
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], 7)

    @on_each_listener
    def test_glued_frames_with_an_incomplete_one_behind(self, listener):
        client = self.client(listener)
        get = frame({"cmd": "get", "filename": "split.bin"})
        client.send_in_pieces(SEQUENCE * 3 + get[:9], [])
        for _ in range(3):
            self.ok(client.recv_reply())
            self.assertEqual(self.ok(client.recv_reply())[0]["id"], 7)
        client.expect_silence(0.1)
        client.send(get[9:])
        self.assertEqual(self.ok(client.recv_reply())[1], b"0123456789")

    @on_each_listener
    def test_a_length_outside_the_bounds_is_a_framing_error(self, listener):
        for length in (0, -1, -2, 8192, 8193, 65536, 0x7FFFFFFF, -0x80000000):
            with self.subTest(length=length):
                self.expect_bad_frame(listener, struct.pack("<i", length))

    def test_a_length_beyond_the_maximum_is_refused_before_its_header_comes(self):
        client = self.client()
        client.send(struct.pack("<i", 8192))
        self.refused(client.recv_reply(), "bad_frame")

    @on_each_listener
    def test_a_header_of_exactly_the_maximum_is_taken(self, listener):
        for size in (8191, 8190):
            start = b'{"cmd":"ping","x":"'
            header = start + b"a" * (size - len(start) - 2) + b'"}'
            client = self.client(listener)
            self.ok(client.request(header))
            self.still_works(client)

    @on_each_listener
    def test_a_broken_header_is_answered_then_closed(self, listener):
        for name, header in BAD_HEADERS.items():
            with self.subTest(name):
                self.expect_bad_frame(listener, frame(header))

    @on_each_listener
    def test_a_valid_header_is_taken(self, listener):
        client = self.client(listener)
        for name, header in GOOD_HEADERS.items():
            with self.subTest(name):
                self.ok(client.request(header))

    def test_a_size_that_is_no_such_integer_is_a_framing_error(self):
        for size in BAD_SIZES:
            for text in (f'{{"cmd":"ping","data_size":{size}}}',
                         f'{{"cmd":"put","filename":"a","data_size":{size}}}',
                         f'{{"cmd":"put","filename":"a","filesize":{size}}}'):
                with self.subTest(text):
                    self.expect_bad_frame(0, frame(text.encode()))
        self.assertNotIn("a", self.daemon.files())

    def test_two_sizes_of_a_put_that_disagree_are_a_framing_error(self):
        for sizes in ({"data_size": 5, "filesize": 6}, {"data_size": 6, "filesize": 5},
                      {"offset": 3, "filesize": 8}, {"offset": 0}):
            with self.subTest(sizes=sizes):
                self.expect_bad_frame(0, frame({"cmd": "put", "filename": "two", **sizes}) + b"12345678")
        self.assertNotIn("two", self.daemon.files())

    def test_two_sizes_of_a_put_that_agree_are_taken(self):
        client = self.client()
        self.ok(client.request({"cmd": "put", "filename": "agree", "data_size": 3, "filesize": 3}, b"abc"))
        self.assertEqual(self.daemon.read("agree"), b"abc")

    def test_requests_before_a_framing_error_are_answered_first(self):
        client = self.client()
        client.send(frame(PING, id=1) + frame(PING, id=2) + frame(b"[]"))
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], 1)
        self.assertEqual(self.ok(client.recv_reply())[0]["id"], 2)
        self.refused(client.recv_reply(), "bad_frame")
        client.expect_eof()

    @on_each_listener
    def test_nothing_behind_a_framing_error_is_done(self, listener):
        with self.daemon.client(listener) as client:
            client.send(frame(b"{}}") + frame({"cmd": "put", "filename": "behind"}, b"x") + frame(PING))
            self.refused(client.recv_reply(), "bad_frame")
            client.expect_eof()
        self.assertNotIn("behind", self.daemon.files())

    @on_each_listener
    def test_a_peer_that_goes_on_sending_still_reads_the_error_reply(self, listener):
        with self.daemon.client(listener) as client:
            client.send(frame(b"{"))
            client.send_what_goes(b"garbage " * 65536)
            self.refused(client.recv_reply(), "bad_frame")
            client.expect_closed()

    def test_the_connection_is_closed_soon_though_the_peer_keeps_its_side_open(self):
        client = self.client()
        client.send(frame(b"{"))
        self.refused(client.recv_reply(), "bad_frame")
        client.expect_eof()
        # It discards for 2 s, then closes: what is sent from then on meets a reset.
        wait_until(lambda: self.meets_reset(client), what="the daemon's close")

    @staticmethod
    def meets_reset(client):
        try:
            client.send(b"x")
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False


class LargerHeaders(DaemonTestCase):
    server = {"max_header": 65536}
    listen = {"dialect": "frame"}

    def test_max_header_may_be_larger_where_there_is_no_text(self):
        client = self.client()
        start = b'{"cmd":"ping","x":"'
        self.ok(client.request(start + b"a" * (65536 - len(start) - 2) + b'"}'))
        client.send(struct.pack("<i", 65537))
        self.refused(client.recv_reply(), "bad_frame")
        client.expect_eof()
