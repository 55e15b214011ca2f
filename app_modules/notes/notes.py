"""Notes in a replicated database: GET / lists them, POST / adds the body as one, GET /ping is the health check.

The database is a cluster behind one port: the member that a connection leads to may be stopped at any moment, and two members may
refuse each other's transaction. So each request opens a connection of its own and is tried again, and a note has an identifier
before it is written: written twice it is still one note."""

import json
import os
import signal
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pymysql

TABLE = """CREATE TABLE IF NOT EXISTS notes (
    id CHAR(36) PRIMARY KEY, text VARCHAR(1000) NOT NULL, written TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6))"""
PATIENCE = 20.0


def password():
    with open(os.path.join(os.environ["CREDENTIALS_DIRECTORY"], "password"), encoding="utf-8") as file:
        return file.read().rstrip("\n")


def run(statement, values=()):
    """Runs one statement as its own transaction, retrying until it succeeds. Returns the rows and the member's name."""
    begun = time.monotonic()
    while True:
        try:
            connection = pymysql.connect(
                host=os.environ["MARIADB_HOST"], port=int(os.environ["MARIADB_PORT"]), user="notes", password=password(),
                database="notes", autocommit=True, connect_timeout=5, read_timeout=10, write_timeout=10)
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                rows = cursor.fetchall()
                cursor.execute("SELECT @@wsrep_node_name")
                return rows, cursor.fetchone()[0]
        except pymysql.err.ProgrammingError:
            # The table does not exist yet: the first request creates it.
            if time.monotonic() - begun > PATIENCE:
                raise
            run(TABLE)
        except pymysql.err.Error:
            if time.monotonic() - begun > PATIENCE:
                raise
            time.sleep(0.2)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        body = (json.dumps(value) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # Ends kept connections, so that a stopping program does not wait for their next request.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def guarded(self, work):
        try:
            self.answer(*work())
        except pymysql.err.Error as error:
            self.answer(503, {"error": f"the database failed: {error}"})

    def do_GET(self):
        if self.path == "/ping":
            self.answer(200, "pong")
        elif self.path == "/":
            self.guarded(self.notes)
        else:
            self.answer(404, {"error": "no such page"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(min(length, 4000)).decode(errors="replace").strip()[:1000]
        self.guarded(lambda: self.add(text))

    def notes(self):
        rows, member = run("SELECT text FROM notes ORDER BY written, id")
        return 200, {"notes": [text for (text,) in rows], "from": member}

    def add(self, text):
        identifier = str(uuid.uuid4())
        _, member = run("INSERT IGNORE INTO notes (id, text) VALUES (%s, %s)", (identifier, text))
        return 201, {"id": identifier, "by": member}

    def log_message(self, *_):
        pass


def main():
    address = os.environ["ADDRESS"]
    ThreadingHTTPServer.address_family = 10 if ":" in address else 2
    # The program exits only when the requests in progress are answered.
    ThreadingHTTPServer.daemon_threads = False
    server = ThreadingHTTPServer((address, int(os.environ["PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


main()
