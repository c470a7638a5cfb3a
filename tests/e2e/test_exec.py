"""exec: output, exit, input, environment, bounds."""

import os

from ftpd_harness import DaemonTestCase, frame


class ExecTestCase(DaemonTestCase):
    def run_shell(self, command, body=b"", **fields):
        return self.request({"cmd": "exec", "command": command, **fields}, body)

    def run_argv(self, *argv, body=b"", **fields):
        return self.request({"cmd": "exec", "argv": list(argv), **fields}, body)

    def output(self, reply):
        """(stdout, stderr) of a reply."""
        header, body = reply
        self.assertEqual(header["stdout_size"] + header["stderr_size"], header["data_size"], header)
        return body[:header["stdout_size"]], body[header["stdout_size"]:]


class Results(ExecTestCase):
    def test_both_streams_and_the_exit_status_are_told_apart(self):
        reply = self.ok(self.run_shell("echo out; echo problem >&2; exit 3"))
        self.assertEqual(self.output(reply), (b"out\n", b"problem\n"))
        self.assertEqual((reply[0]["reason"], reply[0]["exit"]), ("exited", 3))
        self.assertNotIn("signal", reply[0])
        self.assertGreaterEqual(reply[0]["duration_ms"], 0)
        self.assertFalse(reply[0].get("truncated", False))

    def test_exit_statuses(self):
        client = self.client()
        for status in (0, 1, 2, 126, 127, 128, 137, 255):
            header, body = self.ok(client.request({"cmd": "exec", "command": f"exit {status}"}))
            self.assertEqual((header["reason"], header["exit"], body), ("exited", status, b""))

    def test_a_signal_is_no_exit_status(self):
        for signal in ("SEGV", "KILL", "TERM", "ABRT", "USR1", "PIPE", "HUP"):
            with self.subTest(signal=signal):
                header, body = self.ok(self.run_shell(f"echo before; kill -{signal} $$; sleep 10"))
                self.assertEqual((header["reason"], header["signal"], body), ("signalled", "SIG" + signal, b"before\n"))
                self.assertNotIn("exit", header)

    def test_argv_runs_without_a_shell(self):
        reply = self.ok(self.run_argv("printf", "%s|", "a b", "$HOME", "*", ";", "", "\u00e9"))
        self.assertEqual(reply[1], "a b|$HOME|*|;||\u00e9|".encode())

    def test_argv_0_may_be_a_path(self):
        self.assertEqual(self.ok(self.run_argv("/bin/echo", "hi"))[1], b"hi\n")

    def test_a_program_that_is_not_there(self):
        client = self.client()
        for program in ("/no/such/program", "no-such-program"):
            self.refused(client.request({"cmd": "exec", "argv": [program]}, b"some input"), "not_found")
            self.still_works(client)

    def test_a_shell_says_itself_what_it_does_not_find(self):
        reply = self.ok(self.run_shell("no-such-program"))
        self.assertEqual(reply[0]["exit"], 127)
        self.assertIn(b"no-such-program", self.output(reply)[1])

    def test_a_file_that_is_no_program_is_refused(self):
        path = self.daemon.write("plain", b"text")
        os.chmod(path, 0o644)
        header, _ = self.run_argv(path)
        self.assertFalse(header["ok"])
        self.assertIn(header["error"], ("denied", "io_error"))

    def test_an_empty_command_line_is_refused_or_runs_nothing(self):
        header, body = self.run_shell("")
        self.assertTrue(header.get("error") == "bad_request" or header.get("exit") == 0, header)
        self.assertEqual(body, b"")

    def test_output_of_20_mib(self):
        header, body = self.ok(self.run_shell("head -c 20971520 /dev/zero; echo end >&2"))
        self.assertEqual((header["stdout_size"], header["stderr_size"]), (20971520, 4))
        self.assertEqual(body, bytes(20971520) + b"end\n")

    def test_binary_output(self):
        content = os.urandom(100000)
        self.daemon.write("bin", content)
        self.assertEqual(self.ok(self.run_shell("cat bin"))[1], content)

    def test_output_written_just_before_the_end_is_never_lost(self):
        client = self.client()
        for number in range(30):
            command = f"head -c 70000 /dev/zero; echo {number}; echo e{number} >&2"
            reply = self.ok(client.request({"cmd": "exec", "command": command}))
            stdout, stderr = self.output(reply)
            self.assertEqual((stdout[70000:], stderr), (b"%d\n" % number, b"e%d\n" % number))

    def test_merge_keeps_the_order(self):
        reply = self.ok(self.run_shell("echo a; echo b >&2; echo c; echo d >&2", merge=True))
        self.assertEqual(self.output(reply), (b"a\nb\nc\nd\n", b""))

    def test_merge_false_changes_nothing(self):
        self.assertEqual(self.output(self.run_shell("echo a; echo b >&2", merge=False)), (b"a\n", b"b\n"))

    def test_several_commands_run_at_once(self):
        clients = [self.client() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send_frame({"cmd": "exec", "command": f"sleep 0.3; echo {number}"})
        for number, client in enumerate(clients):
            self.assertEqual(self.ok(client.recv_reply())[1], b"%d\n" % number)

    def test_100_commands_in_one_send(self):
        client = self.client()
        client.send(b"".join(frame({"cmd": "exec", "argv": ["echo", str(i)], "id": i}) for i in range(100)))
        for number in range(100):
            header, body = self.ok(client.recv_reply())
            self.assertEqual((header["id"], body), (number, b"%d\n" % number))


class Input(ExecTestCase):
    def test_without_a_body_the_input_is_dev_null(self):
        self.assertEqual(self.ok(self.run_argv("readlink", "/proc/self/fd/0"))[1], b"/dev/null\n")
        self.assertEqual(self.ok(self.run_shell("cat"))[1], b"")

    def test_the_body_is_the_input(self):
        for size in (1, 65536, 65537, 5 << 20):
            content = os.urandom(size)
            self.assertEqual(self.ok(self.run_argv("cat", body=content))[1], content)

    def test_an_empty_body_ends_at_once(self):
        self.assertEqual(self.ok(self.run_argv("wc", "-c", data_size=0))[1].strip(), b"0")

    def test_a_command_may_close_its_input_early(self):
        client = self.client()
        content = b"line\n" * (1 << 20)
        self.assertEqual(self.ok(client.request({"cmd": "exec", "command": "head -n 1"}, content))[1], b"line\n")
        self.still_works(client)
        self.ok(client.request({"cmd": "exec", "command": "true"}, content))
        self.still_works(client)
        reply = client.request({"cmd": "exec", "command": "exec <&-; sleep 0.2; echo x"}, content)
        self.assertEqual(self.ok(reply)[1], b"x\n")
        self.still_works(client)

    def test_input_and_much_output_at_the_same_time(self):
        content = os.urandom(4 << 20)
        header, body = self.ok(self.run_shell("tee /dev/stderr", body=content))
        self.assertEqual((header["stdout_size"], header["stderr_size"]), (len(content), len(content)))
        self.assertEqual(body, content * 2)

    def test_continuing_frames_feed_the_input(self):
        client = self.client()
        client.send_frame({"cmd": "exec", "argv": ["cat"], "more": True, "id": 1}, b"one ")
        client.send_frame({"more": True}, b"two ")
        client.send_frame({"more": True})
        client.send_frame({}, b"three")
        header, body = self.ok(client.recv_reply())
        self.assertEqual((header["id"], body), (1, b"one two three"))
        self.still_works(client)

    def test_the_last_frame_closes_the_input(self):
        client = self.client()
        client.send_frame({"cmd": "exec", "command": "cat; echo end", "more": True})
        client.expect_silence(0.2)
        client.send_frame({})
        self.assertEqual(self.ok(client.recv_reply())[1], b"end\n")

    def test_a_command_that_ends_by_itself_does_not_wait_for_more_input(self):
        client = self.client()
        client.send_frame({"cmd": "exec", "command": "echo done", "more": True})
        self.assertEqual(self.ok(client.recv_reply())[1], b"done\n")
        client.send_frame({})
        self.still_works(client)


class Surroundings(ExecTestCase):
    def test_the_environment_holds_nothing_of_the_daemons(self):
        _, body = self.ok(self.run_argv("env", "-0"))
        names = {item.split(b"=", 1)[0].decode() for item in body.split(b"\0") if item}
        self.assertLessEqual(names, {"PATH", "LANG", "HOME", "USER", "SHELL", "TZ", "FTPD_COMMAND"})
        self.assertIn("PATH", names)
        self.assertNotIn(b"not for commands", body)

    def test_variables_are_added(self):
        _, body = self.ok(self.run_argv("env", env={"A": "1", "B": "x y=z", "EMPTY": "", "LANG": "C.UTF-8"}))
        lines = body.splitlines()
        for line in (b"A=1", b"B=x y=z", b"EMPTY=", b"LANG=C.UTF-8"):
            self.assertIn(line, lines)
        self.assertEqual(len([line for line in lines if line.startswith(b"LANG=")]), 1)

    def test_the_working_directory(self):
        os.makedirs(self.daemon.path("sub/dir"), exist_ok=True)
        root = os.path.realpath(self.daemon.root).encode()
        self.assertEqual(self.ok(self.run_argv("pwd"))[1], root + b"\n")
        self.assertEqual(self.ok(self.run_argv("pwd", cwd="."))[1], root + b"\n")
        self.assertEqual(self.ok(self.run_shell("pwd", cwd="sub/dir"))[1], root + b"/sub/dir\n")

    def test_a_bad_working_directory(self):
        self.daemon.write("file", b"x")
        self.refused(self.run_argv("pwd", cwd="missing"), "not_found")
        self.refused(self.run_argv("pwd", cwd="file"), "not_directory")
        self.refused(self.run_argv("pwd", cwd=".."), "bad_request")

    def test_no_descriptor_is_inherited(self):
        others = [self.client() for _ in range(5)]
        others[0].send_frame({"cmd": "put", "filename": "open", "data_size": 10}, b"x")
        for body in (b"", b"input"):
            _, listing = self.ok(self.run_argv("ls", "/proc/self/fd", body=body))
            self.assertEqual(listing.split(), [b"0", b"1", b"2", b"3"])  # 3: the directory that ls reads

    def test_no_signal_is_blocked_or_ignored(self):
        _, body = self.ok(self.run_argv("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"))
        libcs_own = 1 << 31 | 1 << 32  # 32 and 33, which nobody but the C library can set
        _, blocked, _, ignored = body.split()
        self.assertEqual((int(blocked, 16) & ~libcs_own, int(ignored, 16) & ~libcs_own), (0, 0))

    def test_a_command_leads_a_session_of_its_own(self):
        _, body = self.ok(self.run_shell("read -r pid name state parent group session rest </proc/self/stat; "
                                         "echo $$ $group $session"))
        self.assertEqual(len(set(body.split())), 1)

    def test_the_umask_is_usual(self):
        self.assertEqual(self.ok(self.run_shell("umask"))[1].strip()[-3:], b"022")


class Timeouts(ExecTestCase):
    role = {"kill_grace": "300ms"}

    def test_a_command_over_its_time_is_ended_and_its_output_kept(self):
        reply = self.refused(self.run_shell("echo out; echo err >&2; exec sleep 1000", timeout_ms=300), "timeout")
        self.assertEqual(reply[0]["reason"], "timeout")
        self.assertEqual(self.output(reply), (b"out\n", b"err\n"))
        self.assertGreaterEqual(reply[0]["duration_ms"], 300)

    def test_a_command_may_tidy_up_on_sigterm(self):
        reply = self.refused(self.run_shell("trap 'echo tidy; exit 0' TERM; echo start; while :; do sleep 0.05; done",
                                            timeout_ms=300), "timeout")
        self.assertEqual(self.output(reply)[0], b"start\ntidy\n")

    def test_a_command_that_ignores_sigterm_is_killed(self):
        command = "trap '' TERM; echo start; while :; do sleep 0.05; done"
        reply = self.refused(self.run_shell(command, timeout_ms=300), "timeout")
        self.assertEqual(reply[1], b"start\n")

    def test_a_command_within_its_time_is_not_disturbed(self):
        self.assertEqual(self.ok(self.run_shell("sleep 0.1; echo x", timeout_ms=20000))[1], b"x\n")

    def test_the_connection_goes_on(self):
        client = self.client()
        self.refused(client.request({"cmd": "exec", "command": "sleep 1000", "timeout_ms": 100}), "timeout")
        self.still_works(client)


class RoleTimeout(ExecTestCase):
    role = {"exec_timeout": "300ms", "kill_grace": "300ms"}

    def test_the_roles_time_is_the_most(self):
        self.refused(self.run_shell("sleep 1000"), "timeout")
        self.refused(self.run_shell("sleep 1000", timeout_ms=600000), "timeout")


class OutputBound(ExecTestCase):
    role = {"max_output": "1MiB"}

    def test_output_beyond_the_bound_is_dropped_and_told(self):
        for command in ("head -c 3000000 /dev/zero", "head -c 3000000 /dev/zero >&2"):
            header, body = self.ok(self.run_shell(command))
            self.assertTrue(header["truncated"])
            self.assertEqual(len(body), 1 << 20)

    def test_both_streams_count_together(self):
        header, body = self.ok(self.run_shell("head -c 700000 /dev/zero; head -c 700000 /dev/zero >&2; exit 4"))
        self.assertTrue(header["truncated"])
        self.assertEqual((len(body), header["exit"]), (1 << 20, 4))

    def test_output_of_exactly_the_bound_is_whole(self):
        header, body = self.ok(self.run_shell("head -c 1048576 /dev/zero"))
        self.assertFalse(header.get("truncated", False))
        self.assertEqual(len(body), 1 << 20)

    def test_a_role_environment_and_bound_do_not_stop_the_command(self):
        header, _ = self.ok(self.run_shell("head -c 50000000 /dev/zero && echo reached >&2; exit 7"))
        self.assertEqual(header["exit"], 7)


class RoleEnvironment(ExecTestCase):
    role = {"env": {"SITE": "lab 1", "LANG": "C"}}

    def test_the_roles_variables_are_set_and_the_requests_win(self):
        self.assertIn(b"SITE=lab 1", self.ok(self.run_argv("env"))[1].splitlines())
        self.assertIn(b"SITE=other", self.ok(self.run_argv("env", env={"SITE": "other"}))[1].splitlines())


class ExecAlone(ExecTestCase):
    role = {"allow": ["exec"]}

    def test_argv_is_exec_and_command_is_shell(self):
        self.assertEqual(self.ok(self.run_argv("echo", "x"))[1], b"x\n")
        self.refused(self.run_shell("echo x"), "denied")


class ShellAlone(ExecTestCase):
    role = {"allow": ["shell"]}

    def test_command_is_shell_and_argv_is_exec(self):
        self.assertEqual(self.ok(self.run_shell("echo x"))[1], b"x\n")
        self.refused(self.run_argv("echo", "x"), "denied")
