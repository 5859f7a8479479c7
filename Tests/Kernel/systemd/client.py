#!/usr/bin/python3
"""A client of heapd that does as it is told: each line on its standard input is a Python
expression, each on its standard output the repr of its value, or of the error."""
import mmap, os, socket, struct, sys

ALLOCATE, DELETE, EPITAPH = 0x5FB41A7CA22C2A64, 0x4C13703898112C92, 0xFFFFFFFFFFFFFFFF
PRESENT, HANDLE = 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF
ALLOCATED = 1

service = None
transaction = 0
# Descriptors by (collection, index).
vmos = {}


def receive():
  """A message without its transaction, and its handles."""
  message, handles, _, _ = socket.recv_fds(service, 65536, 64)
  if not message:
    raise ConnectionError("hung up")
  ordinal = struct.unpack_from("<Q", message, 8)[0]
  if ordinal == EPITAPH:
    raise ConnectionError(f"epitaph {struct.unpack_from('<i', message, 16)[0]}")
  return ordinal, message[16:], handles


def connect(path="/run/heapd/heap.sock"):
  """The first message's ordinal: OnRegister."""
  global service
  service = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
  service.settimeout(30)
  service.connect(path)
  return hex(receive()[0])


def send(ordinal, body, handles=()):
  global transaction
  transaction += 1
  header = struct.pack("<I2sBBQ", transaction, b"\2\0", 0, 1, ordinal)
  socket.send_fds(service, [header + body], handles)


def allocate(collection, index, size=8192, contiguous=False):
  """The new buffer's inode, or the status."""
  # SingleBufferSettings {1: buffer_settings {2: is_physically_contiguous = true}}, or {}.
  fields, inner = (1, (32, 0, 0, 2, PRESENT, 0, 1, 0, 1)) if contiguous else (0, ())
  body = struct.pack("<QQQQQ", size, fields, PRESENT, collection, index)
  send(ALLOCATE, body + (struct.pack("<IHHQQQIHH", *inner) if inner else b""))
  _, body, handles = receive()
  member, status = struct.unpack_from("<Qi", body)
  if member != ALLOCATED:
    return status
  vmos[collection, index] = handles[0]
  return os.fstat(handles[0]).st_ino


def write(collection, index, text):
  with mmap.mmap(vmos[collection, index], 4096) as bytes:
    return bytes.write(text)


def read(collection, index, count):
  with mmap.mmap(vmos[collection, index], 4096) as bytes:
    return bytes[:count]


def start_deleting(collection, index):
  """Sends DeleteVmo and keeps the vmo."""
  send(DELETE, struct.pack("<QQII", collection, index, HANDLE, 0), [vmos[collection, index]])


def close(collection, index):
  os.close(vmos.pop((collection, index)))


def is_answered(seconds=0.3):
  """Whether an answer comes in that time."""
  service.settimeout(seconds)
  try:
    return receive() == (DELETE, b"", [])
  except TimeoutError:
    return False
  finally:
    service.settimeout(30)


for line in sys.stdin:
  try:
    value = eval(line)
  except OSError as error:
    value = f"{type(error).__name__}: {error}"
  print(repr(value), flush=True)
