"""The Python examples of README.md run as they are printed."""

import os
import re
import subprocess
import sys
import tempfile

from ftpd_harness import PATIENCE, TOP, Daemon, ReplyAssertions

README = os.path.join(TOP, "README.md")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Readme(ReplyAssertions):
    def test_the_python_examples_run(self):
        if not os.path.exists(README):
            self.skipTest("there is no README.md")
        with open(README, encoding="utf-8") as file:
            blocks = BLOCK.findall(file.read())
        if not blocks:
            self.skipTest("README.md has no Python example")
        with Daemon() as daemon, tempfile.TemporaryDirectory(prefix="ftpd-readme-") as directory:
            for number, block in enumerate(blocks):
                with self.subTest(block=number):
                    code = block.replace("127.0.0.1:8080", daemon.address_text()).replace("8080", str(daemon.port))
                    done = subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True,
                                          timeout=PATIENCE, check=False)
                    self.assertEqual(done.returncode, 0, f"{block}\n{done.stdout}{done.stderr}")
