"""Units made for a test: a socket unit, and the service.py that systemd starts by it."""
import ast, itertools, os, signal, socket, subprocess, time

FOLDER = "/run/systemd/system"
SERVICE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "service.py")


def run(*command):
  done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  return done.stdout.strip()


class Service:
  """A socket and its service, named like none before: then systemd needs no reload to see them."""

  numbers = itertools.count(1)

  def __init__(self, *options):
    self.name = f"told{next(Service.numbers)}"
    self.path = f"/run/{self.name}.sock"
    with open(f"{FOLDER}/{self.name}.socket", "w") as file:
      file.write(f"[Socket]\nListenSequentialPacket={self.path}\nFileDescriptorName=control\n")
    with open(f"{FOLDER}/{self.name}.service", "w") as file:
      # Options come last: they may end the section and begin another.
      file.write(
        "[Service]\nType=notify\nNotifyAccess=main\nRestart=always\nRestartSec=100ms\n"
        f"ExecStart=/usr/bin/python3 {SERVICE}\n" + "\n".join(options) + "\n")
    print(run("systemctl", "start", f"{self.name}.socket"), end="", flush=True)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    run("systemctl", "stop", f"{self.name}.socket", f"{self.name}.service")

  def ask(self, expression, seconds=20):
    """The value of the expression in the service, which this starts; what went wrong, as text."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
      client.settimeout(seconds)
      try:
        client.connect(self.path)
        client.send(expression.encode())
        text = client.recv(65536).decode()
      except OSError as error:
        return f"no answer: {error}"
    try:
      return ast.literal_eval(text)
    except (SyntaxError, ValueError):
      return text

  def show(self, key, kind="service"):
    return run("systemctl", "show", "--value", "-p", key, f"{self.name}.{kind}")

  def systemctl(self, verb):
    return run("systemctl", verb, f"{self.name}.service")

  def kill(self):
    """SIGKILL, and gone on return: systemd may have started another by then."""
    process = int(self.show("MainPID"))
    os.kill(process, signal.SIGKILL)
    wait(lambda: not os.path.exists(f"/proc/{process}"))


def wait(condition, seconds=30):
  end = time.monotonic() + seconds
  while not condition():
    if time.monotonic() > end:
      return False
    time.sleep(0.1)
  return True
