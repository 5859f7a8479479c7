#!/usr/bin/python3
"""What heapctl tells to do of units and of udevd, carried out as it is printed, and the fault is gone. Of `systemctl edit` and its
editor the result is written: the drop-in with the setting that the fix names."""
import grp, itertools, json, os, pwd, re, socket, subprocess
from checks import check, run_all
from installed import install
from unit import FOLDER, run, wait

HEAPCTL = "/usr/bin/heapctl"
SOCKET = "/run/heapd/heap.sock"
numbers = itertools.count(1)


class Unit:
  """A unit that asks the doctor."""

  def __init__(self, *options, by=""):
    self.name = f"asks{next(numbers)}"
    with open(f"{FOLDER}/{self.name}.service", "w") as file:
      file.write(f"[Service]\nType=oneshot\nExecStart={by}{HEAPCTL} doctor --json\n"
                 f"StandardOutput=truncate:/run/{self.name}.json\n" + "\n".join(options) + "\n")
    with open(f"/run/{self.name}.json", "w") as file:
      os.fchmod(file.fileno(), 0o666)

  def fix(self, cause):
    run("systemctl", "start", f"{self.name}.service")
    with open(f"/run/{self.name}.json") as file:
      report = file.read()
    if not report:
      return f"no report: {run('systemctl', 'status', self.name)}"
    return told(report, cause)

  def edit(self, setting):
    os.makedirs(f"{FOLDER}/{self.name}.service.d", exist_ok=True)
    with open(f"{FOLDER}/{self.name}.service.d/override.conf", "a") as file:
      file.write(f"[Service]\n{setting}\n")
    run("systemctl", "daemon-reload")


def told(report, cause):
  return next((f["fix"] for f in json.loads(report)["doctor"]["findings"] if f["id"] == cause and "fix" in f), None)


def doctor(cause, user=None):
  entry = user and pwd.getpwnam(user)
  done = subprocess.run(
    [HEAPCTL, "doctor", "--json"], stdout=subprocess.PIPE, text=True,
    **({"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)} if user else {}))
  return told(done.stdout, cause)


def carry_out(cause, user=None):
  fix = doctor(cause, user)
  check(f"{cause} is told", fix is not None)
  print(f"      {fix}")
  done = subprocess.run(["sh", "-c", fix or "false"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  check(f"its fix is carried out: {done.stdout.strip()}", done.returncode, 0)
  check("it is gone", wait(lambda: doctor(cause, user) is None, 10))


def prepare():
  if not os.path.exists(HEAPCTL):
    install()
  with open("/usr/local/bin/sudo", "w") as file:
    file.write('#!/bin/sh\nexec "$@"\n')
  os.chmod("/usr/local/bin/sudo", 0o755)
  os.environ["PATH"] = f"/usr/local/bin:{os.environ['PATH']}"


def units():
  heap = os.stat("/dev/dma_heap/system").st_gid
  for cause, *options in (
    ("heap.device-cgroup", "DevicePolicy=closed"),
    ("import.device-cgroup", "DevicePolicy=closed", "DeviceAllow=char-dma_heap rw"),
    ("heap.allocation-refused", "SystemCallFilter=~ioctl", "SystemCallErrorNumber=EPERM"),
    ("cgroup.memory-limit", "MemoryMax=256M"),
    ("limits.descriptors", "LimitNOFILE=64"),
    # A user without a name, whom systemd itself does not take.
    ("heap.not-in-group",),
  ):
    unit = Unit(*options, by="" if options else "/usr/bin/setpriv --reuid=54321 --regid=54321 --keep-groups ")
    fix = unit.fix(cause)
    check(f"{cause} is told", fix is not None)
    # One for displays, and then one for cameras.
    for _ in range(2):
      found = fix and (re.match(r"sudo systemctl edit UNIT  # of the unit that runs this: \[Service\] ([^;]*)", fix)
                       or re.search(r"  # or (\S+) in the unit", fix))
      if found:
        print(f"      {fix}")
        unit.edit(found.group(1))
        fix = unit.fix(cause)
    check("it is gone", fix, None)
  check("the nodes are as they were", os.stat("/dev/dma_heap/system").st_gid, heap)


def udevd():
  run("systemctl", "stop", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udevd.service")
  os.chown("/dev/dma_heap/system", 0, 0)
  carry_out("udev.not-running")
  check("the rule was applied", grp.getgrgid(os.stat("/dev/dma_heap/system").st_gid).gr_name, "dmaheap")


def service():
  run("systemctl", "stop", "heapd.service", "heapd.socket", "heapd-observer.socket")
  carry_out("service.absent")
  carry_out("service.closed", "mallory")
  run("systemctl", "stop", "heapd.service", "heapd.socket", "heapd-observer.socket")
  left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
  os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
  left.bind(SOCKET)
  left.close()
  carry_out("service.dead")
  run("systemctl", "stop", "heapd.service", "heapd.socket", "heapd-observer.socket")


run_all([prepare, units, udevd, service])
