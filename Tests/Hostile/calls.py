#!/usr/bin/env python3
"""calls.py HEAPD [SYSCALL...]: each system call of heapd fails once, or those of these names.

strace(1) has one call of one run fail, with each error of the table below that can come of it: of the first thread, which is also the
event loop, every call from heapd's first own one to its last; of the threads beside it every call while clients do all that they may. A
run of the first kind starts a heapd, lets clients do that, twice more, and stops it; those of the second share one. What must hold:

- heapd does not start, and says why and leaves no socket; or it serves, and ends with status 0 when it is told to;
- no client waits for more than five seconds: it gets what it asked for, a refusal, or the end of its connection;
- the second time, and the third, all is served, no buffer is left, and no descriptor that is not there in a run without a failure.

HEAP=NAME in the environment has heapd serve another heap than memfd, and POOL=SIZE gives it a pool of that many bytes, whose thread is one of
those beside the first. With 2M the buffer that is made ahead and those that come back leave no room for one another: each round makes
one and lets one go.

Written in Python and against the bytes (wire.py), so that it shares nothing with what it tests.
"""
import collections, contextlib, itertools, json, os, pathlib, re, signal, socket, subprocess, sys, tempfile, time

from wire import ALL, AWAIT, HANDLE, INFO, STATUS, WATCH, allocate, attach, delete, header, table

# What the kernel's documentation has of each call. Not: memory (mmap, brk), whose failure Swift's runtime answers by ending the process;
# locks (futex), as the C library does; close, which releases the descriptor whatever it says; write but to a memfd, which is to an eventfd that
# does not block and fails only where its reader is awake already; calls that cannot fail.
ERRORS = {
    "accept4": "EMFILE ECONNABORTED ENOBUFS EINTR", "bind": "EADDRINUSE EACCES", "bpf": "EPERM ENOMEM", "capset": "EPERM",
    "capget": "EPERM", "chmod": "EPERM", "clone": "EAGAIN ENOMEM", "clone3": "EAGAIN", "dup": "EMFILE", "epoll_create1": "EMFILE", "epoll_ctl": "ENOMEM ENOSPC",
    "epoll_wait": "EINTR", "eventfd2": "EMFILE", "fchmod": "EPERM", "fcntl": "EMFILE EAGAIN", "fstat": "EACCES", "ftruncate": "ENOSPC EINTR",
    "getdents64": "EIO", "getsockopt": "ENOMEM ENOPROTOOPT", "getxattr": "EOPNOTSUPP ERANGE", "inotify_add_watch": "ENOSPC ENOMEM", "inotify_init1": "EMFILE",
    "inotify_rm_watch": "EINVAL", "ioctl": "ENOMEM EINTR", "listen": "EADDRINUSE", "lseek": "EIO", "memfd_create": "ENOMEM EMFILE",
    "newfstatat": "EACCES ENOMEM", "openat": "EMFILE EACCES", "pidfd_open": "EMFILE ESRCH", "pidfd_send_signal": "EPERM", "pipe2": "EMFILE", "poll": "ENOMEM EINTR", "ppoll": "ENOMEM EINTR",
    "pread64": "EIO EINTR", "prlimit64": "EPERM", "read": "EIO EINTR", "recvfrom": "ECONNRESET ENOMEM", "recvmsg": "ECONNRESET ENOMEM EINTR",
    "sendmsg": "ENOBUFS EPIPE ETOOMANYREFS EAGAIN EINTR", "sendto": "EPIPE EAGAIN EINTR", "setsockopt": "ENOMEM", "shutdown": "ENOTCONN",
    "signalfd4": "EMFILE", "socket": "EMFILE", "socketpair": "EMFILE ENOBUFS", "statx": "ENOMEM EACCES",
    "unlink": "EACCES", "vmsplice": "ENOMEM EAGAIN", "wait4": "EINTR", "write": "ENOSPC EINTR",
}
IGNORED = set(
    "access brk clock_gettime clock_nanosleep close exit_group futex getpid getrandom gettid madvise mmap mprotect munmap prctl restart_syscall "
    "rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity write".split())
# The first call of heapd's own, after the loader's and the runtimes'.
FIRST = "eventfd2(0, EFD_SEMAPHORE"
# Calls that read one file from its begin to its end: the first, the second and the last stand for all.
LONG = "/sys/kernel/btf/vmlinux"
PATIENCE = 5
HEAP, POOL = os.environ.get("HEAP", "memfd"), os.environ.get("POOL")
MANY = 1 << 20

class Fault(Exception):
    """What must not be."""


class Refused(Exception):
    """A clean no: a status, or the connection's end."""


class Client:
    def __init__(self, path, kind=socket.SOCK_SEQPACKET):
        self.socket = socket.socket(socket.AF_UNIX, kind)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(path)
        except (ConnectionError, FileNotFoundError) as error:
            raise Refused(error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self):
        try:
            message, handles, _, _ = socket.recv_fds(self.socket, 65536, 64)
        except socket.timeout:
            raise Fault("a client waits for ever")
        except ConnectionError as error:
            raise Refused(error)
        if not message:
            raise Refused("the connection ended")
        return message, handles

    def call(self, message, handles=()):
        try:
            socket.send_fds(self.socket, [message], list(handles))
        except socket.timeout:
            raise Fault("a client cannot send")
        except OSError as error:
            raise Refused(error)
        while True:
            answer, received = self.receive()
            # An event: OnReclaimed.
            if answer[:4] != b"\0\0\0\0":
                return answer, received
            if answer[8:16] == ALL:
                raise Refused("an epitaph")


def take(answer):
    message, handles = answer
    if not handles:
        raise Refused("no handle")
    return handles[0]


indices = itertools.count()


def clients(folder):
    """All that a client may do; each part is done even if the one before was refused. Answers the refusals."""
    refusals = []

    def attempt(part):
        try:
            part()
        except Refused as refusal:
            refusals.append(f"{part.__name__}: {refusal}")

    def buffers():
        with Client(folder + "/heap") as heap, Client(folder + "/heap.observer") as observer:
            heap.receive()
            heap.call(header(9, WATCH) + table())
            # The second is made on a worker.
            for size in (4096, 1 << 20):
                # A key is taken until the last handle is closed, which of a refused deletion's is later.
                index = next(indices)
                buffer = take(heap.call(allocate(1, (7, index), size)))
                try:
                    expect(len(observer.call(header(2, INFO) + table(HANDLE), [buffer])[0]) == 80, "no information")
                    socket.send_fds(observer.socket, [header(3, AWAIT) + table(HANDLE)], [buffer])
                    socket.send_fds(heap.socket, [delete(4, (7, index))], [buffer])
                except OSError as error:
                    raise Refused(error)
                finally:
                    os.close(buffer)
                while heap.receive()[0][:4] != b"\4\0\0\0":
                    pass
                observer.receive()

    def tracking():
        with Client(folder + "/heap.observer") as observer:
            near, far = os.pipe()
            try:
                observer.call(attach(5, 7), [far])
            finally:
                os.close(near)
                os.close(far)

    def state():
        status(folder)

    def metrics():
        with Client(folder + "/metrics", socket.SOCK_STREAM) as reader:
            try:
                reader.socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
            except OSError as error:
                raise Refused(error)
            expect(reader.receive()[0].startswith(b"HTTP/1.0 200"), "no metrics")

    for part in buffers, tracking, state, metrics:
        attempt(part)
    return refusals


def expect(holds, otherwise):
    if not holds:
        raise Refused(otherwise)


def status(folder):
    with Client(folder + "/heap.observer") as observer:
        report = take(observer.call(header(6, STATUS) + table()))
        text = os.pread(report, 1 << 20, 0)
        os.close(report)
        return text


def said(folder):
    return open(folder + "/log", errors="replace").read()


def links(process):
    for link in pathlib.Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            yield os.readlink(link)


def descriptors(process):
    """Without the files with its own descriptors' positions and counts, which heapd opens when it first needs them, and keeps."""
    time.sleep(0.005)
    return sum("/fdinfo" not in link for link in links(process))


@contextlib.contextmanager
def started(heapd, folder, tracer=(), heap=HEAP):
    words = [*tracer, heapd, "--socket", folder + "/heap", "--heap", heap, "--metrics-socket", folder + "/metrics"]
    if POOL:
        with open(folder + "/heapd.conf", "w") as file:
            file.write(f"pool-bytes = {POOL}\npool-idle-seconds = 600\npool-ready = 1 x 1M\n")
        words += ["--config", file.name]
    with open(folder + "/log", "wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def injection(inject):
    return ["-e", "signal=none", *(["-e", "inject=" + inject] if inject else [])]


def run(heapd, folder, inject, trace, *options):
    """Answers what heapd did ("serves" or "does not start") and how many descriptors it had at rest."""
    with started(heapd, folder, ["strace", "-D", *options, "-y", "-o", trace, *injection(inject)]) as process:
        await_start(process, folder)
        return judge(process, folder, inject)


@contextlib.contextmanager
def traced(threads, trace, inject=""):
    """strace(1) counts the calls of each thread apart: in each the one of that number fails."""
    words = ["strace", "-y", "-o", trace, *injection(inject)]
    for thread in threads:
        words += ["-p", thread.name]
    tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not all("TracerPid:\t0\n" not in (thread / "status").read_text() for thread in threads):
            if tracer.poll() is not None:
                sys.exit(f"calls.py: strace ended with {tracer.returncode}")
            time.sleep(0.005)
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def others(process):
    """The threads beside the first."""
    tasks = pathlib.Path(f"/proc/{process.pid}/task").iterdir()
    return [task for task in tasks if task.name != str(process.pid)]


def sockets(folder):
    return [folder + "/" + name for name in ("heap", "heap.observer", "metrics")]


def await_start(process, folder):
    """Until it serves, or has ended."""
    end = time.monotonic() + 4 * PATIENCE
    while process.poll() is None and not all(map(accepts, sockets(folder))):
        if time.monotonic() > end:
            raise Fault("it neither starts nor ends")
        time.sleep(0.005)


def judge(process, folder, inject=""):
    left = lambda: [path for path in sockets(folder) if os.path.exists(path)]
    # Who connects as it starts may be in the queue when it ends.
    refusals = clients(folder) if process.poll() is None else []
    if len(refusals) == 4:
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is not None:
        if process.returncode not in (1, 69, 77):
            raise Fault(f"it ends with status {process.returncode}: {said(folder)}")
        if "heapd: " not in said(folder):
            raise Fault("it does not say why it does not start")
        if left() and not inject.startswith("unlink"):
            raise Fault(f"it does not start, and leaves {left()}")
        return "does not start", None
    refusals, seen = recover(process, folder, refusals)
    stop(process, folder)
    if left() and not inject.startswith(("unlink", "newfstatat")):
        raise Fault(f"it leaves {left()}")
    return ("refuses" if refusals else "serves"), seen


def recover(process, folder, refusals):
    """Answers all refusals, and the descriptors at rest."""
    for _ in range(2):
        again = clients(folder)
        if process.poll() is not None:
            raise Fault(f"it ended with status {process.returncode}: {said(folder)}")
        # The failure came only now, or later.
        if again and refusals:
            raise Fault(f"it does not recover: {again}")
        refusals = refusals or again
    end = time.monotonic() + PATIENCE
    seen = None
    while time.monotonic() < end:
        try:
            report = json.loads(status(folder))
            # What the question itself took is given back soon after. What lies ready in the pool is what it has a descriptor for.
            seen = min(descriptors(process.pid) for _ in range(5)) - (report["pool"] or {"ready": 0})["ready"]
            if not report["buffers"] and seen <= run.at_rest:
                break
        except Refused as refusal:
            report = refusal
        time.sleep(0.01)
    else:
        raise Fault(f"{seen} descriptors are open, and {run.at_rest} otherwise: {' '.join(sorted(links(process.pid)))}; {report}")
    return refusals, seen


def stop(process, folder):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(2 * PATIENCE)
    except subprocess.TimeoutExpired:
        raise Fault("it does not end when it is told to")
    if process.returncode != 0:
        raise Fault(f"told to end it ends with status {process.returncode}: {said(folder)}")


def accepts(path):
    kind = socket.SOCK_STREAM if path.endswith("metrics") else socket.SOCK_SEQPACKET
    with socket.socket(socket.AF_UNIX, kind) as one:
        one.settimeout(PATIENCE)
        try:
            one.connect(path)
            return True
        except OSError:
            return False


def numbers(trace, first=FIRST):
    """Of each call's name the numbers, from 1, of those that are heapd's own: in a thread that has most of them."""
    seen, own, begun, long = collections.Counter(), collections.defaultdict(set), not first, {}
    for line in open(trace, errors="replace"):
        # The thread, where there are several.
        match = re.match(r"(\d* *)([a-z0-9_]+)\(", line)
        if not match:
            continue
        name = match[2]
        seen[match.groups()] += 1
        number = seen[match.groups()]
        begun = begun or line.startswith(first)
        if not begun or name in IGNORED and not (name == "write" and "memfd:" in line):
            continue
        if LONG in line and name == "read":
            long.setdefault(name, []).append(number)
        else:
            own[name].add(number)
    for name, all_of_it in long.items():
        own[name] |= {all_of_it[0], all_of_it[1], all_of_it[-1]}
    unknown = set(own) - set(ERRORS)
    if unknown:
        sys.exit(f"calls.py: no errors are listed for {' '.join(sorted(unknown))}")
    return own


def first_thread(heapd, base, tries):
    def attempt(inject, *options):
        with tempfile.TemporaryDirectory(dir=base) as folder:
            return run(heapd, folder, inject, base + "/trace", *options)

    def once(inject):
        outcome = attempt(inject, "-f")[0]
        time.sleep(0.1)
        if "(INJECTED)" not in open(base + "/trace", errors="replace").read():
            raise Fault("nothing failed")
        return outcome

    run.at_rest = MANY
    run.at_rest = attempt("")[1]
    time.sleep(0.1)
    tries("the first thread", numbers(base + "/trace"), lambda inject: attempt(inject)[0])
    if POOL:
        # When the first buffer of a heap comes back, to learn whether its mappings lend their pages.
        tries("the pool's thread, once", {"pipe2": {1}, "vmsplice": {1}}, once)


@contextlib.contextmanager
def serving(heapd, base, heap=HEAP):
    """One that has all its threads, and what it opens once and keeps; run.at_rest is its own."""
    with tempfile.TemporaryDirectory(dir=base) as folder, started(heapd, folder, heap=heap) as process:
        await_start(process, folder)
        for _ in range(3):
            clients(folder)
        run.at_rest = MANY
        run.at_rest = max(recover(process, folder, [])[1] for _ in range(5))
        yield process, folder
        stop(process, folder)


def other_threads(heapd, base, tries):
    with serving(heapd, base) as (process, folder):
        threads = others(process)

        def attempt(inject):
            with traced(threads, base + "/trace", inject):
                refusals = clients(folder) + clients(folder)
            if process.poll() is not None:
                sys.exit(f"calls.py: {inject}: it ended with status {process.returncode}: {said(folder)}")
            return "refuses" if recover(process, folder, refusals)[0] else "serves"

        attempt("")
        own = numbers(base + "/trace", "")
        tries("the " + ", ".join(sorted({(thread / "comm").read_text().strip() for thread in threads})), own, attempt)


def main():
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit("usage: calls.py HEAPD [SYSCALL...]")
    heapd, only = os.path.realpath(sys.argv[1]), sys.argv[2:]
    faults = []

    def tries(threads, own, attempt):
        counts, before = collections.Counter(), len(faults)
        for name in sorted(own):
            if only and name not in only:
                continue
            for error in ERRORS[name].split():
                for number in sorted(own[name]):
                    counts["tried"] += 1
                    try:
                        counts[attempt(f"{name}:error={error}:when={number}")] += 1
                    except Fault as fault:
                        faults.append(f"{threads}, {name} {number} {error}: {fault}")
                        print(faults[-1], flush=True)
        outcome = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"calls that fail in {threads}: {outcome}, {len(faults) - before} at fault", flush=True)

    with tempfile.TemporaryDirectory(prefix="heapd-calls-") as base:
        other_threads(heapd, base, tries)
        first_thread(heapd, base, tries)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
