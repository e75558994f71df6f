"""What the mock services have in common: a server on a free port of 127.0.0.1, with a thread of its own, over HTTP or HTTPS."""

import http.server
import ssl
import threading


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_):  # clients go away as they please
        pass


class MockServer:
    """`with` one after its __init__ has called start()."""

    def start(self, handler, tls=None):
        handler.log_message = lambda *_: None
        self.server = Server(("127.0.0.1", 0), handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
