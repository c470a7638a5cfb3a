"""ftpc's transfers: verified from end to end, and resumed where a connection breaks."""

import hashlib
import json
import os
import re
import time

from ftpc_peers import AnswerEater, CuttingProxy, ScriptedServer
from test_client import FtpcTestCase, run_ftpc

LARGE = 3 << 20


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class TransferTestCase(FtpcTestCase):
    def local_names(self):
        return sorted(os.listdir(self.directory))

    def against(self, script, *arguments, **options):
        """ftpc against a scripted server: (what subprocess.run gives, the server)."""
        with ScriptedServer(script) as server:
            return run_ftpc(server.address, *arguments, cwd=self.directory, **options), server

    def result(self, done):
        return json.loads(done.stdout)


class Verified(TransferTestCase):
    def put_script(self, seen, sha256_of_reply=None):
        def script(wire, _number):
            headers, body = wire.read_message()
            seen.append((headers, body))
            reply = {"ok": True, "filename": headers[0]["filename"], "filesize": len(body)}
            if sha256_of_reply:
                reply["sha256"] = sha256_of_reply
            wire.write(reply)
        return script

    def test_a_small_file_goes_out_with_its_digest(self):
        content = os.urandom(1000)
        self.local("f", content)
        seen = []
        done, _ = self.against(self.put_script(seen), "put", "f")
        self.assertEqual(done.returncode, 0, done.stderr)
        (headers, body), = seen
        self.assertEqual((len(headers), headers[0]["sha256"], body), (1, sha256(content), content))

    def test_a_large_file_is_followed_by_its_digest(self):
        content = os.urandom(500000)
        self.local("f", content)
        seen = []
        done, _ = self.against(self.put_script(seen, sha256(content)), "put", "f")
        self.assertEqual(done.returncode, 0, done.stderr)
        (headers, body), = seen
        self.assertEqual(body, content)
        self.assertEqual((headers[0]["digest"], headers[0]["filesize"]), ("sha256", len(content)))
        self.assertEqual((headers[-1]["sha256"], headers[-1]["data_size"]), (sha256(content), 0))

    def test_standard_input_is_followed_by_its_digest(self):
        content = os.urandom(200000)
        seen = []
        done, _ = self.against(self.put_script(seen, sha256(content)), "put", "--to", "f", "-", data=content)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(seen[0][0][-1]["sha256"], sha256(content))

    def test_without_verification_no_digest_is_sent_or_asked_for(self):
        self.local("large", os.urandom(500000))
        self.local("small", b"x")
        seen = []
        for name in ("large", "small"):
            done, _ = self.against(self.put_script(seen), "put", "--no-verify", name)
            self.assertEqual(done.returncode, 0, done.stderr)
        for headers, _body in seen:
            self.assertEqual(len(headers), 1)
            self.assertFalse({"digest", "sha256", "md5", "more"} & set(headers[0]))

        def script(wire, _number):
            header, _ = wire.read()
            self.assertFalse({"digest", "trailer"} & set(header))
            wire.write({"ok": True, "filename": "f", "filesize": 2}, b"hi")
        done, _ = self.against(script, "get", "--no-verify", "f")
        self.assertEqual((done.returncode, self.read_local("f")), (0, b"hi"), done.stderr)

    def test_a_server_that_stored_something_else_is_found_out(self):
        self.local("f", os.urandom(500000))
        for reply, said in ((sha256(b"other"), "checksum_mismatch"), (None, "not verified")):
            done, _ = self.against(self.put_script([], reply), "put", "f")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr.decode(), rf"(?m)^ftpc: put f: {said}")

    def get_script(self, content, told, where):
        def script(wire, _number):
            header, _ = wire.read()
            self.assertEqual((header["digest"], header["trailer"]), ("sha256", True))
            reply = {"ok": True, "filename": "f", "filesize": len(content), "mode": 0o640, "mtime": 5.5}
            if where == "first":
                wire.write({**reply, "sha256": told}, content)
            else:
                wire.write({**reply, "more": True}, content)
                wire.write({"ok": True, "sha256": told} if told else {"ok": True})
        return script

    def test_what_came_is_kept_where_the_digest_agrees(self):
        content = os.urandom(300000)
        for where in ("first", "trailer"):
            done, _ = self.against(self.get_script(content, sha256(content).upper(), where), "--json", "get", "f")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.read_local("f"), content)
            self.assertEqual(self.result(done)["sha256"].lower(), sha256(content))
            os.unlink(os.path.join(self.directory, "f"))

    def test_nothing_is_kept_where_the_digest_differs_or_is_missing(self):
        for where, told, said in (("first", sha256(b""), "checksum_mismatch"),
                                  ("trailer", sha256(b""), "checksum_mismatch"), ("trailer", None, "not verified")):
            with self.subTest(where=where, told=told):
                done, _ = self.against(self.get_script(b"content", told, where), "--json", "get", "f")
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr.decode(), rf"(?m)^ftpc: get f: {said}")
                self.assertFalse(self.result(done)["ok"])
                self.assertEqual(self.local_names(), [])

    def test_the_digest_is_in_the_results(self):
        content = os.urandom(LARGE)
        self.local("a", content)
        self.assertEqual(self.result(self.ftpc("--json", "put", "a"))["sha256"], sha256(content))
        self.assertEqual(self.result(self.ftpc("--json", "get", "a", "b"))["sha256"], sha256(content))

    def test_a_mixture_of_sizes_on_one_connection(self):
        names = []
        for number in range(60):
            names.append(f"m{number}")
            self.local(names[-1], os.urandom((number % 7) * 20000))
        self.ftpc("put", "--to", "mixed/", *names, status=1)  # no such directory: each is told, none is lost
        self.ftpc("mkdir", "-p", "mixed")
        self.ftpc("put", "--to", "mixed", *names)
        for name in names:
            self.assertEqual(self.daemon.read(f"mixed/{name}"), self.read_local(name))


class Resumed(TransferTestCase):
    def through(self, way, cuts, *arguments, status=0):
        """ftpc through a proxy: (what subprocess.run gives, the proxy)."""
        with CuttingProxy(self.daemon.addresses[0], way, cuts) as proxy:
            done = run_ftpc(proxy.address, *arguments, cwd=self.directory)
        self.assertEqual(done.returncode, status, (done.stdout[-500:], done.stderr[-2000:]))
        return done, proxy

    def upload_name(self, local, remote):
        path = os.path.join(self.directory, local)
        about = os.stat(path)
        seconds, rest = divmod(about.st_mtime_ns, 10**9)
        key = f"{remote}\0{path}\0{about.st_size} {about.st_ino} {seconds}.{rest:09}"
        return "ftpc-" + sha256(key.encode())[:32]

    def hold(self, upload, filename, content, filesize):
        """Leaves an unfinished upload with the daemon."""
        with self.daemon.client() as client:
            client.send_frame({"cmd": "put", "filename": filename, "upload": upload, "data_size": filesize})
            client.send(content)
        deadline = time.monotonic() + 20
        while True:
            header, _ = self.request({"cmd": "stat", "upload": upload})
            if header.get("offset") == len(content):
                return
            self.assertLess(time.monotonic(), deadline, header)
            time.sleep(0.01)

    def test_a_broken_put_goes_on_where_it_stopped(self):
        content = os.urandom(8 << 20)
        self.local("up.bin", content)
        done, proxy = self.through("up", [3 << 20, 2 << 20], "--json", "put", "--resume", "up.bin")
        self.assertEqual(self.daemon.read("up.bin"), content)
        self.assertEqual(proxy.connections, 3)
        self.assertLess(proxy.passed, 12 << 20)
        self.assertIn(b"ftpc: put up.bin: ", done.stderr)
        self.assertIn(b"trying again", done.stderr)
        self.assertGreater(self.result(done)["resumed_at"], 0)
        self.assertEqual(self.result(done)["sha256"], sha256(content))

    def test_a_put_goes_on_with_what_an_earlier_one_left(self):
        content = os.urandom(1 << 20)
        self.local("left.bin", content)
        self.hold(self.upload_name("left.bin", "left.bin"), "left.bin", content[:700000], len(content))
        done = self.ftpc("--json", "put", "--resume", "left.bin")
        self.assertEqual(self.result(done)["resumed_at"], 700000)
        self.assertEqual(self.daemon.read("left.bin"), content)

    def test_a_put_does_not_go_on_with_other_bytes(self):
        content = os.urandom(1 << 20)
        self.local("other.bin", content)
        self.hold(self.upload_name("other.bin", "other.bin"), "other.bin", b"x" * 700000, len(content))
        done = self.ftpc("--json", "put", "--resume", "other.bin")
        self.assertIn(b"starting again", done.stderr)
        self.assertNotIn("resumed_at", self.result(done))
        self.assertEqual(self.daemon.read("other.bin"), content)

    def test_several_files_of_any_size_are_put_though_connections_break(self):
        names = []
        for number, size in enumerate((0, 10, 2 << 20, 100000, 1 << 20)):
            names.append(f"several{number}")
            self.local(names[-1], os.urandom(size))
        self.through("up", [500000, 1 << 20, 300000], "put", "--resume", *names)
        for name in names:
            self.assertEqual(self.daemon.read(name), self.read_local(name))

    def test_a_put_whose_answer_was_lost_is_not_sent_twice(self):
        content = os.urandom(1 << 20)
        self.local("lost.bin", content)
        with AnswerEater(self.daemon.addresses[0]) as proxy:  # the answer to `stat` passes, that to `put` does not
            done = run_ftpc(proxy.address, "--json", "put", "--resume", "lost.bin", cwd=self.directory)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.daemon.read("lost.bin"), content)
        self.assertEqual(self.result(done)["sha256"], sha256(content))
        self.assertEqual(proxy.connections, 2)
        self.assertIn(b"trying again", done.stderr)
        self.assertLess(proxy.sent, 1500000)

    def test_a_broken_get_goes_on_where_it_stopped(self):
        content = os.urandom(8 << 20)
        self.daemon.write("down.bin", content)
        done, proxy = self.through("down", [3 << 20, 2 << 20], "get", "--resume", "down.bin")
        self.assertEqual(self.read_local("down.bin"), content)
        self.assertEqual(self.local_names(), ["down.bin"])
        self.assertEqual(proxy.connections, 3)
        self.assertLess(proxy.passed, 9 << 20)
        self.assertIn(b"trying again", done.stderr)

    def test_a_get_goes_on_with_the_part_that_is_there(self):
        content = os.urandom(1 << 20)
        self.daemon.write("part.bin", content)
        for size in (700000, len(content)):
            self.local(".part.bin.ftpc-part", content[:size])
            done = self.ftpc("--json", "get", "--resume", "part.bin")
            self.assertEqual(self.result(done)["resumed_at"], size)
            self.assertEqual(self.read_local("part.bin"), content)
            self.assertEqual(self.local_names(), ["part.bin"])

    def test_a_part_of_something_else_is_thrown_away(self):
        content = os.urandom(1 << 20)
        self.daemon.write("changed.bin", content)
        for part in (b"x" * 700000, b"x" * (2 << 20)):
            self.local(".changed.bin.ftpc-part", part)
            done = self.ftpc("get", "--resume", "changed.bin")
            self.assertIn(b"starting again", done.stderr)
            self.assertEqual(self.read_local("changed.bin"), content)
            self.assertEqual(self.local_names(), ["changed.bin"])

    def test_a_get_that_lies_twice_ends_and_keeps_nothing(self):
        def script(wire, _number):
            while True:
                header, _ = wire.read()
                wire.write({"ok": True, "filename": "f", "filesize": 10, "more": True},
                           b"0123456789"[header.get("offset", 0):])
                wire.write({"ok": True, "sha256": sha256(b"other")})
        self.local(".f.ftpc-part", b"0123")
        done, server = self.against(script, "get", "--resume", "f")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"checksum_mismatch", done.stderr)
        self.assertEqual((self.local_names(), server.number), ([], 1))

    def test_a_server_that_never_gets_further_is_given_up_and_the_part_stays(self):
        def script(wire, number):
            wire.read()
            if number == 0:
                wire.write({"ok": True, "filename": "f", "filesize": 10, "data_size": 10, "more": True})
                wire.peer.sendall(b"0123")
        done, server = self.against(script, "get", "--resume", "f")
        self.assertEqual(done.returncode, 255, done.stderr)
        self.assertEqual(server.number, 6)
        self.assertEqual(len(re.findall(rb"trying again", done.stderr)), 5)
        self.assertEqual(self.read_local(".f.ftpc-part"), b"0123")

    def test_a_server_that_never_answered_is_not_asked_again(self):
        done, server = self.against(lambda wire, number: wire.read(), "get", "--resume", "f")
        self.assertEqual((done.returncode, server.number, self.local_names()), (255, 1, []), done.stderr)

    def test_a_refusal_ends_it_at_once(self):
        done = self.ftpc("get", "--resume", "missing", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: get missing: not_found: ")
        self.assertEqual(self.local_names(), [])
        self.local("f", b"x" * 100000)
        done = self.ftpc("put", "--resume", "--to", "none/f", "f", status=1)
        self.assertRegex(done.stderr.decode(), r"(?m)^ftpc: put f: not_found: ")

    def test_without_resume_a_broken_get_leaves_nothing(self):
        self.daemon.write("broken.bin", os.urandom(1 << 20))
        self.through("down", [500000], "get", "broken.bin", status=255)
        self.assertEqual(self.local_names(), [])
