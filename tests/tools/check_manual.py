#!/usr/bin/env python3
"""Compares the manuals with the daemon: check_manual.py BUILD. The last line is `N passed, N failed`.

What ftpd.toml(5), ftpd(8) and ftpd-protocol(7) list (keys and defaults, options, commands, error codes,
counters) is what the programs have, and the files that README.md's tour names are in the tree.
"""

import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 20 * float(os.environ.get("FTPD_TEST_SLOW", "1"))


def manual(page):
    return (TOP / "man" / page).read_text(encoding="utf-8")


def section(text, title, macro="Sh"):
    """From a heading to the next of its kind or a larger one."""
    ends = r"^\.Sh |\Z" if macro == "Sh" else r"^\.S[hs] |\Z"
    match = re.search(rf"^\.{macro} {re.escape(title)}\n(.*?)(?={ends})", text, re.DOTALL | re.MULTILINE)
    if match is None:
        raise AssertionError(f"there is no section {title}")
    return match[1]


def items(text, depth=1):
    """The arguments of each .It in the lists of that depth, without the macro's words of markup."""
    level = 0
    for line in text.splitlines():
        level += line.startswith(".Bl ")
        level -= line.startswith(".El")
        if level == depth and line.startswith(".It "):
            yield re.sub(r"\b(Cm|Fl|Ar|No|Ns|Op|Dv) ?", "", line[4:]).replace(r"\(dq", '"')


def words(text):
    """What is marked as a word of the protocol: .Cm, alone or behind .It."""
    found = set()
    for line in text.splitlines():
        if re.match(r"\.(It )?Cm ", line):
            found.update(re.findall(r"[a-z][a-z0-9_]+", line))
    return found


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def same(documented, real, what):
    documented, real = set(documented), set(real)
    missing, extra = sorted(real - documented), sorted(documented - real)
    assert not missing, f"{what} not in the manual: {missing}"
    assert not extra, f"{what} in the manual, and nowhere else: {extra}"


class Served:
    """The daemon with everything allowed, asked over one connection."""

    def __init__(self, build, directory):
        self.process = subprocess.Popen(
            [build / "ftpd", "-c", self.settings(directory)], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if match := re.search(r"listening address=127\.0\.0\.1:(\d+)", line):
                self.socket = socket.create_connection(("127.0.0.1", int(match[1])), timeout=PATIENCE)
                self.stream = self.socket.makefile("rb")
                return
        raise AssertionError("the daemon does not listen")

    @staticmethod
    def settings(directory):
        file = pathlib.Path(directory) / "ftpd.toml"
        file.write_text(f'[[listen]]\naddress = "127.0.0.1:0"\n[role.local]\nroot = "{directory}/root"\n'
                        'allow = ["read", "write", "delete", "exec", "shell", "admin"]\n', encoding="utf-8")
        return file

    def ask(self, **header):
        text = json.dumps(header).encode()
        self.socket.sendall(struct.pack("<i", len(text)) + text)
        reply = json.loads(self.stream.read(struct.unpack("<i", self.stream.read(4))[0]))
        return reply, self.stream.read(reply["data_size"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)


def check_every_key_is_documented_with_its_default(build, directory):
    file = pathlib.Path(directory) / "keys.toml"
    file.write_text("[command.any]\nargv = [\"true\"]\n", encoding="utf-8")
    documented, real = {}, {}
    page = manual("ftpd.toml.5")
    for table, title in (("[server]", "THE TABLE [server]"), ("[[listen]]", "THE TABLES [[listen]]"),
                         ("[role.local]", "THE TABLES [role.NAME]"),
                         ("[command.any]", "THE TABLES [command.NAME]")):
        for item in items(section(page, title)):
            key, _, default = item.partition(" = ")
            documented[f"{table} {key}"] = default
    table = ""
    for line in run(build / "ftpd", "-c", str(file), "--print-config").splitlines():
        if line.startswith("["):
            table = line
        elif match := re.match(r"(\w+) = (.*?)\s+# ", line):
            real[f"{table} {match[1]}"] = match[2]
    same(documented, real, "keys")
    del real["[command.any] argv"]  # which has no default
    wrong = {key: (documented[key], real[key]) for key in real if documented[key] != real[key]}
    assert not wrong, f"defaults (manual, daemon): {wrong}"


def check_the_example_of_settings_is_accepted(build, directory):
    example = re.search(r"^\.Bd [^\n]*\n(.*?)^\.Ed", section(manual("ftpd.toml.5"), "EXAMPLES"),
                        re.DOTALL | re.MULTILINE)
    file = pathlib.Path(directory) / "example.toml"
    file.write_text(example[1], encoding="utf-8")
    run(build / "ftpd", "-c", file, "--print-config")


def check_the_options_are_those_of_help(build, _):
    described = re.findall(r"^\.It Fl (.*)$", section(manual("ftpd.8"), "DESCRIPTION"), re.MULTILINE)
    documented = {f"-{name}" for names in described for name in re.findall(r"(?:^|, )(-?[\w-]+)", names)}
    real = set()
    for line in run(build / "ftpd", "--help").splitlines():
        if match := re.match(r"  (?:(-\w), |    )(--[\w-]+)", line):
            real.update(option for option in match.groups() if option)
    same(documented, real, "options")


def check_the_commands_are_those_of_hello(build, directory):
    page = manual("ftpd-protocol.7")
    documented = {"exec", *items(section(page, "FILE COMMANDS")), *items(section(page, "Others", "Ss"))}
    not_built = re.search(r"^\.It commands\n(.*)$", section(page, "NOT BUILT IN THIS VERSION"), re.MULTILINE)
    with Served(build, directory) as daemon:
        hello, _ = daemon.ask(cmd="hello")
        same(documented, hello["commands"], "commands")
        same(words(section(page, "Others", "Ss")) & set(hello["limits"]), hello["limits"], "limits")
        stats = json.loads(daemon.ask(cmd="stats")[1])
        missing = set(stats) - words(section(page, "Others", "Ss"))
        assert not missing, f"counters not in the manual: {sorted(missing)}"
        for command in re.findall(r"\w+", not_built[1]):
            reply, _ = daemon.ask(cmd=command)
            assert reply.get("error") == "unsupported", f"{command} is said not to be built: {reply}"


def check_the_error_codes_are_all_there(*_):
    source = (TOP / "src/wire/status.cpp").read_text(encoding="utf-8")
    real = re.findall(r"case Status::\w+: return \"(\w+)\";", source)
    page = section(manual("ftpd-protocol.7"), "Errors", "Ss")
    documented = {code for item in items(page) for code in item.split(" , ")}
    same(documented | words(re.sub(r"^\.Bl .*?^\.El", "", page, flags=re.DOTALL | re.MULTILINE)), real, "codes")


def check_the_states_have_the_names_of_the_source(*_):
    source = (TOP / "src/wire/conversation.cpp").read_text(encoding="utf-8")
    real = re.findall(r"case Conversation::State::\w+: return \"(\w+)\";", source)
    same(items(section(manual("ftpd-protocol.7"), "MESSAGE")), [*real, "cmd", "id", "more", "abort", "close"], "states")


def check_the_tour_names_files_that_exist(*_):
    text = (TOP / "README.md").read_text(encoding="utf-8")
    names = re.findall(r"`([\w./*-]+\.(?:h|cpp|py|md|[1-8])|(?:src|include|tests|man|\.ci)/[\w./*-]+)`", text)
    assert len(names) > 30, "the tour is missing"
    lost = [name for name in names
            if not any(TOP.glob(name)) and not any(TOP.glob(f"src/*/{name}")) and not any(TOP.glob(f"include/*/{name}"))]
    assert not lost, f"README.md names what is not in the tree: {lost}"


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else TOP / "build").resolve()
    passed = failed = 0
    for name, check in list(globals().items()):
        if not name.startswith("check_"):
            continue
        with tempfile.TemporaryDirectory(prefix="ftpd-manual-") as directory:
            try:
                check(build, directory)
                passed += 1
            except Exception as error:  # whatever it is, the other checks go on
                failed += 1
                print(f"FAILED {name.removeprefix('check_').replace('_', ' ')}: {error}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
