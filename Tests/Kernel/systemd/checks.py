"""What a test has found: a line for each check, and how many failed."""
import sys

failures = 0


def check(fact, seen, expected=True):
  global failures
  good = seen == expected
  failures += not good
  print(f"pass  {fact}" if good else f"FAIL  {fact}: {seen!r}, not {expected!r}", flush=True)


def run_all(parts, *arguments):
  """Ends the program: 1 if a check of these functions has failed."""
  for part in parts:
    print(f"== {part.__name__}", flush=True)
    part(*arguments)
  print(f"{failures} checks failed" if failures else "all checks pass")
  sys.exit(failures > 0)
