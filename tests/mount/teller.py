# SPDX-License-Identifier: Apache-2.0
"""A client of the allocation server that sends what it is told, run by test_alloc_*.py.

Reads commands from stdin, a line each, and answers each with a line "ok ...":
open N PATH     connects its N-th connection      send N HEX      sends bytes, all of them
recv N COUNT    answers with COUNT bytes in hex   shut N          sends no more
close N         try N HEX COUNT                   sends COUNT times without waiting; how many fitted
quit HEX        sends on connection 0 and exits at once
fork            leaves its connections to a child, too, which does nothing; the child's pid
"""
import os
import signal
import socket
import sys

links = {}


def receive(link, count):
    data = b""
    while len(data) < count:
        got = link.recv(count - len(data))
        if not got:
            break
        data += got
    return data.hex() or "-"


def attempt(link, data, count):
    """Bytes that fitted: a message can be cut in two."""
    link.setblocking(False)
    sent = 0
    try:
        while sent < len(data) * count:
            at = sent % len(data)
            sent += link.send(data[at:])
    except BlockingIOError:
        pass
    link.setblocking(True)
    return sent


def do(verb, words):
    if verb == "quit":
        links[0].sendall(bytes.fromhex(words[0]))
        os._exit(0)
    if verb == "fork":
        child = os.fork()
        while not child:
            signal.pause()
        return str(child)
    number = int(words[0])
    if verb == "open":
        links[number] = socket.socket(socket.AF_UNIX)
        links[number].connect(words[1])  # waits for room in a full queue, which a time-out forbids
        links[number].settimeout(20)
    elif verb == "send":
        links[number].sendall(bytes.fromhex(words[1]))
    elif verb == "recv":
        return receive(links[number], int(words[1]))
    elif verb == "try":
        return attempt(links[number], bytes.fromhex(words[1]), int(words[2]))
    elif verb == "shut":
        links[number].shutdown(socket.SHUT_WR)
    elif verb == "close":
        links.pop(number).close()
    return ""


for line in sys.stdin:
    command, *arguments = line.split()
    try:
        print("ok", do(command, arguments), flush=True)
    except OSError as error:
        print("failed", error, flush=True)
