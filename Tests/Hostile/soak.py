#!/usr/bin/env python3
"""soak.py HEAPD MINUTES [SECONDS [HEAP [ATTACK...]]]: one heapd, honest clients of three users all the time, and one attack after
another beside them, or those that are named.

A round has three windows: a quiet one; one in which four processes of four other users attack another heapd, so that the machine is as
busy; and one in which they attack this one, each of SECONDS (5), the quiet one of half. It prints for each attack how long an honest client
waited for a buffer and its end in each, at p99, what was tried, refused and lost, and how long a new connection waited for its greeting.
After each round heapd's resident memory and descriptors are read in a quiet moment; at half time it is killed and started anew. soak.svg,
in the folder where it is run, or else what is printed, shows them and the p99 over time. Fails where an honest client was refused or left
waiting, where a buffer or descriptor is left, or where memory has grown by more than a tenth in either half, once each attack was there.
As root: users are real.

POOL=SIZE in the environment gives heapd a pool of that many bytes, from which what nobody asks for goes after a second.
"""
import contextlib, ctypes, errno, json, mmap, os, random, resource, signal, socket, struct, subprocess, sys, tempfile, time

from wire import ALL, HANDLE, INFO, STATUS, allocate, attach, delete, header, table

ATTACKERS = range(30001, 30005)
HONEST = range(20001, 20004)
PATIENCE = 10


def connect(path, kind=socket.SOCK_SEQPACKET):
    """Waits where the queue is full. With a timeout of Python's that would be EAGAIN at once (unix(7))."""
    one = socket.socket(socket.AF_UNIX, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))
    one.connect(path)
    one.settimeout(PATIENCE)
    return one


def send(one, message, handles=()):
    socket.send_fds(one, [message], list(handles))


def receive(one):
    return socket.recv_fds(one, 65536, 64)[:2]


def buffer(one, key, size=4096):
    send(one, allocate(1, key, size))
    handles = receive(one)[1]
    return handles[0] if handles else None


def become(user):
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


# ---- attacks: each is done again and again until its process is ended


def lingering():
    """A TCP socket whose last close would take an hour, and what keeps it so."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    near = socket.socket()
    near.connect(listener.getsockname())
    far = listener.accept()[0]
    near.setblocking(False)
    try:
        while True:
            near.send(bytes(65536))
    except BlockingIOError:
        pass
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    return near, (listener, far)


def slow_closes(path):
    files = [lingering() for _ in range(4)]
    with connect(path) as one:
        receive(one)
        for near, keep in files:
            # Its last close is heapd's.
            send(one, delete(2, (random.getrandbits(60), 0)), [near.fileno()])
            near.close()
        time.sleep(0.05)


def slow_in_flight(path):
    files = [lingering() for _ in range(4)]
    with connect(path) as one:
        for near, keep in files:
            send(one, b"x", [near.fileno()])
            near.close()


def child_of_mine(work):
    child = os.fork()
    if child:
        return child
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        work()
    finally:
        os._exit(0)


def held_pipe():
    """A pipe's end whose last close waits until that process is ended, which has the pipe's lock."""
    near, far = os.pipe()
    sockets = socket.socketpair()

    def hold():
        # Nobody else's end either.
        for number, kept in enumerate([far, sockets[0].fileno(), sockets[1].fileno()]):
            os.dup2(kept, number)
        os.closerange(3, 1024)
        os.splice(1, 0, 1)

    holder = child_of_mine(hold)
    os.close(far)
    return near, holder


def held_pipes(path):
    pipes = [held_pipe() for _ in range(4)]

    def leave():
        time.sleep(0.02)
        for near, _ in pipes:
            with connect(path) as one:
                send(one, b"x")
                send(one, b"x", [near])
            os.close(near)
        for _ in range(100):
            with connect(path) as one:
                send(one, b"x")
                send(one, b"x", [0])

    # Its own closes may wait, too.
    children = [child_of_mine(leave)]
    for near, _ in pipes:
        os.close(near)
    time.sleep(0.5)
    end([holder for _, holder in pipes] + children)


def many_descriptors(path):
    with connect(path) as one:
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            for _ in range(50):
                send(one, delete(2, (random.getrandbits(60), 0)), [null] * 253)
        finally:
            os.close(null)


def connections(path):
    kept = []
    try:
        for _ in range(100):
            kept.append(connect(path + random.choice(["", ".observer"])))
    finally:
        for one in kept:
            one.close()


def crowding(path):
    """A socket that does not wait takes each place in the queue that comes free, before who was woken for it."""
    for _ in range(1000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as one:
            while one.connect_ex(path) == errno.EAGAIN:
                pass


def metrics_readers(path):
    kept = [connect(path + ".metrics", socket.SOCK_STREAM) for _ in range(20)]
    ends = os.pipe()
    for one in kept:
        try:
            send(one, b"GET", ends)
        except OSError:
            pass
    for end in ends:
        os.close(end)
    time.sleep(0.02)
    for one in kept:
        one.close()


def cycles(path):
    collection = random.getrandbits(60)
    with connect(path) as heap, connect(path + ".observer") as observer:
        receive(heap)
        one = buffer(heap, (collection, 0))
        for file in [one, heap.fileno(), observer.fileno()] if one else []:
            send(observer, attach(3, collection), [file])
            receive(observer)
        ends = os.pipe()
        send(observer, attach(3, collection), [ends[1]])
        receive(observer)
        for file in [*ends, one or -1]:
            if file >= 0:
                os.close(file)


def kept_reports(path):
    with connect(path + ".observer") as one:
        kept = []
        for _ in range(50):
            send(one, header(4, STATUS) + table())
            kept += receive(one)[1]
        for file in kept:
            os.close(file)


def unread_answers(path):
    with connect(path) as one:
        one.settimeout(0.2)
        try:
            while True:
                send(one, allocate(1, (random.getrandbits(60), 0)))
        except OSError:
            time.sleep(0.2)


def bad_messages(path):
    with connect(path) as one:
        for _ in range(20):
            send(one, random.randbytes(random.randrange(1, 200)))


def all_of_the_quota(path):
    with connect(path) as one:
        receive(one)
        kept, collection = [], random.getrandbits(60)
        while len(kept) < 2000:
            handle = buffer(one, (collection, len(kept)), 1 << 20)
            if handle is None:
                break
            kept.append(handle)
        for file in kept:
            os.close(file)


def hang_ups(path):
    for _ in range(20):
        with connect(path) as one:
            send(one, allocate(1, (random.getrandbits(60), 0), random.choice([4096, 1 << 20, 16 << 20])))


def memory_pressure(path):
    words = open("/proc/meminfo").read().split()
    taken = mmap.mmap(-1, int(words[words.index("MemAvailable:") + 1]) * 1024 // 8)
    for offset in range(0, len(taken), 4096):
        taken[offset] = 1
    time.sleep(0.5)
    taken.close()


ATTACKS = [slow_closes, slow_in_flight, held_pipes, many_descriptors, connections, crowding, metrics_readers, cycles, kept_reports, unread_answers, bad_messages,
           all_of_the_quota, hang_ups, memory_pressure]


def attacker(user, attack, path):
    """A process, whose group has its children; it ends with this one."""
    child = os.fork()
    if child:
        # Both do so, as a shell and its jobs do: neither waits for the other.
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        return child
    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        become(user)
        while True:
            try:
                attack(path)
            except OSError:
                time.sleep(0.005)
    finally:
        os._exit(0)


# ---- honest clients


class Honest:
    """One process that makes a buffer, looks at it and gives it back, again and again; it tells how long each took."""

    def __init__(self, user, path):
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.inbox = near
        self.child = os.fork()
        if self.child == 0:
            try:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)
                become(user)
                self.work(user, path, far)
            finally:
                os._exit(1)
        far.close()

    def work(self, user, path, report):
        number, begin = 0, 0.0

        def lost(step, error):
            report.send(f"lost: {step} after {time.monotonic() - begin:.1f} s, {error}".encode())

        while True:
            begin, step = time.monotonic(), "a connection"
            try:
                heap, observer = connect(path), connect(path + ".observer")
                step = "the greeting"
                is_refused = receive(heap)[0][8:16] == ALL
            except OSError as error:
                lost(step, error)
                continue
            with heap, observer:
                if is_refused:
                    report.send(b"refused")
                    time.sleep(0.01)
                    continue
                report.send(b"in %f" % (1000 * (time.monotonic() - begin)))
                for _ in range(100):
                    number += 1
                    key = (user, number)
                    begin, step = time.monotonic(), "a buffer"
                    try:
                        handle = buffer(heap, key, 65536)
                        if handle is None:
                            report.send(b"refused")
                            continue
                        step = "whose it is"
                        send(observer, header(5, INFO) + table(HANDLE), [handle])
                        receive(observer)
                        step = "its end"
                        send(heap, delete(2, key), [handle])
                        os.close(handle)
                        receive(heap)
                    except OSError as error:
                        lost(step, error)
                        break
                    report.send(b"%f" % (1000 * (time.monotonic() - begin)))
                    time.sleep(0.002)

    def take(self):
        """What it told since the last time."""
        told = []
        try:
            while True:
                told.append(self.inbox.recv(256, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return told


class Told:
    """What honest clients told of a window: milliseconds for a buffer and its end, and until a new connection was greeted."""

    def __init__(self, times=(), waits=(), refused=0, lost=()):
        self.times, self.waits, self.refused, self.lost = list(times), list(waits), refused, list(lost)

    def add(self, other):
        self.times += other.times
        self.waits += other.waits
        self.refused += other.refused
        self.lost += other.lost


def p99(values):
    return sorted(values)[int(len(values) * 0.99)] if values else float("nan")


def window(seconds, honest):
    for client in honest:
        client.take()
    end, told = time.monotonic() + seconds, []
    while time.monotonic() < end:
        time.sleep(0.05)
        for client in honest:
            told += client.take()
    return Told([float(word) for word in told if word[:1].isdigit()], [float(word[3:]) for word in told if word.startswith(b"in ")],
                told.count(b"refused"), [word.decode() for word in told if word.startswith(b"lost")])


def report(path):
    with connect(path + ".observer") as one:
        send(one, header(6, STATUS) + table())
        handles = receive(one)[1]
        text = os.pread(handles[0], 1 << 24, 0)
        os.close(handles[0])
        return json.loads(text)


def at_rest(process, path):
    """Resident memory in KiB and descriptors, without any client but this one."""
    end = time.monotonic() + 3 * PATIENCE
    while True:
        state = report(path)
        left = [len(state["buffers"]), len(state["connections"]) - 1, state["unclosed"], (state["pool"] or {"bytes": 0})["bytes"]]
        if not any(left) or time.monotonic() > end:
            break
        time.sleep(0.05)
    # What was of use to buffers alone stays open for a second. Without the connection that asked.
    time.sleep(1.5)
    open_files = min(descriptors(process) for _ in range(20))
    pages = int(open(f"/proc/{process.pid}/statm").read().split()[1])
    return pages * resource.getpagesize() // 1024, open_files, left


def descriptors(process):
    time.sleep(0.01)
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def picture(rounds, name):
    """Three lines over time, each from 0 to its own most."""
    width, height = 900, 160
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 100} {3 * height + 40}" font-family="sans-serif" font-size="13">']
    last = max(moment for moment, *_ in rounds) or 1
    for row, (title, column) in enumerate((("resident, KiB", 1), ("descriptors", 2), ("p99 of honest clients, ms", 3))):
        values = [one[column] for one in rounds]
        most, base = max(values) or 1, (row + 1) * height
        points = " ".join(f"{60 + one[0] / last * width:.1f},{base - one[column] / most * (height - 40):.1f}" for one in rounds)
        parts.append(f'<text x="60" y="{base - height + 30}">{title}: {values[0]:.0f} at first, {values[-1]:.0f} at last, {most:.0f} at most</text>'
                     f'<polyline fill="none" stroke="#2563eb" points="{points}"/><path stroke="#999" d="M60 {base}H{60 + width}"/>')
    parts.append(f'<text x="60" y="{3 * height + 25}">{last / 60:.0f} minutes</text></svg>')
    try:
        open(name, "w").write("\n".join(parts))
    except OSError:
        print("\n".join(parts))


class Server:
    def __init__(self, heapd, heap):
        self.folder = tempfile.TemporaryDirectory(prefix="heapd-soak-")
        os.chmod(self.folder.name, 0o755)
        self.path = self.folder.name + "/heap"
        self.words = [heapd, "--socket", self.path, "--heap", heap, "--mode", "0666", "--metrics-socket", self.path + ".metrics"]
        if pool := os.environ.get("POOL"):
            with open(self.folder.name + "/heapd.conf", "w") as file:
                file.write(f"pool-bytes = {pool}\npool-idle-seconds = 1\n")
            self.words += ["--config", file.name]
        self.start()

    def start(self):
        log = open(self.folder.name + "/log", "ab")
        self.process = subprocess.Popen(self.words, stdout=log, stderr=log)
        while not os.path.exists(self.path + ".metrics"):
            time.sleep(0.05)
        time.sleep(0.2)

    def stop(self, signal):
        if self.process.poll() is None:
            self.process.send_signal(signal)
            self.process.wait()


def attacked(server, attack, seconds, honest):
    children = [attacker(user, attack, server.path) for user in ATTACKERS]
    told = window(seconds, honest)
    # All at once: one that has an end of a pipe whose lock a child of its holds closes it before its end is told, which that child waits for.
    for child in children:
        os.killpg(child, signal.SIGKILL)
    end(children)
    return told


def end(children):
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def main():
    if len(sys.argv) < 3 or os.geteuid() != 0:
        sys.exit("usage, as root: soak.py HEAPD MINUTES [SECONDS [HEAP [ATTACK...]]]")
    heapd, minutes = os.path.realpath(sys.argv[1]), float(sys.argv[2])
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 5
    heap = sys.argv[4] if len(sys.argv) > 4 else "memfd"
    attacks = [attack for attack in ATTACKS if not sys.argv[5:] or attack.__name__ in sys.argv[5:]]
    if len(attacks) < len(sys.argv[5:]):
        sys.exit(f"soak.py: the attacks are {' '.join(attack.__name__ for attack in ATTACKS)}")
    server, other = Server(heapd, heap), Server(heapd, heap)
    results = {attack.__name__: [Told(), Told(), Told()] for attack in attacks}
    halves, faults, begin = [[], []], [], time.monotonic()
    try:
        while (now := time.monotonic() - begin) < 60 * minutes:
            if now > 30 * minutes and not halves[1]:
                server.stop(signal.SIGKILL)
                server.start()
            rounds = halves[now > 30 * minutes]
            honest = [Honest(user, server.path) for user in HONEST]
            attack = attacks[sum(map(len, halves)) % len(attacks)]
            windows = [window(seconds / 2, honest), attacked(other, attack, seconds, honest), attacked(server, attack, seconds, honest)]
            if any(os.waitpid(client.child, os.WNOHANG)[0] for client in honest):
                sys.exit("soak.py: an honest client ended")
            end([client.child for client in honest])
            for client in honest:
                client.inbox.close()
            for row, told in zip(results[attack.__name__], windows):
                row.add(told)
            if server.process.poll() is not None:
                faults.append(f"heapd ended with status {server.process.returncode} in {attack.__name__}")
                break
            resident, open_files, left = at_rest(server.process, server.path)
            if any(left):
                faults.append(f"{left} buffers, connections, descriptors and bytes of the pool are left after {attack.__name__}")
            rounds.append((time.monotonic() - begin, resident, open_files, p99(windows[2].times)))
    finally:
        server.stop(signal.SIGTERM)
        other.stop(signal.SIGTERM)
    print("| Attack by four users | tried | refused | lost | p99, ms: quiet | attack on another | attack | to quiet | to another "
          "| greeted, p99, ms: attack on another | attack |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, windows in results.items():
        if not windows[2].times:
            continue
        one, two, three = (p99(told.times) for told in windows)
        refused, lost = sum(told.refused for told in windows), sum((told.lost for told in windows), [])
        tried = sum(len(told.times) for told in windows) + refused + len(lost)
        print(f"| {name.replace('_', ' ')} | {tried} | {refused} | {len(lost)} | {one:.2f} | {two:.2f} | {three:.2f} | {three / one:.1f} | {three / two:.1f} "
              f"| {p99(windows[1].waits):.1f} | {p99(windows[2].waits):.1f} |")
        if refused or lost:
            faults.append(f"{refused} requests of honest clients were refused and {len(lost)} lost beside {name} {lost[:3]}")
    for half in halves:
        # Each attack needs memory of its own when it first comes.
        warm = half[min(max(len(half) // 4, len(attacks) - 1), len(half) // 2):]
        if not warm:
            continue
        print(f"resident {warm[0][1]} KiB when warm and {warm[-1][1]} KiB at the end, descriptors {warm[0][2]} and {warm[-1][2]}, {len(half)} rounds")
        if warm[-1][1] > 1.1 * warm[0][1]:
            faults.append("its memory grows")
        if warm[-1][2] > warm[0][2]:
            faults.append("descriptors are left")
    if any(halves):
        picture(halves[0] + halves[1], "soak.svg")
    for fault in faults:
        print("soak.py:", fault)
    sys.exit(bool(faults))


main()
