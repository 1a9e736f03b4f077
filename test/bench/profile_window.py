#!/usr/bin/env python3
"""Makes QEMU log every block it executes between two marks of the benchmark (mark.h), then ends QEMU.

Usage: profile_window.py SOCKET NAME VISIT BEGIN END FILE    the hex addresses of mark_begin() and mark_end(); the VISIT-th
window of that name counts, from 1. Writes how many ticks the program counted to FILE, then closes the log. QEMU runs with
-S -D LOG -gdb unix:SOCKET,server=on,wait=off.
"""
import sys
from qemu_stub import Stub

path, name, visit, begin, end, result = sys.argv[1:]
stub = Stub(path)
hashed = 0
for c in name.encode():
    hashed = (hashed * 31 + c) % (1 << 64)


def run_to_mark(address):
    while True:
        stub.run_to(address)
        name_there, ticks = stub.arguments()
        if name_there == hashed:
            return ticks


for _ in range(int(visit)):
    run_to_mark(begin)
stub.monitor("log in_asm,exec,nochain")
ticks = run_to_mark(end)
with open(result, "w") as f:
    print(ticks, file=f)
stub.monitor("log none")
stub.send("k")
