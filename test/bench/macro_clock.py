#!/usr/bin/env python3
"""Reads QEMU's virtual clock at the first visit of some addresses, then when the machine stops.

Usage: macro_clock.py SOCKET [NAME=HEX-ADDRESS]...    prints "ROW NAME NANOSECONDS" for each, and for "end".
QEMU runs with -S -no-shutdown and what qemu_stub.py wants.
"""
import sys
from qemu_stub import Stub

stub = Stub(sys.argv[1])
for word in sys.argv[2:]:
    name, address = word.split("=")
    stub.run_to(address)
    print("ROW %s %d" % (name, stub.now() * 1e9), flush=True)
stub.ask("c")
print("ROW end %d" % (stub.now() * 1e9), flush=True)
stub.send("k")
