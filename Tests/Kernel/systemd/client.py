#!/usr/bin/python3
"""A client of heapd that does as it is told: each line on its standard input is a Python
expression, each on its standard output the repr of its value, or of the error."""
import mmap, os, socket, struct, sys

PACKAGE = os.path.abspath(f"{__file__}/../../../..")
# The wire is spoken by the example in the documentation.
with open(f"{PACKAGE}/Sources/HeapProtocol/HeapProtocol.docc/WritingAClient.md") as page:
  code = page.read().split("```python\n")[1].split("```")[0]
example = {"__name__": "example"}
exec(code, example)

heap = None
# Descriptors by (collection, index).
vmos = {}
socket.setdefaulttimeout(30)


def connect(path="/run/heapd/heap.sock"):
  """The first message's ordinal: OnRegister."""
  global heap
  heap = example["Heap"](path)
  return hex(struct.unpack_from("<Q", heap.greeting, 8)[0])


def allocate(collection, index, size=8192, contiguous=False):
  """The new buffer's inode."""
  vmo = vmos[collection, index] = heap.allocate(size, collection, index, contiguous)
  return os.fstat(vmo).st_ino


def write(collection, index, text):
  with mmap.mmap(vmos[collection, index], 4096) as bytes:
    return bytes.write(text)


def read(collection, index, count):
  with mmap.mmap(vmos[collection, index], 4096) as bytes:
    return bytes[:count]


def start_deleting(collection, index):
  """Sends DeleteVmo and keeps the vmo."""
  body = struct.pack("<QQII", collection, index, example["HANDLE"], 0)
  heap.send(example["DELETE"], body, [vmos[collection, index]])


def close(collection, index):
  os.close(vmos.pop((collection, index)))


def is_answered(seconds=0.3):
  """Whether an answer comes in that time."""
  heap.socket.settimeout(seconds)
  try:
    return heap.answer() == (b"", [])
  except TimeoutError:
    return False
  finally:
    heap.socket.settimeout(30)


for line in sys.stdin:
  try:
    value = eval(line)
  except OSError as error:
    value = f"{type(error).__name__}: {error}"
  print(repr(value), flush=True)
