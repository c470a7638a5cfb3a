"""What the protocol knows and this daemon does not do yet is refused openly, never half done."""

from ftpd_harness import DaemonTestCase

LATER_EXEC = [{"command": "touch ran", "pty": {"cols": 80, "rows": 24, "term": "xterm"}}]
LATER_COMMANDS = [{"cmd": "auth", "user": "alice", "token": "x"}]


class NotYet(DaemonTestCase):
    role = {"allow": ["read", "write", "delete", "exec", "shell", "admin"]}

    def setUp(self):
        super().setUp()
        self.daemon.write("f", b"content")

    def test_later_fields_are_unsupported_and_nothing_is_done(self):
        client = self.client()
        for fields in LATER_EXEC:
            with self.subTest(fields=fields):
                self.refused(client.request({"cmd": "exec", **fields}), "unsupported")
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

    def test_later_commands_are_refused(self):
        client = self.client()
        for header in LATER_COMMANDS:
            with self.subTest(header=header):
                header, _ = client.request(header)
                self.assertIn(header.get("error"), ("unsupported", "unknown_command"), header)
                self.still_works(client)
        self.assertEqual(self.daemon.files(), {"f": b"content"})
