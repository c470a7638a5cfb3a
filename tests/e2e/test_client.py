"""ftpc: its verbs, its exit statuses, what it prints and where."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

from ftpd_harness import PATIENCE, Daemon, DaemonTestCase, build_path, wait_gone, wait_until
from ftpd_support import Fifo


def run_ftpc(address, *arguments, cwd=None, env=None, data=b""):
    """Runs ftpc to its end. `address`: for -a, or None."""
    command = [build_path("ftpc"), *(["-a", address] if address else []), *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "FTPC_ADDRESS"}
    done = subprocess.run(command, input=data, capture_output=True, cwd=cwd, env={**environment, **(env or {})},
                          timeout=PATIENCE, check=False)
    for word in (b"Sanitizer", b"runtime error:", b"terminate called"):
        if word in done.stderr:
            raise AssertionError(done.stderr.decode("utf-8", "replace"))
    return done


class FtpcTestCase(DaemonTestCase):
    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp(prefix="ftpc-")
        self.addCleanup(shutil.rmtree, self.directory, True)

    def ftpc(self, *arguments, status=0, listener=0, **options):
        done = run_ftpc(self.daemon.address_text(listener), *arguments, cwd=self.directory, **options)
        self.assertEqual(done.returncode, status, (arguments, done.stdout[-500:], done.stderr[-2000:]))
        return done

    def local(self, name, content):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def read_local(self, name):
        with open(os.path.join(self.directory, name), "rb") as file:
            return file.read()


class Transfers(FtpcTestCase):
    def test_files_of_each_size_round_trip(self):
        for size in (0, 1, 65536, (5 << 20) + 1):
            content = os.urandom(size)
            self.local("a.bin", content)
            self.ftpc("put", "a.bin")
            self.assertEqual(self.daemon.read("a.bin"), content)
            self.ftpc("get", "a.bin", "b.bin")
            self.assertEqual(self.read_local("b.bin"), content)

    def test_get_without_a_local_name_uses_the_remote_one(self):
        self.daemon.write("dir/name.txt", b"content")
        self.ftpc("get", "dir/name.txt")
        self.assertEqual(self.read_local("name.txt"), b"content")

    def test_put_sends_several_files_under_their_own_names(self):
        self.local("one", b"1")
        self.local("sub/two", b"2")
        self.ftpc("put", "one", "sub/two")
        self.assertEqual((self.daemon.read("one"), self.daemon.read("two")), (b"1", b"2"))

    def test_put_to_another_name(self):
        self.local("one", b"1")
        self.ftpc("put", "--to", "other", "one")
        self.assertEqual(self.daemon.read("other"), b"1")

    def test_standard_input_and_output(self):
        content = os.urandom(3 << 20)
        self.ftpc("put", "--to", "piped", "-", data=content)
        self.assertEqual(self.daemon.read("piped"), content)
        self.assertEqual(self.ftpc("get", "piped", "-").stdout, content)

    def test_nothing_is_said_when_all_went_well_and_nobody_watches(self):
        self.local("quiet", b"x")
        done = self.ftpc("put", "quiet")
        self.assertEqual(done.stderr, b"")
        self.assertEqual(self.ftpc("get", "quiet", "-").stderr, b"")

    def test_a_refusal_is_told_with_the_name_and_the_code(self):
        done = self.ftpc("get", "missing", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: get missing: not_found: ")
        self.assertFalse(os.path.exists(os.path.join(self.directory, "missing")))
        os.makedirs(self.daemon.path("a.dir"), exist_ok=True)
        self.local("a.dir", b"x")
        done = self.ftpc("put", "a.dir", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: put a\.dir: is_directory: ")

    def test_the_other_files_are_sent_though_one_is_refused(self):
        os.makedirs(self.daemon.path("b.dir"), exist_ok=True)
        for name in ("first", "b.dir", "last"):
            self.local(name, name.encode())
        self.ftpc("put", "first", "b.dir", "last", status=1)
        self.assertEqual((self.daemon.read("first"), self.daemon.read("last")), (b"first", b"last"))

    def test_a_local_file_that_is_not_there(self):
        done = self.ftpc("put", "no-such-file", status=1)
        self.assertIn(b"no-such-file", done.stderr)
        self.assertNotIn("no-such-file", self.daemon.files())

    def test_a_failed_get_keeps_the_local_file(self):
        self.local("keep", b"mine")
        self.ftpc("get", "missing", "keep", status=1)
        self.assertEqual(self.read_local("keep"), b"mine")

    def test_one_json_object_for_each_result(self):
        self.local("one", b"1")
        self.local("two", b"22")
        lines = [json.loads(line) for line in self.ftpc("--json", "put", "one", "two").stdout.splitlines()]
        self.assertEqual(len(lines), 2)
        self.assertTrue(all(line["ok"] for line in lines), lines)
        done = self.ftpc("--json", "get", "missing", "-", status=1)
        self.assertEqual(json.loads(done.stdout)["error"], "not_found")


class Questions(FtpcTestCase):
    def setUp(self):
        super().setUp()
        self.daemon.write("dir/file", b"12345")
        self.daemon.write("b", b"")
        self.daemon.write("a", b"")

    def test_ls(self):
        self.assertEqual(self.ftpc("ls").stdout.split(), [b"a", b"b", b"dir"])
        self.assertEqual(self.ftpc("ls", "dir").stdout.split(), [b"file"])
        self.assertIn(b"5", self.ftpc("ls", "-l", "dir").stdout)
        self.assertEqual(self.ftpc("ls", "-r").stdout.split(), [b"a", b"b", b"dir", b"dir/file"])
        self.ftpc("ls", "missing", status=1)

    def test_ls_in_json(self):
        entries = [json.loads(line) for line in self.ftpc("--json", "ls", "dir").stdout.splitlines()]
        self.assertEqual([(entry["name"], entry["filesize"]) for entry in entries if "name" in entry], [("file", 5)])

    def test_a_hostile_name_is_printed_harmlessly(self):
        with open(os.path.join(os.fsencode(self.daemon.root), b"dir/\x1b[31mred\n\xff"), "wb"):
            pass
        try:
            self.assertNotIn(b"\x1b", self.ftpc("ls", "dir").stdout)
        finally:
            os.unlink(os.path.join(os.fsencode(self.daemon.root), b"dir/\x1b[31mred\n\xff"))

    def test_stat(self):
        output = self.ftpc("stat", "dir/file").stdout
        self.assertIn(b"file", output)
        self.assertIn(b"5", output)
        self.assertEqual(json.loads(self.ftpc("--json", "stat", "dir/file").stdout)["filesize"], 5)
        self.ftpc("stat", "missing", status=1)

    def test_ping_and_hello(self):
        self.ftpc("ping")
        self.ftpc("ping", "-c", "3")
        self.assertIn(b"local", self.ftpc("hello").stdout)
        self.assertEqual(json.loads(self.ftpc("--json", "hello").stdout)["protocol"], 1)

    def test_the_address_may_come_from_the_environment(self):
        done = run_ftpc(None, "hello", env={"FTPC_ADDRESS": self.daemon.address_text()})
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_raw_is_netcats_job(self):
        self.assertEqual(self.ftpc("raw", data=b"echo a; echo b >&2\n").stdout, b"a\nb\n")
        self.assertEqual(self.ftpc("raw", data=b"echo c").stdout, b"c\n")

    def test_what_is_not_allowed_is_told(self):
        done = self.ftpc("stats", status=1)
        self.assertIn(b"denied", done.stderr)


class Exec(FtpcTestCase):
    def test_the_exit_status_is_the_commands(self):
        for status in (0, 1, 3, 255):
            self.ftpc("exec", "-s", f"exit {status}", status=status)
        self.ftpc("exec", "--", "sh", "-c", "exit 4", status=4)

    def test_a_signal_is_128_and_its_number(self):
        self.ftpc("exec", "-s", "kill -TERM $$", status=128 + signal.SIGTERM)
        self.ftpc("exec", "-s", "kill -SEGV $$", status=128 + signal.SIGSEGV)

    def test_both_streams_go_where_they_belong(self):
        done = self.ftpc("exec", "-s", "echo out; echo err >&2")
        self.assertEqual((done.stdout, done.stderr), (b"out\n", b"err\n"))

    def test_arguments_are_kept_apart(self):
        done = self.ftpc("exec", "--", "printf", "%s|", "a b", "-x", "--", "$HOME", "")
        self.assertEqual(done.stdout, b"a b|-x|--|$HOME||")

    def test_standard_input_reaches_the_command(self):
        content = os.urandom(1 << 20)
        self.assertEqual(self.ftpc("exec", "--", "cat", data=content).stdout, content)
        self.assertEqual(self.ftpc("exec", "-s", "head -n 1", data=b"line\n" * 500000).stdout, b"line\n")

    def test_much_output(self):
        self.assertEqual(len(self.ftpc("exec", "-s", "head -c 20000000 /dev/zero").stdout), 20000000)

    def test_directory_environment_and_time(self):
        os.makedirs(self.daemon.path("sub"), exist_ok=True)
        self.assertTrue(self.ftpc("exec", "--cwd", "sub", "--", "pwd").stdout.endswith(b"/sub\n"))
        done = self.ftpc("exec", "--env", "A=1", "--env", "B=x y=z", "-s", 'echo "$A$B"')
        self.assertEqual(done.stdout, b"1x y=z\n")
        done = self.ftpc("exec", "--timeout", "300ms", "-s", "echo a; sleep 1000", status=1)
        self.assertEqual(done.stdout, b"a\n")
        self.assertIn(b"timeout", done.stderr)

    def test_a_program_that_is_not_there(self):
        done = self.ftpc("exec", "--", "/no/such/program", status=1)
        self.assertIn(b"not_found", done.stderr)

    def test_the_command_ends_when_the_client_is_killed(self):
        fifo = Fifo(self.directory)
        self.addCleanup(fifo.close)
        process = subprocess.Popen([build_path("ftpc"), "-a", self.daemon.address_text(), "exec", "-s",
                                    f"echo $$ >{fifo.path}; exec sleep 1000"], stdin=subprocess.PIPE)
        pid = fifo.read_pid()
        process.kill()
        process.wait(PATIENCE)
        process.stdin.close()
        wait_gone(pid)


class OldServers(FtpcTestCase):
    listen = [{"text_reply": "length"}, {"text_reply": "json"}, {}]

    def test_bare_commands_with_a_length_or_a_json_header(self):
        for listener, dialect in ((0, "length"), (1, "json")):
            with self.subTest(dialect=dialect):
                done = self.ftpc("--dialect", dialect, "exec", "-s", "echo hello", listener=listener)
                self.assertIn(b"hello\n", done.stdout)
                self.ftpc("--dialect", dialect, "exec", "-s", "true", listener=listener)
                done = self.ftpc("--dialect", dialect, "exec", "-s", "head -c 3000000 /dev/zero", listener=listener)
                self.assertEqual(len(done.stdout), 3000000)

    def test_uploads_to_a_server_that_never_answers(self):
        for name in ("s1", "s2"):
            self.local(name, name.encode() * 100000)
        self.ftpc("--dialect", "silent", "put", "s1", "s2", listener=2)
        wait_until(lambda: {"s1", "s2"} <= set(self.daemon.files()), what="both files")
        self.assertEqual(self.daemon.read("s2"), b"s2" * 100000)


class Denied(FtpcTestCase):
    role = {"allow": ["read"]}

    def test_a_denied_upload(self):
        self.local("a.bin", b"x" * 1000000)
        done = self.ftpc("put", "a.bin", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: put a\.bin: denied: ")
        self.ftpc("put", "--to", "b", "-", data=b"x" * 1000000, status=1)
        self.ftpc("exec", "-s", "true", status=1)


class Addresses(FtpcTestCase):
    def test_a_unix_socket(self):
        path = os.path.join(self.directory, "s")
        with Daemon(listen={"address": f"unix:{path}"}):
            done = run_ftpc(f"unix:{path}", "exec", "-s", "echo a")
            self.assertEqual((done.returncode, done.stdout), (0, b"a\n"), done.stderr)
