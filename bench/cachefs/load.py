#!/usr/bin/env python3
"""From mount to an answer of llama-server, against the same server on the plain folder.

    tools/build release cairn cairn-cachefs && tools/assets engine && tools/assets model
    bench/cachefs/load.py --model FILE.gguf --engine-root FOLDER [--rounds N] [--repeat N] [--json FILE]

As root, with /dev/fuse. The model is grown first: its weights become F32 (llama-quantize), and its layers are
repeated until the file passes a GiB; that model talks nonsense, but loads and answers like any of its size. Rounds
alternate; each starts with nothing of either file in the page cache ("cold") or with the file as it is stored read
once before ("warm": ciphertext for the mount). Medians of the seconds from the first command to the first answer.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
LIMIT_S = 300


class Gguf:
    """The parts of a GGUF file (version 3): metadata as bytes by key, tensors as (name, shape and type, offset)."""

    def __init__(self, file):
        self.file = file
        magic, self.version, tensors, pairs = struct.unpack("<4sIQQ", file.read(24))
        assert magic == b"GGUF" and self.version == 3
        self.meta, self.tensors = {}, []
        for _ in range(pairs):
            key, start = self.text(), file.tell()
            self.skip(self.number("I"))
            end = file.tell()
            file.seek(start)
            self.meta[key] = file.read(end - start)
        for _ in range(tensors):
            name, start = self.text(), file.tell()
            file.seek(8 * self.number("I") + 4, os.SEEK_CUR)
            end = file.tell()
            file.seek(start)
            self.tensors.append((name, file.read(end - start), self.number("Q")))
        self.align = struct.unpack("<I", self.meta["general.alignment"][4:])[0] if "general.alignment" in self.meta else 32
        self.data = -(-file.tell() // self.align) * self.align
        offsets = sorted(t[2] for t in self.tensors) + [os.fstat(file.fileno()).st_size - self.data]
        self.sizes = dict(zip(offsets, (b - a for a, b in zip(offsets, offsets[1:]))))

    def number(self, kind):
        return struct.unpack("<" + kind, self.file.read(struct.calcsize(kind)))[0]

    def text(self):
        return self.file.read(self.number("Q")).decode()

    def skip(self, kind):
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if inner in SCALARS:
                self.file.seek(count * struct.calcsize(SCALARS[inner]), os.SEEK_CUR)
            else:
                for _ in range(count):
                    self.skip(inner)
        else:
            self.file.seek(struct.calcsize(SCALARS[kind]), os.SEEK_CUR)


def text(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def repeat_layers(source, target, times):
    with open(source, "rb") as file, open(target, "wb") as out:
        model = Gguf(file)
        count = next(k for k in model.meta if k.endswith(".block_count"))
        layers = struct.unpack("<I", model.meta[count][4:])[0]
        model.meta[count] = model.meta[count][:4] + struct.pack("<I", layers * times)
        tensors = []
        for name, about, offset in model.tensors:
            block = name.split(".") if name.startswith("blk.") else None
            for copy in range(times if block else 1):
                named = ".".join([block[0], str(int(block[1]) + copy * layers), *block[2:]]) if block else name
                tensors.append((named, about, offset))
        out.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(model.meta)))
        for key, value in model.meta.items():
            out.write(text(key) + value)
        at = 0
        for name, about, offset in tensors:
            out.write(text(name) + about + struct.pack("<Q", at))
            at += -(-model.sizes[offset] // model.align) * model.align
        for _, _, offset in tensors:
            out.write(b"\0" * (-out.tell() % model.align))
            file.seek(model.data + offset)
            out.write(file.read(model.sizes[offset]))


class Engine:
    def __init__(self, root):
        self.root = root

    def command(self, folder, *command):
        binds = "".join(f'mount --rbind "{a}" "$0{b}"; ' for a, b in [(folder, "/model"), ("/dev", "/dev"), ("/proc", "/proc")])
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-euc", binds + 'exec chroot "$0" "$@"', str(self.root),
                *map(str, command)]

    @contextlib.contextmanager
    def server(self, folder, name):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        process = subprocess.Popen(self.command(folder, "/usr/bin/llama-server", "--model", f"/model/{name}", "--port", port,
                                                "--ctx-size", 512, "--no-warmup"),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def answer(process, url):
    body = json.dumps({"prompt": "One, two,", "n_predict": 1}).encode()
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        assert process.poll() is None, "llama-server died"
        try:
            with urllib.request.urlopen(urllib.request.Request(url + "/completion", body), timeout=LIMIT_S) as r:
                assert "content" in json.load(r)
                return time.monotonic()
        except OSError:
            time.sleep(0.01)
    raise TimeoutError("no answer")


def page_cache(folder, warm):
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while warm and file.read(1 << 20):
                    pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--engine-root", type=pathlib.Path, required=True)
    parser.add_argument("--repeat", type=int, default=3, help="how often each layer stands in the model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--option", action="append", default=[], help="one more option of the mount, as --option=--mode=streaming")
    parser.add_argument("--folder", type=pathlib.Path, help="where the models are made (default: a new one below /var/tmp)")
    parser.add_argument("--json", type=pathlib.Path)
    a = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="cairn-load.", dir=a.folder or "/var/tmp"))
    try:
        measure(a, work)
    finally:
        shutil.rmtree(work)


def measure(a, work):
    engine, plain, mount, key = Engine(a.engine_root), work / "plain", work / "mount", work / "key"
    plain.mkdir(), mount.mkdir()
    shutil.copy(a.model, plain / "small.gguf")
    subprocess.run(engine.command(plain, "/usr/bin/llama-quantize", "--allow-requantize", "/model/small.gguf",
                                  "/model/f32.gguf", "F32"), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (plain / "small.gguf").unlink()
    repeat_layers(plain / "f32.gguf", plain / "model.gguf", a.repeat)
    (plain / "f32.gguf").unlink()
    subprocess.run([a.bin / "cairn", "model", "encrypt", plain, work / "cipher", "--new-key", key], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def from_plain():
        with engine.server(plain, "model.gguf") as (process, url):
            return answer(process, url)

    def from_mount():
        read_end, write_end = os.pipe()
        fs = subprocess.Popen([a.bin / "cairn-cachefs", "mount", "--source", work / "cipher", "--mountpoint", mount, "--passfile",
                               key, "--ready-fd", str(write_end), *a.option], pass_fds=[write_end], stderr=subprocess.DEVNULL)
        os.close(write_end)
        try:
            assert os.read(read_end, 6) == b"ready\n", "the mount did not come up"
            with engine.server(mount, "model.gguf") as (process, url):
                return answer(process, url)
        finally:
            os.close(read_end)
            fs.terminate()
            fs.wait()

    seconds = {}
    for _ in range(a.rounds):
        for state in ("cold", "warm"):
            for name, stored, run in (("plain", plain, from_plain), ("mount", work / "cipher", from_mount)):
                page_cache(stored, state == "warm")
                started = time.monotonic()
                seconds.setdefault(f"{state} {name}", []).append(run() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"model of {(plain / 'model.gguf').stat().st_size / 2**30:.2f} GiB, {a.rounds} rounds; bar: mount within 1.10 of plain")
    for state in ("cold", "warm"):
        ours, theirs = medians[f"{state} mount"], medians[f"{state} plain"]
        print(f"{state}: plain {theirs:6.2f} s   mount {ours:6.2f} s   ratio {ours / theirs:.2f}")
    if a.json:
        a.json.write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
