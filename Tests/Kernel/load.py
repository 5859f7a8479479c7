"""load.py HEAPCTL DISK: runs inside next, as root. What heapctl load leaves of DISK/data in the page cache, and how fast it is,
beside read(2) into a buffer's mapping; and what the kernel says to O_DIRECT into such a mapping."""
import ctypes, errno, fcntl, json, mmap, os, statistics, struct, subprocess, sys, time

HEAPCTL, DISK = sys.argv[1:]
DATA = DISK + "/data"
SIZE = os.path.getsize(DATA)
PAGE = mmap.PAGESIZE
PAGES = -(-SIZE // PAGE)
ROUNDS = 5
DMA_HEAP_IOCTL_ALLOC = 0xC0184800
UDMABUF_CREATE = 0x40187542
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p


def cached(path):
    """Pages of the file that the page cache has (mincore(2))."""
    size = os.path.getsize(path)
    file = os.open(path, os.O_RDONLY)
    length = ctypes.c_size_t(size)
    address = ctypes.c_void_p(libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file, ctypes.c_long(0)))
    os.close(file)
    pages = (ctypes.c_ubyte * -(-size // PAGE))()
    assert libc.mincore(address, length, pages) == 0
    libc.munmap(address, length)
    return sum(page & 1 for page in pages)


def page_cache():
    """KiB of all files: Cached counts memfds, too (proc_meminfo(5))."""
    lines = dict(line.split(":") for line in open("/proc/meminfo"))
    return int(lines["Cached"].split()[0]) - int(lines["Shmem"].split()[0])


def drop():
    subprocess.run(["sync"], check=True)
    open("/proc/sys/vm/drop_caches", "w").write("3\n")


def load(*words):
    run = subprocess.run([HEAPCTL, "load", *words, "--json"], capture_output=True, text=True)
    assert run.returncode == 0, run
    return json.loads(run.stdout)["buffer"]["load"]


def heap_buffer(name):
    heap = os.open(f"/dev/dma_heap/{name}", os.O_RDONLY)
    request = bytearray(struct.pack("QIIQ", PAGES * PAGE, 0, os.O_RDWR | os.O_CLOEXEC, 0))
    fcntl.ioctl(heap, DMA_HEAP_IOCTL_ALLOC, request)
    os.close(heap)
    return struct.unpack("QIIQ", request)[1]


def memfd():
    file = os.memfd_create("load", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(file, PAGES * PAGE)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return file


def udmabuf():
    file, device = memfd(), os.open("/dev/udmabuf", os.O_RDWR)
    buffer = fcntl.ioctl(device, UDMABUF_CREATE, bytearray(struct.pack("IIQQ", file, 1, 0, PAGES * PAGE)))
    os.close(file)
    os.close(device)
    return buffer


def read(make, flags=0):
    """Bytes a second of read(2) into the mapping of a new buffer."""
    buffer, file = make(), os.open(DATA, os.O_RDONLY | flags)
    mapping = mmap.mmap(buffer, PAGES * PAGE)
    try:
        begin = time.monotonic()
        count = os.preadv(file, [mapping], 0)
        seconds = time.monotonic() - begin
        assert count == SIZE, count
        return SIZE / seconds
    finally:
        mapping.close()
        os.close(file)
        os.close(buffer)


ways = {
    "heapctl load, udmabuf": lambda: load(DATA, "--heap", "udmabuf"),
    "heapctl load, memfd": lambda: load(DATA, "--heap", "memfd"),
    "heapctl load, system": lambda: load(DATA, "--heap", "system"),
    "heapctl load, default_cma_region": lambda: load(DATA, "--heap", "default_cma_region", "--contiguous"),
    "read into the mapping of a udmabuf": lambda: read(udmabuf),
    "read into the mapping of the system heap": lambda: read(lambda: heap_buffer("system")),
}
rates = {name: [] for name in ways}
growth = {name: [] for name in ways}
for _ in range(ROUNDS):
    for name, way in ways.items():
        drop()
        assert cached(DATA) == 0
        before = page_cache()
        result = way()
        grown, pages = page_cache() - before, cached(DATA)
        if isinstance(result, dict):
            copied = name.split()[-1] in ("system", "default_cma_region")
            assert result["way"] == ("copied" if copied else "direct"), (name, result)
            assert result["bytes"] == SIZE and result["pageCacheBytes"] == 0, (name, result)
            assert pages == 0, f"{name}: {pages} of {PAGES} pages are in the page cache"
            result = result["bytesPerSecond"]
        else:
            # What is measured is there to be seen.
            assert pages == PAGES, (name, pages)
        rates[name].append(result)
        growth[name].append((grown, pages))
print(f"{SIZE} bytes of ext4 on a virtio disk, nothing of them cached, {ROUNDS} rounds:")
for name in ways:
    grown = statistics.median(kibibytes for kibibytes, _ in growth[name])
    low, middle, high = (f(rates[name]) / (1 << 20) for f in (min, statistics.median, max))
    print(f"  {name:42} {middle:7.0f} MiB/s ({low:.0f} to {high:.0f}), page cache +{grown:.0f} KiB, "
          f"{growth[name][-1][1]} of {PAGES} pages of the file in it")
# The programs' own pages may come in anew; the file's do not.
for name in list(ways)[:4]:
    assert statistics.median(kibibytes for kibibytes, _ in growth[name]) < SIZE // 1024 // 4, growth[name]

# Why a heap's buffer takes a copy, and a udmabuf is loaded by its memfd.
for make, name, wanted in [(lambda: heap_buffer("system"), "the system heap", errno.EFAULT), (udmabuf, "a udmabuf", errno.EFAULT), (memfd, "a memfd", None)]:
    try:
        read(make, os.O_DIRECT)
        answer = None
    except OSError as error:
        answer = error.errno
    assert answer == wanted, (name, answer)
    print(f"  O_DIRECT into a mapping of {name}: {errno.errorcode[answer] if answer else 'done'}")

# A file that ext4 reads through the page cache, though it takes the flag.
journaled = DISK + "/journaled"
open(journaled, "wb").close()
subprocess.run(["chattr", "+j", journaled], check=True)
with open(journaled, "wb") as file:
    file.write(b"x" * 100_000)
drop()
result = load(journaled, "--heap", "udmabuf")
assert result["way"] == "buffered" and result["pageCacheBytes"] == 100_000 and "not supported" in result["refusal"], result
assert cached(journaled) > 0

result = load("/dev/vda", "--heap", "udmabuf")
assert result["way"] == "direct" and result["bytes"] == 160 << 20 and result["pageCacheBytes"] == 0, result
print("load: passed")
