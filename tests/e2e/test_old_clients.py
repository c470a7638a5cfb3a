"""The clients that must work unchanged, exactly as they behave on the wire."""

import json
import os
import struct

from ftpd_harness import SLOW, DaemonTestCase, frame, wait_until


def recv_length_reply(client):
    """Client 1: four bytes of length, then that many."""
    (size,) = struct.unpack("=i", client.recv_exact(4))
    return client.recv_exact(size)


def recv_json_reply(client):
    """Client 2: four bytes of length, a JSON header, then `data_size` bytes."""
    (size,) = struct.unpack("=i", client.recv_exact(4))
    header = json.loads(client.recv_exact(size))
    return client.recv_exact(header["data_size"])


def put_header(name, size):
    return frame({"cmd": "put", "filename": name, "filesize": size})


class BareCommands:
    """What clients 1 and 2 have in common: a bare command of at most 1,024 bytes, no line end."""

    def recv(self, client):
        raise NotImplementedError

    def ask(self, client, command):
        client.send(command)
        return self.recv(client)

    def test_one_command_after_the_other(self):
        client = self.client()
        for number in range(20):
            self.assertEqual(self.ask(client, b"echo %d" % number), b"%d\n" % number)

    def test_an_empty_output_is_answered(self):
        client = self.client()
        self.assertEqual(self.ask(client, b"true"), b"")
        self.assertEqual(self.ask(client, b"cd /"), b"")
        self.assertEqual(self.ask(client, b"echo x"), b"x\n")

    def test_errors_take_the_place_of_output(self):
        client = self.client()
        self.assertEqual(self.ask(client, b"echo out; echo err >&2"), b"err\n")
        self.assertEqual(self.ask(client, b"echo err >&2; false"), b"err\n")
        self.assertEqual(self.ask(client, b"echo out; false"), b"out\n")

    def test_two_bytes_are_a_command(self):
        client = self.client()
        self.assertIn(b"not found", self.ask(client, b"qq"))
        self.daemon.write("seen", b"")
        self.assertIn(b"seen", self.ask(client, b"ls"))

    def test_a_command_of_1024_bytes(self):
        client = self.client()
        text = b"a" * (1024 - 5)
        self.assertEqual(self.ask(client, b"echo " + text), text + b"\n")

    def test_binary_and_large_output(self):
        content = bytes(range(256)) * 20000
        self.daemon.write("binary", content)
        self.assertEqual(self.ask(self.client(), b"cat binary"), content)

    def test_commands_in_one_send_with_line_ends(self):
        client = self.client()
        client.send(b"echo a\n\ntrue\r\necho b\n")
        self.assertEqual([self.recv(client) for _ in range(3)], [b"a\n", b"", b"b\n"])

    def test_the_end_of_input_is_not_the_end_of_the_client(self):
        client = self.client()
        client.send(b"sleep 0.2; echo a")
        client.half_close()
        self.assertEqual(self.recv(client), b"a\n")
        client.expect_eof()

    def test_quit_closes(self):
        client = self.client()
        client.send(b"quit\n")
        client.wait_end()


class Client1(BareCommands, DaemonTestCase):
    listen = {"text_reply": "length"}

    def recv(self, client):
        return recv_length_reply(client)


class Client2(BareCommands, DaemonTestCase):
    listen = {"text_reply": "json"}

    def recv(self, client):
        return recv_json_reply(client)

    def test_the_header_holds_the_size_alone(self):
        client = self.client()
        client.send(b"echo abc")
        (size,) = struct.unpack("<i", client.recv_exact(4))
        self.assertEqual(json.loads(client.recv_exact(size)), {"data_size": 4})
        self.assertEqual(client.recv_exact(4), b"abc\n")


class Client3(DaemonTestCase):
    """Uploads one file after the other on one connection, never reads, and closes."""

    COUNT = 5000

    def close_unread(self, client):
        client.flush()
        client.close()

    def test_thousands_of_uploads_by_a_client_that_never_reads(self):
        client = self.client(receive_buffer=4096)
        for number in range(self.COUNT):
            content = b"content of %d\n" % number * (number % 7)
            client.send(put_header(f"many/{number:04d}", len(content)) + content if number else
                        frame({"cmd": "put", "filename": "many/0000", "filesize": 0, "parents": True}))
        self.close_unread(client)
        last = f"many/{self.COUNT - 1:04d}"
        wait_until(lambda: os.path.exists(self.daemon.path(last)), 40 * SLOW, "the last file")
        expected = {f"many/{number:04d}" for number in range(self.COUNT)}
        wait_until(lambda: expected <= set(self.daemon.files()), 10 * SLOW,
                   lambda: f"{len(expected - set(self.daemon.files()))} of {self.COUNT} files are missing")
        for number in range(0, self.COUNT, 97):
            self.assertEqual(self.daemon.read(f"many/{number:04d}"), b"content of %d\n" % number * (number % 7))

    def test_large_files_in_small_writes(self):
        client = self.client()
        contents = {f"large{i}": bytes([i]) * (3 << 20) for i in range(3)}
        for name, content in contents.items():
            client.send(put_header(name, len(content)))
            for position in range(0, len(content), 1024 * 64):
                client.send(content[position:position + 1024 * 64])
        self.close_unread(client)
        wait_until(lambda: contents.items() <= self.daemon.files().items(), what="the large files")

    def test_a_refused_upload_does_not_stop_the_next(self):
        client = self.client()
        client.send(put_header("../bad", 5) + b"12345" + put_header("after-bad", 5) + b"12345")
        self.close_unread(client)
        wait_until(lambda: "after-bad" in self.daemon.files(), what="the upload behind the refused one")

    def test_the_length_and_header_in_sends_of_their_own(self):
        client = self.client()
        data = put_header("pieces", 5)
        client.send_in_pieces(data + b"12345", [4, len(data) - 4])
        self.close_unread(client)
        wait_until(lambda: self.daemon.files().get("pieces") == b"12345", what="the file")


class Client3Durable(Client3):
    COUNT = 1000  # each is flushed to the disk
    role = {"durability": "fsync"}
