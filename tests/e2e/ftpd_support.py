"""Helpers for processes, FIFOs and trees of files."""

import errno
import hashlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

PATIENCE = 20 * float(os.environ.get("FTPD_TEST_SLOW", "1"))


def wait_until(predicate, seconds=None, what=""):
    """Polls: only for what no event tells. The predicate's value. `what`: text, or makes one at the end."""
    deadline = time.monotonic() + (seconds or PATIENCE)
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what() if callable(what) else what or predicate}")
        time.sleep(0.005)


def is_gone(pid):
    """No such process, or one that has ended and is not reaped yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def stop_process(pid):
    """SIGSTOP, and waits until every thread has stopped: the signal alone lets others run on a little."""
    def stopped():
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii", errors="replace") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] != "T":
                    return False
        return True

    os.kill(pid, signal.SIGSTOP)
    wait_until(stopped, what="the process stops")


def wait_gone(pid, seconds=None):
    """Waits until the process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return
        raise
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll((seconds or PATIENCE) * 1000):
            raise AssertionError(f"process {pid} still runs")
    finally:
        os.close(descriptor)


class Fifo:
    """A FIFO that a command writes lines to (`echo $$ >FIFO`) or waits at (`read x <FIFO`)."""

    def __init__(self, directory, name="fifo"):
        self.path = os.path.join(directory, name)
        os.mkfifo(self.path)
        # Open for both, so that neither side waits for the other to open, and no end is ever seen.
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.pending = b""

    def read_line(self, seconds=None):
        deadline = time.monotonic() + (seconds or PATIENCE)
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
                raise AssertionError(f"nothing was written to {self.path}")
            self.pending += os.read(self.descriptor, 4096)
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode()

    def read_pid(self):
        return int(self.read_line())

    def release(self, count=1):
        """Lets `count` waiting commands go on."""
        os.write(self.descriptor, b"go\n" * count)

    def close(self):
        os.close(self.descriptor)
        os.unlink(self.path)


def tree(root):
    """Relative path -> content of all regular files below `root`, `.ftpd` left out."""
    found = {}
    for directory, names, files in os.walk(root):
        if directory == root and ".ftpd" in names:
            names.remove(".ftpd")
        for name in files:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read()
    return found


def remove_all(root):
    """Removes everything below `root` but the daemon's own directory."""
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if name == ".ftpd":
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def staged_content(root):
    """The contents of all files in the daemon's own directory below `root`."""
    contents = []
    for directory, _, files in os.walk(os.path.join(root, ".ftpd")):
        for name in files:
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    contents.append(file.read())
            except FileNotFoundError:  # gone by now
                pass
    return contents


def wait_unstaged(root, mark):
    """Until no staged file holds `mark`: what is left of a refused upload goes at once, but behind the reply."""
    wait_until(lambda: not any(mark in content for content in staged_content(root)), what="staged bytes go")


def staged_entries(root):
    """Everything below the daemon's own directory, as paths relative to `root`."""
    found = set()
    for directory, names, files in os.walk(os.path.join(root, ".ftpd")):
        found |= {os.path.relpath(os.path.join(directory, name), root) for name in names + files}
    return found


def hex_digest(kind, content):
    return hashlib.new(kind, content).hexdigest()


def small_file_system(test, size):
    """A directory with a file system of `size` bytes of its own, for one test; skips where none can be had."""
    place = tempfile.mkdtemp(prefix="ftpd-e2e-")
    test.addCleanup(shutil.rmtree, place, True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", place],
                             stderr=subprocess.PIPE, text=True, check=False)
    if mounted.returncode != 0:
        test.skipTest(f"can't mount a file system: {mounted.stderr.strip()}")
    test.addCleanup(subprocess.run, ["umount", "-l", place], check=True)
    return place


def memory_options(test_class):
    """Options of a daemon whose files live in memory, where that can be had: for tests of thousands of
    directories, which a busy disk makes slow."""
    try:
        place = tempfile.mkdtemp(prefix="ftpd-e2e-", dir="/dev/shm")
    except OSError:
        return {}
    test_class.addClassCleanup(shutil.rmtree, place, True)
    return {"root": os.path.join(place, "root")}


def cpu_seconds(pid):
    """User and system time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def anonymous_memory(pid):
    """Bytes of anonymous memory of a process."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("smaps_rollup has no Anonymous line")


def children(pid):
    """The pids of the children of all threads of a process."""
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
        except FileNotFoundError:  # the thread has ended
            pass
    return found
