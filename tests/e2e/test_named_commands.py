"""exec by name: templates, arguments, roles; and the runner in front of commands."""

import tempfile

from ftpd_harness import DaemonTestCase

COMMANDS = {
    "show": {"argv": ["printf", "[%s]", "a{1}b", "{2}"], "roles": ["local"]},
    "plain": {"argv": ["echo", "ran"], "roles": ["local"]},
    "after": {"argv": ["sh", "-c", "printf '<%s>' \"$@\"", "--", "{1}"], "roles": ["local"]},
    "others": {"argv": ["echo", "no"], "roles": ["lab"]},
    "nobody": {"argv": ["echo", "no"], "roles": []},
    "input": {"argv": ["cat"], "roles": ["local"]},
}


class NamedCommands(DaemonTestCase):
    role = {"allow": []}
    lab_root = tempfile.TemporaryDirectory()
    daemon_options = {"commands": COMMANDS, "roles": {"lab": {"root": lab_root.name, "allow": ["exec"]}}}

    def run_named(self, name, *args, body=b"", **fields):
        return self.request({"cmd": "exec", "name": name, "args": list(args), **fields}, body)

    def test_arguments_take_their_places(self):
        self.assertEqual(self.ok(self.run_named("show", "1 2", "$(id); *"))[1], b"[a1 2b][$(id); *]")
        self.assertEqual(self.ok(self.run_named("plain"))[1], b"ran\n")
        self.assertEqual(self.ok(self.request({"cmd": "exec", "name": "plain"}))[1], b"ran\n")
        self.assertEqual(self.ok(self.run_named("input", body=b"fed"))[1], b"fed")

    def test_a_role_with_named_commands_alone_runs_nothing_else(self):
        client = self.client()
        self.refused(client.request({"cmd": "exec", "command": "echo x"}), "denied")
        self.refused(client.request({"cmd": "exec", "argv": ["echo", "x"]}), "denied")
        self.refused(client.request({"cmd": "get", "filename": "x"}), "denied")
        self.assertIn("exec", self.ok(client.request({"cmd": "hello"}))[0]["commands"])
        for name in ("others", "nobody", "never-heard-of", ""):
            with self.subTest(name=name):
                self.refused(client.request({"cmd": "exec", "name": name}), "denied")
                self.still_works(client)

    def test_too_many_and_too_few_arguments(self):
        for name, args in (("show", ["1"]), ("show", ["1", "2", "3"]), ("plain", ["1"]), ("after", [])):
            with self.subTest(name=name, args=args):
                self.refused(self.run_named(name, *args), "bad_request")

    def test_an_argument_can_not_become_an_option(self):
        for argument in ("-n", "--version", "-"):
            with self.subTest(argument=argument):
                self.refused(self.run_named("show", argument, "x"), "bad_request")
                self.refused(self.run_named("show", "x", argument), "bad_request")
        self.assertEqual(self.ok(self.run_named("after", "-n"))[1], b"<-n>")

    def test_what_is_no_argument(self):
        client = self.client()
        for fields in ({"args": "x"}, {"args": [1]}, {"args": ["a\0b", "c"]}, {"args": None},
                       {"argv": ["echo"]}, {"command": "echo"}, {"env": {"LD_PRELOAD": "x"}}):
            with self.subTest(fields=fields):
                reply, _ = client.request({"cmd": "exec", "name": "show", **fields})
                self.assertIn(reply["error"], ("bad_request", "denied"))
                self.still_works(client)


class Runner(DaemonTestCase):
    role = {"allow": ["exec", "shell"], "runner": ["env", "RUNNER=here"]}
    daemon_options = {"commands": {"seen": {"argv": ["sh", "-c", "echo $RUNNER"], "roles": ["local"]}}}

    def test_it_is_in_front_of_every_command(self):
        client = self.client()
        for how in ({"command": "echo $RUNNER"}, {"argv": ["sh", "-c", "echo $RUNNER"]}, {"name": "seen"}):
            with self.subTest(how=how):
                self.assertEqual(self.ok(client.request({"cmd": "exec", **how}))[1], b"here\n")

    def test_in_the_text_dialect_too(self):
        client = self.client()
        client.send(b"echo $RUNNER\nquit\n")
        self.assertEqual(client.recv_until_eof(), b"here\n")
