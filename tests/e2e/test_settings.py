"""The settings file and the command line of ftpd: what is taken, what is refused and how it is told."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import tomllib

from ftpd_harness import PATIENCE, Daemon, DaemonTestCase, ReplyAssertions, build_path, frame, wait_until
from ftpd_support import staged_content

ROLE = '[role.local]\nroot = "{root}"\n'


class SettingsTestCase(ReplyAssertions):
    """Runs ftpd to its end: --check-config and the like, or a start that must fail."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="ftpd-settings-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.root = os.path.join(self.directory, "root")
        os.mkdir(self.root, 0o755)
        self.file = os.path.join(self.directory, "ftpd.toml")

    def run_ftpd(self, *arguments):
        done = subprocess.run([build_path("ftpd"), *arguments], cwd=self.directory, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertNotRegex(done.stderr, "Sanitizer|runtime error:|terminate called")
        return done

    def check(self, text, *arguments):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(text.replace("{root}", self.root))
        return self.run_ftpd("-c", self.file, "--check-config", *arguments)

    def taken(self, text):
        done = self.check(text)
        self.assertEqual(done.returncode, 0, done.stderr)

    def refused_at(self, text, line, *words):
        """Refused with status 2 and a message that begins FILE:LINE: and holds `words`."""
        done = self.check(text)
        self.assertEqual(done.returncode, 2, done.stderr)
        found = [l for l in done.stderr.splitlines() if l.startswith(f"{self.file}:{line}: ")
                 and all(word in l for word in words)]
        self.assertTrue(found, f"no message for line {line} with {words}:\n{done.stderr}")

    def problems(self, done):
        return [l for l in done.stderr.splitlines() if re.match(re.escape(self.file) + r":\d+: ", l)]


class Checking(SettingsTestCase):
    def test_good_settings_are_taken(self):
        self.taken("")
        self.taken(ROLE)
        self.taken('[server]\nmax_header = 4096\nidle_timeout = "1h"\ndiscard_limit = "1GiB"\nreply_queue = 65536\n'
                   '[[listen]]\naddress = "[::1]:8080"\ntext_reply = "json"\n'
                   '[[listen]]\naddress = "unix:/tmp/x.sock"\ndialect = "frame"\n' + ROLE +
                   'allow = ["read", "write", "delete", "exec", "shell", "admin"]\ndurability = "none"\n'
                   'max_file = "1GiB"\nquota = 1048576\nrate = "10MiB"\npartial_ttl = "1h"\n'
                   'env = { A = "1" }\n')
        self.taken(ROLE + 'max_file = "0"\nquota = "0"\nrate = "0"\npartial_ttl = "0"\n')
        self.taken(ROLE + "max_file = 0\nquota = 0\nrate = 0\n")

    def test_an_unknown_key_is_told_with_the_nearest_name(self):
        self.refused_at("[server]\nworkers = 1\nmax_conections = 5\n", 3, "max_conections", "max_connections")
        self.refused_at('[[listen]]\ndialct = "text"\n', 2, "dialct", "dialect")
        self.refused_at(ROLE + 'kill_grase = "1s"\n', 3, "kill_grase", "kill_grace")

    def test_an_unknown_table_is_told(self):
        self.refused_at("[sever]\nworkers = 1\n", 1, "sever", "server")

    def test_wrong_types_are_told(self):
        self.refused_at('[server]\nmax_connections = "many"\n', 2, "max_connections")
        self.refused_at("[server]\nidle_timeout = 5\n", 2, "idle_timeout")
        self.refused_at("[[listen]]\naddress = 8080\n", 2, "address")
        self.refused_at('[[listen]]\ninsecure = "yes"\n', 2, "insecure")
        self.refused_at(ROLE + 'allow = "read"\n', 3, "allow")

    def test_wrong_values_are_told_with_what_is_allowed(self):
        self.refused_at('[[listen]]\ndialect = "morse"\n', 2, "dialect", "frame", "text", "both")
        self.refused_at('[[listen]]\ntext_reply = "short"\n', 2, "text_reply", "plain", "length", "json")
        self.refused_at('[[listen]]\nlocal_users = "none"\n', 2, "local_users", "same", "any")
        self.refused_at('[server]\nlog = "loud"\n', 2, "log", "debug")
        self.refused_at('[server]\nidle_timeout = "10 parsecs"\n', 2, "idle_timeout")
        self.refused_at('[server]\ndiscard_limit = "64MBit"\n', 2, "discard_limit")
        self.refused_at("[server]\nmax_header = 0\n", 2, "max_header")
        self.refused_at("[server]\nmax_connections = -1\n", 2, "max_connections")
        self.refused_at('[[listen]]\naddress = "127.0.0.1:99999"\n', 2, "address")
        self.refused_at('[[listen]]\naddress = "no port"\n', 2, "address")
        self.refused_at(ROLE + 'durability = "maybe"\n', 3, "durability")
        self.refused_at(ROLE + 'allow = ["read", "fly"]\n', 3, "allow", "fly")

    def test_wrong_limits_of_a_role_are_told_with_what_is_allowed(self):
        self.refused_at(ROLE + 'max_file = "1MB"\n', 3, "role.local.max_file: ", "MiB")
        self.refused_at(ROLE + "max_file = -1\n", 3, "role.local.max_file: ", "too small", "0 (no limit)")
        self.refused_at(ROLE + "quota = 1.5\n", 3, "role.local.quota: ", "fraction", "0 (no limit)")
        self.refused_at(ROLE + "quota = 9007199254740992\n", 3, "role.local.quota: ", "too large")
        self.refused_at(ROLE + 'rate = "1023"\n', 3, "role.local.rate: ", "too small", "0 (no limit)", "1KiB")
        self.refused_at(ROLE + 'rate = "fast"\n', 3, "role.local.rate: ", "fast")
        self.refused_at(ROLE + "partial_ttl = 0\n", 3, "role.local.partial_ttl: ", "unit")
        self.refused_at(ROLE + 'partial_ttl = "-1h"\n', 3, "role.local.partial_ttl: ")
        self.refused_at(ROLE + 'partial_ttl = "366d"\n', 3, "role.local.partial_ttl: ", "too large")
        done = self.check(ROLE + 'max_file = "x"\nquota = "x"\nrate = 1\npartial_ttl = "x"\n')
        self.assertEqual(len(self.problems(done)), 4, done.stderr)

    def test_every_error_is_told_in_one_go(self):
        done = self.check('[server]\nmax_conections = 5\nidle_timeout = "soon"\n[[listen]]\ndialect = "morse"\n' + ROLE +
                          'allow = ["fly"]\n')
        self.assertEqual(done.returncode, 2)
        self.assertEqual(len(self.problems(done)), 4, done.stderr)

    def test_a_syntax_error_is_told_alone(self):
        done = self.check('[server]\nworkers = = 1\nmax_conections = 5\n')
        self.assertEqual(done.returncode, 2)
        self.assertEqual(len(self.problems(done)), 1, done.stderr)
        self.assertTrue(self.problems(done)[0].startswith(f"{self.file}:2: "), done.stderr)

    def test_a_role_that_is_not_there_is_told(self):
        self.refused_at('[[listen]]\nrole = "guest"\n' + ROLE, 2, "role", "guest")

    def test_a_large_header_excludes_the_text_dialect(self):
        self.refused_at("[server]\nmax_header = 8192\n", 2, "max_header")
        self.taken('[server]\nmax_header = 8192\n[[listen]]\ndialect = "frame"\n')

    def test_named_commands(self):
        self.taken('[command.x]\nargv = ["p", "{1}", "a{2}"]\nroles = ["local"]\n')
        for line, key in (('argv = []', "command.x.argv"), ('argv = ["{1}"]', "command.x.argv"),
                          ('argv = ["p", "{2}"]', "command.x.argv"), ('argv = "p"', "command.x.argv"),
                          ('argv = ["p"]; roles = ["nowhere"]', "command.x.roles"),
                          ('argv = ["p"]; rolls = []', "command.x.rolls")):
            with self.subTest(line=line):
                lines = line.split("; ")
                self.refused_at("[command.x]\n" + "\n".join(lines) + "\n", 1 + len(lines), key)
        self.refused_at('[command."x y"]\nargv = ["p"]\n', 1, "command")
        self.refused_at("[command.x]\n", 1, "command.x")

    def test_named_commands_count_as_commands_on_other_addresses(self):
        self.refused_at('[[listen]]\naddress = "192.0.2.1:1"\n[role.local]\nallow = []\n'
                        '[command.x]\nargv = ["p"]\nroles = ["local"]\n', 2, "listen")

    def test_a_file_that_is_not_there(self):
        done = self.run_ftpd("-c", os.path.join(self.directory, "none.toml"), "--check-config")
        self.assertEqual(done.returncode, 2)
        self.assertIn("none.toml", done.stderr)

    def test_a_wrong_file_stops_the_start_too(self):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write("[server]\nmax_conections = 5\n")
        done = self.run_ftpd("-c", self.file)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"{self.file}:2: ", done.stderr)


class Dangers(SettingsTestCase):
    """Only ever checked, never listened on."""

    LISTEN = '[[listen]]\naddress = "0.0.0.0:8080"\n{extra}' + ROLE

    def settings(self, allow, extra=""):
        return self.LISTEN.replace("{extra}", extra) + f"allow = {allow}\n"

    def test_commands_on_an_open_address_need_a_word(self):
        for allow in ('["exec"]', '["read", "shell"]', '["exec", "shell"]'):
            for extra in ("", 'dialect = "frame"\n'):
                with self.subTest(allow=allow, extra=extra):
                    done = self.check(self.settings(allow, extra))
                    self.assertEqual(done.returncode, 2, done.stderr)
                    self.assertIn("insecure = true", done.stderr)
                    self.assertTrue(self.problems(done), done.stderr)

    def test_the_word_is_enough(self):
        self.taken(self.settings('["exec", "shell"]', "insecure = true\n"))

    def test_files_on_an_open_address_are_no_danger(self):
        self.taken(self.settings('["read", "write"]'))

    def test_loopback_and_unix_sockets_are_no_danger(self):
        for address in ("127.0.0.1:0", "127.1.2.3:80", "[::1]:0", "unix:/tmp/x.sock", ":0"):
            self.taken(f'[[listen]]\naddress = "{address}"\n' + ROLE + 'allow = ["exec", "shell"]\n')

    def test_every_open_address_is_seen(self):
        for address in ("[::]:8080", "192.0.2.1:8080", "[2001:db8::1]:8080"):
            done = self.check(f'[[listen]]\naddress = "{address}"\n' + ROLE + 'allow = ["shell"]\n')
            self.assertEqual(done.returncode, 2, address)
            self.assertIn("insecure = true", done.stderr)

    def test_the_command_line_is_judged_too(self):
        done = self.run_ftpd("-l", "0.0.0.0:8080", "-r", self.root, "-e", "--check-config")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("insecure", done.stderr)

    def test_a_root_that_others_can_write_needs_a_word(self):
        os.chmod(self.root, 0o777)
        with open(self.file, "w", encoding="utf-8") as file:
            file.write('[[listen]]\naddress = "127.0.0.1:0"\n' + ROLE.replace("{root}", self.root))
        done = self.run_ftpd("-c", self.file)
        self.assertIn(done.returncode, (1, 2), done.stderr)
        self.assertIn("allow_writable_root", done.stderr)
        with Daemon(root=self.root, role={"allow_writable_root": True}) as daemon, daemon.client() as client:
            self.ok(client.request({"cmd": "put", "filename": "x"}, b"x"))


class Printing(SettingsTestCase):
    def printed(self, *arguments):
        done = self.run_ftpd(*arguments, "--print-config")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_what_is_printed_says_the_same_when_it_is_read(self):
        for arguments in ((), ("-l", "127.0.0.1:0", "-e", "-r", self.root), ("--dialect", "text", "--text-reply", "json")):
            first = self.printed(*arguments)
            with open(self.file, "w", encoding="utf-8") as file:
                file.write(first)
            self.assertEqual(self.printed("-c", self.file), first)

    def test_the_defaults_are_complete(self):
        settings = tomllib.loads(self.printed("-l", "127.0.0.1:8080"))
        server, listen, role = settings["server"], settings["listen"][0], settings["role"]["local"]
        self.assertEqual((server["workers"], server["max_connections"], server["max_header"]), (0, 20000, 8191))
        self.assertEqual((server["idle_timeout"], server["stall_timeout"], server["text_idle"]), ("10m", "30s", "30ms"))
        self.assertEqual((server["discard_limit"], server["reply_queue"]), ("64MiB", "4MiB"))
        self.assertEqual((listen["address"], listen["dialect"], listen["text_reply"]), ("127.0.0.1:8080", "both", "plain"))
        self.assertEqual((listen["role"], listen["local_users"], listen["insecure"]), ("local", "same", False))
        self.assertEqual((role["root"], role["allow"], role["durability"]), ("ftpd-root", ["read", "write"], "fsync"))
        self.assertEqual((role["max_exec"], role["queue_timeout"], role["kill_grace"]), (64, "10s", "5s"))
        self.assertEqual(role["max_output"], "64MiB")
        self.assertEqual((role["max_file"], role["quota"], role["rate"], role["partial_ttl"]), ("0", "0", "0", "24h"))

    def test_the_command_line_shows(self):
        settings = tomllib.loads(self.printed("-l", "127.0.0.1:1", "-l", ":2", "-r", "/srv/x", "-e", "--dialect", "text",
                                              "--text-reply", "length"))
        self.assertEqual([item["address"].replace("127.0.0.1", "") for item in settings["listen"]], [":1", ":2"])
        self.assertEqual({item["text_reply"] for item in settings["listen"]}, {"length"})
        self.assertEqual({item["dialect"] for item in settings["listen"]}, {"text"})
        self.assertEqual(settings["role"]["local"]["root"], "/srv/x")
        self.assertLessEqual({"read", "write", "exec", "shell"}, set(settings["role"]["local"]["allow"]))


class CommandLine(SettingsTestCase):
    def test_version_and_help(self):
        done = self.run_ftpd("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"ftpd.*\d+\.\d+\.\d+")
        done = self.run_ftpd("--help")
        self.assertEqual(done.returncode, 0)
        for option in ("-c", "-l", "-r", "-e", "--text-reply", "--dialect", "--check-config", "--print-config"):
            self.assertIn(option, done.stdout)

    def test_wrong_usage(self):
        for arguments in (("--no-such-option",), ("-l",), ("-l", "nonsense"), ("-l", "127.0.0.1:99999"), ("word",),
                          ("--dialect", "morse"), ("--text-reply", "short"), ("-c",)):
            with self.subTest(arguments=arguments):
                done = self.run_ftpd(*arguments, "--check-config")
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertTrue(done.stderr)

    def test_without_settings_files_are_served_and_commands_denied(self):
        with Daemon(args=["-l", "127.0.0.1:0"]) as daemon, daemon.client() as client:
            self.ok(client.request({"cmd": "put", "filename": "x"}, b"abc"))
            with open(os.path.join(daemon.directory, "ftpd-root", "x"), "rb") as file:
                self.assertEqual(file.read(), b"abc")
            self.refused(client.request({"cmd": "exec", "command": "true"}), "denied")
            self.refused(client.request({"cmd": "exec", "argv": ["true"]}), "denied")

    def test_e_allows_commands_and_r_names_the_root(self):
        with Daemon(args=["-l", "127.0.0.1:0", "-r", self.root, "-e"]) as daemon, daemon.client() as client:
            root = os.path.realpath(self.root).encode()
            self.assertEqual(self.ok(client.request({"cmd": "exec", "command": "pwd"}))[1].strip(), root)
            self.assertEqual(self.ok(client.request({"cmd": "exec", "argv": ["pwd"]}))[1].strip(), root)

    def test_dialect_and_text_reply(self):
        with Daemon(args=["-l", "127.0.0.1:0", "-e", "--dialect", "text", "--text-reply", "length"]) as daemon:
            self.assertEqual(daemon.dialects, ["text"])
            with daemon.client() as client:
                client.send(b"echo a\n")
                self.assertEqual(client.recv_exact(6), b"\x02\0\0\0a\n")

    def test_several_addresses(self):
        with Daemon(args=["-l", "127.0.0.1:0", "-l", "127.0.0.1:0"]) as daemon:
            self.assertEqual(len(set(daemon.addresses)), 2)
            for listener in (0, 1):
                with daemon.client(listener) as client:
                    self.still_works(client)

    def test_the_command_line_takes_the_place_of_the_files_addresses(self):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write('[[listen]]\naddress = "127.0.0.1:1"\n' + ROLE.replace("{root}", self.root))
        with Daemon(args=["-c", self.file, "-l", "127.0.0.1:0"]) as daemon, daemon.client() as client:
            self.ok(client.request({"cmd": "put", "filename": "x"}, b"abc"))
            with open(os.path.join(self.root, "x"), "rb") as stored:
                self.assertEqual(stored.read(), b"abc")


class Addresses(DaemonTestCase):
    listen = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "dialect": "frame"},
              {"address": "127.0.0.1:0", "dialect": "text", "text_reply": "length"}]

    def test_each_listener_has_its_own_dialect(self):
        self.assertEqual(self.daemon.dialects, ["both", "frame", "text"])
        self.still_works(self.client(0))
        self.still_works(self.client(1))
        client = self.client(2)
        client.send(b"echo a\n")
        self.assertEqual(client.recv_exact(6), b"\x02\0\0\0a\n")


class UnixSocket(ReplyAssertions):
    def test_a_unix_socket(self):
        directory = tempfile.mkdtemp(prefix="ftpd-unix-")
        self.addCleanup(shutil.rmtree, directory, True)
        path = os.path.join(directory, "s")
        for _ in range(2):
            with Daemon(listen={"address": f"unix:{path}"}) as daemon:
                self.assertEqual(daemon.addresses, [path])
                with daemon.client() as client:
                    self.still_works(client)
                    self.assertEqual(self.ok(client.request({"cmd": "exec", "command": "echo a"}))[1], b"a\n")
            self.assertFalse(os.path.exists(path))

    def test_a_stale_socket_is_replaced(self):
        directory = tempfile.mkdtemp(prefix="ftpd-unix-")
        self.addCleanup(shutil.rmtree, directory, True)
        path = os.path.join(directory, "s")
        with Daemon(listen={"address": f"unix:{path}"}) as daemon:
            daemon.process.kill()
            daemon.wait_exit()
            self.assertTrue(os.path.exists(path))
            daemon.start()
            with daemon.client() as client:
                self.still_works(client)

    def test_ipv6_loopback(self):
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError as error:
            self.skipTest(f"no IPv6: {error}")
        with Daemon(listen={"address": "[::1]:0"}) as daemon, daemon.client() as client:
            self.still_works(client)
            self.assertEqual(self.ok(client.request({"cmd": "exec", "command": "echo a"}))[1], b"a\n")


class PartialTtl(ReplyAssertions):
    def break_off(self, daemon, name):
        """An upload of which half is held."""
        with daemon.client() as client:
            client.send(frame({"cmd": "put", "filename": name, "upload": name, "data_size": 200_000}, b"x" * 100_000))
            client.half_close()
            client.wait_end()

    def held(self, client, name):
        return client.request({"cmd": "stat", "upload": name})[0]

    def test_what_is_held_too_long_is_dropped_by_and_by(self):
        with Daemon(role={"partial_ttl": "1500ms"}) as daemon, daemon.client() as client:
            self.break_off(daemon, "a")
            wait_until(lambda: self.held(client, "a").get("offset") == 100_000, what="the upload to be held")
            self.assertIn(b"x" * 100_000, staged_content(daemon.root))
            wait_until(lambda: self.held(client, "a").get("error") == "not_found", what="the upload to expire")
            wait_until(lambda: b"x" * 100_000 not in staged_content(daemon.root), what="the bytes to be freed")

    def test_zero_is_for_ever(self):
        with Daemon(role={"partial_ttl": "0"}) as daemon, daemon.client() as client:
            self.break_off(daemon, "a")
            wait_until(lambda: self.held(client, "a").get("offset") == 100_000, what="the upload to be held")
            time.sleep(1)  # when short ones are looked at
            self.assertEqual(self.held(client, "a")["offset"], 100_000)


class Hangup(ReplyAssertions):
    def test_sighup_does_not_end_the_daemon(self):
        with Daemon() as daemon, daemon.client() as client:
            self.still_works(client)
            daemon.process.send_signal(signal.SIGHUP)
            self.still_works(client)
            with daemon.client() as other:
                self.still_works(other)
