"""What the protocol knows and this daemon does not do yet is refused openly, never half done."""

from ftpd_harness import DaemonTestCase

LATER_PUT = [{"md5": "0" * 32}, {"sha256": "0" * 64}, {"digest": "md5"}, {"digest": "sha256"}, {"upload": "u1"},
             {"upload": "u1", "offset": 0, "data_size": 7}, {"wait": True}]
LATER_GET = [{"digest": "md5"}, {"digest": "sha256", "trailer": True}, {"follow": True}]
LATER_EXEC = [{"command": "touch ran", "pty": {"cols": 80, "rows": 24, "term": "xterm"}},
              {"name": "flash", "args": []}]
LATER_COMMANDS = [{"cmd": "auth", "user": "alice", "token": "x"}, {"cmd": "df"},
                  {"cmd": "sum", "filename": "f", "digest": "md5"}, {"cmd": "mkdir", "filename": "made"},
                  {"cmd": "mv", "filename": "f", "to": "g"}, {"cmd": "rm", "filename": "f"},
                  {"cmd": "rmdir", "filename": "d"}]


class NotYet(DaemonTestCase):
    role = {"allow": ["read", "write", "delete", "exec", "shell", "admin"]}

    def setUp(self):
        super().setUp()
        self.daemon.write("f", b"content")

    def test_later_fields_are_unsupported_and_nothing_is_done(self):
        client = self.client()
        for command, later in (("put", LATER_PUT), ("get", LATER_GET), ("exec", LATER_EXEC)):
            for fields in later:
                with self.subTest(command=command, fields=fields):
                    target = {} if command == "exec" else {"filename": "f" if command == "get" else "p"}
                    body = b"a body." if command == "put" else b""
                    self.refused(client.request({"cmd": command, **target, **fields}, body), "unsupported")
                    self.still_works(client)
        self.assertEqual(set(self.daemon.files()), {"f"})

    def test_later_fields_of_continuing_frames_are_unsupported(self):
        for fields in ({"signal": "INT"}, {"resize": [80, 24]}):
            with self.subTest(fields=fields), self.daemon.client() as client:
                client.send_frame({"cmd": "exec", "command": "exec sleep 1", "more": True})
                client.send_frame({"more": True, **fields})
                client.send_frame({})
                self.refused(client.recv_reply(), "unsupported")
                self.still_works(client)

    def test_later_fields_that_ask_for_nothing_are_harmless(self):
        client = self.client()
        self.ok(client.request({"cmd": "put", "filename": "f", "wait": False}, b"content"))
        self.ok(client.request({"cmd": "get", "filename": "f", "follow": False}))
        self.ok(client.request({"cmd": "exec", "command": "true", "stream": False}))

    def test_later_commands_are_refused(self):
        client = self.client()
        for header in LATER_COMMANDS:
            with self.subTest(header=header):
                header, _ = client.request(header)
                self.assertIn(header.get("error"), ("unsupported", "unknown_command"), header)
                self.still_works(client)
        self.assertEqual(self.daemon.files(), {"f": b"content"})
