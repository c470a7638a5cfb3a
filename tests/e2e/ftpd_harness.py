"""What every end-to-end test stands on: a daemon of its own and the test case that keeps one.

The client's side is in ftpd_client.py, helpers for processes and trees in ftpd_support.py.
"""

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

SLOW = float(os.environ.get("FTPD_TEST_SLOW", "1"))
PATIENCE = 20 * SLOW  # seconds that anything at all may take before a test gives up

from ftpd_client import Client, frame  # noqa: E402,F401  (for the tests; needs SLOW)
from ftpd_support import children, is_gone, tree, wait_gone, wait_until  # noqa: E402,F401

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))

SANITIZER_REPORT = re.compile(
    r"ERROR: AddressSanitizer|ERROR: LeakSanitizer|WARNING: ThreadSanitizer|runtime error:|"
    r"terminate called|[Aa]ssertion .* failed")
LISTENING = re.compile(r"listening address=(\S+) dialect=(\S+)")

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_daemons = []  # every Daemon that may still run, or stopped during the present test
_directories = []  # of all of them, ever


def build_path(name):
    return os.path.join(os.environ.get("FTPD_BUILD", os.path.join(TOP, "build")), name)


def raise_file_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def recent_logs():
    """The ends of the logs of all daemons of the present test, for a failure's report."""
    parts = []
    for daemon in _daemons:
        lines = daemon.log_lines()[-40:]
        parts.append(f"--- log of ftpd {daemon.pid}, last lines:\n" + "\n".join(lines))
    return "\n".join(parts)


def forget_stopped_daemons():
    _daemons[:] = [daemon for daemon in _daemons if daemon.running()]


def adopt_orphans():
    """Commands of a daemon that crashed become children of this process, which ends them at its end."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_all_daemons():
    for daemon in list(_daemons):
        daemon.kill()
    while orphans := children(os.getpid()):
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    for directory in _directories:
        shutil.rmtree(directory, ignore_errors=True)


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + " }"
    return json.dumps(str(value), ensure_ascii=False)


def toml_table(title, settings):
    return title + "\n" + "".join(f"{k} = {toml_value(v)}\n" for k, v in settings.items()) + "\n"


def make_toml(server, listeners, roles, commands):
    text = toml_table("[server]", server)
    for listener in listeners:
        text += toml_table("[[listen]]", listener)
    for name, role in roles.items():
        text += toml_table(f"[role.{name}]", role)
    for name, command in commands.items():
        text += toml_table(f"[command.{name}]", command)
    return text


class Daemon:
    """One ftpd with files of its own. A context manager; leaving it asserts an orderly end.

    server, role: settings over the tests' defaults. listen: one table or a list of them. args: the
    command line in place of a settings file.
    """

    DEFAULT_SERVER = {"drain_timeout": "10s"}
    DEFAULT_ROLE = {"allow": ["read", "write", "exec", "shell"], "durability": "none", "kill_grace": "1s"}

    def __init__(self, *, server=None, listen=None, role=None, roles=None, root=None, args=None,
                 commands=None, env=None, umask=0o022, nofile=None, expect_listening=True):
        self.directory = tempfile.mkdtemp(prefix="ftpd-e2e-")
        _directories.append(self.directory)
        self.root = root or os.path.join(self.directory, "root")
        os.makedirs(self.root, mode=0o755, exist_ok=True)
        listeners = [listen or {}] if not isinstance(listen, list) else listen
        listeners = [{"address": "127.0.0.1:0", **listener} for listener in listeners]
        all_roles = {"local": {"root": self.root, **self.DEFAULT_ROLE, **(role or {})}, **(roles or {})}
        self.config = os.path.join(self.directory, "ftpd.toml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(make_toml({**self.DEFAULT_SERVER, **(server or {})}, listeners, all_roles, commands or {}))
        self.args = ["-c", self.config] if args is None else list(args)
        self.listener_count = len(listeners) if args is None else max(1, self.args.count("-l"))
        self.env = {**os.environ, "FTPD_E2E_SECRET": "not for commands", **(env or {})}
        self.umask = umask
        self.nofile = nofile
        self.expect_listening = expect_listening
        self.process = None
        self.pid = 0
        self.addresses = []  # (host, port), or a Unix socket's path, one for each listener
        self.dialects = []
        self._lines = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = None

    # --- life -------------------------------------------------------------------------------------
    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
        finally:
            self.kill()
            self.remove_files()

    def start(self):
        self._lines, self._ended, self.addresses, self.dialects = [], False, [], []
        nofile = self.nofile

        def prepare():  # in the child: dies with us, whatever happens to this process
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if nofile is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

        self.process = subprocess.Popen(
            [build_path("ftpd"), *self.args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env=self.env, cwd=self.directory, umask=self.umask, preexec_fn=prepare)
        self.pid = self.process.pid
        if self not in _daemons:
            _daemons.append(self)
        self._reader = threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        if self.expect_listening:
            try:
                self._wait_listening()
            except BaseException:
                self.kill()
                raise
        return self

    def _wait_listening(self):
        self.wait_log(LISTENING, count=self.listener_count)
        for line in self.log_lines():
            match = LISTENING.search(line)
            if match:
                self.addresses.append(parse_address(match[1]))
                self.dialects.append(match[2])

    def _read_log(self, pipe):
        for raw in pipe:
            with self._changed:
                self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait_exit(self):
        """Waits for the end; the exit status (negative: the signal)."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        if self._reader.is_alive():
            raise AssertionError("somebody holds the log of a daemon that has ended")
        self.process.stderr.close()
        return status

    def stop(self):
        """SIGTERM, then asserts that the end was orderly."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.terminate()
        try:
            status = self.wait_exit()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"ftpd does not stop\n{self.log_tail()}") from None
        self.process = None
        self.check_log()
        if status != 0:
            raise AssertionError(f"ftpd ended with status {status}\n{self.log_tail()}")

    def kill(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
        self.wait_exit()
        self.process = None

    def remove_files(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- log --------------------------------------------------------------------------------------
    def log_lines(self):
        with self._changed:
            return list(self._lines)

    def log_tail(self):
        return "\n".join(self.log_lines()[-60:])

    def wait_log(self, pattern, count=1, seconds=None):
        """Waits until `pattern` has been logged `count` times; the last match."""
        pattern = re.compile(pattern)
        deadline = time.monotonic() + (seconds or PATIENCE)
        with self._changed:
            while True:
                found = [match for match in map(pattern.search, self._lines) if match]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    log = "\n".join(self._lines[-60:])
                    raise AssertionError(f"not logged: {pattern.pattern} ({count} times); the log:\n{log}")
                self._changed.wait(left)

    def check_log(self):
        for line in self.log_lines():
            if SANITIZER_REPORT.search(line):
                raise AssertionError("a sanitizer or an assertion reports:\n" + "\n".join(self.log_lines()))

    # --- talking ----------------------------------------------------------------------------------
    def client(self, listener=0, **options):
        return Client(self.addresses[listener], **options)

    @property
    def port(self):
        return self.addresses[0][1]

    def address_text(self, listener=0):
        address = self.addresses[listener]
        return f"unix:{address}" if isinstance(address, str) else f"{address[0]}:{address[1]}"

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def write(self, name, content):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def files(self):
        """Relative path -> content of all regular files below the root, the daemon's own left out."""
        return tree(self.root)

    def sanitized(self):
        with open(f"/proc/{self.pid}/maps", encoding="utf-8", errors="replace") as maps:
            return re.search(r"lib[at]san|clang_rt", maps.read()) is not None or SLOW > 1


def parse_address(text):
    if text.startswith("unix:"):
        return text[len("unix:"):]
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


class ReplyAssertions(unittest.TestCase):
    """How tests speak about replies: (header, body) pairs."""

    def ok(self, reply):
        self.assertTrue(reply[0]["ok"], reply[0])
        return reply

    def refused(self, reply, code):
        self.assertFalse(reply[0]["ok"], reply[0])
        self.assertEqual(reply[0]["error"], code, reply[0])
        return reply

    def still_works(self, client):
        """The connection has gone on: a request behind gets its own answer."""
        header, _ = self.ok(client.request({"cmd": "ping", "id": "still-works"}))
        self.assertEqual(header["id"], "still-works")


class DaemonTestCase(ReplyAssertions):
    """One daemon for all tests of a class. A test that kills it fails; the next gets a new one."""

    server = {}
    listen = {}
    role = {}
    daemon_options = {}
    daemon = None

    @classmethod
    def start_daemon(cls):
        cls.daemon = Daemon(server=cls.server, listen=cls.listen, role=cls.role, **cls.daemon_options).start()

    @classmethod
    def setUpClass(cls):
        cls.start_daemon()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.daemon.stop()
        finally:
            cls.daemon.kill()
            cls.daemon.remove_files()

    def setUp(self):
        if not self.daemon.running():
            self.daemon.kill()
            self.daemon.remove_files()
            type(self).start_daemon()
        self.daemon.check_log()

    def tearDown(self):
        if not self.daemon.running():
            self.fail(f"the daemon died: status {self.daemon.process.poll()}")
        self.daemon.check_log()

    def client(self, listener=0, **options):
        client = self.daemon.client(listener, **options)
        self.addCleanup(client.close)
        return client

    def request(self, header, body=b""):
        """One request on a connection of its own."""
        with self.daemon.client() as client:
            return client.request(header, body)
