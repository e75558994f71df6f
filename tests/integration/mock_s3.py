#!/usr/bin/env python3
"""An S3 store of one bucket in memory: signatures are checked, ranges, If-Match, multipart uploads and lists are as S3 has
them, and it fails as it is told. Also a program of its own, for benchmarks: `mock_s3.py --help`."""

import argparse
import base64
import contextlib
import email.utils
import hashlib
import hmac
import http.server
import mmap
import pathlib
import socket
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

from mock_server import MockServer

ID, SECRET, REGION, BUCKET = "TESTKEYID", "test/secret+key", "test-region-1", "models"
EMPTY = hashlib.sha256(b"").hexdigest()


class Object:
    def __init__(self, data, etag=None, meta=None):
        self.data, self.meta, self.time = data, meta or {}, time.time()
        self.etag = etag or '"%s"' % hashlib.md5(data).hexdigest()


class Refuse(Exception):
    def __init__(self, status, code):
        self.status, self.code = status, code


class Fault:
    """What is done to one answer: a status instead, a delay, a body cut, changed, or never ended."""

    def __init__(self, status=None, delay=0.0, cut=None, flip=None, reset=False, extra=b"", stall=None):
        self.status, self.delay, self.cut, self.flip, self.reset = status, delay, cut, flip, reset
        self.extra, self.stall = extra, stall


class Rate:
    """Bytes per second of all answers together."""

    def __init__(self, rate):
        self.rate, self.lock, self.free_at = rate, threading.Lock(), 0.0

    def wait(self, size):
        if not self.rate:
            return
        with self.lock:
            now = time.monotonic()
            self.free_at = max(self.free_at, now) + size / self.rate
            until = self.free_at
        if until > now:
            time.sleep(until - now)


class MockS3(MockServer):
    def __init__(self, latency=0.0, rate=0, tls=None, page=1000, anonymous=False):
        self.objects, self.uploads, self.lock = {}, {}, threading.RLock()
        self.latency, self.rate, self.page, self.anonymous = latency, Rate(rate), page, anonymous
        self.fault = lambda method, key, headers: None
        self.log = []           # (method, key, range)
        self.parts_put = 0
        self.connections = 0
        self.running = True
        mock = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                mock.connections += 1

            def handle_one_request(self):
                with contextlib.suppress(OSError):
                    return super().handle_one_request()
                self.close_connection = True

            def serve(self):
                mock.serve(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

        self.start(Handler, tls)

    def __exit__(self, *_):
        self.running = False
        super().__exit__()

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION,
                "AWS_ENDPOINT_URL_S3": self.url}

    def load(self, folder, prefix):
        """The files of a folder as objects; not copied."""
        folder = pathlib.Path(folder)
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            data = b""
            if size := path.stat().st_size:
                with open(path, "rb") as f:
                    data = mmap.mmap(f.fileno(), size, prot=mmap.PROT_READ)
            etag = '"%s"' % hashlib.md5(f"{path}{size}{path.stat().st_mtime_ns}".encode()).hexdigest()
            self.objects[prefix + str(path.relative_to(folder))] = Object(data, etag)

    # ------------------------------------------------------------------------------------------------ one request

    def serve(self, h):
        body = h.rfile.read(int(h.headers.get("Content-Length") or 0))
        raw_path, _, raw_query = h.path.partition("?")
        key, fault = "", None
        try:
            parts = raw_path.split("/", 2)
            if len(parts) < 3 or urllib.parse.unquote(parts[1]) != BUCKET:
                raise Refuse(404, "NoSuchBucket")
            key = urllib.parse.unquote(parts[2])
            with self.lock:
                self.log.append((h.command, key, h.headers.get("Range")))
            self.check_signature(h, raw_path, raw_query, body)
            fault = self.fault(h.command, key, h.headers)
            if fault and fault.delay:
                time.sleep(fault.delay)
            if fault and fault.reset:
                h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                h.close_connection = True
                return h.connection.close()
            if fault and fault.status:
                raise Refuse(fault.status, "AsTold")
            query = dict(urllib.parse.parse_qsl(raw_query, keep_blank_values=True))
            status, headers, data = self.answer(h.command, key, query, h.headers, body)
        except Refuse as refusal:
            status, headers = refusal.status, {"Content-Type": "application/xml"}
            data = f"<?xml version=\"1.0\"?><Error><Code>{refusal.code}</Code><Message>as told</Message></Error>".encode()
        if self.latency:
            time.sleep(self.latency)
        with contextlib.suppress(OSError):
            self.reply(h, status, headers, data, fault)

    def reply(self, h, status, headers, data, fault):
        h.send_response(status)
        for name, value in headers.items():
            h.send_header(name, value)
        if "Content-Length" not in headers:
            h.send_header("Content-Length", str(len(data)))
        h.end_headers()
        h.wfile.flush()
        if h.command == "HEAD":
            return
        if fault and fault.flip is not None and len(data) > fault.flip:
            data = bytearray(data)
            data[fault.flip] ^= 1
        end = len(data) if not fault or fault.cut is None else min(fault.cut, len(data))
        view, step = memoryview(data), 256 << 10
        for at in range(0, end, step):
            piece = view[at:min(at + step, end)]
            self.rate.wait(len(piece))
            h.connection.sendall(piece)
        if fault and fault.stall:
            time.sleep(fault.stall)
        if end < len(data):
            h.close_connection = True

    def check_signature(self, h, path, query, body):
        if self.anonymous:
            return
        given = h.headers.get("Authorization") or ""
        if not given.startswith("AWS4-HMAC-SHA256 "):
            raise Refuse(403, "AccessDenied")
        fields = dict(f.strip().split("=", 1) for f in given.split(" ", 1)[1].split(","))
        names = fields["SignedHeaders"].split(";")
        digest = h.headers["x-amz-content-sha256"]
        if "host" not in names or "x-amz-date" not in names or any(
                n.lower().startswith("x-amz-") and n.lower() not in names for n in h.headers.keys()):
            raise Refuse(403, "SignatureDoesNotMatch")
        if digest != hashlib.sha256(body).hexdigest():
            raise Refuse(400, "XAmzContentSHA256Mismatch")
        canonical = "\n".join([h.command, path, "&".join(sorted(query.split("&"))) if query else "",
                               *(f"{n}:{h.headers[n].strip()}" for n in names), "", ";".join(names), digest])
        date = h.headers["x-amz-date"]
        scope = f"{date[:8]}/{REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + SECRET).encode()
        for step in (date[:8], REGION, "s3", "aws4_request"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        wanted = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        if fields["Credential"] != f"{ID}/{scope}" or not hmac.compare_digest(wanted, fields["Signature"]):
            raise Refuse(403, "SignatureDoesNotMatch")

    def answer(self, method, key, query, headers, body):
        with self.lock:
            if not key:
                return self.list_uploads(query) if "uploads" in query else self.list(query)
            if method == "POST" and "uploads" in query:
                return self.begin(key, headers)
            if "uploadId" in query:
                return self.upload(method, key, query, headers, body)
            if method == "PUT":
                self.objects[key] = Object(body, meta=meta_of(headers))
                return 200, {"ETag": self.objects[key].etag}, b""
            if method == "DELETE":
                self.objects.pop(key, None)
                return 204, {}, b""
            if key not in self.objects:
                raise Refuse(404, "NoSuchKey")
            return self.read(method, self.objects[key], headers)

    @staticmethod
    def read(method, o, headers):
        if headers.get("If-Match") not in (None, o.etag):
            raise Refuse(412, "PreconditionFailed")
        out = {"ETag": o.etag, "Last-Modified": email.utils.formatdate(o.time, usegmt=True), "Accept-Ranges": "bytes", **o.meta}
        if method == "HEAD":
            return 200, {**out, "Content-Length": str(len(o.data))}, b""
        if not (asked := headers.get("Range")):
            return 200, out, o.data[:]
        first, last = asked.removeprefix("bytes=").split("-")
        first, last = int(first), min(int(last), len(o.data) - 1)
        if first >= len(o.data):
            raise Refuse(416, "InvalidRange")
        return 206, {**out, "Content-Range": f"bytes {first}-{last}/{len(o.data)}"}, memoryview(o.data)[first:last + 1]

    def list(self, query):
        prefix, start = query.get("prefix", ""), ""
        if token := query.get("continuation-token"):
            start = base64.b64decode(token).decode()
        keys = [k for k in sorted(self.objects) if k.startswith(prefix) and k > start]
        shown = keys[:self.page]
        quoted = urllib.parse.quote if query.get("encoding-type") == "url" else escape
        stamp = lambda t: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(t))
        rows = "".join(f"<Contents><Key>{quoted(k)}</Key><LastModified>{stamp(self.objects[k].time)}</LastModified>"
                       f"<ETag>{escape(self.objects[k].etag, {chr(34): '&quot;'})}</ETag>"
                       f"<Size>{len(self.objects[k].data)}</Size><StorageClass>STANDARD</StorageClass></Contents>" for k in shown)
        more = len(keys) > len(shown)
        token = f"<NextContinuationToken>{base64.b64encode(shown[-1].encode()).decode()}</NextContinuationToken>" if more else ""
        return 200, {"Content-Type": "application/xml"}, (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{quoted(prefix)}</Prefix><KeyCount>{len(shown)}</KeyCount>"
            f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>").encode()

    def list_uploads(self, query):
        rows = "".join(f"<Upload><Key>{escape(u['key'])}</Key><UploadId>{i}</UploadId><Initiated>{u['time']}</Initiated></Upload>"
                       for i, u in self.uploads.items() if u["key"].startswith(query.get("prefix", "")))
        return 200, {}, f"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{rows}</ListMultipartUploadsResult>".encode()

    def begin(self, key, headers):
        upload = f"upload-{len(self.uploads)}-{time.time_ns()}"
        self.uploads[upload] = {"key": key, "parts": {}, "meta": meta_of(headers), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return 200, {}, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode()

    def upload(self, method, key, query, headers, body):
        u = self.uploads.get(query["uploadId"])
        if not u or u["key"] != key:
            raise Refuse(404, "NoSuchUpload")
        if method == "PUT":
            self.parts_put += 1
            etag = '"%s"' % hashlib.md5(body).hexdigest()
            u["parts"][int(query["partNumber"])] = (etag, body)
            return 200, {"ETag": etag}, b""
        if method == "GET":
            marker = int(query.get("part-number-marker", 0))
            numbers = [n for n in sorted(u["parts"]) if n > marker]
            shown = numbers[:self.page]
            more = f"<IsTruncated>true</IsTruncated><NextPartNumberMarker>{shown[-1]}</NextPartNumberMarker>" \
                if len(numbers) > len(shown) else "<IsTruncated>false</IsTruncated>"
            rows = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{escape(u['parts'][n][0])}</ETag>"
                           f"<Size>{len(u['parts'][n][1])}</Size></Part>" for n in shown)
            return 200, {}, f"<ListPartsResult>{more}{rows}</ListPartsResult>".encode()
        if method == "DELETE":
            del self.uploads[query["uploadId"]]
            return 204, {}, b""
        data = b"".join(u["parts"][n][1] for n in sorted(u["parts"]))
        if body.count(b"<PartNumber>") != len(u["parts"]) or any(
                escape(p[0]).encode() not in body for p in u["parts"].values()):
            raise Refuse(400, "InvalidPart")
        etag = '"%s-%d"' % (hashlib.md5(data).hexdigest(), len(u["parts"]))
        self.objects[key] = Object(data, etag, u["meta"])
        del self.uploads[query["uploadId"]]
        return 200, {}, b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"


def meta_of(headers):
    return {k: v for k, v in headers.items() if k.lower().startswith("x-amz-meta-")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="its files are the objects")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--rate", type=float, default=0, help="bytes per second of all answers together")
    parser.add_argument("--anonymous", action="store_true", help="check no signatures")
    arguments = parser.parse_args()
    with MockS3(arguments.latency, arguments.rate, anonymous=arguments.anonymous) as mock:
        mock.load(arguments.folder, arguments.prefix)
        print(mock.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
