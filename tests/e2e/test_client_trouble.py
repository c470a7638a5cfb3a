"""ftpc in trouble: wrong usage, no server, servers that break off or lie."""

import os
import shutil
import socket
import struct
import tempfile
import threading
import unittest

from ftpd_client import frame
from ftpd_harness import PATIENCE
from test_client import run_ftpc


class FakeServer:
    """Accepts, reads the first bytes of each connection, answers with fixed bytes and closes."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(PATIENCE)
                try:
                    peer.recv(65536)
                    peer.sendall(self.answer)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(65536):
                        pass
                except OSError:
                    pass


OK_GET = {"ok": True, "filename": "f", "filesize": 10, "mode": 420, "mtime": 1.0}
LIES = {
    "nothing": b"",
    "half a length": b"\x10\0",
    "half a header": struct.pack("<i", 100) + b'{"ok":',
    "a length of 0": struct.pack("<i", 0),
    "a negative length": struct.pack("<i", -1),
    "a huge length": struct.pack("<i", 0x7FFFFFFF) + b"x" * 1000,
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no JSON": frame(b"hello there"),
    "no object": frame(b"[1,2]"),
    "no ok": frame(b"{}"),
    "ok of another type": frame(b'{"ok":"yes","data_size":0}'),
    "a size that is none": frame(b'{"ok":true,"data_size":-5}'),
    "a size of another type": frame(b'{"ok":true,"data_size":"5"}'),
    "a body cut off": frame({**OK_GET, "data_size": 10}) + b"12345",
    "a huge body cut off": frame({**OK_GET, "data_size": 2**53 - 1}) + b"12345",
    "a banner": b"SSH-2.0-OpenSSH\r\n",
}


class Trouble(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="ftpc-")
        self.addCleanup(shutil.rmtree, self.directory, True)

    def ftpc(self, address, *arguments, **options):
        return run_ftpc(address, *arguments, cwd=self.directory, **options)

    def test_wrong_usage(self):
        for arguments in ((), ("nonsense",), ("put",), ("get",), ("get", "a", "b", "c"), ("exec",), ("stat",),
                          ("--no-such-option", "ping"), ("ping", "--no-such-option"), ("exec", "-s", "a", "--", "b"),
                          ("put", "-"), ("exec", "--env", "A", "-s", "true"), ("--dialect", "morse", "ping")):
            with self.subTest(arguments=arguments):
                done = self.ftpc("127.0.0.1:1", *arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertTrue(done.stderr.startswith(b"ftpc: "), done.stderr)
                self.assertEqual(done.stdout, b"")

    def test_a_wrong_address_is_wrong_usage_or_no_connection(self):
        for address in ("nonsense", "127.0.0.1:99999", "[::1"):
            self.assertIn(self.ftpc(address, "ping").returncode, (2, 255))

    def test_version_and_help(self):
        for option in ("--version", "--help"):
            done = self.ftpc(None, option)
            self.assertEqual(done.returncode, 0)
            self.assertIn(b"ftpc", done.stdout)
        for verb in ("put", "get", "ls", "stat", "exec", "ping", "hello", "raw"):
            self.assertEqual(self.ftpc(None, verb, "--help").returncode, 0)

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
        for arguments in (("ping",), ("get", "f", "-"), ("exec", "-s", "true"), ("raw",), ("hello",)):
            done = self.ftpc(address, *arguments)
            self.assertEqual(done.returncode, 255, (arguments, done.stderr))
            self.assertIn(b"ftpc: ", done.stderr)
        self.assertEqual(self.ftpc(f"unix:{self.directory}/none", "ping").returncode, 255)

    def test_a_server_that_breaks_off_or_lies(self):
        for name, answer in LIES.items():
            with self.subTest(name), FakeServer(answer) as server:
                done = self.ftpc(server.address, "get", "f", "local")
                self.assertEqual(done.returncode, 255, done.stderr)
                self.assertIn(b"ftpc: ", done.stderr)
                self.assertFalse(os.path.exists(os.path.join(self.directory, "local")))
                for arguments in (("ping",), ("exec", "-s", "true"), ("ls",), ("stat", "f")):
                    done = self.ftpc(server.address, *arguments)
                    self.assertEqual(done.returncode, 255, (arguments, done.stdout, done.stderr))

    def test_a_refusal_before_the_whole_file_was_sent(self):
        refusal = frame({"ok": False, "error": "no_space", "message": "no room", "data_size": 0,
                         "need": 1000000, "free": 5, "retry": True})
        with open(os.path.join(self.directory, "a.bin"), "wb") as file:
            file.truncate(50 << 20)
        with FakeServer(refusal) as server:
            done = self.ftpc(server.address, "put", "a.bin")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: put a\.bin: no_space: ")

    def test_an_unknown_error_code_is_still_a_refusal(self):
        with FakeServer(frame({"ok": False, "error": "brand_new", "message": "odd", "data_size": 0})) as server:
            done = self.ftpc(server.address, "get", "f", "-")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(b"brand_new", done.stderr)

    def test_a_message_with_control_characters_is_made_harmless(self):
        reply = frame({"ok": False, "error": "denied", "message": "\x1b]0;owned\x07\n\rftpc: done", "data_size": 0})
        with FakeServer(reply) as server:
            done = self.ftpc(server.address, "get", "f", "-")
            self.assertEqual(done.returncode, 1)
            self.assertNotIn(b"\x1b", done.stderr)
            self.assertNotIn(b"\r", done.stderr)
            self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_a_busy_server_is_told(self):
        reply = frame({"ok": False, "error": "busy", "message": "too many", "data_size": 0, "retry_after_ms": 5})
        with FakeServer(reply) as server:
            done = self.ftpc(server.address, "ping")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(b"busy", done.stderr)
