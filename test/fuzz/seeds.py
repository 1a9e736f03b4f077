#!/usr/bin/env python3
"""Writes first inputs for hcall_fuzz into a directory: one call of every operation with plain buffers."""
import os
import struct
import sys

# Indexes into the fuzzer's table of hypercall numbers, and how each takes its arguments: S a small number (the
# sub-operation), B the buffer, C a count of one.
MEMORY, EVTCHN, GRANT, VCPU, SCHED, VERSION, CONSOLE, HVM, PHYSDEV, PLATFORM, SYSCTL, DOMCTL, MULTICALL = range(13)
OPS = [
    (MEMORY, range(29), 'SB'), (EVTCHN, range(15), 'SB'), (GRANT, range(13), 'SBC'), (VCPU, range(15), 'S0B'),
    (SCHED, range(8), 'SB'), (VERSION, range(11), 'SB'), (CONSOLE, range(2), 'SCB'), (HVM, range(27), 'SB'),
    (PHYSDEV, range(32), 'SB'), (MULTICALL, range(1), 'BC'),
]
COMMANDS = [(PLATFORM, range(1, 66)), (SYSCTL, range(1, 30)), (DOMCTL, range(1, 88))]


def argument(kind, sub):
    return {'S': sub << 2, 'B': 1, 'C': 1 << 2, '0': 0}[kind]


def call(who, nr, buf, args):
    buf = buf[:254] + b'\0' * (len(buf) & 1)
    return bytes([who, nr, len(buf) // 2]) + buf + bytes(args + [0] * (5 - len(args)))


def main(directory):
    os.makedirs(directory, exist_ok=True)
    fillings = [bytes(96), b'\xf0\x7f' * 48, b'\1\0\0\0\0\0\0\0' * 12, struct.pack('<12Q', *range(0x8000, 0x8060, 8))]
    inputs = []
    for nr, subs, kinds in OPS:
        for sub in subs:
            for fill in fillings:
                for who in (0, 4, 1):
                    inputs.append(call(who, nr, fill, [argument(k, sub) for k in kinds]))
    for nr, commands in COMMANDS:
        for command in commands:
            for domid in (0, 1, 0x7ff0):
                buf = struct.pack('<IIQ', command, 0, domid) + bytes(112)
                inputs.append(call(0, nr, buf, [1]))
    for i, data in enumerate(inputs):
        with open(os.path.join(directory, 'seed-%04d' % i), 'wb') as f:
            f.write(data)


if __name__ == '__main__':
    main(sys.argv[1])
