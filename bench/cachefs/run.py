#!/usr/bin/env python3
"""cairn-cachefs beside gocryptfs, in one run on the same ciphertext.

    tools/build release cairn cairn-cachefs && tools/root run bench/cachefs/run.py [--gib N] [--rounds N] [--json FILE]

As root, with /dev/fuse; under `nice -n -15` where others use the machine. Rounds of the rivals alternate, so that a noisy
machine is noisy for both; medians are shown. CPU is that of the daemon. The folder (--folder) needs room for five times the
size. --bin takes the programs from elsewhere. --store measures reading from an object store only: a mock with 20 ms before each
answer and 1 GB/s for all answers together, beside curl with as many range requests at once.
"""

import argparse
import json
import mmap
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")
RANDOM_READS = 20_000
FILES = 10_000


def sh(*command, **kwargs):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kwargs)


def cpu_of(pids):
    total = 0
    for pid in pids:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def rss_of(pids):
    for pid in pids:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("RssAnon:"):
                yield int(line.split()[1]) / 1024


class Rival:
    def __init__(self, bench, options=()):
        self.bench, self.options, self.mount = bench, list(options), bench.folder / "gocryptfs"

    def __enter__(self):
        self.mount.mkdir(exist_ok=True)
        before = set(self.pids())  # of other people's mounts
        sh("gocryptfs", "-q", "-nosyslog", "-ro", "-passfile", self.bench.key, *self.options, self.bench.volume, self.mount)
        self.mine = [p for p in self.pids() if p not in before]
        return self

    @staticmethod
    def pids():
        return [int(p) for p in os.listdir("/proc") if p.isdigit() and name_of(p) == "gocryptfs"]

    def __exit__(self, *_):
        while subprocess.run(["umount", str(self.mount)], stderr=subprocess.DEVNULL).returncode != 0:
            time.sleep(0.05)


def name_of(pid):
    try:
        return open(f"/proc/{pid}/comm").read().strip()
    except OSError:
        return ""


class Ours:
    def __init__(self, bench, *options, source=None):
        self.bench, self.options, self.mount = bench, options, bench.folder / "ours"
        self.source = source or bench.volume

    def __enter__(self):
        self.mount.mkdir(exist_ok=True)
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [str(self.bench.bin / "cairn-cachefs"), "mount", "--source", str(self.source), "--mountpoint", str(self.mount),
             "--passfile", str(self.bench.key), "--ready-fd", str(write_end), *self.options],
            pass_fds=[write_end], stderr=subprocess.DEVNULL)
        os.close(write_end)
        assert os.read(read_end, 6) == b"ready\n", "the mount did not come up"
        os.close(read_end)
        pid = self.process.pid
        self.mine = [pid] + [int(c) for c in open(f"/proc/{pid}/task/{pid}/children").read().split()]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def sequential(path, cold=False):
    fd = os.open(path, os.O_RDONLY)
    if cold:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    buffer, size, started = bytearray(1 << 20), 0, time.monotonic()
    while got := os.readv(fd, [buffer]):
        size += got
    os.close(fd)
    return size / (time.monotonic() - started) / 1e6


def in_parts(path, readers):
    """As many processes as readers, each with its part of the file."""
    size = os.stat(path).st_size // readers
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    started, children = time.monotonic(), []
    for i in range(readers):
        child = os.fork()
        if child == 0:
            fd, buffer, at = os.open(path, os.O_RDONLY), bytearray(1 << 20), i * size
            while at < (i + 1) * size:
                at += os.preadv(fd, [buffer], at)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    return size * readers / (time.monotonic() - started) / 1e6


def random_reads(path, how):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    generator, blocks = random.Random(7), os.fstat(fd).st_size // 4096
    places = [generator.randrange(blocks) * 4096 for _ in range(RANDOM_READS)]
    started = time.monotonic()
    if how == "pread":
        for at in places:
            os.pread(fd, 4096, at)
    else:
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as view:
            view.madvise(mmap.MADV_RANDOM)
            for at in places:
                view[at]
    elapsed = time.monotonic() - started
    os.close(fd)
    return RANDOM_READS / elapsed


def listing(mount):
    started = time.monotonic()
    sh("ls", "-lR", mount / "many")
    return time.monotonic() - started


class Store:
    """The mock store in a process of its own."""

    def __init__(self, bench):
        self.bench = bench

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/integration/mock_s3.py"), "--folder", str(self.bench.volume), "--prefix", "m/",
             "--latency", "0.02", "--rate", "1e9", "--anonymous"], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def curl(self, key, size):
        """MB/s of one curl that reads the object by ranges of 4 MiB, sixteen at a time."""
        config = self.bench.folder / "curl"
        step = 4 << 20
        config.write_text("\nnext\n".join(
            f'url = "{self.url}/models/{key}"\nrange = "{at}-{min(at + step, size) - 1}"\noutput = "/dev/null"\nsilent'
            for at in range(0, size, step)))
        started = time.monotonic()
        sh("curl", "--parallel", "--parallel-max", "16", "--config", config)
        return size / (time.monotonic() - started) / 1e6


class Bench:
    def __init__(self, arguments):
        self.arguments, self.folder = arguments, pathlib.Path(arguments.folder)
        self.bin, self.volume, self.key = pathlib.Path(arguments.bin), self.folder / "volume", self.folder / "key"
        self.results = {}

    def note(self, what, who, value):
        self.results.setdefault(what, {}).setdefault(who, []).append(value)

    def prepare(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        plain = self.folder / "plain"
        (plain / "many").mkdir(parents=True)
        self.key.write_text("bench\n")
        with open(plain / "big", "wb") as f:
            for _ in range(self.arguments.gib * 64):
                f.write(os.urandom(16 << 20))
        for i in range(FILES):
            folder = plain / "many" / f"d{i % 50}"
            folder.mkdir(exist_ok=True)
            (folder / f"file-{i}").write_bytes(b"x" * (i % 300))
        os.sync()

    def encrypting(self):
        """Copying into a mount against encrypting; the same source from the page cache."""
        big, bytes_ = self.folder / "plain/big", os.stat(self.folder / "plain/big").st_size
        sequential(big)
        theirs, mount = self.folder / "their-volume", self.folder / "their-mount"
        theirs.mkdir()
        mount.mkdir()
        sh("gocryptfs", "-init", "-q", "-nosyslog", "-passfile", self.key, theirs)
        sh("gocryptfs", "-q", "-nosyslog", "-passfile", self.key, theirs, mount)
        started = time.monotonic()
        sh("cp", big, mount / "big")
        sh("sync", "-f", mount / "big")
        self.note("encrypt MB/s", "gocryptfs", bytes_ / (time.monotonic() - started) / 1e6)
        sh("umount", mount)
        shutil.rmtree(theirs)
        started = time.monotonic()
        sh("dd", f"if={big}", f"of={self.folder}/raw", "bs=1M", "conv=fsync")
        self.note("encrypt MB/s", "raw copy", bytes_ / (time.monotonic() - started) / 1e6)
        (self.folder / "raw").unlink()
        started = time.monotonic()
        sh(self.bin / "cairn", "model", "encrypt", self.folder / "plain", self.volume, "--key-file", self.key, "-q", "--seals")
        self.note("encrypt MB/s", "ours", bytes_ / (time.monotonic() - started) / 1e6)
        shutil.rmtree(self.folder / "plain")
        for path in self.volume.rglob("*"):
            if path.is_file():
                sequential(path)  # the ciphertext into the page cache

    def forget_ciphertext(self):
        os.sync()
        for path in self.volume.rglob("*"):
            if path.is_file():
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)

    def cold(self, who, mounted=None):
        self.forget_ciphertext()
        if mounted:
            return self.note("sequential, ciphertext cold, MB/s", who, sequential(mounted.mount / "big", cold=True))
        self.note("sequential, ciphertext cold, MB/s", who, sequential(max(self.volume.iterdir(), key=lambda p: p.stat().st_size)))

    def measure(self, who, mounted):
        big, gib = mounted.mount / "big", self.arguments.gib
        before = cpu_of(mounted.mine)
        self.note("sequential, ciphertext warm, MB/s", who, sequential(big, cold=True))
        self.note("daemon CPU, s per GiB", who, (cpu_of(mounted.mine) - before) / gib)
        self.note("read again, MB/s", who, sequential(big))
        self.note("four readers, MB/s", who, in_parts(big, 4))
        self.note("random 4 KiB pread, per s", who, random_reads(big, "pread"))
        self.note("random 4 KiB mmap, per s", who, random_reads(big, "mmap"))
        first = listing(mounted.mount)
        self.note("ls -lR of 10,000 files, first, s", who, first)
        self.note("ls -lR of 10,000 files, again, s", who, listing(mounted.mount))
        self.note("private memory, MiB", who, max(rss_of(mounted.mine)))

    def store(self):
        files = [p for p in self.volume.rglob("*") if p.is_file()]
        largest = max(files, key=lambda p: p.stat().st_size)
        what, size = "object store, MB/s", largest.stat().st_size
        with Store(self) as store:
            self.note(what, "curl", store.curl(f"m/{largest.relative_to(self.volume)}", size))
            options = ["--store-endpoint", store.url, "--store-anonymous"]
            with Ours(self, "--mode", "streaming", *options, source="s3://models/m") as ours:
                before = cpu_of(ours.mine)
                self.note(what, "ours", sequential(ours.mount / "big", cold=True))
                self.note("object store, daemon CPU, s per GiB", "ours", (cpu_of(ours.mine) - before) / self.arguments.gib)
            started = time.monotonic()
            with Ours(self, "--mode", "resident", "--preload", "100", *options, source="s3://models/m"):
                self.note("object store, resident and preloaded, MB/s", "ours", size / (time.monotonic() - started) / 1e6)

    def run(self):
        self.prepare()
        self.encrypting()
        if self.arguments.store:
            for _ in range(self.arguments.rounds):
                self.store()
            return
        for _ in range(self.arguments.rounds):
            with Rival(self) as rival:
                self.measure("gocryptfs", rival)
                self.cold("gocryptfs", rival)
            self.cold("raw")
            with Ours(self, "--mode", "streaming") as ours:
                self.cold("ours", ours)
                self.measure("ours", ours)
            with Ours(self, "--mode", "streaming", "--verify", "seal") as ours:
                self.measure("sealed", ours)
            with Ours(self, "--mode", "resident", "--preload", "100") as ours:
                self.measure("resident", ours)
            self.store()

    def show(self):
        out = {what: {who: statistics.median(values) for who, values in row.items()} for what, row in self.results.items()}
        print(f"{'':36}{'gocryptfs':>12}{'ours':>12}{'ratio':>8}{'resident':>12}{'ratio':>8}")
        for what, row in out.items():
            theirs, ours, resident = row.get("gocryptfs"), row.get("ours"), row.get("resident")
            ratio = lambda v: f"{v / theirs:8.2f}" if v and theirs else " " * 8
            print(f"{what:36}{theirs or 0:12.4g}{ours or 0:12.4g}{ratio(ours)}{resident or 0:12.4g}{ratio(resident)}"
                  + "".join(f"   {k} {v:.4g}" for k, v in row.items() if k not in ("gocryptfs", "ours", "resident")))
        if self.arguments.json:
            pathlib.Path(self.arguments.json).write_text(json.dumps({"median": out, "all": self.results}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="/tmp/cairn-bench-cachefs")
    parser.add_argument("--bin", default=ROOT / "build/release/bin")
    parser.add_argument("--json")
    parser.add_argument("--store", action="store_true", help="only the object store")
    bench = Bench(parser.parse_args())
    try:
        bench.run()
        bench.show()
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
