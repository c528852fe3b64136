"""A stand-in for nodes: takes a node's flags, answers every request with 200.

Further flags: `--deaf` never listens, `--die=TEXT` prints the text and ends with exit code 3.
"""

from __future__ import annotations

import signal
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def main() -> int:
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in sys.argv[1:])
    if "die" in flags:
        print("starting")
        print(flags["die"])
        return 3
    if "deaf" in flags:
        print("deaf", flush=True)
        signal.pause()
    port = int(flags["listen-client-urls"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(f"{flags['name']} listens", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ANSWER)


if __name__ == "__main__":
    sys.exit(main())
