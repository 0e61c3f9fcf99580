# SPDX-License-Identifier: Apache-2.0
"""Runs the program under test, and the results of checks."""
import functools
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runner.tensors import read_safetensors, write_safetensors

PASSED, FAILED, SKIPPED = "ok", "FAILED", "SKIPPED"


@dataclass
class Outcome:
    name: str
    status: str
    text: str = ""


def judged(name, problems, text=""):
    """The outcome of a check that found `problems`."""
    if problems:
        shown = "; ".join(problems[:6]) + (f"; {len(problems) - 6} more" if len(problems) > 6 else "")
        return Outcome(name, FAILED, f"{text} {shown}".strip())
    return Outcome(name, PASSED, text)


class ProgramError(Exception):
    pass


class Program:
    """The program under test. Safe to use from several threads."""

    def __init__(self, path, threads=1, timeout_s=600):
        self.path = str(path)
        self.threads = threads
        self.timeout_s = timeout_s

    def run(self, *arguments, stdin=""):
        command = [self.path, *map(str, arguments)]
        try:
            run = subprocess.run(command, input=stdin.encode(), capture_output=True,
                                 timeout=self.timeout_s)
        except subprocess.TimeoutExpired:
            raise ProgramError(f"no end after {self.timeout_s} s: {' '.join(command)}") from None
        if run.returncode:
            said = run.stderr.decode(errors="replace").strip()[-300:]
            raise ProgramError(f"`{' '.join(command[1:])}` exits with {run.returncode}: {said}")
        return run.stdout

    def run_json(self, *arguments, stdin=""):
        out = self.run(*arguments, stdin=stdin)
        try:
            return json.loads(out)
        except ValueError as error:
            raise ProgramError(f"`{' '.join(map(str, arguments))}` prints no JSON: {error}") from None

    @functools.cached_property
    def can_choose_rows(self):
        """May trace be told from which position on logits are wanted?"""
        return b"--logits-from" in self.run("trace", "--help")

    def trace(self, model, source, name, mode, greedy=0, extra=()):
        """Runs `carat trace`; `source`: a safetensors file, or tensors to write to one."""
        with tempfile.TemporaryDirectory(prefix="golden-") as folder:
            folder = Path(folder)
            if isinstance(source, dict):
                write_safetensors(folder / "in.safetensors", source)
                source = folder / "in.safetensors"
            out = folder / "out.safetensors"
            self.run("trace", model, source, "--name", name, "--mode", mode, "--greedy", greedy,
                     "--out", out, "--threads", self.threads, *extra)
            if not out.exists():
                raise ProgramError("trace ends well and writes nothing")
            # The file may go: a mapping keeps its bytes.
            return read_safetensors(out)


# One helper process measures many commands. It is a plain interpreter without numpy, because the
# kernel counts the largest memory of whoever starts a process as that process's own.
MEASURER = r"""
import json, os, signal, subprocess, sys, tempfile, time
for line in sys.stdin:
    command = json.loads(line)
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=errors)
        signal.signal(signal.SIGALRM, lambda *_: child.kill())
        signal.setitimer(signal.ITIMER_REAL, 20)
        _, status, usage = os.wait4(child.pid, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        errors.seek(0)
        said = errors.read(100000).decode(errors="replace")
    print(json.dumps({"status": child.returncode, "seconds": seconds, "stderr": said,
                      "max_rss_bytes": usage.ru_maxrss * 1024}), flush=True)
"""


def measure(commands):
    """Runs each command; returns exit status, seconds, stderr and largest memory of each."""
    lines = "".join(json.dumps([str(word) for word in command]) + "\n" for command in commands)
    run = subprocess.run([sys.executable, "-I", "-S", "-c", MEASURER], input=lines, check=True,
                         stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in run.stdout.splitlines()]
