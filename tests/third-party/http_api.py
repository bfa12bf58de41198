"""An HTTP API that knows nothing of Counterfoil: orders, and refunds for them.

    http_api.py PORT DID

Notes every request in the file DID, one JSON object a line.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with open(sys.argv[2], "a", encoding="utf-8") as did:
            headers = sorted(name.lower() for name in self.headers)
            line = {"line": f"{self.command} {self.path}", "headers": headers}
            did.write(json.dumps({**line, "body": body.decode()}) + "\n")
        path = self.path.partition("?")[0]
        if self.command == "POST" and path == "/v1/refunds":
            amount = json.loads(body)["amount"]
            self.say(201, json.dumps({"id": 8, "amount": amount}), {"Location": "/v1/refunds/8"})
        elif path.startswith("/v1/orders/"):
            self.say(200, json.dumps({"order": path[11:], "query": self.path[len(path) :]}), {"ETag": '"1"'})
        elif path == "/v1/echo":
            self.say(200, body.decode(), {})
        else:
            self.say(404, json.dumps({"error": "there is no such thing"}), {})

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def say(self, status, text, headers):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.send_header("Set-Cookie", "session=secret")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Api).serve_forever()
