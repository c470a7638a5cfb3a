"""A client that checks every reply against the protocol, and can misbehave in all the ways tests need."""

import fcntl
import json
import os
import select
import socket
import struct
import termios
import time

PATIENCE = 20 * float(os.environ.get("FTPD_TEST_SLOW", "1"))
MAX_HEADER = 8191

ERRORS = frozenset(
    "bad_frame bad_request unknown_command unsupported auth_required auth_failed denied not_found exists "
    "is_directory not_directory not_empty too_large quota_exceeded no_space checksum_mismatch "
    "offset_mismatch busy timeout aborted io_error shutting_down".split())

TCP_STATES = ("", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE",
              "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV")


def encode(header):
    """A header as bytes. Bytes are taken as they are: for headers that are wrong on purpose."""
    if isinstance(header, bytes):
        return header
    return json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def frame(header, body=b"", **fields):
    """length, header, body. `data_size` is added where there is a body and nothing announces it."""
    if isinstance(header, dict):
        header = {**header, **fields}
        if body and "data_size" not in header and "filesize" not in header:
            header["data_size"] = len(body)
    text = encode(header)
    return struct.pack("<i", len(text)) + text + body


def message(header, parts=(), **last):
    """A request in several frames: a part of the body in each, then a last one without a body, with the
    fields `last` (a digest, an abort)."""
    parts = list(parts) or [b""]
    frames = []
    for number, part in enumerate(parts):
        fields = {**header} if number == 0 else {}
        fields["more"] = True
        if part or "filesize" in fields:
            fields["data_size"] = len(part)
        frames.append(frame(fields, part))
    return b"".join(frames) + frame(last)


def check_reply(header):
    """What holds for every reply header."""
    if not isinstance(header.get("ok"), bool):
        raise AssertionError(f"a reply without ok: {header}")
    size = header.get("data_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise AssertionError(f"a reply without data_size: {header}")
    if header["ok"]:
        return
    if header.get("error") not in ERRORS or not isinstance(header.get("message"), str):
        raise AssertionError(f"a failure without error or message: {header}")
    if size and "reason" not in header:
        raise AssertionError(f"a failure with a body: {header}")


class Client:
    """One connection. A context manager."""

    def __init__(self, address, timeout=PATIENCE, receive_buffer=None):
        family = socket.AF_UNIX if isinstance(address, str) else (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.sock.connect(address)
            if family != socket.AF_UNIX:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    # --- sending ----------------------------------------------------------------------------------
    def send(self, data):
        self.sock.sendall(data)

    def send_frame(self, header, body=b"", **fields):
        self.send(frame(header, body, **fields))

    def send_in_pieces(self, data, sizes):
        """Sends `data` cut into pieces of `sizes` (the rest as the last), each after the peer has read
        the one before, as far as the kernel can tell."""
        position = 0
        for size in sizes:
            self.send(data[position:position + size])
            position += size
            self.let_peer_read()
        if position < len(data):
            self.send(data[position:])

    def send_what_goes(self, data):
        """Sends until all is out or the peer has closed; the number of bytes that went."""
        sent = 0
        view = memoryview(data)
        try:
            while sent < len(data):
                sent += self.sock.send(view[sent:sent + (1 << 18)])
        except (BrokenPipeError, ConnectionResetError):
            pass
        return sent

    def fill(self, chunk, patience=0.5, most=1 << 30):
        """Sends `chunk` again and again until the peer has taken nothing for `patience` seconds; the
        number of bytes sent. For a peer that is expected to stop reading."""
        sent = 0
        self.sock.setblocking(False)
        try:
            while sent < most:
                if not select.select([], [self.sock], [], patience)[1]:
                    break
                sent += self.sock.send(chunk)
        finally:
            self.sock.settimeout(PATIENCE)
        return sent

    def flush(self):
        """Until the peer's kernel has all that was sent: a close with unread replies would drop it."""
        deadline = time.monotonic() + PATIENCE
        unsent = bytearray(4)
        while True:
            fcntl.ioctl(self.sock, termios.TIOCOUTQ, unsent)
            if not any(unsent):
                return
            if time.monotonic() > deadline:
                raise AssertionError("the peer takes no more")
            time.sleep(0.002)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with a reset in place of an orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    # --- receiving --------------------------------------------------------------------------------
    def recv_exact(self, size):
        parts, left = [], size
        while left:
            data = self.sock.recv(min(left, 1 << 20))
            if not data:
                raise ConnectionError(f"the connection ended {left} bytes early: {b''.join(parts)[:200]!r}")
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def recv_header(self):
        (length,) = struct.unpack("<i", self.recv_exact(4))
        if not 1 <= length <= MAX_HEADER:
            raise AssertionError(f"a reply header of {length} bytes")
        header = json.loads(self.recv_exact(length))
        check_reply(header)
        return header

    def recv_reply(self):
        """One reply frame: (header, body)."""
        header = self.recv_header()
        return header, self.recv_exact(header["data_size"])

    def recv_message(self):
        """All frames of one reply message."""
        frames = [self.recv_reply()]
        while frames[-1][0].get("more"):
            frames.append(self.recv_reply())
        return frames

    def recv_until_eof(self):
        parts = []
        while data := self.sock.recv(1 << 20):
            parts.append(data)
        return b"".join(parts)

    def request(self, header, body=b"", **fields):
        self.send_frame(header, body, **fields)
        return self.recv_reply()

    def call(self, command, name=None, **fields):
        """A request without a body, about `name`: its one reply."""
        return self.request({"cmd": command, **({} if name is None else {"filename": name}), **fields})

    def put(self, name, body=b"", **fields):
        return self.request({"cmd": "put", "filename": name, "data_size": len(body), **fields}, body)

    def put_parts(self, name, parts, last=None, **fields):
        """A put whose size is not known: `parts` in a frame each, then a last one with the fields `last`."""
        self.send(message({"cmd": "put", "filename": name, **fields}, parts, **(last or {})))
        return self.recv_reply()

    def expect_eof(self):
        """The peer closes, in good order, and says nothing more."""
        rest = self.recv_until_eof()
        if rest:
            raise AssertionError(f"unexpected bytes before the end: {rest[:300]!r}")

    def expect_closed(self):
        """The peer closes, if need be with a reset, and says nothing more."""
        try:
            self.expect_eof()
        except (ConnectionResetError, BrokenPipeError):
            pass

    def wait_end(self):
        """Reads until the peer has closed, however, whatever it still says."""
        parts = []
        try:
            while data := self.sock.recv(1 << 20):
                parts.append(data)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return b"".join(parts)

    def expect_silence(self, seconds=0.2):
        """Nothing comes, not even the end, for a while."""
        if select.select([self.sock], [], [], seconds)[0]:
            raise AssertionError(f"unexpected: {self.sock.recv(300)!r}")

    def readable(self, seconds=0):
        return bool(select.select([self.sock], [], [], seconds)[0])

    # --- the peer's view --------------------------------------------------------------------------
    def peer_unread(self):
        """Bytes that lie in the peer's socket, unread. None: there is no such socket."""
        row = self._peer_row()
        return int(row[4].split(":")[1], 16) if row else None

    def peer_state(self):
        """The TCP state of the peer's socket, "ESTABLISHED". None: there is no such socket."""
        row = self._peer_row()
        return TCP_STATES[int(row[3], 16)] if row else None

    def peer_keepalive_seconds(self):
        """When the peer's socket next asks whether we are alive. None: it never does."""
        row = self._peer_row()
        kind, when = row[5].split(":")
        return int(when, 16) / os.sysconf("SC_CLK_TCK") if kind == "02" else None

    def _peer_row(self):
        """The peer's socket in /proc/net/tcp (IPv4 only)."""
        def key(address):
            return "%08X:%04X" % (struct.unpack("=I", socket.inet_aton(address[0]))[0], address[1])
        local, remote = key(self.sock.getpeername()), key(self.sock.getsockname())
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if fields[1] == local and fields[2] == remote:
                    return fields
        return None

    def let_peer_read(self, seconds=0.05):
        """Until the peer has read all, but no longer than this: it may be right not to read."""
        deadline = time.monotonic() + seconds
        while self.peer_unread() and time.monotonic() < deadline:
            time.sleep(0.0005)
