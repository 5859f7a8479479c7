"""heapd under the units of this package: how a test installs it, uses it and looks at it."""
import ast, atexit, glob, json, os, pwd, shutil, socket, struct, subprocess
from unit import run, wait

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.abspath(f"{HERE}/../../..")
UNITS = ["heapd.service", "heapd.socket", "heapd-observer.socket", "heapd-metrics.socket"]
CONFIGURATION = "/etc/heapd.conf"
GET_STATUS = 0x03019D146E458521


def install():
  """As README.md tells to do by hand, and three users of whom two may connect."""
  for program in ("heapd", "heapctl"):
    os.symlink(f"{PACKAGE}/.build-ship/dynamic/{program}", f"/usr/bin/{program}")
  for unit in UNITS:
    shutil.copy(f"{PACKAGE}/systemd/{unit}", "/etc/systemd/system/")
  shutil.copy(f"{PACKAGE}/systemd/heapd.conf", CONFIGURATION)
  os.makedirs("/etc/sysusers.d", exist_ok=True)
  shutil.copy(f"{PACKAGE}/systemd/heapd.sysusers", "/etc/sysusers.d/heapd.conf")
  shutil.copy(f"{PACKAGE}/udev/dmaheap.sysusers", "/etc/sysusers.d/dmaheap.conf")
  with open("/etc/sysusers.d/test.conf", "w") as file:
    file.write("u alice -\nu bob -\nu mallory -\nm alice heapd-clients\nm bob heapd-clients\n")
  run("systemd-sysusers")
  # Else the watchdog's test would take ten seconds.
  run("sed", "-i", "s/^WatchdogSec=10s/WatchdogSec=2s/", "/etc/systemd/system/heapd.service")


def configure(*lines):
  with open(CONFIGURATION, "w") as file:
    file.write("\n".join(lines) + "\n")


class Client:
  """A process of a user that does as client.py is told."""

  def __init__(self, name):
    entry = pwd.getpwnam(name)
    self.user = entry.pw_uid
    self.process = subprocess.Popen(
      ["python3", f"{HERE}/client.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      user=entry.pw_uid, group=entry.pw_gid, extra_groups=os.getgrouplist(name, entry.pw_gid))
    atexit.register(self.process.kill)

  def ask(self, expression):
    self.tell(expression)
    return self.answer()

  def tell(self, expression):
    self.process.stdin.write(expression + "\n")
    self.process.stdin.flush()

  def answer(self):
    return ast.literal_eval(self.process.stdout.readline())

  def end(self):
    self.process.kill()
    self.process.wait()


def show(key, unit="heapd.service"):
  return run("systemctl", "show", "--value", "-p", key, unit)


def main_process():
  return int(show("MainPID"))


def send(number):
  """Sends heapd's process a signal, and tells which process that was."""
  process = main_process()
  assert process, "heapd does not run"
  os.kill(process, number)
  return process


def is_replaced(process):
  return wait(lambda: main_process() not in (0, process))


def status():
  """What the service tells of itself, asked as root."""
  with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as observer:
    observer.settimeout(30)
    observer.connect("/run/heapd/heap.sock.observer")
    # A flexible method's header, and an empty table.
    observer.send(struct.pack("<I2sBBQQQ", 1, b"\2\0", 0x80, 1, GET_STATUS, 0, 2**64 - 1))
    _, handles, _, _ = socket.recv_fds(observer, 65536, 1)
  with open(handles[0]) as file:
    file.seek(0)
    return json.load(file)


def buffers():
  """Key, user, heap, and whether its connection is gone."""
  return sorted(((b["collection"], b["index"]), b["user"], b["heap"], b["orphan"])
                for b in status()["buffers"])


def metrics():
  with socket.socket(socket.AF_UNIX) as reader:
    reader.connect("/run/heapd/metrics.sock")
    reader.send(b"GET /metrics HTTP/1.0\r\n\r\n")
    return reader.makefile().read().splitlines()


def has_open(inode):
  """Whether heapd has that dma-buf."""
  paths = glob.glob(f"/proc/{main_process()}/fd/*")
  return any(os.readlink(p).startswith("/dmabuf:") and os.stat(p).st_ino == inode for p in paths)


def left():
  """The kernel's own count of dma-bufs."""
  with open("/sys/kernel/debug/dma_buf/bufinfo") as lines:
    return lines.read().splitlines()[-1]
