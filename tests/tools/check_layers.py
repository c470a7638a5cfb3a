#!/usr/bin/env python3
"""Fails on an #include that breaks the layers: `make layers`.

check_layers.py [--top DIR] LAYER:USES...   e.g. base: wire: reactor:base "net:reactor base"

Each argument is a layer (a directory of src/) and the layers that it may include; the Makefile's
USES_* variables are the one list. include/ftpd belongs to the layer `wire`, and its headers include
each other alone. Some system headers have a home, too (see HOMES).
"""

import argparse
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
PUBLIC = "ftpd"
PUBLIC_LAYER = "wire"

# System headers that only some layers may include, and why the others may not.
HOMES = [
    (
        re.compile(r"(sys/socket|sys/un|netdb)\.h|(netinet|arpa)/.*"),
        {"base", "net", "server", "client", "daemon"},
        "sockets belong to net",
    ),
    (re.compile(r"simdjson\.h"), {"wire", "server", "client"}, "JSON belongs to wire"),
    (re.compile(r"toml\+\+/.*"), {"config"}, "TOML belongs to config"),
    (re.compile(r"CLI/.*"), {"config", "client", "daemon"}, "command lines belong to config and client"),
    (
        # Everything of the system: <unistd.h>, <sys/…>, <linux/…>; C's own headers have C++ names.
        re.compile(r"(?!simdjson\.h$|fmt/).*\.h|fstream|iostream|filesystem|thread|mutex|condition_variable"),
        None,  # all but wire
        "wire is pure: no I/O, no thread, no system call",
    ),
]


def home_error(layer, header):
    for pattern, homes, reason in HOMES:
        if pattern.fullmatch(header):
            misplaced = layer == PUBLIC_LAYER if homes is None else layer not in homes
            if misplaced:
                return f"<{header}>: {reason}"
    return None


def cycle_errors(uses):
    """A layer that is reachable from itself."""

    def below(layer, seen):
        for other in uses.get(layer, ()):
            if other not in seen:
                seen.add(other)
                below(other, seen)
        return seen

    return [f"Makefile: layer {layer} is below itself" for layer in uses if layer in below(layer, set())]


class Checker:
    def __init__(self, top, uses):
        self.top = top
        self.uses = uses
        self.arrows = 0
        self.files = 0
        self.errors = cycle_errors(uses)
        for layer, others in uses.items():
            self.errors += [f"Makefile: {layer} uses unknown layer {o}" for o in others if o not in uses]

    def run(self):
        for path in sorted(self.top.glob("include/**/*")) + sorted(self.top.glob("src/**/*")):
            if path.suffix not in (".h", ".cpp"):
                continue
            self.files += 1
            relative = path.relative_to(self.top)
            is_public = relative.parts[0] == "include"
            layer = PUBLIC_LAYER if is_public else relative.parts[1]
            if layer not in self.uses or len(relative.parts) < 3:
                self.errors.append(f"{relative}: is in no layer (layers: {' '.join(self.uses)})")
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                error = self.judge(layer, is_public, match[1] == '"', match[2])
                if error:
                    self.errors.append(f"{relative}:{number}: {error}")

    def judge(self, layer, is_public, is_quoted, header):
        if not is_quoted:
            if header.split("/")[0] in [*self.uses, PUBLIC] and self.find(header):
                return f'<{header}>: a header of ours is written "{header}"'
            return home_error(layer, header)
        first = header.split("/")[0]
        target = PUBLIC_LAYER if first == PUBLIC else first
        if "/" not in header or first in (".", ".."):
            return f'"{header}": write it from src/ or include/'
        if target not in self.uses:
            return f'"{header}": {first} is no layer (layers: {" ".join(self.uses)})'
        if is_public and first != PUBLIC:
            return f'"{header}": a public header includes public headers alone'
        if not self.find(header):
            return f'"{header}": there is no such header'
        if target == layer:
            return None
        self.arrows += 1
        if target not in self.uses[layer]:
            allowed = " ".join(self.uses[layer]) or "nothing of ours"
            return f'"{header}": {layer} may not include {target}; it may include {allowed}'
        return None

    def find(self, header):
        return (self.top / "src" / header).is_file() or (self.top / "include" / header).is_file()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--top", type=pathlib.Path, default=pathlib.Path("."), help="the tree's root")
    parser.add_argument("layers", nargs="+", metavar="LAYER:USES")
    arguments = parser.parse_args()
    uses = {}
    for argument in arguments.layers:
        layer, _, others = argument.partition(":")
        uses[layer] = others.split()
    checker = Checker(arguments.top, uses)
    checker.run()
    for error in checker.errors:
        print(error, file=sys.stderr)
    if checker.errors:
        print(f"layers: {len(checker.errors)} wrong", file=sys.stderr)
        return 1
    print(f"layers: {checker.files} files, {checker.arrows} arrows, all pointing down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
