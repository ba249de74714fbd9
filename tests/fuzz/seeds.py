#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: golden files, recorded ClientHellos, one good packet of each kind.

    tests/fuzz/seeds.py          into tests/fuzz/seeds, where the replaying tests and `run.sh` look for them

Needs Python 3.11 and nothing else. The ClientHellos are random, so that running it again changes those files.
"""

import ssl
import struct
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
ROOT = FUZZ.parent.parent
GOLDEN = ROOT / "protocol/tests/golden"

# Which number of `wakemq_protocol::fuzzing::payloads` reads the golden files of a directory or name.
PAYLOADS = {
    "submission": 0, "receipt": 1, "facts": 2, "command": 3, "event": 4, "update": 5, "group-update": 6,
    "outcome": 8, "http/import-line": 9, "http/import-result": 10, "http/enrol-request": 11,
    "http/enrol-answer": 12, "http/token-request": 13, "http/command-request": 14, "http/move": 15,
    "http/group-request": 16, "http/operator-request": 17, "http/operator-change": 18, "http/agent-page": 19,
    "http/command-view": 20, "http/audit-page": 21, "http/token-page": 22, "http/operator-page": 23,
    "http/group-page": 24, "http/waiting-page": 25, "http/group-rename": 26, "http/problem": 27,
}


def write(target, name, data):
    path = FUZZ / "seeds" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def payloads():
    for path in sorted(GOLDEN.rglob("*.json")):
        name = str(path.relative_to(GOLDEN).with_suffix(""))
        number = next((number for prefix, number in PAYLOADS.items() if name.startswith(prefix)), None)
        if number is not None:
            write("payloads", name.replace("/", "-"), bytes([number]) + path.read_bytes())


def topics():
    for path in sorted((GOLDEN / "topic").glob("*.txt")):
        topic = path.read_bytes().strip()
        write("topics", path.stem, topic + b"\n" + topic)
    for number, text in enumerate([
        "a/+/b/#\na/x/b/c", "#\n$SYS/x", "+/a\n/a", "wake/v1/events/+/a/#\nwake/v1/events/command/a/b",
        "wake/v1/operators/o/responses/+\no", "wma_" + "A" * 43 + "\n", "2026-11-22T01:00:00Z\n",
        "0197c1b2-0000-7000-8000-000000000001\n",
    ]):
        write("topics", f"more-{number}", text.encode())


def text(data):
    return struct.pack(">H", len(data)) + data


def packet(first, body):
    length, left = b"", len(body)
    while True:
        length += bytes([left % 128 | (128 if left > 127 else 0)])
        left //= 128
        if not left:
            return bytes([first]) + length + body


def connect(level, flags, *fields, properties=b""):
    block = packet(0, properties)[1:] if level == 5 else b""
    return packet(0x10, text(b"MQTT") + bytes([level, flags, 0, 60]) + block + b"".join(fields))


def packets():
    for level, p in ((4, b""), (5, b"\0")):
        for head, own, filter in (
            (level == 5, b"wake/v1/agents/a/receipts", b"wake/v1/agents/a/commands"),
            ((level == 5) | 2, b"wake/v1/agents/a/commands", b"wake/v1/operators/o/responses/#"),
        ):
            payload = b'{"kind":"wake"}' if head & 2 else (GOLDEN / "receipt/done.json").read_bytes()
            subscribe = packet(0x82, b"\0\1" + p + text(filter) + b"\1")
            publish = packet(0x32, text(own) + b"\0\7" + p + payload)
            stream = subscribe + publish + packet(0x40, b"\0\1") + b"\xc0\0" + packet(0xA2, b"\0\2" + p + text(filter))
            write("packets", f"{level}-{head}-stream", bytes([head]) + stream + b"\xe0\0")
            write("packets", f"{level}-{head}-publish", bytes([head]) + publish)
            if level == 5:
                full = (b"\x01\1\x02\0\0\0\x09\x03" + text(b"json") + b"\x08" + text(b"wake/v1/operators/o/responses/x")
                        + b"\x09" + text(b"7") + b"\x26" + text(b"k") + text(b"v"))
                body = text(own) + b"\0\7" + bytes([len(full)]) + full + payload
                write("packets", f"5-{head}-properties", bytes([head]) + packet(0x32, body))
                write("packets", f"5-{head}-puback", bytes([head]) + subscribe + packet(0x40, b"\0\1\x87\0"))
                write("packets", f"5-{head}-disconnect", bytes([head]) + packet(0xE0, b"\4\5\x11\0\0\0\0"))
                facts = text(b"wake/v1/agents/a/facts") + p + (GOLDEN / "facts/full.json").read_bytes()
                write("packets", f"5-{head}-facts", bytes([head]) + packet(0x30, facts))
        will = (p, text(b"wake/v1/agents/a/receipts"), text((GOLDEN / "receipt/done.json").read_bytes()))
        login = (text(b"a"), text(b"wma_" + b"A" * 43))
        write("connect", f"{level}-plain", connect(level, 0xC2, text(b""), *login))
        write("connect", f"{level}-will", connect(level, 0xCE, text(b"a"), *will, *login) + b"\xc0\0")
        operator = (text(b"op:o"), text(b"wmo_" + b"A" * 43))
        write("connect", f"{level}-operator", connect(level, 0xC2, text(b""), *operator) + b"\xc0\0\xe0\0")
    properties = (b"\x11\0\0\0\0\x21\0\x09\x27\0\1\0\0\x17\1\x19\0\x22\0\0\x26" + text(b"instance") + text(b"x"))
    write("connect", "5-properties", connect(5, 0xC2, text(b"a"), *login, properties=properties))


def client_packets():
    """What a broker sends; the bytes in front are those of `wakemq_link::fuzzing`."""
    command = (GOLDEN / "command/full.json").read_bytes()
    publish = packet(0x32, text(b"wake/v1/agents/a/commands") + b"\0\1\0" + command)
    full = b"\x02\0\0\0\x09\x09" + text(b"7") + b"\x26" + text(b"k") + text(b"v")
    with_properties = packet(0x30, text(b"t") + bytes([len(full)]) + full + b"{}")
    connack = (b"\x11\0\0\0\0\x21\4\0\x24\1\x25\0\x27\0\1\0\0\x12" + text(b"id") + b"\x1f" + text(b"why") + b"\x26"
               + text(b"wakemq-return") + text(b"60") + b"\x28\1\x29\0\x2a\0\x13\4\xb0")
    suback = packet(0x90, b"\0\x11\0\1")
    puback = packet(0x40, b"\0\1") + packet(0x40, b"\0\2\x97\4\x1f" + text(b"x"))
    disconnect = packet(0xE0, b"\x8e\x14\x26" + text(b"wakemq-return") + text(b"60"))
    for name, stream in (
        ("publish", publish), ("publish-properties", with_properties), ("suback", suback), ("puback", puback),
        ("disconnect", disconnect), ("pingresp", b"\xd0\0"), ("all", suback + publish + puback + disconnect),
    ):
        write("client_packets", name, b"\0\0" + stream)
        write("client_packets", name + "-pieces", b"\3\2" + stream)
    write("client_packets", "connack", b"\0\1" + packet(0x20, b"\0\0" + bytes([len(connack)]) + connack) + suback)
    write("client_packets", "refused", b"\0\1" + packet(0x20, b"\0\x86\0"))


def tls():
    """Bytes in front are those of `wakemq_broker::fuzzing::tls`."""
    for name, version in (("1.3", ssl.TLSVersion.TLSv1_3), ("1.2", ssl.TLSVersion.TLSv1_2)):
        context = ssl.create_default_context()
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["mqtt"])
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = outgoing.read()
        alert, ccs = b"\x15\3\3\0\2\2\x28", b"\x14\3\3\0\1\1"
        record = b"\x17\3\3\0\x20" + bytes(32)
        write("tls", f"hello-{name}", b"\0\0" + hello)
        write("tls", f"hello-{name}-pieces", b"\0\x07" + hello)
        old = 8 if name == "1.2" else 0
        for mode, data in (
            (0, b"\0" + hello + ccs + record), (3, b"\0" + ccs + record), (3, b"\0" + alert), (5, b"\0" + record),
            (5, b"\5" + alert + record), (6, b"\x09some plain text that goes in pieces"), (7, b"\0\x09\1 sealed text"),
            (2, b"\0\x30\1\0\x60\2"), (4, b"\0\x08\7"), (4, b"\0\0\x16\0\1\4"),
        ):
            write("tls", f"mode-{mode}-{name}-{data[:3].hex()}", bytes([mode | old]) + data)
    write("tls", "plain-http", b"\0\0GET / HTTP/1.1\r\n\r\n")
    write("tls", "plain-mqtt", b"\0\0" + connect(4, 2, text(b"a")))


def config():
    example = (ROOT / "broker/wakemqd.example.toml").read_text()
    plain = "".join(line[1:] if line.startswith("#") and line[1:2].isalpha() else line
                    for line in example.splitlines(keepends=True) if not line.startswith("# "))
    write("config", "example", example.encode())
    write("config", "plain", plain.encode())
    for number, section in enumerate(plain.split("\n[")):
        write("config", f"section-{number}", ("" if number == 0 else "[").encode() + section.encode())


def store_rows():
    write("store_rows", "untouched", b"")
    for table in range(20):
        for n in range(3):
            write("store_rows", f"value-{table}-{n}", bytes([2, table, n, 0, 2, 0x30 + n]))
        write("store_rows", f"removed-{table}", bytes([1, table, 0]))
        write("store_rows", f"key-{table}", bytes([3, table, 0, 0, 0x7F]))
        write("store_rows", f"empty-{table}", bytes([4, table, 0, 0, 0]))
        write("store_rows", f"object-{table}", bytes([4, table, 0, 0, 2]) + b"{}")
        write("store_rows", f"put-{table}", bytes([0, table, 2, 0, 2]) + b"xx{}")


def store_file():
    """Changes of a store's file; what the bytes say stands at `wakemq_broker::fuzzing::store_file`."""
    write("store_file", "empty", b"\2")
    write("store_file", "garbage", b"\2redb\x1a\x0a\xa9\x0d\x0a" + bytes(range(256)) * 2)
    for state, name in ((0, "closed"), (1, "killed"), (3, "open")):
        first = bytes([state])
        write("store_file", f"{name}-untouched", first)
        # The header: magic number, flags, sizes, then two slots of which each names the roots.
        for at in (0, 12, 16, 20, 24, 28, 64, 72, 192, 200):
            write("store_file", f"{name}-header-{at}", first + bytes([0, 0, at >> 8, at & 255, 0x55]))
        for flags in range(0, 8):
            write("store_file", f"{name}-flags-{flags}", first + bytes([0, 0, 0, 9, flags]))
        for age in range(0, 6, 2):
            write("store_file", f"{name}-old-header-{age}", first + bytes([2, 0, 0, 0, 1, 64, age]))
            write("store_file", f"{name}-old-slot-{age}", first + bytes([2, 0, 0, 64 + age // 2 % 2 * 128, 0, 128, age]))
            write("store_file", f"{name}-old-page-{age}", first + bytes([2, 9 + age, 0, 0, 16, 0, age]))
        for page in range(2, 40, 12):
            write("store_file", f"{name}-byte-{page}", first + bytes([0, page, 0, 2, 7]))
            write("store_file", f"{name}-bytes-{page}", first + bytes([1, page, 0, page, 4]) + b"\xff\0\xff\0")
            write("store_file", f"{name}-page-{page}", first + bytes([3, page, page + 1]))
            write("store_file", f"{name}-end-{page}", first + bytes([4, page, 0, page]))
            write("store_file", f"{name}-zeros-{page}", first + bytes([5, page, 0, 0, 16, 0]))
        write("store_file", f"{name}-longer", first + bytes([6, 7]))


for target in (payloads, topics, packets, client_packets, tls, config, store_rows, store_file):
    target()
