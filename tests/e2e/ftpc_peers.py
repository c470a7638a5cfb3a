"""Peers for tests of ftpc: a server whose answers a test writes, and a proxy that breaks connections."""

import json
import select
import socket
import struct
import threading

from ftpd_client import frame
from ftpd_harness import PATIENCE


class Listener:
    """Accepts on a port of its own and serves each connection in turn. A context manager."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept_all, daemon=True)
        self.failures = []

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)
        if kind is None and self.failures:
            raise AssertionError(self.failures)

    def accept_all(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(PATIENCE)
                try:
                    self.serve(peer)
                except OSError:
                    pass
                except Exception as failure:  # for the test's own thread
                    self.failures.append(repr(failure))

    def serve(self, peer):
        raise NotImplementedError


class Wire:
    """Frames on a connection, as a server reads and writes them. Bodies are counted, not kept, beyond 1 MiB."""

    def __init__(self, peer):
        self.peer = peer
        self.file = peer.makefile("rb")

    def read(self):
        """A frame: (header, body)."""
        length = self.file.read(4)
        if len(length) < 4:
            raise OSError("the client has gone")
        header = json.loads(self.file.read(struct.unpack("<i", length)[0]))
        left, kept = header.get("data_size", 0), b""
        while left > 0:
            piece = self.file.read(min(left, 65536))
            if not piece:
                raise OSError("the client has gone")
            left -= len(piece)
            if len(kept) < 1 << 20:
                kept += piece
        return header, kept

    def read_message(self):
        """All frames of a message: ([header, ...], body)."""
        headers, whole = [], b""
        while True:
            header, body = self.read()
            headers.append(header)
            whole += body
            if not header.get("more"):
                return headers, whole

    def write(self, header, body=b""):
        self.peer.sendall(frame({"data_size": len(body), **header}, body))

    def close(self):
        """The end, without a reset that could overtake what was written."""
        self.peer.shutdown(socket.SHUT_WR)
        while self.peer.recv(65536):
            pass


class ScriptedServer(Listener):
    """`script(wire, number)` speaks on connection `number`, the first is 0. What came is in `messages`."""

    def __init__(self, script):
        super().__init__()
        self.script = script
        self.number = 0

    def serve(self, peer):
        number, self.number = self.number, self.number + 1
        wire = Wire(peer)
        try:
            self.script(wire, number)
            wire.close()
        finally:
            wire.file.close()


class CuttingProxy(Listener):
    """Passes on to `target` (host, port), and cuts connection number n when cuts[n] bytes have gone `way`
    ("up" to the server, "down" to the client). Later connections live. `passed` counts bytes that way."""

    def __init__(self, target, way, cuts):
        super().__init__()
        self.target, self.way, self.cuts = target, way, list(cuts)
        self.passed = 0
        self.sent = 0  # to the server
        self.connections = 0

    def serve(self, peer):
        self.connections += 1
        limit = self.cuts.pop(0) if self.cuts else None
        with socket.create_connection(self.target) as server:
            self.pass_on(peer, server, limit)

    def pass_on(self, client, server, limit):
        others = {client: server, server: client}
        while True:
            readable, _, _ = select.select(list(others), [], [], PATIENCE)
            for source in readable:
                counted = source is (client if self.way == "up" else server)
                data = source.recv(min(limit, 65536) if limit is not None and counted else 65536)
                if not data:
                    return
                if counted:
                    self.passed += len(data)
                    limit = self.left(limit, data)
                    if limit is not None and limit < 0:
                        return
                self.sent += len(data) if source is client else 0
                others[source].sendall(data)
                if limit == 0 and counted:
                    return

    def left(self, limit, data):
        """What of the limit is left behind `data`; below 0 it is not passed on."""
        return None if limit is None else limit - len(data)


class AnswerEater(CuttingProxy):
    """Passes one answer to the first client on, and cuts the connection when the next one comes."""

    def __init__(self, target):
        super().__init__(target, "down", [1 << 16])
        self.answers = 0

    def left(self, limit, data):
        if limit is None:
            return None
        self.answers += 1
        return limit if self.answers == 1 else -1
