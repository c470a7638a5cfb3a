#!/usr/bin/env python3
"""check_layers.py over small trees, each with one wrong include planted. Last line: `N passed, N failed`."""

import pathlib
import subprocess
import sys
import tempfile

CHECKER = pathlib.Path(__file__).with_name("check_layers.py")
LAYERS = ["base:", "wire:", "net:base", "store:base", "server:net store wire base", "daemon:server net store wire base"]

GOOD = {
    "include/ftpd/limits.h": "#include <cstdint>\n",
    "include/ftpd/message.h": '#include "ftpd/limits.h"\n',
    "src/base/error.h": "#include <string>\n",
    "src/base/sys.h": "#include <sys/socket.h>\n",
    "src/wire/message.cpp": '#include "ftpd/message.h"\n#include <simdjson.h>\n#include <fmt/format.h>\n',
    "src/net/address.h": '#include <netinet/in.h>\n#include "base/error.h"\n',
    "src/store/store.cpp": '#include <fcntl.h>\n#include "base/sys.h"\n',
    "src/server/server.cpp": '#include "ftpd/message.h"\n  #  include "net/address.h"\n',
    "src/daemon/main.cpp": '// #include "client/no.h"\n#include "base/error.h"\n',
}

# name -> (file, its text, what the complaint must say)
PLANTED = {
    "an arrow that goes up": ("src/base/up.cpp", '#include "net/address.h"\n', "base may not include net"),
    "an arrow between siblings": ("src/store/side.cpp", '#include "net/address.h"\n', "store may not include net"),
    "wire including base": ("src/wire/down.cpp", '#include "base/error.h"\n', "wire may not include base"),
    "base including a public header": ("src/base/x.h", '#include "ftpd/limits.h"\n', "base may not include wire"),
    "a public header including src/": ("include/ftpd/x.h", '#include "wire/utf8.h"\n', "public headers alone"),
    "a socket header in store": ("src/store/x.cpp", "#include <sys/socket.h>\n", "sockets belong to net"),
    "a system call in wire": ("src/wire/x.cpp", "#include <unistd.h>\n", "wire is pure"),
    "a file stream in wire": ("src/wire/x.cpp", "#include <fstream>\n", "wire is pure"),
    "a socket header in a public header": ("include/ftpd/x.h", "#include <arpa/inet.h>\n", "sockets belong"),
    "JSON in net": ("src/net/x.cpp", "#include <simdjson.h>\n", "JSON belongs to wire"),
    "a directory that is no layer": ("src/misc/x.cpp", "", "is in no layer"),
    "a file in no directory": ("src/x.cpp", "", "is in no layer"),
    "an include of what is no layer": ("src/net/x.cpp", '#include "misc/x.h"\n', "misc is no layer"),
    "a relative include": ("src/net/x.cpp", '#include "../base/error.h"\n', "write it from src/"),
    "an include without a layer": ("src/net/x.cpp", '#include "address.h"\n', "write it from src/"),
    "a header that is not there": ("src/net/x.cpp", '#include "base/none.h"\n', "no such header"),
    "our header in angle brackets": ("src/store/x.cpp", "#include <net/address.h>\n", "a header of ours"),
}


def check(tree, layers):
    with tempfile.TemporaryDirectory(prefix="ftpd-layers-") as directory:
        for name, text in tree.items():
            path = pathlib.Path(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        command = [sys.executable, str(CHECKER), "--top", directory, *layers]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def main():
    passed = failed = 0

    def expect(name, condition, result):
        nonlocal passed, failed
        if condition:
            passed += 1
            return
        failed += 1
        print(f"FAILED: {name}: status {result.returncode}\n{result.stdout}{result.stderr}")

    result = check(GOOD, LAYERS)
    wanted = "layers: 9 files, 5 arrows, all pointing down\n"
    expect("a tree without a fault", result.returncode == 0 and result.stdout == wanted, result)
    for name, (file, text, complaint) in PLANTED.items():
        result = check({**GOOD, file: text}, LAYERS)
        one_complaint = result.stderr.count("\n") == 2 and file in result.stderr and complaint in result.stderr
        expect(name, result.returncode == 1 and one_complaint, result)
    result = check(GOOD, ["base:net", *LAYERS[1:]])
    expect("layers in a circle", result.returncode == 1 and "below itself" in result.stderr, result)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
