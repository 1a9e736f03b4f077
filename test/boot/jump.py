#!/usr/bin/env python3
"""Through QEMU's gdb stub: when the CPU comes to one address, it goes on at another. Usage: jump.py SOCKET FROM TO"""
import socket
import sys
import time


def packet(data):
    return b"$" + data + b"#%02x" % (sum(data) & 0xFF)


def ask(stub, data):
    stub.sendall(packet(data))
    answer = b""
    while answer.count(b"#") == 0 or len(answer.rsplit(b"#", 1)[1]) < 2:
        got = stub.recv(4096)
        if not got:
            sys.exit("jump.py: QEMU has ended")
        answer += got.lstrip(b"+")
    stub.sendall(b"+")
    return answer


path, source, target = sys.argv[1], int(sys.argv[2], 16), int(sys.argv[3], 16)
stub = socket.socket(socket.AF_UNIX)
for _ in range(100):
    try:
        stub.connect(path)
        break
    except OSError:
        time.sleep(0.1)
ask(stub, b"?")
if b"OK" not in ask(stub, b"Z1,%x,1" % source):
    sys.exit("jump.py: no breakpoint")
ask(stub, b"c")
ask(stub, b"z1,%x,1" % source)
# All registers, as hexadecimal bytes: sixteen general ones, then RIP.
registers = ask(stub, b"g").split(b"$")[1].split(b"#")[0]
registers = registers[:256] + target.to_bytes(8, "little").hex().encode() + registers[272:]
if b"OK" not in ask(stub, b"G" + registers):
    sys.exit("jump.py: RIP was not set")
stub.sendall(packet(b"c"))
time.sleep(20)
