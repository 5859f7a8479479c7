"""screen.py MONITOR SCREEN.ppm PICTURE.png: takes the screen from QEMU, ends QEMU, compares each pixel
with heapctl's test pattern `bars`, and keeps the screen as a PNG."""

import socket
import struct
import sys
import zlib

BARS = [
    (255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0),
    (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0),
]


def ask(monitor, command):
    monitor.sendall(command.encode() + b"\n")
    answer = b""
    # The prompt before the command is read already; the next one ends the answer.
    while not answer.endswith(b"(qemu) "):
        piece = monitor.recv(4096)
        if not piece:
            break
        answer += piece


def screen(path):
    with open(path, "rb") as file:
        kind, size, largest, pixels = file.read().split(b"\n", 3)
    assert kind == b"P6" and largest == b"255", (kind, largest)
    width, height = map(int, size.split())
    assert len(pixels) == width * height * 3, (width, height, len(pixels))
    return width, height, pixels


def expected(width, height):
    bars = b"".join(bytes(BARS[x * 8 // width]) for x in range(width))
    ramp = b"".join(bytes([x * 255 // (width - 1)]) * 3 for x in range(width))
    return b"".join(bars if y * 4 // height < 3 else ramp for y in range(height))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, pixels):
    rows = b"".join(
        b"\0" + pixels[y * width * 3:(y + 1) * width * 3] for y in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def main(socket_path, screen_path, picture_path):
    monitor = socket.socket(socket.AF_UNIX)
    monitor.connect(socket_path)
    greeting = b""
    while not greeting.endswith(b"(qemu) "):
        greeting += monitor.recv(4096)
    ask(monitor, "screendump " + screen_path)
    ask(monitor, "quit")
    width, height, pixels = screen(screen_path)
    with open(picture_path, "wb") as file:
        file.write(png(width, height, pixels))
    pattern = expected(width, height)
    wrong = [i // 3 for i in range(0, len(pixels), 3) if pixels[i:i + 3] != pattern[i:i + 3]]
    if wrong:
        place = wrong[0]
        sys.exit(
            f"{len(wrong)} of {width * height} pixels differ, the first at "
            f"{place % width},{place // width}: {tuple(pixels[place * 3:place * 3 + 3])} in place of "
            f"{tuple(pattern[place * 3:place * 3 + 3])}")
    print(f"{width}x{height} pixels, all of them the pattern's")


main(*sys.argv[1:])
