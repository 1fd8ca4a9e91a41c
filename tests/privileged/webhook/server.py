"""A server that webhooks are tried on: python3 server.py [certificate key]

It listens on a port of 127.0.0.1 that it prints first. Each request is then a line of JSON: path, headers, body. The path selects
what is answered: /ok, /fail, /chunked, /redirect or /hang.
"""

import http.server
import json
import ssl
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body.decode()}
        print(json.dumps(request), flush=True)
        path = self.path.split("?")[0]
        if path == "/hang":
            threading.Event().wait()
        elif path == "/redirect":
            self.answer(307, b"go on\n", ("Location", "/ok"))
        elif path == "/fail":
            self.answer(500, b"\n  the shelf is full\nTraceback: a lot\n")
        elif path == "/chunked":
            self.send_response(503)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"4\r\ncome\r\n8\r\n back la\r\n3\r\nter\r\n0\r\n\r\n")
        else:
            self.answer(200, b'{"ok": true}\n')

    def answer(self, status, body, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # A redirect that is followed by GET would be seen.
    def do_GET(self):
        print(json.dumps({"method": self.command, "path": self.path}), flush=True)
        self.answer(200, b"")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        # A client that refuses the certificate hangs up.
        pass


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    # The handshake belongs to the thread of the connection.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
