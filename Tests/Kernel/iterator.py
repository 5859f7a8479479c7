"""iterator.py HEAPCTL: runs inside stock-next, as root. Whether heapctl holders tells the same by debugfs and, where
that is not mounted, by the kernel's BPF iterator: of a buffer that a process holds, and of one in flight, which
only the kernel's lists know."""
import array, fcntl, json, os, socket, struct, subprocess, sys

DEBUGFS = "/sys/kernel/debug"
DMA_HEAP_IOCTL_ALLOC = 0xC0184800
DMA_BUF_SET_NAME = 0x40086201


def allocate(size, name):
    heap = os.open("/dev/dma_heap/system", os.O_RDONLY | os.O_CLOEXEC)
    request = bytearray(struct.pack("QIIQ", size, 0, os.O_RDWR | os.O_CLOEXEC, 0))
    fcntl.ioctl(heap, DMA_HEAP_IOCTL_ALLOC, request)
    os.close(heap)
    buffer = struct.unpack("QIIQ", request)[1]
    fcntl.ioctl(buffer, DMA_BUF_SET_NAME, name.encode() + b"\0")
    return buffer


def holders():
    run = subprocess.run([sys.argv[1], "holders", "--json"], capture_output=True, text=True)
    assert run.returncode == 0, run
    return json.loads(run.stdout)["holders"]


held = allocate(1 << 20, "held")
near, far = socket.socketpair()
flying = allocate(8192, "in flight")
near.sendmsg([b"0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [flying]))])
os.close(flying)

if not os.path.ismount(DEBUGFS):
    subprocess.run(["mount", "-t", "debugfs", "debugfs", DEBUGFS], check=True)
reports = {"debugfs": holders()}
subprocess.run(["umount", "--recursive", DEBUGFS], check=True)
assert not os.path.exists(f"{DEBUGFS}/dma_buf")
reports["bpf"] = holders()
subprocess.run(["mount", "-t", "debugfs", "debugfs", DEBUGFS], check=True)

for name, report in reports.items():
    assert set(report["unseen"]) == {"processes"}, report["unseen"]
    buffers = {each["name"]: each for each in report["buffers"]}
    assert buffers["held"]["foundIn"] == ["proc", name], buffers
    assert buffers["held"]["heldByProcesses"] == buffers["held"]["referenceCount"] == 1, buffers
    lone = buffers["in flight"]
    assert lone["foundIn"] == [name] and lone["heap"] == "system", lone
    assert lone["sizeBytes"] == 8192 and lone["referenceCount"] == lone["heldBeyond"] == 1, lone
    for each in report["buffers"]:
        each["foundIn"].remove(name)
assert reports["debugfs"]["buffers"] == reports["bpf"]["buffers"], reports
print(f"the same {len(reports['bpf']['buffers'])} buffers by debugfs and by the iterator")
