"""Hostile peers: random bytes, mutated frames, storms of connections. The daemon must stand and answer."""

import random
import struct

from ftpd_harness import DaemonTestCase, frame
from ftpd_support import anonymous_memory, children, wait_until

SEEDS = [
    frame({"cmd": "ping", "id": 5}),
    frame({"cmd": "put", "filename": "h/x", "parents": True}, b"content"),
    frame({"cmd": "put", "filename": "h/y", "more": True}, b"one") + frame({"more": True}, b"two") + frame({}, b"three"),
    frame({"cmd": "get", "filename": "h/x", "offset": 2, "length": 3}),
    frame({"cmd": "ls", "filename": ".", "recursive": True}),
    frame({"cmd": "stat", "filename": "h/x"}),
    frame({"cmd": "exec", "argv": ["true"], "env": {"A": "1"}, "timeout_ms": 1000}, b"input"),
    frame({"cmd": "put", "filename": "h/z", "more": True}) + frame({"abort": True}),
]


def mutate(random_, data):
    data = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        kind = random_.randrange(5)
        place = random_.randrange(len(data)) if data else 0
        if kind == 0 and data:
            data[place] ^= 1 << random_.randrange(8)
        elif kind == 1 and data:
            data[place] = random_.randrange(256)
        elif kind == 2:
            del data[place:place + random_.randint(1, 8)]
        elif kind == 3:
            data[place:place] = random_.randbytes(random_.randint(1, 8))
        elif kind == 4:
            data[place:place] = data[place:place + random_.randint(1, 16)]
    return bytes(data)


class Hostile(DaemonTestCase):
    """exec by argv alone is allowed: no mutation makes a shell line of it."""

    listen = [{"dialect": "frame"}, {"dialect": "both"}]
    role = {"allow": ["read", "write", "exec"], "kill_grace": "200ms"}

    def throw(self, data, listener, ending):
        with self.daemon.client(listener) as client:
            client.send_what_goes(data)
            if ending == "reset":
                client.reset()
            elif ending == "half_close":
                client.half_close()
                client.wait_end()

    def everything_still_works(self):
        for listener in range(len(self.daemon.addresses)):
            with self.daemon.client(listener) as client:
                self.still_works(client)
                self.ok(client.request({"cmd": "put", "filename": "alive"}, b"yes"))
                self.assertEqual(self.ok(client.request({"cmd": "get", "filename": "alive"}))[1], b"yes")
                self.assertEqual(self.ok(client.request({"cmd": "exec", "argv": ["echo", "yes"]}))[1], b"yes\n")

    def test_random_bytes(self):
        for seed in range(150):
            random_ = random.Random(seed)
            data = random_.randbytes(random_.choice((1, 2, 3, 4, 5, 16, 100, 5000)))
            self.throw(data, seed % 2, ("reset", "half_close", "close")[seed % 3])
        self.everything_still_works()

    def test_random_headers_of_a_valid_length(self):
        for seed in range(150):
            random_ = random.Random(seed)
            size = random_.choice((1, 2, 20, 500, 8191))
            data = struct.pack("<i", size) + random_.randbytes(size)
            self.throw(data, seed % 2, ("reset", "half_close", "close")[seed % 3])
        self.everything_still_works()

    def test_mutated_requests(self):
        for seed in range(400):
            random_ = random.Random(seed)
            data = b"".join(mutate(random_, random_.choice(SEEDS)) if random_.random() < 0.5 else random_.choice(SEEDS)
                            for _ in range(random_.randint(1, 6)))
            self.throw(data, seed % 2, ("half_close", "reset", "close")[seed % 3])
        self.everything_still_works()

    def test_truncations_of_every_request(self):
        for data in SEEDS:
            for size in range(1, len(data), 3):
                self.throw(data[:size], 0, "reset")
        self.everything_still_works()

    def test_a_storm_of_connections(self):
        for _ in range(20):
            clients = [self.daemon.client() for _ in range(50)]
            for number, client in enumerate(clients):
                if number % 3 == 0:
                    client.send_frame({"cmd": "ping"})
                elif number % 3 == 1:
                    client.send(b"\x10")
            for number, client in enumerate(clients):
                client.reset() if number % 2 else client.close()
        self.everything_still_works()

    def test_announced_sizes_allocate_nothing(self):
        self.everything_still_works()
        before = anonymous_memory(self.daemon.pid)
        clients = []
        for _ in range(200):
            client = self.client()
            client.send_frame({"cmd": "ping", "data_size": 2**53 - 1})
            clients.append(client)
        self.everything_still_works()
        if not self.daemon.sanitized():
            self.assertLess(anonymous_memory(self.daemon.pid) - before, 16 << 20)

    def test_commands_started_and_abandoned_leave_nothing(self):
        for _ in range(30):
            client = self.daemon.client()
            client.send_frame({"cmd": "exec", "argv": ["sleep", "1000"]})
            client.let_peer_read()
            client.reset()
        self.everything_still_works()
        wait_until(lambda: not children(self.daemon.pid), what="the daemon has no children")

    def test_a_flood_of_tiny_sends(self):
        client = self.client()
        data = frame({"cmd": "ping", "x": "a" * 300}) * 5
        client.send_in_pieces(data, [1] * 200)
        for _ in range(5):
            self.ok(client.recv_reply())

    def test_one_busy_connection_does_not_starve_the_others(self):
        busy = self.client(receive_buffer=4096)
        busy.fill(frame({"cmd": "nonsense"}, b"x" * 4000) * 50, 0.3, 20 << 20)
        with self.daemon.client() as other:
            for _ in range(20):
                self.still_works(other)
