"""An S3-compatible server on the loopback, and a connection to it that can be cut."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

ANSWERS = 1 << 16  # bytes that are passed on at once


class Proxy:
    """Passes TCP connections on to a port.

    Attributes:
        port: Where it listens.
        cuts: How many more connections are cut after ``after`` bytes of answers; -1 for all from then on.
        received: Bytes of answers so far.
    """

    def __init__(self, target: int) -> None:
        self.cuts = self.received = 0
        self.after = 0
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(ANSWERS):
                server.sendall(data)
        _close(client, server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(ANSWERS):
                self.received += len(data)
                passed += len(data)
                if self.cuts and passed > self.after:
                    self.cuts -= self.cuts > 0
                    client.sendall(data[: len(data) // 2])
                    break
                client.sendall(data)
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def store(bucket: str) -> Iterator[Proxy]:
    """moto's server with an empty bucket, behind a proxy that the environment names as the S3 endpoint."""
    import fsspec
    import s3fs
    from moto.server import ThreadedMotoServer

    given = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI", "AWS_REGION": "us-east-1"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    with ExitStack() as stack:
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        stack.callback(server.stop)
        proxy = stack.enter_context(closing(Proxy(server.get_host_and_port()[1])))
        before = {name: os.environ.get(name) for name in (*given, "AWS_ENDPOINT_URL")}
        os.environ.update(given, AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")
        s3fs.S3FileSystem.clear_instance_cache()
        fsspec.filesystem("s3").mkdir(bucket)
        try:
            yield proxy
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
