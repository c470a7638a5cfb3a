"""ftpc get --follow: a file as it grows."""

import os
import select
import signal
import subprocess
import time

from ftpc_peers import ScriptedServer
from ftpd_harness import PATIENCE, build_path
from test_client import FtpcTestCase, run_ftpc


class Following:
    """ftpc get --follow, running. A context manager."""

    def __init__(self, address, remote):
        self.process = subprocess.Popen([build_path("ftpc"), "-a", address, "get", "--follow", remote],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.process.kill()
        self.process.communicate()

    def read(self, size):
        """Exactly `size` bytes of what it prints."""
        data, deadline = b"", time.monotonic() + PATIENCE
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"it printed {data!r} and no more")
            piece = os.read(self.process.stdout.fileno(), size - len(data))
            if not piece:
                raise AssertionError(f"it ended after {data!r}: {self.process.stderr.read()!r}")
            data += piece
        return data

    def end(self):
        """(status, what else it printed, messages)."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


class Follow(FtpcTestCase):
    def append(self, name, content):
        with open(self.daemon.path(name), "ab") as file:
            file.write(content)

    def test_what_is_added_is_printed_until_the_file_is_removed(self):
        self.daemon.write("log", b"first\n")
        with Following(self.daemon.address_text(), "log") as following:
            self.assertEqual(following.read(6), b"first\n")
            for number in range(3):
                line = b"line %d\n" % number
                self.append("log", line)
                self.assertEqual(following.read(len(line)), line)
            os.unlink(self.daemon.path("log"))
            self.assertEqual(following.end(), (0, b"", b""))

    def test_a_truncated_file_starts_again_with_a_note(self):
        self.daemon.write("cut", b"a long first line\n")
        with Following(self.daemon.address_text(), "cut") as following:
            following.read(18)
            self.daemon.write("cut", b"new\n")
            self.assertEqual(following.read(4), b"new\n")
            os.unlink(self.daemon.path("cut"))
            status, out, err = following.end()
            self.assertEqual((status, out), (0, b""))
            self.assertEqual(err, b"ftpc: get cut: file truncated\n")

    def test_an_interrupt_ends_it(self):
        self.daemon.write("endless", b"x")
        with Following(self.daemon.address_text(), "endless") as following:
            following.read(1)
            following.process.send_signal(signal.SIGINT)
            self.assertEqual(following.end(), (130, b"", b""))

    def test_a_missing_file(self):
        done = self.ftpc("get", "--follow", "missing", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: get missing: not_found: ")


class FollowScripted(FtpcTestCase):
    def test_an_interrupt_is_told_to_the_server_and_its_last_words_are_printed(self):
        seen = []

        def script(wire, _number):
            seen.append(wire.read()[0])
            wire.write({"ok": True, "more": True}, b"a")
            seen.append(wire.read()[0])
            wire.write({"ok": True, "more": True}, b"b")
            wire.write({"ok": True})
        with ScriptedServer(script) as server, Following(server.address, "f") as following:
            following.read(1)
            following.process.send_signal(signal.SIGINT)
            self.assertEqual(following.end(), (130, b"b", b""))
        self.assertEqual((seen[0]["follow"], seen[0]["more"]), (True, True))
        self.assertEqual(seen[1], {"abort": True, "data_size": 0})

    def test_a_connection_that_breaks(self):
        def script(wire, _number):
            wire.read()
            wire.write({"ok": True, "more": True}, b"a")
        with ScriptedServer(script) as server:
            done = run_ftpc(server.address, "get", "--follow", "f", cwd=self.directory)
        self.assertEqual((done.returncode, done.stdout), (255, b"a"), done.stderr)
