#!/usr/bin/python3
"""fixes.py HEAPCTL: runs inside a booted kernel, as root. Provokes one fault after another, takes the fix out of what heapctl says of
it, carries it out as it is printed, and asks again: the fault has to be gone. Each fault is in a mount namespace of its own.

`list`, `alloc` and `doctor` are asked, in as far as they know of the fault, and each fix that they tell is carried out.
What a fix has somebody else do (docker, podman) is done by a program of that name here, which gives the process what that option gives."""
import ctypes, glob, json, os, re, shutil, subprocess, sys, tempfile

HEAPCTL = sys.argv[1]
HEAPD = os.path.join(os.path.dirname(HEAPCTL), "heapd")
SERVICE = "/run/heapd/heap.sock"
ONLY = sys.argv[2:]
USER, GROUP, NUMBER = "boardowner", "boardheaps", 3999
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)
failures = 0


def shell(script, *, check=True, env=None, stdin=""):
  done = subprocess.run(["bash", "-c", script], input=stdin, capture_output=True, text=True,
                        env={**os.environ, **(env or {})})
  if check and done.returncode:
    raise RuntimeError(f"{script}: {done.returncode}: {done.stdout}{done.stderr}")
  return done


def heapctl(who, words, env=None):
  return shell(f"{who} {HEAPCTL} {words}", check=False, env=env)


def session(groups=""):
  """As the user in a session that has these groups and no others."""
  groups = f"--groups {groups}" if groups else "--clear-groups"
  return f"setpriv --reuid={USER} --regid={USER} {groups}"


def new_session():
  """As the user after a new login."""
  return f"setpriv --reuid={USER} --regid={USER} --init-groups"


# MARK: What the fix is, by each of the verbs

# Ended by SIGTERM, which is no failure of heapd's.
STARTS = f"timeout --preserve-status 6 {HEAPD} --heap memfd --socket $(mktemp -u)"


def after_fix(text):
  found = re.search(r"To fix it: (.*)$", text or "", re.M)
  return found and found.group(1)


def by_list(fault):
  run = heapctl(fault.who, "list --json", fault.env)
  row = next(r for r in json.loads(run.stdout)["heaps"] if r["name"] == fault.heap)
  return after_fix(row.get("unusable"))


def by_alloc(fault):
  run = heapctl(fault.who, f"alloc --heap {fault.heap} --size {fault.size}", fault.env)
  return after_fix(run.stderr) if run.returncode else None


def by_doctor(fault):
  run = heapctl(fault.who, "doctor --json", fault.env)
  for finding in json.loads(run.stdout)["doctor"]["findings"]:
    if finding["id"] == fault.doctor and fault.device in finding["seen"]:
      return finding["fix"]
  return None


def by_warning(fault):
  lines = heapctl(fault.who, "list", fault.env).stderr.splitlines()
  return after_fix(next((l for l in lines if l.startswith("/dev/dma_heap ")), ""))


def by_devices(fault):
  lines = heapctl(fault.who, "devices", fault.env).stdout.splitlines()
  return after_fix(next((l for l in lines if l.startswith(fault.device + " ") or l.startswith(fault.device + ":")), ""))


def by_camera(fault):
  return after_fix(heapctl(fault.who, f"camera --device {fault.device} --frames 1", fault.env).stderr)


def by_info(fault):
  return after_fix(heapctl(fault.who, "info", fault.env).stderr)


def by_heapd(fault):
  return after_fix(shell(f"{fault.who} {STARTS}", check=False, env=fault.env).stderr)


def looks():
  """What the doctor tells to ask of heapctl itself, of this machine as it is."""
  for finding in json.loads(heapctl("", "doctor --json").stdout)["doctor"]["findings"]:
    if re.match("(sudo )?heapctl ", finding.get("fix", "")):
      def by_doctor(_, fix=finding["fix"]):
        return fix
      yield by_doctor


class Fault:
  """Something that is wrong with a machine.

  `script` makes it so, `who` is told of it, and `then` is who has to be able to go on once it is mended. What has to go on is an
  allocation, or `question`; where the fix changes the shell itself, in one that began with `same_shell`. `command` takes out of a sentence what a shell is
  given. `end` comes after all. A verb that is to tell nothing any more is asked by `then`, too."""

  def __init__(self, name, script, who="", then="", *, verbs=(by_list, by_alloc, by_doctor), doctor="", heap="system",
               size="1M", device="", env=None, works=True, stdin=False, same_shell=False, question=None, command=None, end=""):
    self.name, self.script, self.who, self.then, self.verbs = name, script, who, then, verbs
    self.doctor, self.heap, self.size, self.device, self.env = doctor, heap, size, device, env
    self.works, self.stdin, self.same_shell, self.command, self.end = works, stdin, same_shell, command, end
    self.question = question or f"{HEAPCTL} alloc --heap {heap} --size {size}"

  def told(self):
    """What each of the verbs says."""
    shell(self.script)
    try:
      return [(verb.__name__.replace("_", " "), verb(self)) for verb in self.verbs]
    finally:
      shell(self.end)

  def mend(self, fix):
    """What went wrong; nothing where all is well."""
    shell(self.script)
    try:
      return self.carry_out(re.search(self.command, fix).group(1) if self.command else fix)
    finally:
      shell(self.end)

  def carry_out(self, fix):
    question = f"{self.then} {self.question}".strip()
    if self.same_shell:
      lines = "\n".join([self.same_shell, fix, self.question])
      done = shell(f"{self.then} bash -c {quoted(lines)}", check=False, env=self.env)
      if self.doctor and self.doctor in bad(done.stdout):
        return f"{self.doctor} is still told"
      return f"it does not work yet: {done.stdout}{done.stderr}" if done.returncode and not self.doctor else None
    if self.stdin:
      # A new shell that the fix starts, in which a person would go on.
      done = shell(f"{self.who} sh -c {quoted(fix)}", check=False, env=self.env, stdin=f"exec {question}\n")
      return None if "given back" in done.stderr else f"{done.stdout}{done.stderr}"
    answer = tempfile.mktemp()
    done = shell(f"sh -c {quoted(fix)}", check=False,
                 env={**(self.env or {}), "QUESTION": question, "ANSWER": answer})
    if done.returncode:
      return f"it ends with {done.returncode}: {done.stdout}{done.stderr}"
    if fix.startswith(("docker", "podman")):
      return None if os.path.exists(answer) else f"not in that container: {done.stdout}{done.stderr}"
    if self.works:
      run = shell(question, check=False, env=self.env)
      if run.returncode:
        return f"it does not work yet: {run.stderr}"
    again = Fault(self.name, "", self.then, doctor=self.doctor, device=self.device, env=self.env)
    left = [by_doctor(again)] if self.doctor else []
    left += [verb(again) for verb in self.verbs if verb in (by_warning, by_devices)]
    return f"it is still told: {left}" if any(left) else None


class Holder(Fault):
  """A device that another program has: what the fix tells has that program in it, and goes on once it is ended."""

  def __init__(self, name, holds, *, device, **rest):
    self.pid = tempfile.mktemp()
    super().__init__(name, f"{holds} > /dev/null 2>&1 & echo $! > {self.pid}; until fuser -s {device}; do sleep 0.1; done; sleep 2", device=device, end=f"kill $(cat {self.pid}) 2> /dev/null || true", **rest)

  def carry_out(self, fix):
    done = shell(fix, check=False)
    with open(self.pid) as file:
      holder = file.read().strip()
    if holder not in (done.stdout + done.stderr).split():
      return f"{holder} is not told: {done.stdout}{done.stderr}"
    shell(f"kill {holder}; while fuser -s {self.device}; do sleep 0.1; done")
    done = shell(self.question, check=False)
    return f"it does not work yet: {done.stderr}" if done.returncode else None


def bad(report):
  return [f["id"] for f in json.loads(report)["doctor"]["findings"] if f["severity"] in ("broken", "warning")]


def quoted(text):
  return "'" + text.replace("'", "'\\''") + "'"


# MARK: The machine

# What the options of a container give to its process, and nothing else; then the question is asked there.
CONTAINER = r'''#!/bin/bash
[ "$1" = run ] || exit 64
shift
user="--reuid=boardowner --regid=boardowner --clear-groups" devices=() space=
while [ $# -gt 0 ] && [ "$1" != … ]; do
  case $1 in
  --group-add)
    user="--reuid=boardowner --regid=boardowner --groups $2"
    # Started by one who is in the node's group, which the process keeps although its namespace does not map it.
    if [ "$2" = keep-groups ]; then
      user="--reuid=boardowner --regid=boardowner --groups $(stat -c %g /dev/dma_heap/system)" space="unshare --user"
    fi
    ;;
  --device) devices+=("$2") user= ;;
  # Its root is the host's then.
  --userns=host) user="--reuid=root --regid=root --clear-groups" && shift && continue ;;
  *) echo "an option that is not known here: $1" >&2 && exit 64 ;;
  esac
  shift 2
done
[ "$1" = … ] || exit 64
inside='
set -e
folder=$(mktemp -d)
mount -t tmpfs none "$folder"
for device in null zero urandom; do cp -a "/dev/$device" "$folder"; done
for device; do
  mkdir -p "$folder$(dirname "${device#/dev}")"
  # The host has them all, whatever this case took away.
  cp -a "$HOST_DEVICES${device#/dev}" "$folder$(dirname "${device#/dev}")"
done
mount --move "$folder" /dev'
if [ ${#devices[@]} -gt 0 ]; then
  unshare --mount bash -c "$inside; \$QUESTION" bash "${devices[@]}" && touch "$ANSWER"
else
  setpriv $user $space ${QUESTION#setpriv *boardowner --init-groups } && touch "$ANSWER"
fi
'''

NODES = f"""
set -e
mount -t tmpfs -o mode=755 none /dev/dma_heap
make() {{ IFS=: read -r major minor < "/sys/class/dma_heap/$1/dev"; mknod -m "${{3:-660}}" "/dev/dma_heap/$1" c "$major" "$minor"; chgrp "${{2:-{GROUP}}}" "/dev/dma_heap/$1"; }}
all() {{ for heap in /sys/class/dma_heap/*; do make "${{heap##*/}}" "$@"; done; }}
for folder in /etc/udev/rules.d /run/udev/rules.d; do if [ -d $folder ]; then mount -t tmpfs none $folder; fi; done
"""
# As if nobody had ever joined anything: the databases are the namespace's own.
USERS = ("t=$(mktemp -d); mount -t tmpfs none $t; mkdir $t/new $t/work\n"
         "mount -t overlay none -o lowerdir=/etc,upperdir=$t/new,workdir=$t/work /etc\n")
# As if udevd did not run: it would look at the nodes of its own namespace.
NO_UDEV = "mount -t tmpfs none /run/udev\n"
MINE = NODES + NO_UDEV


NONE = "for module in {}; do modprobe -rq $module || true; done"


def cameras():
  """That take a picture by themselves."""
  names = sorted(glob.glob("/sys/class/video4linux/video*/name"))
  return [f"/dev/{name.split('/')[4]}" for name in names if "vid-cap" in open(name).read()]


def faults():
  member, stranger = session(GROUP), session()
  container = {"container": "docker"}
  # A node that is made anew is as its siblings are, and root's where it has none.
  owner = member if len(os.listdir("/sys/class/dma_heap")) > 1 else ""
  yield Fault("a node that is gone", MINE + "all; rm /dev/dma_heap/system", member, owner, doctor="heap.node-missing")
  yield Fault("a container without the nodes", MINE, "", "", env=container, doctor="heap.node-missing")
  yield Fault("a file in a node's place", MINE + "all; rm /dev/dma_heap/system; touch /dev/dma_heap/system", member, owner,
              doctor="heap.not-a-device")
  yield Fault("a directory in a node's place", MINE + "all; rm /dev/dma_heap/system; mkdir -p /dev/dma_heap/system/x",
              member, owner, doctor="heap.not-a-device")
  yield Fault("a node of another device",
              MINE + f"all; cd /dev/dma_heap; rm system; mknod -m 660 system c 1 3; chgrp {GROUP} system", member, member,
              doctor="heap.wrong-device")
  yield Fault("a link where everybody may make one",
              MINE + "all; cd /dev/dma_heap; chmod 777 .; rm system; ln -s /dev/null system",
              doctor="heap.directory-writable", verbs=(by_list, by_alloc))
  yield Fault("a directory that everybody may write to", MINE + "all; chmod 1777 /dev/dma_heap", member, member,
              doctor="heap.directory-writable", verbs=(by_warning, by_doctor))
  yield Fault("a directory that a user owns", MINE + f"all; chown {USER} /dev/dma_heap", member, member,
              doctor="heap.directory-writable", verbs=(by_warning, by_doctor))
  yield Fault("nodes that everybody may open", MINE + "all '' 666", member, member, doctor="heap.open-to-all", verbs=(by_doctor,))
  yield Fault("a closed directory", MINE + "all; chmod 700 /dev/dma_heap", member, member, doctor="heap.directory-closed",
              verbs=(by_list, by_alloc, by_doctor, by_warning))
  yield Fault("a directory that may be searched alone", MINE + "all; chmod 711 /dev/dma_heap", member, member,
              doctor="heap.directory-closed", verbs=(by_doctor, by_warning))
  yield Fault("a node that its driver left", MINE + "all; mknod /dev/dma_heap/gone c $major 250", doctor="heap.no-driver",
              heap="gone", works=False)
  yield Fault("a file system without devices", MINE + "all; mount -o remount,nodev /dev/dma_heap", member, member,
              doctor="heap.nodev-mount")
  yield Fault("a mode that keeps the group out", MINE + "all; chmod 600 /dev/dma_heap/system", member, member, doctor="heap.wrong-mode")
  yield Fault("a mode that keeps out who is in no group", USERS + MINE + "all; chmod 600 /dev/dma_heap/system", stranger, new_session(),
              doctor="heap.wrong-mode")
  # udev.sh has what the doctor says of it, a rule.
  yield Fault("nodes that are root's alone", USERS + MINE + "all root 600", stranger, new_session(), doctor="heap.wrong-mode",
              verbs=(by_list, by_alloc))
  yield Fault("not in the group", USERS + MINE + "all", stranger, new_session(), doctor="heap.not-in-group")
  yield Fault("not in a group that is only a number", USERS + MINE + f"all {NUMBER}", stranger, new_session(), doctor="heap.not-in-group")
  yield Fault("not in the group, in a container", MINE + f"all {NUMBER}", stranger, new_session(), doctor="heap.not-in-group",
              env=container)
  yield Fault("a session that began before", USERS + MINE + f"all; usermod -aG {GROUP} {USER}", stranger, doctor="heap.group-not-active",
              stdin=True)
  yield Fault("a group that is not mapped", MINE + "all", stranger + " unshare --user --map-root-user", new_session(),
              doctor="heap.user-namespace")
  yield Fault("a group that is not mapped, in Docker", MINE + "all", stranger + " unshare --user --map-root-user", new_session(),
              doctor="heap.user-namespace", env=container)
  # The device of a module, and devices, are where they are: udevd makes them what its rules say.
  yield Fault("udmabuf's node is gone", "rm -f /dev/udmabuf", doctor="udmabuf.node-missing", heap="udmabuf")
  yield Fault("udmabuf's node is root's alone", USERS + NO_UDEV + "chown root:root /dev/udmabuf; chmod 600 /dev/udmabuf", stranger,
              new_session(), doctor="udmabuf.closed", heap="udmabuf")
  yield Fault("udmabuf's buffers are too small", "echo 1 > /sys/module/udmabuf/parameters/size_limit_mb", heap="udmabuf",
              size="5M", verbs=(by_alloc,))
  for kind, device, verbs in (("camera", "/dev/video0", (by_devices, by_camera, by_doctor)),
                              ("display", "/dev/dri/card0", (by_devices, by_doctor))):
    node = USERS + NO_UDEV + f"chown root:{{}} {device}; chmod {{}} {device}"
    if not os.path.exists(device):
      continue
    yield Fault(f"a {kind} of another group", node.format(NUMBER, 660), stranger, new_session(), doctor="import.closed",
                device=device, verbs=verbs, works=False)
    yield Fault(f"a {kind} that may only be read", node.format(GROUP, 640), session(f"{GROUP}"), session(f"{GROUP}"),
                doctor="import.closed", device=device, verbs=verbs, works=False)
    yield Fault(f"a {kind} that is root's alone", node.format("root", 600), stranger, new_session(), doctor="import.closed",
                device=device, verbs=verbs, works=False)
  yield Fault("a link to no device", "ln -sf nothing /dev/video77", doctor="import.open-failed", verbs=(by_doctor,), works=False)
  for limit, doctor in (("-Sn 24", "limits.descriptors"), ("-Sv 4000000", "limits.address-space"),
                        ("-n 24", "limits.descriptors"), ("-v 4000000", "limits.address-space")):
    yield Fault(f"a limit: ulimit {limit}", "", f"ulimit {limit};", doctor=doctor, verbs=(by_doctor,), same_shell=f"ulimit {limit}",
                question=f"{HEAPCTL} doctor --json")
  for limit in ("-Sn 6", "-n 6", "-Sf 8", "-f 8"):
    yield Fault(f"a limit that an error tells: ulimit {limit}", "", f"ulimit {limit};", heap="memfd", verbs=(by_alloc,),
                command="(?:limit|too): (.*)", same_shell=f"ulimit {limit}")
  yield Fault("a limit that an error tells: ulimit -Su 1", "", f"{stranger} prlimit --nproc=1:", heap="memfd", verbs=(by_alloc,),
              command="limit: (.*)", same_shell="ulimit -Su 1", then=stranger)
  group = "/sys/fs/cgroup/fixes"
  join = f"echo $BASHPID > {group}/cgroup.procs;"
  yield Fault("a limit of the control group",
              f"""set -e; [ -f /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 none /sys/fs/cgroup
echo +memory > /sys/fs/cgroup/cgroup.subtree_control; mkdir -p {group}; echo 64M > {group}/memory.max""",
              join, join, doctor="cgroup.memory-limit", verbs=(by_doctor,))
  yield Fault("no /proc", "mount -t tmpfs none /proc", verbs=(by_alloc,))
  yield Fault("no /proc, to heapd", "mount -t tmpfs none /proc", verbs=(by_heapd,), question=STARTS)
  yield Fault("a /proc of processes alone, to heapd", "mount -t proc -o subset=pid proc /proc", verbs=(by_heapd,),
              command="elsewhere: (.*)", question=STARTS)
  yield Fault("no service manager", "", verbs=(by_heapd,), env={"NOTIFY_SOCKET": "/run/nobody"}, question=STARTS,
              same_shell=":")
  yield Fault("no debugfs", "umount /sys/kernel/debug", doctor="memory.holders-unknown", verbs=(by_doctor,))
  yield Fault("not root", "", member, doctor="memory.holders-unknown", verbs=(by_doctor,))
  ended = tempfile.mktemp()
  yield Fault("a socket that is root's alone",
              USERS + f"""mount -t tmpfs none /run; mkdir -m 755 /run/heapd
{HEAPD} --heap memfd --mode 0600 --socket {SERVICE} > /dev/null 2>&1 & echo $! > {ended}
until [ -S {SERVICE}.observer ]; do sleep 0.1; done; sleep 0.5""", stranger, new_session(), doctor="service.closed",
              verbs=(by_info, by_doctor), question=f"{HEAPCTL} info", end=f"kill $(cat {ended})")
  # The first may need contiguous memory.
  for camera in cameras()[-1:]:
    yield Holder("a camera that is in use", f"{HEAPCTL} camera --device {camera} --frames 100000", device=camera,
                 doctor="import.camera-busy", verbs=(by_doctor, by_camera), command="(fuser .*)",
                 question=f"{HEAPCTL} camera --device {camera} --frames 1")
  yield Fault("no /sys", "mount -t tmpfs none /sys; mount -t tmpfs none /dev/dma_heap", doctor="kernel.no-sysfs",
              verbs=(by_doctor,), works=False)
  # Which the heap needs: udmabuf's importers map huge pages from then on.
  if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 17):
    pages = "/proc/sys/vm/nr_hugepages"
    yield Fault("no huge pages", f"echo 0 > {pages}", heap="hugetlb", verbs=(by_list, by_alloc), command="(echo .*)",
                end=f"echo {open(pages).read()} > {pages}")
  for look in looks():
    yield Fault("nothing that is amiss", "", verbs=(look,), works=False)
  # Of a kernel whose drivers are modules.
  if os.path.exists("/sys/module/vgem/initstate"):
    yield Fault("no camera", NONE.format("vivid vim2m"), verbs=(by_camera,), device="/dev/video0", command="or (modprobe .*)",
                question=f"{HEAPCTL} camera --device {cameras()[-1]} --frames 1")
    yield Fault("no device that imports", NONE.format("vivid vim2m vgem vkms"), doctor="import.no-device", verbs=(by_doctor,))


# MARK: Running

def prepare(folder):
  """The user, and the programs that a fix calls, for this process and its children."""
  own_mounts()
  # Copied: a file may be mounted there, which nothing can take the place of.
  shell("t=$(mktemp -d); mount -t tmpfs none $t; cp -a /etc/. $t; mount --move $t /etc")
  shell(f"groupadd -rf {GROUP}; useradd --create-home --shell /bin/bash {USER}")
  os.symlink(os.path.realpath(HEAPCTL), f"{folder}/heapctl")
  # No script: a shell opens one as descriptor 10, which a limit may forbid.
  os.symlink("/usr/bin/env", f"{folder}/sudo")
  for name, text in (("docker", CONTAINER), ("podman", CONTAINER)):
    with open(f"{folder}/{name}", "w") as file:
      file.write(text)
    os.chmod(f"{folder}/{name}", 0o755)
  # All of the host's devices, for a container that is given some.
  os.makedirs(f"{folder}/devices")
  shell(f"mount --rbind /dev {folder}/devices")
  os.chmod(folder, 0o755)
  os.environ.update(PATH=f"{folder}:{os.environ['PATH']}", HOST_DEVICES=f"{folder}/devices")


def own_mounts():
  if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
    raise OSError(ctypes.get_errno(), "unshare")


def alone(work, *arguments):
  """What it returns, done in a mount namespace of its own."""
  reader, writer = os.pipe()
  child = os.fork()
  if child == 0:
    try:
      own_mounts()
      answer = work(*arguments)
    except Exception as error:
      answer = repr(error)
    with open(writer, "w") as pipe:
      json.dump(answer, pipe)
    os._exit(0)
  os.close(writer)
  with open(reader) as pipe:
    answer = json.load(pipe)
  os.waitpid(child, 0)
  return answer


def result(what, wrong):
  global failures
  failures += bool(wrong)
  print(f"FAIL  fixes: {what}: {wrong}" if wrong else f"pass  fixes: {what}", flush=True)


folder = tempfile.mkdtemp(prefix="fixes.")
limit = "/sys/module/udmabuf/parameters/size_limit_mb"
before = open(limit).read()
prepare(folder)
try:
  for fault in faults():
    if ONLY and not any(word in fault.name for word in ONLY):
      continue
    told = alone(fault.told)
    if isinstance(told, str):
      result(fault.name, told)
      continue
    for verb, fix in told:
      if not fix:
        result(f"{fault.name}, {verb}", "no fix is told")
    for fix in dict.fromkeys(fix for _, fix in told if fix):
      verbs = ", ".join(verb for verb, text in told if text == fix)
      result(f"{fault.name}, {verbs}: {fix}", alone(fault.mend, fix))
finally:
  with open(limit, "w") as file:
    file.write(before)
  shell(f"umount -R {folder}/devices", check=False)
  shutil.rmtree(folder, ignore_errors=True)
print(f"fixes: {failures} failed" if failures else "fixes: passed")
sys.exit(failures > 0)
