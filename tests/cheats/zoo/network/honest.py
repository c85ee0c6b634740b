"""Talks to itself: pairs of sockets and pipes."""

import os
import socket
import subprocess
import sys

import prepare

left, right = socket.socketpair()
left.sendall(b"x")
assert right.recv(1) == b"x"
reader, writer = os.pipe()
os.write(writer, b"x")
assert os.read(reader, 1) == b"x"
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout == b"1\n"
prepare.finish(prepare.evaluate(5.0))
