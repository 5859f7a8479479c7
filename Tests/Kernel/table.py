#!/usr/bin/env python3
"""table.py PAGE LOG...: writes into the page, between its marks, what `heapctl verify` found on each kernel, by the lines that its
guests print (tally.sh): those of a run's steps are in .build-logs."""

import sys

page, logs = sys.argv[1], sys.argv[2:]
ORDER = ["next", "lts", "stock", "stock-next", "arm64-4k", "arm64-16k", "arm64-64k", "stock-arm64"]
HEAPS = ["system", "default_cma_region", "reserved", "udmabuf", "hugetlb", "memfd", "opaque"]
kernels, reasons = {}, {}
for log in logs:
    with open(log, errors="replace") as lines:
        for line in lines:
            words = [word.strip() for word in line.split(" | ")]
            if len(words) != 10 or words[0] != "tally":
                continue
            name, release, size, seconds, heap, passed, failed, skipped, why = words[1:]
            kernel = kernels.setdefault(name, {"release": release, "size": int(size), "seconds": 0, "heaps": {}})
            kernel["seconds"] = max(kernel["seconds"], int(seconds))
            kernel["heaps"][heap] = (int(passed), int(failed), int(skipped))
            for reason in filter(None, why.split("; ")):
                reasons.setdefault(reason, []).append(name)
if not kernels:
    sys.exit("no guest's line in " + " ".join(logs))


def cell(kernel, heap):
    if heap == "by heapd":
        found = [kernel["heaps"][name] for name in kernel["heaps"] if name.endswith(" by heapd")]
        found = [tuple(map(max, zip(*found)))] if found else []
    else:
        found = [kernel["heaps"][heap]] if heap in kernel["heaps"] else []
    if not found:
        return "–"
    passed, failed, skipped = found[0]
    return f"{passed}" + (f", **{failed} failed**" if failed else "") + (f", {skipped} skipped" if skipped else "")


columns = HEAPS + ["by heapd"]
text = "| Kernel | Release | Page | Seconds | " + " | ".join(columns) + " |\n"
text += "|" + "---|" * (4 + len(columns)) + "\n"
for name in sorted(kernels, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
    kernel = kernels[name]
    # On the others tests of their own come before.
    seconds = str(kernel["seconds"]) if "arm64" in name else "–"
    cells = [f"`{name}`", kernel["release"], f"{kernel['size'] >> 10} KiB", seconds]
    text += "| " + " | ".join(cells + [cell(kernel, heap) for heap in columns]) + " |\n"
if reasons:
    text += "\nSkipped, with the reason that `heapctl verify` gives:\n\n"
for reason, names in sorted(reasons.items()):
    names = sorted(set(names), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    text += f"- {', '.join(f'`{name}`' for name in names)}: {reason}\n"

with open(page) as file:
    before, rest = file.read().split("<!-- table.py -->\n")
    after = rest.split("<!-- end -->\n")[1]
with open(page, "w") as file:
    file.write(f"{before}<!-- table.py -->\n{text}<!-- end -->\n{after}")
