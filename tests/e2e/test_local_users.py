"""Commands over loopback TCP: from the daemon's own user and root alone, unless the settings say else."""

import json
import os
import signal
import subprocess
import sys
import unittest

from ftpd_harness import PATIENCE, Daemon, ReplyAssertions, frame, wait_until
from ftpd_support import stop_process

OTHER = 65534

# A client that needs nothing but the interpreter: it runs as another user, who may not read our files.
STRANGER = r"""
import json, socket, struct, sys
def request(header, body=b""):
    text = json.dumps(dict(header, data_size=len(body))).encode()
    sock.sendall(struct.pack("<i", len(text)) + text + body)
    def exact(n):
        data = b""
        while len(data) < n:
            piece = sock.recv(n - len(data))
            if not piece: raise SystemExit("closed")
            data += piece
        return data
    reply = json.loads(exact(struct.unpack("<i", exact(4))[0]))
    return reply, exact(reply["data_size"]).decode("latin-1")
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
results = [request(h, b.encode()) for h, b in json.loads(sys.argv[2])]
sock.close()
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
sock.sendall(b"touch by-text; echo ran\n")
sock.shutdown(socket.SHUT_WR)
text = b""
while True:
    piece = sock.recv(4096)
    if not piece: break
    text += piece
print(json.dumps([results, text.decode("latin-1")]))
"""

REQUESTS = [({"cmd": "put", "filename": "f"}, "content"), ({"cmd": "get", "filename": "f"}, ""),
            ({"cmd": "exec", "command": "touch by-frame; echo ran"}, ""), ({"cmd": "exec", "argv": ["echo", "ran"]}, ""),
            ({"cmd": "ping"}, "")]


def run_as_other(*command):
    return subprocess.run(command, user=OTHER, group=OTHER, extra_groups=[], cwd="/", capture_output=True, text=True,
                          timeout=PATIENCE, check=False)


def interpreter_for_all():
    """A Python that any user may run: ours may lie in somebody's home."""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            if run_as_other(python, "-I", "-c", "import json, socket").returncode == 0:
                return python
        except OSError:
            pass
    raise unittest.SkipTest("no Python that another user may run")


@unittest.skipUnless(os.geteuid() == 0, "needs root, to be another user")
class LocalUsers(ReplyAssertions):
    def as_stranger(self, daemon):
        done = run_as_other(interpreter_for_all(), "-I", "-c", STRANGER, str(daemon.port), json.dumps(REQUESTS))
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_another_user_may_use_files_but_no_commands(self):
        with Daemon() as daemon:
            replies, text = self.as_stranger(daemon)
            self.ok(replies[0])
            self.assertEqual(self.ok(replies[1])[1], "content")
            self.refused(replies[2], "denied")
            self.refused(replies[3], "denied")
            self.ok(replies[4])
            self.assertRegex(text, r"\Aftpd: denied: [^\n]+\n\Z")
            self.assertEqual(daemon.files(), {"f": b"content"})

    def test_any_lets_everybody_run_commands(self):
        with Daemon(listen={"local_users": "any"}) as daemon:
            replies, text = self.as_stranger(daemon)
            for reply in replies:
                self.ok(reply)
            self.assertEqual(text, "ran\n")
            self.assertEqual(set(daemon.files()), {"f", "by-frame", "by-text"})

    def test_hello_does_not_offer_what_would_be_denied(self):
        with Daemon() as daemon, daemon.client() as client:
            self.assertIn("exec", self.ok(client.request({"cmd": "hello"}))[0]["commands"])


class GoneSockets(ReplyAssertions):
    def test_a_client_that_already_closed_its_socket_is_refused(self):
        """The kernel tells user 0 for a socket that nobody holds any more: that must not pass for root."""
        with Daemon() as daemon:
            with daemon.client() as client:  # the daemon is up and has accepted once
                self.still_works(client)
            stop_process(daemon.pid)
            try:
                for data in (b"touch by-text\n", frame({"cmd": "exec", "command": "touch by-frame"}),
                             frame({"cmd": "exec", "argv": ["touch", "by-argv"]})):
                    client = daemon.client()
                    client.send(data)
                    client.flush()
                    client.close()
            finally:
                os.kill(daemon.pid, signal.SIGCONT)
            with daemon.client() as client:
                self.ok(client.request({"cmd": "exec", "command": "sleep 0.5"}))
            daemon.stop()  # drains: whatever it began is finished
            self.assertEqual(daemon.files(), {})

    def test_files_of_such_a_client_are_stored(self):
        with Daemon() as daemon:
            with daemon.client() as client:
                self.still_works(client)
            stop_process(daemon.pid)
            try:
                client = daemon.client()
                client.send_frame({"cmd": "put", "filename": "f"}, b"content")
                client.flush()
                client.close()
            finally:
                os.kill(daemon.pid, signal.SIGCONT)
            with daemon.client() as client:
                self.still_works(client)
            wait_until(lambda: daemon.files(), what="the file")
            self.assertEqual(daemon.files(), {"f": b"content"})
