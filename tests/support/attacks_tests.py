"""Programs that try to carry something from one test to the next, or to harm the process that starts the tests.

Each entry is (name, program). A program gets the lines "1", "2", "3" in three tests and answers with the number of
its test, as long as it finds nothing that another test left; what it finds, it prints. HARM holds programs that
answer right as well: what they do must change nothing for the tests that follow.
"""

# ruff: noqa: E501 - tables of programs and texts read best unwrapped

TRACES = {
    "file": "import os\nn = input()\nprint(n if not os.path.exists('/tmp/x') else 'left')\ntry: open('/tmp/x', 'w').write(n)\nexcept OSError: pass\n",
    "hidden directory": "import os\nn = input()\nprint(n if not os.path.exists('/tmp/.a') else 'left')\ntry: os.makedirs('/tmp/.a/b')\nexcept OSError: pass\n",
    "locked directory": "import os\nn = input()\nprint(n if not os.path.exists('/tmp/d') else 'left')\ntry:\n    os.makedirs('/tmp/d/e')\n    os.chmod('/tmp/d', 0)\nexcept OSError: pass\n",
    "name of the input copy": "import os\nn = input()\ntry:\n    os.remove('/tmp/.stdin')\nexcept OSError: pass\ntry: os.symlink('/tmp/.kept', '/tmp/.stdin')\nexcept OSError: pass\nprint(n)\n# /dev/stdin\n",
    "directory in place of the input copy": "import os\nn = input()\nprint(n if not os.path.isdir('/tmp/.stdin') else 'left')\ntry:\n    os.remove('/tmp/.stdin')\nexcept OSError: pass\ntry: os.makedirs('/tmp/.stdin/x')\nexcept OSError: pass\n",
    "socket file": "import os\nn = input()\nprint(n if not os.path.exists('/tmp/f') else 'left')\ntry: os.mkfifo('/tmp/f')\nexcept OSError: pass\n",
    "builtins": "import builtins\nn = input()\nprint(n if not hasattr(builtins, 'mark') else 'left')\nbuiltins.mark = 1\nbuiltins.print = None\n",
    "modules": "import sys, os\nn = input()\nprint(n if 'mark' not in sys.modules else 'left')\nsys.modules['mark'] = sys\nos.fork = os.waitpid = os.memfd_create = os.pread = None\n",
    "code of the supervisor": "import gc, sys\nn = input()\nfor o in gc.get_objects():\n    if isinstance(o, dict) and 'report_output' in o: o.clear()\nf = sys._getframe()\nwhile f.f_back: f = f.f_back\nf.f_globals.clear()\nprint_ = __builtins__['print'] if isinstance(__builtins__, dict) else __builtins__.print\nprint_(n)\n",
    "streams": "import sys\nn = input()\nprint(n)\nsys.stdout.flush()\nsys.stdin.close()\nsys.stdout = sys.__stdout__ = None\n",
    "working directory": "import os\nn = input()\nprint(n if os.getcwd() in ('/tmp', '/') else 'left')\nos.chdir('/usr')\nos.umask(0o777)\n",
    "environment": "import os\nn = input()\nprint(n if 'MARK' not in os.environ else 'left')\nos.environ['MARK'] = '1'\n",
    "unread input": "import os\nn = os.read(0, 1).decode()\nprint(n)\n",
    "written input": "import os\nn = input()\nos.write(0, b'9' * 1000)\nos.lseek(0, 0, 0)\nprint(n)\n",
    "output that is cut": "import os\nn = input()\nos.ftruncate(1, 0)\nprint(n)\n",
    "leftover thread": "import threading, time, os\nn = input()\nprint(n, flush=True)\nthreading.Thread(target=lambda: [os.write(1, b'9') for _ in iter(lambda: time.sleep(1), 1)], daemon=True).start()\n",
    "alarm": "import signal\nn = input()\nprint(n)\nsignal.setitimer(signal.ITIMER_REAL, .05)\n",
    "ignored signals": "import signal\nn = input()\nprint(n)\nfor s in (1, 2, 3, 15, 17, 24): signal.signal(s, signal.SIG_IGN)\n",
    "file lock": "import fcntl\nn = input()\nf = open('/dev/null')\ntry:\n    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    print(n)\nexcept OSError: print('left')\n",
}  # fmt: skip

_RAW = "import ctypes, os\nn = input()\nc = ctypes.CDLL(None)\np = os.getppid()\n"
HARM = {
    "signals to the parent": _RAW + "for t in (p, 1, 2, 0, -1, -p):\n    for s in (9, 19, 15):\n        for k in (62, 200, 129): c.syscall(k, t, s, 0)\n        c.syscall(234, t, t, s)\nprint(n)\n",
    "handle of the parent": _RAW + "d = c.syscall(434, p, 0)\nc.syscall(424, d, 9, 0, 0)\nc.syscall(438, d, 60, 0)\nprint(n)\n",
    "limits of the parent": _RAW + "l = (ctypes.c_ulong * 2)(0, 0)\nfor r in range(16): c.syscall(302, p, r, l, 0)\nprint(n)\n",
    "memory of the parent": _RAW + "c.syscall(311, p, 0, 0, 0, 0, 0)\nc.syscall(101, 16, p, 0, 0)\nfor f in ('/proc/%d/mem' % p, '/proc/self/mem'):\n    try: open(f, 'r+b').write(b'x')\n    except OSError: pass\nprint(n)\n",
    "priority of the parent": _RAW + "c.syscall(141, 0, p, 19)\nc.syscall(144, p, 5, 0)\nc.syscall(203, p, 8, b'\\x01' * 8)\nprint(n)\n",
    "channel": "import os\nn = input()\nfor d in list(range(2, 256)):\n    for data in (b'{\"ended\": true, \"exit\": 0, \"bytes\": 0}\\n', b'\\xff' * 64):\n        try: os.write(d, data)\n        except OSError: pass\nprint(n)\n",
    "asks for more orders": "import os\nn = input()\nfor d in range(2, 256):\n    try: os.read(d, 100)\n    except OSError: pass\nprint(n)\n",
    "another filter": _RAW + "c.prctl(38, 1, 0, 0, 0)\nc.syscall(317, 1, 0, 0)\nc.prctl(22, 1, 0)\nprint(n)\n",
    "child after all": "import os\nn = input()\nfor f in (os.fork, os.forkpty):\n    try: f()\n    except OSError: pass\nprint(n)\n",
    "raw child": _RAW + "for k in (56, 57, 58, 435): c.syscall(k, 17, 0, 0, 0, 0)\nprint(n)\n",
    "core": "import os, resource\nn = input()\nprint(n, flush=True)\nos._exit(0)\n",
}  # fmt: skip
