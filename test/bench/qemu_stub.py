"""Talks to QEMU's gdb stub: breakpoints, registers, the monitor, and the virtual clock.

QEMU runs with -rtc base=2000-01-01,clock=vm -gdb unix:SOCKET,server=on,wait=off. The clock is the ACPI power management
timer of q35 (port 0x608, 24 bits of 3,579,545 Hz), which the monitor can read while the machine stands; how often it wrapped is
told by the second of the day in qom's rtc-time.
"""
import re
import socket
import sys
import time

WRAP = (1 << 24) / 3579545


class Stub:
    def __init__(self, path):
        for _ in range(100):
            self.s = socket.socket(socket.AF_UNIX)
            try:
                self.s.connect(path)
                break
            except OSError:
                time.sleep(0.1)
        self.rest = b""

    def send(self, text):
        self.s.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 255))

    def packet(self):
        while True:
            m = re.match(rb"[^$]*\$([^#]*)#..", self.rest)
            if m:
                self.rest = self.rest[m.end():]
                self.s.sendall(b"+")
                return m.group(1).decode()
            more = self.s.recv(65536)
            if not more:
                sys.exit("QEMU has ended")
            self.rest += more

    def ask(self, text):
        self.send(text)
        return self.packet()

    def run_to(self, address):
        """Goes on until this address (hex) is reached, again if it is reached now."""
        self.ask("s")
        self.ask("Z1,%s,1" % address)
        self.ask("c")
        self.ask("z1,%s,1" % address)

    def arguments(self):
        """RDI and RSI."""
        registers = bytes.fromhex(self.ask("g"))
        return int.from_bytes(registers[40:48], "little"), int.from_bytes(registers[32:40], "little")

    def monitor(self, command):
        self.send("qRcmd," + command.encode().hex())
        text = ""
        while (p := self.packet()) not in ("OK", ""):
            if p.startswith("E"):
                break
            text += bytes.fromhex(p[1:] if p.startswith("O") else p).decode()
        return text

    def now(self):
        """The virtual clock in seconds."""
        fraction = int(re.search(r"= (0x[0-9a-f]+)", self.monitor("i /4x 0x608")).group(1), 16) / 3579545
        date = dict(re.findall(r'"(tm_\w+)": (\d+)', self.monitor("qom-get /machine rtc-time")))
        seconds = int(date["tm_hour"]) * 3600 + int(date["tm_min"]) * 60 + int(date["tm_sec"])
        return fraction + round((seconds + 0.5 - fraction) / WRAP) * WRAP
