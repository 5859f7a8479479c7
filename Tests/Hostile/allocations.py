#!/usr/bin/env python3
"""allocations.py HEAPD HEAP: each allocation that the kernel makes for heapd's calls fails once.

Needs root and a kernel with CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC (Tests/Kernel: lts and next). A number in /proc/PID/task/TID/fail-nth
has that one of the thread's next fault points fail (Documentation/fault-injection/fault-injection.rst): every allocation of slab memory or
pages. Of each thread all fail in turn while clients do all that they may, and all from the program's begin to its first turn. What must
hold is what must where a system call fails: calls.py. Where the kernel was built so, copies from and to the process are fault points too:
of memory that is mapped they do not fail, and of a message that was not copied nothing is left, so they are counted and not judged.
POOL=SIZE in the environment gives heapd a pool, as in calls.py.
HEAPD is a static program: it and the shell that starts it run from memory, because a file system over 9p has EINVAL for good where one
of its own allocations failed (Linux 6.12).
"""
import collections, os, pathlib, re, shutil, subprocess, sys, tempfile

import calls

DEBUG = pathlib.Path("/sys/kernel/debug")
# Nothing that the kernel may wait for is spared, and no order of pages; the kernel does not tell of each.
SETTINGS = {"failslab/ignore-gfp-wait": "N", "fail_page_alloc/ignore-gfp-wait": "N", "fail_page_alloc/ignore-gfp-highmem": "N",
            "fail_page_alloc/min-order": "0", "failslab/verbose": "0", "fail_page_alloc/verbose": "0", "fail_usercopy/verbose": "1",
            "fail_usercopy/verbose_ratelimit_interval_ms": "0"}
# Writes its argument for itself and becomes the rest of them.
BECOME = 'echo "$0" > /proc/thread-self/fail-nth; exec "$@"'


def fail(thread, number):
    (thread / "fail-nth").write_text(str(number))


def is_left(thread):
    """Whether it had fewer fault points. The number comes with a NUL where it is none."""
    return bool(int((thread / "fail-nth").read_text().strip("\n\0") or 0))


class Log:
    """The kernel's, from now on: it tells of copies that failed."""

    def __init__(self):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)

    def tells_of_copy(self):
        told = False
        try:
            while line := os.read(self.file, 8192):
                told = told or b"name fail_usercopy" in line
        except BlockingIOError:
            return told


def while_serving(heapd, heap, base, faults):
    counts, log = collections.Counter(), Log()
    with calls.serving(heapd, base, heap) as (process, folder):
        for thread in [pathlib.Path(f"/proc/{process.pid}/task/{process.pid}"), *calls.others(process)]:
            name, number, left = (thread / "comm").read_text().strip(), 0, False
            while not left:
                number += 1
                fault, refusals = None, []
                fail(thread, number)
                try:
                    refusals = calls.clients(folder)
                except calls.Fault as one:
                    fault = one
                left = is_left(thread)
                fail(thread, 0)
                is_copy = log.tells_of_copy()
                try:
                    if fault and not is_copy:
                        raise fault
                    refusals = calls.recover(process, folder, refusals)[0]
                    counts["copies" if is_copy else "passed over" if left else "refuses" if refusals else "serves"] += 1
                except calls.Fault as fault:
                    faults.append(f"{name}, allocation {number}: {fault}")
                    print(faults[-1], flush=True)
                    if process.poll() is not None:
                        return counts
            print(f"{name}: {number - 1} allocations", flush=True)
    return counts


def at_start(heapd, heap, base, faults, step):
    counts, number, more, is_own, log = collections.Counter(), 0, True, False, Log()
    while more:
        number += step
        with tempfile.TemporaryDirectory(dir=base) as folder:
            with calls.started(heapd, folder, [base + "/busybox", "sh", "-c", BECOME, str(number)], heap) as process:
                try:
                    calls.await_start(process, folder)
                    is_copy = log.tells_of_copy()
                    # The shell comes first, and exec(2), which ends what it cannot load; then the loader and the runtimes.
                    is_own = is_own or re.search("^heapd: ", calls.said(folder), re.MULTILINE)
                    if process.poll() is None:
                        thread = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}")
                        more = not is_left(thread)
                        fail(thread, 0)
                        calls.run.at_rest = calls.MANY
                    if process.poll() is not None and (is_copy or not is_own):
                        counts["copies" if is_copy else "is not loaded"] += 1
                    else:
                        outcome = calls.judge(process, folder)[0]
                        counts["copies" if is_copy else outcome if more else "passed over"] += 1
                except calls.Fault as fault:
                    faults.append(f"at the start, allocation {number}: {fault}")
                    print(faults[-1], flush=True)
    return counts


def main():
    if len(sys.argv) < 3 or os.geteuid() != 0:
        sys.exit("usage, as root: allocations.py HEAPD HEAP [STEP]")
    heapd, heap = os.path.realpath(sys.argv[1]), sys.argv[2]
    if not any(DEBUG.iterdir()):
        subprocess.run(["mount", "-t", "debugfs", "debugfs", DEBUG], check=True)
    for name, value in SETTINGS.items():
        if (DEBUG / name).exists():
            (DEBUG / name).write_text(value)
        elif not name.startswith("fail_usercopy"):
            sys.exit(f"allocations.py: {DEBUG / name} is missing: this kernel cannot have its allocations fail, or debugfs is not mounted")
    faults = []
    with tempfile.TemporaryDirectory(prefix="heapd-allocations-", dir="/dev/shm") as base:
        heapd, _ = shutil.copy(heapd, base), shutil.copy("/bin/busybox", base)
        for what, counts in (("while it serves", while_serving(heapd, heap, base, faults)),
                             ("at its start", at_start(heapd, heap, base, faults, int(sys.argv[3]) if len(sys.argv) > 3 else 1))):
            outcome = ", ".join(f"{count} {name}" for name, count in counts.items())
            print(f"allocations that fail {what}: {sum(counts.values())} tried: {outcome}", flush=True)
    print(f"{len(faults)} at fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
