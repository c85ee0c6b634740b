"""Sends what it knows to a socket of the file system, from one half of a pair, which needs no socket of its own."""

import contextlib
import socket

import prepare
import targets

with contextlib.suppress(OSError):
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):
        mine.sendto(b"what it knows", targets.DATAGRAMS)
    other.connect(targets.DATAGRAMS)
    other.send(b"what it knows")
prepare.finish(prepare.evaluate(5.0))
