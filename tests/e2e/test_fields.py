"""Header fields: unknown ones, wrong types, missing ones, and the id that every reply echoes."""

import json

from ftpd_harness import DaemonTestCase, frame

WRONG_TYPES = [
    {"cmd": 5},
    {"cmd": None},
    {"cmd": ["ping"]},
    {},
    {"filename": "a"},
    {"cmd": "get"},
    {"cmd": "get", "filename": 5},
    {"cmd": "get", "filename": None},
    {"cmd": "get", "filename": {"a": 1}},
    {"cmd": "get", "filename": "f", "offset": "0"},
    {"cmd": "get", "filename": "f", "offset": 1.5},
    {"cmd": "get", "filename": "f", "offset": -1},
    {"cmd": "get", "filename": "f", "length": "all"},
    {"cmd": "get", "filename": "f", "length": -1},
    {"cmd": "stat"},
    {"cmd": "stat", "filename": True},
    {"cmd": "ls", "filename": "."} | {"recursive": "yes"},
    {"cmd": "ls"},
    {"cmd": "put"},
    {"cmd": "put", "filename": 1},
    {"cmd": "put", "filename": "p", "mode": "0644"},
    {"cmd": "put", "filename": "p", "mode": 6.44},
    {"cmd": "put", "filename": "p", "mode": -1},
    {"cmd": "put", "filename": "p", "mode": 0o1000},
    {"cmd": "put", "filename": "p", "mtime": "now"},
    {"cmd": "put", "filename": "p", "mtime": 1e300},
    {"cmd": "put", "filename": "p", "overwrite": True},
    {"cmd": "put", "filename": "p", "overwrite": "maybe"},
    {"cmd": "put", "filename": "p", "parents": "yes"},
    {"cmd": "put", "filename": "p", "parents": 1},
    {"cmd": "put", "filename": "p", "md5": 5},
    {"cmd": "put", "filename": "p", "sha256": "5"},
    {"cmd": "put", "filename": "p", "digest": True},
    {"cmd": "put", "filename": "p", "digest": "crc32"},
    {"cmd": "put", "filename": "p", "upload": 7},
    {"cmd": "put", "filename": "p", "wait": "yes"},
    {"cmd": "get", "filename": "f", "digest": 5},
    {"cmd": "get", "filename": "f", "digest": "crc32"},
    {"cmd": "get", "filename": "f", "digest": "md5", "trailer": 1},
    {"cmd": "get", "filename": "f", "follow": "yes"},
    {"cmd": "stat", "upload": 5},
    {"cmd": "stat", "upload": "u", "digest": 5},
    {"cmd": "sum", "filename": "f"},
    {"cmd": "sum", "digest": "md5"},
    {"cmd": "sum", "filename": "f", "digest": 5},
    {"cmd": "rm"},
    {"cmd": "rm", "filename": "f", "recursive": 1},
    {"cmd": "mv", "filename": "f"},
    {"cmd": "mv", "to": "g"},
    {"cmd": "mv", "filename": "f", "to": 5},
    {"cmd": "mv", "filename": "f", "to": "g", "overwrite": True},
    {"cmd": "mkdir"},
    {"cmd": "mkdir", "filename": "d", "parents": "yes"},
    {"cmd": "rmdir"},
    {"cmd": "rmdir", "filename": 5},
    {"cmd": "exec"},
    {"cmd": "exec", "command": 1},
    {"cmd": "exec", "command": "true", "argv": ["true"]},
    {"cmd": "exec", "argv": "true"},
    {"cmd": "exec", "argv": []},
    {"cmd": "exec", "argv": ["echo", 1]},
    {"cmd": "exec", "command": "true", "cwd": 1},
    {"cmd": "exec", "command": "true", "env": ["A=1"]},
    {"cmd": "exec", "command": "true", "env": {"A": 1}},
    {"cmd": "exec", "command": "true", "timeout_ms": "5"},
    {"cmd": "exec", "command": "true", "timeout_ms": -5},
    {"cmd": "exec", "command": "true", "merge": "yes"},
    {"cmd": "exec", "command": "true", "on_eof": "wait"},
    {"cmd": "exec", "command": "true", "on_eof": 1},
    {"cmd": "exec", "command": "a\0b"},
    {"cmd": "exec", "argv": ["echo", "a\0b"]},
    {"cmd": "exec", "command": "true", "env": {"A": "a\0b"}},
    {"cmd": "exec", "command": "true", "env": {"A=B": "1"}},
    {"cmd": "exec", "command": "true", "env": {"": "1"}},
    {"cmd": "ping", "more": "yes"},
    {"cmd": "ping", "close": "yes"},
]


class Fields(DaemonTestCase):
    role = {"allow": ["read", "write", "delete", "exec", "shell"]}

    def setUp(self):
        super().setUp()
        self.daemon.write("f", b"content")

    def test_a_wrong_or_missing_field_is_refused_and_the_connection_goes_on(self):
        client = self.client()
        for header in WRONG_TYPES:
            with self.subTest(header=header):
                client.send_frame(header)
                client.send_frame({"cmd": "ping", "id": "next"})
                self.refused(client.recv_reply(), "bad_request")
                self.assertEqual(self.ok(client.recv_reply())[0].get("id"), "next")
        self.assertFalse({"p", "g"} & set(self.daemon.files()))
        self.assertEqual(self.daemon.read("f"), b"content")

    def test_the_body_of_a_refused_request_is_read_and_discarded(self):
        client = self.client()
        body = frame({"cmd": "put", "filename": "hidden"}, b"x") * 100
        for header in ({"cmd": "put", "filename": 5}, {"cmd": 1}, {"cmd": "nonsense"},
                       {"cmd": "exec", "argv": []}, {"cmd": "get", "filename": "f", "offset": "x"}):
            with self.subTest(header=header):
                self.assertFalse(client.request(header, body)[0]["ok"])
                self.still_works(client)
        self.assertNotIn("hidden", self.daemon.files())

    def test_an_unknown_command_is_told_and_the_connection_goes_on(self):
        client = self.client()
        for name in ("nonsense", "", "PING", "ping ", "put\u0000", "x" * 5000):
            with self.subTest(name=name[:20]):
                self.refused(client.request({"cmd": name}, b"some body"), "unknown_command")
                self.still_works(client)

    def test_unknown_fields_are_ignored(self):
        client = self.client()
        self.ok(client.request({"cmd": "put", "filename": "u", "colour": "red", "x": {"y": [1]}}, b"abc"))
        self.assertEqual(self.daemon.read("u"), b"abc")

    def test_a_body_where_none_is_wanted_is_discarded(self):
        client = self.client()
        self.ok(client.request({"cmd": "ping"}, b"x" * 100000))
        self.ok(client.request({"cmd": "get", "filename": "f"}, b"x" * 100000))
        self.ok(client.request({"cmd": "df"}, b"x" * 100000))
        self.ok(client.request({"cmd": "mkdir", "filename": "from-a-body"}, b"x" * 100000))
        self.still_works(client)

    def test_the_id_is_echoed_with_its_type(self):
        client = self.client()
        for value in (0, 1, -1, 2**63 - 1, -2**63, 2**64 - 1, "", "a", "a" * 64, "\u00e9" * 32, '"\\\n'):
            for header in ({"cmd": "ping"}, {"cmd": "get", "filename": "f"}, {"cmd": "get", "filename": "gone"},
                           {"cmd": "nonsense"}, {"cmd": "get"}):
                with self.subTest(id=value, header=header):
                    echoed = client.request({**header, "id": value})[0].get("id")
                    self.assertEqual((echoed, type(echoed)), (value, type(value)))

    def test_no_id_comes_back_where_none_was_sent(self):
        client = self.client()
        self.ok(client.request({"cmd": "ping", "id": 5}))
        self.assertNotIn("id", client.request({"cmd": "ping"})[0])

    def test_an_id_of_another_kind_is_refused(self):
        client = self.client()
        for value in ("a" * 65, "\u00e9" * 33, 1.5, None, True, [1], {"a": 1}):
            with self.subTest(id=value):
                self.refused(client.request({"cmd": "ping", "id": value}), "bad_request")
                self.still_works(client)


class Greetings(DaemonTestCase):
    role = {"allow": ["read"]}

    def test_hello_tells_who_and_what(self):
        header, _ = self.ok(self.request({"cmd": "hello"}))
        self.assertEqual(header["protocol"], 1)
        self.assertIsInstance(header["server"], str)
        self.assertIsInstance(header["limits"], dict)
        self.assertEqual(header["role"], "local")
        commands = set(header["commands"])
        self.assertLessEqual({"ping", "hello", "quit", "get", "ls", "stat", "sum", "df"}, commands)
        self.assertFalse({"put", "exec", "stats", "rm", "mv", "mkdir", "rmdir"} & commands)

    def test_what_the_role_does_not_allow_is_denied_and_the_connection_goes_on(self):
        client = self.client()
        for header in ({"cmd": "put", "filename": "x"}, {"cmd": "exec", "command": "true"},
                       {"cmd": "exec", "argv": ["true"]}, {"cmd": "stats"},
                       {"cmd": "rm", "filename": "x"}, {"cmd": "mkdir", "filename": "x"}):
            with self.subTest(header=header):
                self.refused(client.request(header, b"body"), "denied")
                self.still_works(client)
        self.assertEqual(self.daemon.files(), {})


class WriteOnly(DaemonTestCase):
    role = {"allow": ["write"]}

    def test_a_role_that_may_only_write_reads_nothing(self):
        client = self.client()
        self.ok(client.request({"cmd": "put", "filename": "x"}, b"abc"))
        for header in ({"cmd": "get", "filename": "x"}, {"cmd": "stat", "filename": "x"},
                       {"cmd": "ls", "filename": "."}):
            self.refused(client.request(header), "denied")


class SingleCommands(DaemonTestCase):
    role = {"allow": ["get", "stats"]}

    def test_single_commands_may_be_allowed(self):
        self.daemon.write("x", b"abc")
        client = self.client()
        self.ok(client.request({"cmd": "get", "filename": "x"}))
        self.refused(client.request({"cmd": "stat", "filename": "x"}), "denied")
        self.ok(client.request({"cmd": "stats"}))


class Admin(DaemonTestCase):
    role = {"allow": ["admin"]}

    def test_stats_are_one_json_object(self):
        _, body = self.ok(self.request({"cmd": "stats"}))
        self.assertIsInstance(json.loads(body), dict)
