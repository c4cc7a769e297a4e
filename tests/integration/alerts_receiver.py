# An HTTPS server for tests/integration/alerts.sh: keeps every POST as a file.
#
# Usage: alerts_receiver.py PORT CERTIFICATE KEY DIR
# DIR/NUMBER.body is the exact body, DIR/NUMBER.signature the header Stele-Signature-Ed25519, DIR/NUMBER.path the path.
import http.server
import os
import ssl
import sys

port, certificate, key, directory = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
count = len([name for name in os.listdir(directory) if name.endswith(".body")])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global count
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for ending, content in (
            ("path", self.path.encode()),
            ("signature", self.headers.get("Stele-Signature-Ed25519", "").encode()),
            ("body.part", body),
        ):
            with open(os.path.join(directory, f"{count}.{ending}"), "wb") as file:
                file.write(content)
        os.rename(os.path.join(directory, f"{count}.body.part"), os.path.join(directory, f"{count}.body"))
        count += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


class Server(http.server.HTTPServer):
    def handle_error(self, request, client_address):
        pass  # who refuses our certificate


server = Server(("127.0.0.1", port), Handler, bind_and_activate=False)
server.allow_reuse_address = True
server.server_bind()
server.server_activate()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
