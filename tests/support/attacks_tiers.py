"""Programs that try to mark the machine for another rollout, or to use more of it than they may.

MARKS holds pairs: what one rollout does and what a later one, in a sandbox of its own, would see of it. Each pair is
two bodies of a function `f`; the second returns whether it found the mark. COUNTS return how much they could get.
"""

# ruff: noqa: E501 - tables of programs read best unwrapped

MARKS = {
    "mode of the null device": ("import os\ndef f():\n    try: os.chmod('/dev/null', 0o600)\n    except OSError: pass\n", "import os\ndef f(): return os.stat('/dev/null').st_mode & 0o777 != 0o666\n"),
    "times of the null device": ("import os\ndef f():\n    try: os.utime('/dev/null', (7, 7))\n    except OSError: pass\n", "import os\ndef f(): return 7 in (os.stat('/dev/null').st_mtime, os.stat('/dev/null').st_atime)\n"),
    "times of the null device by descriptor": ("import os\ndef f():\n    try: os.utime(os.open('/dev/null', os.O_RDWR), (7, 7))\n    except OSError: pass\n", "import os\ndef f(): return 7 in (os.stat('/dev/null').st_mtime, os.stat('/dev/null').st_atime)\n"),
    "attribute of the null device": ("import os\ndef f():\n    try: os.setxattr('/dev/null', 'user.m', b'1')\n    except OSError: pass\n", "import os\ndef f():\n    try: return bool(os.listxattr('/dev/null'))\n    except OSError: return False\n"),
    "file in /tmp": ("def f():\n    try: open('/tmp/m', 'w').write('1')\n    except OSError: pass\n", "import os\ndef f(): return os.path.exists('/tmp/m')\n"),
    "file in /dev/shm": ("def f():\n    try: open('/dev/shm/m', 'w').write('1')\n    except OSError: pass\n", "import os\ndef f(): return os.path.exists('/dev/shm/m')\n"),
    "memory of System V": ("import ctypes\ndef f(): ctypes.CDLL(None).shmget(7531, 4096, 0o1666)\n", "import ctypes\ndef f(): return ctypes.CDLL(None).shmget(7531, 4096, 0) >= 0\n"),
    "message queue": ("import ctypes\ndef f(): ctypes.CDLL(None).syscall(240, b'm', 0o102, 0o666, 0)\n", "import ctypes\ndef f(): return ctypes.CDLL(None).syscall(240, b'm', 0, 0, 0) >= 0\n"),
    "key ring": ("import ctypes\ndef f(): ctypes.CDLL(None).syscall(248, b'user', b'm', b'1', 1, -4)\n", "import ctypes\ndef f(): return ctypes.CDLL(None).syscall(249, b'user', b'm', 0, 0) >= 0\n"),
}  # fmt: skip
# a lock that one rollout holds while another looks; PLACE is a file that both can read
HOLD_A_LOCK = "import fcntl, os, time\ng = open(PLACE)\ndef f():\n    fcntl.flock(g, fcntl.LOCK_EX)\n    fcntl.lockf(open('/dev/null', 'w'), fcntl.LOCK_EX)\n    time.sleep(2)\n"
SEE_A_LOCK = "import fcntl, os\ng = open(PLACE)\ndef f():\n    try:\n        fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        fcntl.lockf(open('/dev/null', 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n    except OSError: return True\n    return False\n"

COUNTS = {
    "threads": ("import threading\nthreading.stack_size(1 << 16)\ndef f():\n    n, wait = 1, threading.Event()\n    try:\n        while n < 500:\n            threading.Thread(target=wait.wait, daemon=True).start()\n            n += 1\n    except RuntimeError: pass\n    wait.set()\n    return n\n", 64),
    "processes": ("import os\ndef f():\n    n = 1\n    try:\n        while n < 500:\n            if os.fork() == 0: os._exit(0)\n            n += 1\n    except OSError: pass\n    return n\n", 1),
    "descriptors": ("import os\ndef f():\n    n = 0\n    try:\n        while n < 500:\n            os.dup(0)\n            n += 1\n    except OSError: pass\n    return n\n", 64),
    "megabytes": ("import mmap\ndef f():\n    kept = []\n    try:\n        while len(kept) < 4000: kept.append(mmap.mmap(-1, 1 << 20))\n    except OSError: pass\n    return len(kept)\n", 1024),
}  # fmt: skip
