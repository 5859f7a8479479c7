#!/usr/bin/python3
"""heapd as its units run it: what clients see of it, what outlives it, what it may not do."""
import glob, grp, os, pwd, signal
from checks import check, run_all
from installed import (
  PACKAGE, UNITS, Client, buffers, configure, has_open, install, is_replaced, left, main_process,
  metrics, send, show, status)
from unit import Service, run, wait

NOTHING = "Total 0 objects, 0 bytes"
REGISTERED = "0x364b39390a966fc5"
NO_RESOURCES, ALREADY_EXISTS = (f"OSError: AllocateVmo: status {code}" for code in (-3, -26))
DENIED = "PermissionError: [Errno 13] Permission denied"


def installation():
  install()
  check("systemd-analyze verify has no complaint", run("systemd-analyze", "verify", *UNITS), "")
  # A reload takes seconds here, and systemd reads what it has not seen before without.
  run("systemctl", "enable", "--no-reload", "--now", "heapd.socket", "heapd-metrics.socket")
  check("one socket unit starts the other", [show("ActiveState", unit) for unit in UNITS],
        ["inactive", "active", "active", "active"])


def activation():
  alice, mallory = Client("alice"), Client("mallory")
  for node in glob.glob("/dev/dma_heap/*"):
    os.chmod(node, 0o600)
  alice.tell("connect()")
  check("heapd does not serve other memory while the heaps are closed to it",
        wait(lambda: show("ExecMainStatus") == "77"))
  for node in glob.glob("/dev/dma_heap/*"):
    os.chmod(node, 0o660)
  check("whoever connected is served as soon as they are open", alice.answer(), REGISTERED)
  check("READY=1 was heard", (show("ActiveState"), show("SubState")), ("active", "running"))
  check("a user out of the sockets' group is refused", mallory.ask("connect()"), DENIED)
  check("a client may not open a heap itself",
        alice.ask("os.open('/dev/dma_heap/system', os.O_RDWR)"),
        f"{DENIED}: '/dev/dma_heap/system'")
  mallory.end()
  alice.end()


def confinement():
  process = main_process()
  with open(f"/proc/{process}/status") as lines:
    has = {key: value.split() for key, value in (line.split(":", 1) for line in lines)}
  check("no privileges, no capabilities, a filter of calls",
        [has[key] for key in ("NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapInh", "CapAmb")],
        [["1"], ["2"]] + [["0" * 16]] * 4)
  # Of what the unit gave to load BPF programs, CAP_PERFMON (38) and CAP_BPF (39), the bound alone is left, which nothing
  # can come of under NoNewPrivileges=.
  check("bounded to what loading took", int(has["CapBnd"][0], 16), 1 << 38 | 1 << 39)
  check("a user of its own", has["Uid"], [str(pwd.getpwnam("heapd").pw_uid)] * 4)
  check("its groups", {grp.getgrgid(int(group)).gr_name for group in has["Groups"]},
        {"heapd", "dmaheap", "video"})
  spaces = {name: os.readlink(f"/proc/{process}/ns/{name}") == os.readlink(f"/proc/1/ns/{name}")
            for name in ("mnt", "net", "user")}
  check("mounts and network of its own, users as they are", spaces,
        {"mnt": False, "net": False, "user": True})
  exposure = run("systemd-analyze", "security", "--no-pager", "heapd.service").split()[-3]
  # 0.9 without the two capabilities and bpf(2), which it counts although they are given up.
  check(f"systemd-analyze security: an exposure of {exposure}, where 10 is the worst",
        float(exposure) < 1.2)


# What root may do without the unit's options, and what comes of it with them.
REFUSED = (
  ("a display, though its group may", "os.close(os.open('/dev/dri/card0', os.O_RDWR))", "EPERM"),
  ("the network", "socket.socket(socket.AF_INET).close()", "EAFNOSUPPORT"),
  ("the system's files", "open('/etc/test', 'w').close()", "EROFS"),
  ("homes", "os.scandir('/home').close()", "EACCES"),
  ("other processes", "os.stat('/proc/1') and None", "ENOENT"),
  ("control groups", "os.mkdir('/sys/fs/cgroup/test') or os.rmdir('/sys/fs/cgroup/test')", "EROFS"),
  ("memory to write and run", "mmap.mmap(-1, 4096, prot=7).close()", "EPERM"),
  ("calls for resources", "os.sched_setaffinity(0, {0})", "EPERM"),
  ("other personalities",
   "__import__('ctypes').CDLL(None).personality(0x40000) >= 0 and None", False))


def sandbox():
  with open(f"{PACKAGE}/systemd/heapd.service") as file:
    section = file.read().split("[Service]")[1].split("[Install]")[0]
  others = ("Exec", "Sockets", "WatchdogSec")
  options = [line for line in section.splitlines() if not line.startswith(others)]
  # With its group the policy alone keeps it from the display.
  with Service() as free, Service(*options, "SupplementaryGroups=video") as it:
    for what, attempt, refusal in REFUSED:
      check(f"kept from {what}", (free.ask(attempt), it.ask(attempt)), (None, refusal))
    check("not from the heaps, nor from the store",
          (it.ask("store('b', dmabuf()) and barrier()"), it.show("NFileDescriptorStore")),
          (True, "1"))


def service():
  alice, bob = Client("alice"), Client("bob")
  inodes = use(alice, bob)
  kill(alice, bob, inodes)
  reload(alice)
  restart(alice)
  stop(alice)


def use(alice, bob):
  check("clients connect", (alice.ask("connect()"), bob.ask("connect()")), (REGISTERED,) * 2)
  inodes = [alice.ask("allocate(7, 0)"), alice.ask("allocate(7, 1, contiguous=True)"),
            bob.ask("allocate(8, 0, 1 << 20)")]
  check("system and contiguous buffers", [inode > 0 for inode in inodes], [True] * 3)
  check("with bytes", alice.ask("write(7, 0, b'before') + write(7, 1, b'pixels')"), 12)
  check("the status has all, with their users", buffers(),
        [((7, 0), alice.user, "system", False), ((7, 1), alice.user, "default_cma_region", False),
         ((8, 0), bob.user, "system", False)])
  expected = {'heapd_buffers{heap="system"} 2', 'heapd_buffers{heap="default_cma_region"} 1'}
  check("so have the metrics", expected - set(metrics()), set())
  info = run("heapctl", "info", "--socket", "/run/heapd/heap.sock").splitlines()
  check("heapctl shows them", len([line for line in info if line.endswith(" no")]), 3)
  check("systemd keeps them", show("NFileDescriptorStore"), "3")
  return inodes


def kill(alice, bob, inodes):
  alice.ask("start_deleting(7, 1)")
  check("DeleteVmo waits for the last holder", alice.ask("is_answered()"), False)
  # Nothing may see bob go.
  send(signal.SIGSTOP)
  bob.end()
  send(signal.SIGKILL)
  check("the connection ends", alice.ask("is_answered(30)"), "ConnectionError: the service hung up")
  check("after SIGKILL the next server takes the client", alice.ask("connect()"), REGISTERED)
  check("it has the buffers, and not the one whose client went meanwhile",
        wait(lambda: len(buffers()) == 2) and buffers(),
        [((7, 0), alice.user, "system", True), ((7, 1), alice.user, "default_cma_region", True)])
  check("the same ones", [has_open(inode) for inode in inodes], [True, True, False])
  check("with their bytes", alice.ask("read(7, 0, 6) + read(7, 1, 6)"), b"beforepixels")
  check("on their user's account", [(user["quota"]["buffers"], user["quota"]["bytes"])
                                    for user in status()["users"] if user["user"] == alice.user],
        [(2, 16384)])
  check("and their keys are taken", alice.ask("allocate(7, 0)"), ALREADY_EXISTS)
  check("DeleteVmo goes to the new server and waits",
        alice.ask("start_deleting(7, 1), is_answered()"), (None, False))
  check("until the buffer is gone", alice.ask("close(7, 1), is_answered(30)"), (None, True))
  check("from the store too", (left(), show("NFileDescriptorStore")),
        ("Total 1 objects, 8192 bytes", "1"))


def reload(alice):
  process = main_process()
  configure("user-buffers = 2")
  check("systemctl reload is answered", run("systemctl", "reload", "heapd"), "")
  check("its limit counts what was taken over",
        (alice.ask("allocate(9, 0) > 0"), alice.ask("allocate(9, 1)")), (True, NO_RESOURCES))
  configure("user-buffers = many")
  run("systemctl", "reload", "heapd")
  check("a file with a fault changes nothing", alice.ask("allocate(9, 1)"), NO_RESOURCES)
  check("all in the same process", main_process(), process)


def restart(alice):
  kept = [((7, 0), alice.user, "system", True), ((9, 0), alice.user, "system", True)]
  run("systemctl", "--no-block", "restart", "heapd")
  check("heapd does not start with a faulty file", wait(lambda: show("ExecMainStatus") == "1"))
  configure("")
  check("systemctl restart keeps the buffers, and so do failed starts", buffers(), kept)
  check("SIGTERM from elsewhere does not stop the service", is_replaced(send(signal.SIGTERM)))
  check("nor does it lose buffers", buffers(), kept)
  check("the watchdog ends a server that stands still", is_replaced(send(signal.SIGSTOP)))
  check("and keeps its buffers", buffers(), kept)
  check("whose bytes are as they were", alice.ask("connect() and read(7, 0, 6)"), b"before")


def stop(alice):
  alice.ask("close(9, 0)")
  run("systemctl", "stop", "heapd")
  check("systemctl stop: exit status 0",
        (show("ActiveState"), show("Result"), show("ExecMainStatus")), ("inactive", "success", "0"))
  check("who has a buffer keeps it", alice.ask("read(7, 0, 6)"), b"before")
  check("the next client finds a server that knows none", buffers(), [])
  alice.end()
  check("the last holder gone, all is", wait(lambda: left() == NOTHING) and left(), NOTHING)
  run("systemctl", "stop", "heapd.socket", "heapd.service")
  check("the sockets leave no files", glob.glob("/run/heapd/*"), [])


run_all((installation, activation, confinement, sandbox, service))
