#!/usr/bin/python3
"""What a daemon may rely on: facts about systemd and the kernel, asked of the running machine."""
from checks import check, run_all
from unit import Service, run, wait

STORED = "NFileDescriptorStore"
NOTHING = "Total 0 objects, 0 bytes"


def left():
  with open("/sys/kernel/debug/dma_buf/bufinfo") as lines:
    return lines.read().splitlines()[-1]


def activation():
  with Service() as it:
    check("nothing runs before a client connects", it.show("MainPID"), "0")
    check("a client starts it; LISTEN_FDS holds the socket", it.ask("names"), ["control"])
    it.ask("store('a', memfd())")
    check("without FileDescriptorStoreMax nothing is stored",
          (it.ask("barrier()"), it.show(STORED)), (True, "0"))


def store_counts():
  with Service("FileDescriptorStoreMax=4") as it:
    it.ask("globals().update(b=dmabuf(), c=dmabuf())")
    check("the store adds one to a dma-buf's count, and removing takes it away",
          it.ask("[(count(b), store('b', b), barrier(), count(b), remove('b'), barrier(), count(b))"
                 " for _ in range(20)]"), [(1, True, True, 2, True, True, 1)] * 20)
    it.ask("store('b', b) and store('c', b)")
    check("the same file under a second name is not stored again",
          it.ask("barrier(), count(b)") + (it.show(STORED),), (True, 2, "1"))
    it.ask("[store(str(i), memfd()) for i in range(3)] and store('c', c)")
    check("one over FileDescriptorStoreMax is closed, and only the count tells the sender",
          it.ask("barrier(), count(c)") + (it.show(STORED),), (True, 1, "4"))
    it.kill()
    check("what was stored before stays, the first name with it",
          it.ask("names"), ["control", "2", "1", "0", "b"])


def store_survives():
  with Service("FileDescriptorStoreMax=64", "[Unit]", "StartLimitIntervalSec=0") as it:
    it.ask("[globals().update(m=memfd('before'), b=dmabuf()), store('mem', m), store('buf', b)]")
    it.ask("[barrier(), os.pwrite(m, b'after!', 0), mmap.mmap(b, 4096).write(b'pixels')]")
    it.kill()
    check("SIGKILL keeps the store: sockets first, then the newest",
          it.ask("names"), ["control", "buf", "mem"])
    check("with what was written after storing",
          it.ask("os.pread(stored('mem'), 9, 0), mmap.mmap(stored('buf'), 4096)[:6]"),
          (b"after!", b"pixels"))
    for i in range(5):
      it.ask(f"store('last{i}', dmabuf()) and os.kill(os.getpid(), signal.SIGKILL)")
    check("so does a descriptor sent by one that is killed at once",
          it.ask("names[1:6]"), [f"last{i}" for i in reversed(range(5))])
    everything = it.ask("names")
    it.systemctl("restart")
    check("systemctl restart keeps it", it.ask("names"), everything)
    # Which reloads too; either takes seconds here.
    run("systemctl", "daemon-reexec")
    it.kill()
    check("daemon-reexec keeps it, in the other order",
          it.ask("names"), everything[:1] + everything[:0:-1])
    check("these are the machine's only buffers", left(), "Total 6 objects, 24576 bytes")
    it.systemctl("stop")
    check("systemctl stop drops it", (it.show(STORED), left()), ("0", NOTHING))
    check("and a client finds an empty one", it.ask("names"), ["control"])


def store_lost():
  limit = ("[Unit]", "StartLimitIntervalSec=60", "StartLimitBurst=2")
  with Service("FileDescriptorStoreMax=4", *limit) as it:
    it.ask("store('a', dmabuf()) and barrier()")
    it.kill()
    check("within the start limit it is kept", it.ask("names"), ["control", "a"])
    it.kill()
    check("beyond it, it is lost, and the socket fails too",
          wait(lambda: it.show("SubState") == "failed") and
          (it.show(STORED), left(), it.show("Result", "socket")),
          ("0", NOTHING, "service-start-limit-hit"))
  for reason, status, name, options in (
      ("descriptors over LimitNOFILE", "202", "a", ["LimitNOFILE=16"]),
      ("names over 128 KiB together", "203", "a" * 250, ["LimitNOFILE=4096"])):
    with Service("FileDescriptorStoreMax=1024", *options) as it:
      it.ask(f"[(store({name!r} + str(i), m := memfd()), os.close(m)) for i in range(600)]")
      it.ask("barrier()")
      it.kill()
      check(f"{reason}: it cannot start again, and the store is lost",
            wait(lambda: it.show("SubState") == "failed") and
            (it.show("ExecMainStatus"), it.show(STORED)), (status, "0"))


def store_names():
  with Service("FileDescriptorStoreMax=64") as it:
    kept = ["a" * 255, "", "a b", "a/b", "a=b", "17.4294967295", "~!@#$%^&*()[]{}|;',<>?`\""]
    for name in kept:
      it.ask(f"store({name!r}, memfd())")
    for name in ["a" * 256, "a:b", "ä", "a\tb", "a\x7f"]:
      it.ask(f"store({name!r}, memfd())")
    it.ask("barrier()")
    it.kill()
    check("a name has up to 255 ASCII characters, no colon and no control; else it is 'stored'",
          it.ask("names[1:]"), ["stored"] * 5 + kept[::-1])
    it.ask("remove('stored') and remove('') and store(r'a\\b', memfd()) and barrier()")
    it.kill()
    check("backslashes are dropped from a name", it.ask("names[1]"), "ab")
    check("removing takes all of a name", it.show(STORED), str(len(kept)))


def messages():
  with Service("FileDescriptorStoreMax=8") as it:
    it.ask("(p := os.fork()) and os.waitpid(p, 0) or (store('child', memfd()), os._exit(0))")
    check("NotifyAccess=main refuses a child", (it.ask("barrier()"), it.show(STORED)), (True, "0"))
    it.ask("[(t := threading.Thread(target=lambda: store('thread', memfd()))).start(), t.join()]")
    check("and takes another thread", (it.ask("barrier()"), it.show(STORED)), (True, "1"))
    check("BARRIER=1 beside another line is refused: the line has no effect",
          (it.ask("barrier('STATUS=seen')"), it.show("StatusText")), (True, ""))
    # FDPOLL=1 means nothing to systemd: only 0 does.
    it.ask("globals().update(p=os.pipe(), q=os.pipe())")
    it.ask("store('poll', p[0], 'FDPOLL=1') and store('keep', q[0]) and barrier()")
    check("all are stored", it.show(STORED), "3")
    it.ask("[os.close(p[1]), os.close(q[1])]")
    check("without FDPOLL=0 one is dropped once its other end is gone",
          wait(lambda: it.show(STORED) == "2") and (it.kill(), it.ask("names[1:]"))[1],
          ["keep", "thread"])


def watchdog():
  with Service("FileDescriptorStoreMax=8", "WatchdogSec=1s") as it:
    check("WATCHDOG_USEC tells the time", it.ask("os.environ['WATCHDOG_USEC']"), "1000000")
    it.ask("store('a', dmabuf()) and time.sleep(2) or barrier()")
    check("pings keep it alive", it.show("NRestarts"), "0")
    it.ask("globals().update(pinging=False)")
    check("without them it is started anew", wait(lambda: it.show("NRestarts") == "1"), True)
    check("with its store", it.ask("names"), ["control", "a"])


SANDBOX = (
  "DynamicUser=yes", "SupplementaryGroups=dmaheap video", "CapabilityBoundingSet=",
  "NoNewPrivileges=yes",
  "DevicePolicy=closed", "DeviceAllow=char-dma_heap rw", "PrivateNetwork=yes", "PrivateUsers=yes",
  "RestrictAddressFamilies=AF_UNIX", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes",
  "ProtectProc=invisible", "ProcSubset=pid", "ProtectKernelTunables=yes", "ProtectClock=yes",
  "ProtectControlGroups=yes", "ProtectHostname=yes", "RestrictNamespaces=yes",
  "RestrictSUIDSGID=yes", "LockPersonality=yes", "MemoryDenyWriteExecute=yes",
  "SystemCallFilter=@system-service", "SystemCallArchitectures=native",
  # An error that nothing else gives tells the filter's refusals from others.
  "SystemCallErrorNumber=ENOANO", "TasksMax=8", "MemoryMax=64M")

# What is allowed without the sandbox, and the refusal within.
REFUSED = (
  ("DevicePolicy", "os.close(os.open('/dev/dri/card0', os.O_RDWR))", "EPERM"),
  ("RestrictAddressFamilies", "socket.socket(socket.AF_INET).close()", "EAFNOSUPPORT"),
  ("ProtectSystem", "open('/etc/test', 'w').close()", "EROFS"),
  ("ProtectHome", "os.listdir('/root') and None", "EACCES"),
  ("SystemCallFilter", "os.chroot('/')", "ENOANO"),
  ("MemoryDenyWriteExecute", "mmap.mmap(-1, 4096, prot=7).close()", "EPERM"),
  ("ProcSubset", "open('/proc/meminfo').close()", "ENOENT"),
  ("RestrictSUIDSGID", "os.chmod(os.memfd_create('suid'), 0o4700)", "EPERM"),
  ("ProtectControlGroups",
   "os.mkdir('/sys/fs/cgroup/test') or os.rmdir('/sys/fs/cgroup/test')", "EROFS"),
  ("TasksMax", "[threading.Thread(target=time.sleep, args=[1]).start() for _ in range(9)] and None",
   "RuntimeError: can't start new thread"))


def sandbox():
  with Service() as free, Service("FileDescriptorStoreMax=8", *SANDBOX) as it:
    for option, attempt, refusal in REFUSED:
      check(f"{option} refuses", (free.ask(attempt), it.ask(attempt)), (None, refusal))
    network = "os.readlink('/proc/self/ns/net')"
    check("PrivateNetwork: another network", free.ask(network) != it.ask(network), True)
    keys = "('CapBnd', 'NoNewPrivs', 'Seccomp:')"
    status = f"[l.split()[1] for l in open('/proc/self/status') if l.startswith({keys})]"
    check("no privileges", it.ask(f"{status}, os.getuid() > 0"), (["0" * 16, "1", "2"], True))
    it.ask("globals().update(b=dmabuf(32 << 20), c=dmabuf(64 << 20))")
    check("heaps can be used, and are not charged to MemoryMax",
          it.ask("count(b), mmap.mmap(c, 64 << 20).write(b'pixels')"), (1, 6))
    it.ask("store('b', b) and barrier()")
    it.kill()
    check("so can the store", it.ask("names, count(stored('b'))"), (["control", "b"], 2))
  with Service(*SANDBOX, "SupplementaryGroups=") as it:
    check("without the group the heap is closed", it.ask("dmabuf()"), "EACCES")


run_all((activation, store_counts, store_survives, store_lost, store_names, messages, watchdog,
         sandbox))
