"""kill -9 at random points of many uploads: whole or not there, and what was answered is there."""

import io
import os
import random
import tarfile
import threading

from ftpd_harness import Daemon, ReplyAssertions
from ftpd_support import hex_digest, staged_content, staged_entries

MARK = b"upload "
PIECE = 64 << 10


def content_of(kind, name, version, size):
    """Content that says what it is, and can be made again."""
    start = MARK + f"{kind} {name} {version} {size}\n".encode()
    return start + random.Random(start).randbytes(size)


class Ticks:
    """Counts what the uploaders do, for a moment to kill at."""

    def __init__(self):
        self.changed = threading.Condition()
        self.count = 0

    def tick(self):
        with self.changed:
            self.count += 1
            self.changed.notify_all()

    def wait(self, count, seconds=20):
        with self.changed:
            self.changed.wait_for(lambda: self.count >= count, seconds)


class Uploader(threading.Thread):
    """Uploads on a connection of its own, one after the other, until the daemon is gone."""

    def __init__(self, kind, daemon, seed, ticks):
        super().__init__()
        self.kind, self.daemon_, self.ticks = kind, daemon, ticks
        self.chance = random.Random(f"{kind} {seed}")
        self.round = seed
        self.attempts = {}  # name -> contents (of a tree: a dictionary of them), oldest first
        self.answered = {}  # name -> index of the last one that was answered
        self.refused = []

    def run(self):
        try:
            with self.daemon_.client() as client:
                for number in range(1000):
                    self.upload(client, number)
        except OSError:  # it was killed
            pass

    def upload(self, client, number):
        name, fields, content = getattr(self, "next_" + self.kind)(number)
        body = content if isinstance(content, bytes) else tar_of(content)
        self.attempts.setdefault(name, []).append(content)
        client.send_frame({"cmd": "put", "filename": name, "data_size": len(body), **fields})
        for start in range(0, len(body), PIECE):
            client.send(body[start:start + PIECE])
            self.ticks.tick()
        header, _ = client.recv_reply()
        if header["ok"]:
            self.answered[name] = len(self.attempts[name]) - 1
        else:
            self.refused.append(header)
        self.ticks.tick()

    def next_small(self, number):
        name = f"small-{number % 3}"
        return name, {}, content_of("small", name, (self.round, number), self.chance.randrange(20000))

    def next_large(self, number):
        name = f"large-{number % 2}"
        return name, {"mode": 0o600}, content_of("large", name, (self.round, number), self.chance.randrange(1 << 20))

    def next_parents(self, number):
        name = f"round-{self.round}/{number}/file"
        return name, {"parents": True}, content_of("parents", name, 0, self.chance.randrange(90000))

    def next_held(self, number):
        name = f"held-{self.round}-{number}"
        content = content_of("held", name, 0, self.chance.randrange(200000, 1500000))
        return name, {"upload": name, "sha256": hex_digest("sha256", content)}, content

    def next_tree(self, number):
        name = f"tree-{self.round}-{number}"
        return name, {"format": "tar"}, {f"d/{part}": content_of("tree", name, part, 30000) for part in range(4)}


def tar_of(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


class Kill(ReplyAssertions):
    patience = 2
    UPLOADS = 200

    def test_durable(self):
        self.kill_again_and_again("fsync", 1)

    def test_not_flushed(self):
        self.kill_again_and_again("none", 2)

    def kill_again_and_again(self, durability, seed):
        chance = random.Random(seed)
        attempts = rounds = 0
        with Daemon(role={"durability": durability}) as daemon:
            kinds = ["small", "large", "parents", "held"] + (["tree"] if self.takes_trees(daemon) else [])
            fresh = len(staged_entries(daemon.root))
            while attempts < self.UPLOADS or rounds < 12:
                ticks = Ticks()
                uploaders = [Uploader(kind, daemon, f"{seed}-{rounds}", ticks) for kind in kinds]
                for uploader in uploaders:
                    uploader.start()
                ticks.wait(chance.randrange(1, 120))
                daemon.process.kill()
                for uploader in uploaders:
                    uploader.join()
                daemon.kill()
                daemon.start()
                for uploader in uploaders:
                    with self.subTest(kind=uploader.kind, round=rounds):
                        self.check(daemon, uploader)
                self.assertFalse([c[:60] for c in staged_content(daemon.root) if c.startswith(MARK) and
                                  not c.startswith(MARK + b"held")])
                self.finish_held(daemon, uploaders[3])
                self.assertFalse([c[:60] for c in staged_content(daemon.root) if MARK in c])
                attempts += sum(len(contents) for uploader in uploaders for contents in uploader.attempts.values())
                rounds += 1
            self.assertLessEqual(len(staged_entries(daemon.root)), fresh, staged_entries(daemon.root))

    def takes_trees(self, daemon):
        """Whether there are trees at all; and some uploads, so that what they need is there."""
        with daemon.client() as client:
            self.ok(client.put("first", b"x" * 100000))
            self.ok(client.put("second", b"x" * 100000, upload="second"))
            return client.put("tree", tar_of({"x": b""}), format="tar")[0]["ok"]

    def check(self, daemon, uploader):
        self.assertEqual(uploader.refused, [])
        for name, contents in uploader.attempts.items():
            answered = uploader.answered.get(name, -1)
            there = self.visible(daemon, name)
            if there is None:
                self.assertEqual(answered, -1, f"{name} was answered and is gone")
            elif there not in contents[max(answered, 0):]:
                # A name of the round before may still have what was answered then.
                self.assertEqual(answered, -1, f"{name} is older than answered, or no whole version")
                self.assertTrue(self.is_whole(name, there), f"{name} is no whole version")

    def visible(self, daemon, name):
        path = daemon.path(name)
        if os.path.isdir(path):
            return {key[len(name) + 1:]: value for key, value in daemon.files().items() if key.startswith(name + "/")}
        return daemon.read(name) if os.path.exists(path) else None

    @staticmethod
    def is_whole(name, content):
        """Whether it is what its first line says."""
        if not isinstance(content, bytes):
            return False
        start = content.split(b"\n", 1)[0] + b"\n"
        size = int(start.rsplit(b" ", 1)[1])
        return f" {name} ".encode() in start and content == start + random.Random(start).randbytes(size)

    def finish_held(self, daemon, uploader):
        """Goes on with every upload that was not answered: what is held is a true beginning."""
        with daemon.client() as client:
            for name, (content,) in uploader.attempts.items():
                header, _ = client.call("stat", upload=name, digest="sha256")
                if name in uploader.answered:
                    self.refused((header, b""), "not_found")
                    continue
                offset = header["offset"] if header["ok"] else 0
                self.assertEqual(header.get("sha256", hex_digest("sha256", b"")), hex_digest("sha256", content[:offset]))
                self.ok(client.put(name, content[offset:], upload=name, offset=offset, filesize=len(content),
                                   sha256=hex_digest("sha256", content)))
                self.assertEqual(daemon.read(name), content)
