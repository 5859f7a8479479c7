#!/usr/bin/python3
"""client.py SOCKET: asks Examples/C's service for a buffer, beside 200 others who ask for nothing, writes and reads it, lets go of it, and
asks for what it cannot give."""
import array, mmap, os, socket, struct, sys, time

for attempt in range(100):
  connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
  if connection.connect_ex(sys.argv[1]) == 0:
    break
  connection.close()
  time.sleep(0.1)
idle = []
for _ in range(200):
  idle.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
  idle[-1].connect(sys.argv[1])
connection.send(struct.pack("<Q", 10000))
data, control, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(4))
size = struct.unpack("<Q", data)[0]
fd = array.array("i", control[0][2])[0]
assert size >= 10000 and size % os.sysconf("SC_PAGESIZE") == 0, size
with mmap.mmap(fd, size) as memory:
  assert memory[9999] == 0
  memory[9999] = 1
os.close(fd)
connection.send(struct.pack("<Q", 0))
assert connection.recv(8) == b"", "0 bytes were given"
