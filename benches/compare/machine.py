"""This machine, read from /proc: processes, CPU time, and the share of other processes."""

import os
import time

TICK = os.sysconf("SC_CLK_TCK")


def processes():
    """Returns {pid: (parent's pid, CPU seconds of the process and its reaped children)}."""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = read(f"/proc/{entry}/stat").rsplit(")", 1)[1].split()
        except OSError:  # it has just ended
            continue
        table[int(entry)] = (int(fields[1]), sum(int(ticks) for ticks in fields[11:15]) / TICK)
    return table


def children(pid):
    """Returns the pids of running children of `pid`."""
    return [child for child, (parent, _) in processes().items() if parent == pid]


def process_cpu(pid):
    """Returns the CPU seconds of a process, all threads included."""
    fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_rss(pid):
    """Returns the peak resident memory of a process in megabytes (2^20 bytes)."""
    for line in read(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def busy():
    """Returns the busy CPU seconds of all cores since boot, interrupts included."""
    fields = [int(ticks) for ticks in read("/proc/stat").splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / TICK


def used_by_others():
    """Returns the CPU seconds of all processes except this program, its descendants and kernel threads."""
    table = processes()
    mine = {os.getpid()}
    while True:
        more = {pid for pid, (parent, _) in table.items() if parent in mine} - mine
        if not more:
            break
        mine |= more
    kernel = 2  # kthreadd, parent of all kernel threads
    others = ((pid, parent, cpu) for pid, (parent, cpu) in table.items() if pid not in mine)
    return sum(cpu for pid, parent, cpu in others if kernel not in (pid, parent))


def wait_until_quiet(seconds, limit=0.1):
    """Waits until others use less than `limit` of a core for one second; at most `seconds`."""
    end, quiet = time.monotonic() + seconds, 0
    while quiet < 2 and time.monotonic() < end:
        before = used_by_others()
        time.sleep(0.5)
        quiet = quiet + 1 if used_by_others() - before < limit / 2 else 0


def describe():
    """Returns one line: CPU, cores, memory, kernel."""
    lines = read("/proc/cpuinfo").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = int(read("/proc/meminfo").split()[1]) / 2**20
    model = models[0] if models else os.uname().machine
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, Linux {os.uname().release}"


def read(path):
    """Returns the text of a small file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
