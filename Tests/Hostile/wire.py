"""The bytes of both protocols, for calls.py and soak.py: written apart from HeapProtocol, so that each is a check of the other."""
import struct

ALLOCATE, DELETE, WATCH = 0x5FB41A7CA22C2A64, 0x4C13703898112C92, 0x11DFBE4FE891D39A
INFO, ATTACH, AWAIT, STATUS = 0x21A881120AA0DDF9, 0x37CD24363F8063A4, 0x33F44999D227E2C2, 0x03019D146E458521
# A value that is there; also an epitaph's ordinal.
ALL = b"\xff" * 8
# A table's field that came along.
HANDLE = struct.pack("<IHH", 0xFFFFFFFF, 1, 1)


def header(transaction, ordinal, flexible=0x80):
    return struct.pack("<IBBBBQ", transaction, 2, 0, flexible, 1, ordinal)


def table(*envelopes):
    return struct.pack("<Q", len(envelopes)) + ALL + b"".join(envelopes)


def allocate(transaction, key, size=4096):
    return header(transaction, ALLOCATE, 0) + struct.pack("<Q", size) + table() + struct.pack("<QQ", *key)


def delete(transaction, key):
    return header(transaction, DELETE, 0) + struct.pack("<QQ", *key) + b"\xff" * 4 + bytes(4)


def attach(transaction, collection, remaining=0):
    rows = table(HANDLE, struct.pack("<IHH", remaining, 0, 1), struct.pack("<IHH", 8, 0, 0))
    return header(transaction, ATTACH) + rows + struct.pack("<Q", collection)
