#!/usr/bin/python3
"""heapd as its units run it, where the kernel has BTF: it hears the last close of a dma-buf, with what the unit leaves it."""
import os, re, time
from checks import check, run_all
from installed import Client, buffers, configure, install, main_process, show, status
from unit import run, wait


def attached():
  """How many BPF programs heapd has attached."""
  folder = f"/proc/{main_process()}/fd"
  return sum(os.readlink(f"{folder}/{fd}") == "anon_inode:bpf_link" for fd in os.listdir(folder))


def looks(seconds=0.0):
  """How often heapd asked the kernel about its buffers, after so many seconds."""
  time.sleep(seconds)
  return status()["reclaimer"]["checks"]


def installation():
  install()
  run("systemctl", "enable", "--no-reload", "--now", "heapd.socket")
  check("its socket listens", show("ActiveState", "heapd.socket"), "active")


def hearing():
  alice = Client("alice")
  alice.ask("connect()")
  check("nothing is attached before there is a buffer", attached(), 0)
  check("a dma-buf", alice.ask("allocate(7, 0)") > 0)
  check("and programs are", wait(attached))
  # The first looks are the clock's: what closes before all is attached is not heard.
  check("soon a buffer that is held is not looked at", wait(lambda: looks() == looks(3)))
  alice.ask("close(7, 0)")
  check("its last close has it looked at", wait(lambda: buffers() == []))
  check("nobody's buffers, nothing attached", wait(lambda: attached() == 0))
  log = run("journalctl", "-u", "heapd", "-o", "cat", "-q").splitlines()
  check("heapd has no complaint", [line for line in log if re.search(" (warning|error|critical) ", line)], [])
  alice.end()


def off():
  configure("events = off")
  run("systemctl", "restart", "heapd")
  alice = Client("alice")
  alice.ask("connect()")
  check("with `events = off`, a dma-buf", alice.ask("allocate(7, 0)") > 0)
  before = looks()
  check("is looked at by the clock", looks(3) > before)
  check("and nothing is attached", attached(), 0)
  alice.ask("close(7, 0)")
  check("and is reclaimed", wait(lambda: buffers() == []))
  alice.end()
  run("systemctl", "stop", "heapd.socket", "heapd.service")


run_all((installation, hearing, off))
