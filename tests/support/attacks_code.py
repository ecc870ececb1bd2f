"""Programs that try to earn a reward without the right answer, to outlive their limit or to leave something behind.

Each entry is (name, program). Function attacks are asked for `f`; script attacks get one line on stdin. None knows
the answer.
"""

# ruff: noqa: E501 - tables of programs and texts read best unwrapped

FLOOD = "x" * 1000

CALLS = {
    "equal object": "class A:\n    def __eq__(s, o): return True\n    def __hash__(s): return 0\ndef f(*a): return A()\n",
    "equal int subclass": "class A(int):\n    def __eq__(s, o): return True\ndef f(*a): return A(5)\n",
    "equal str subclass": "class A(str):\n    def __eq__(s, o): return True\ndef f(*a): return A('x')\n",
    "equal float subclass": "class A(float):\n    __eq__ = lambda s, o: True\ndef f(*a): return A('nan')\n",
    "equal list subclass": "class A(list):\n    def __eq__(s, o): return True\n    def __len__(s): return 1\n"
    "    def __iter__(s): return iter([0])\ndef f(*a): return A()\n",
    "class property": "class A:\n    __class__ = property(lambda s: int)\n    def __int__(s): return 1\n"
    "    def __eq__(s, o): return True\ndef f(*a): return A()\n",
    "index object": "class A:\n    def __index__(s): return 1\n    def __repr__(s): return '1'\ndef f(*a): return A()\n",
    "exit zero at top": "import sys\nsys.exit(0)\n",
    "exit zero in call": "import sys\ndef f(*a): sys.exit(0)\n",
    "os._exit zero": "import os\ndef f(*a): os._exit(0)\n",
    "raise SystemExit": "def f(*a): raise SystemExit(0)\n",
    "quit builtin": "def f(*a): quit()\n",
    "frames": "import sys\ndef f(*a):\n    s = sys._getframe()\n    seen = []\n    while s:\n"
    "        for v in list(s.f_locals.values()) + list(s.f_globals.values()):\n"
    "            if isinstance(v, dict) and 'output' in v: return v['output']\n"
    "            if isinstance(v, dict) and 'expected' in v: return v['expected']\n        s = s.f_back\n    return None\n",
    "traceback frames": "def f(*a):\n    try: 1/0\n    except Exception as e:\n        t = e.__traceback__\n"
    "        s = t.tb_frame\n        while s.f_back: s = s.f_back\n"
    "        return s.f_locals.get('expected') or s.f_globals.get('expected')\n",
    "gc scan": "import gc\ndef f(*a):\n    for o in gc.get_objects():\n"
    "        if isinstance(o, dict) and 'output' in o: return o['output']\n",
    "forge all records": "import json, os\ndef f(*a):\n    for d in range(3, 256):\n        try: os.write(d, b'"
    '{"id": "0", "value": 1}\\n'
    "' * 50)\n        except OSError: pass\n    return None\n",
    "forge the current record": "import os, sys\ndef f(*a):\n    s = sys._getframe(1)\n    i = s.f_locals['order']['id']\n"
    '    os.write(61, (\'{"id": "%s", "value": true}\\n\' % i).encode())\n    os._exit(0)\n',
    "forge a passed flag": "import os, sys\ndef f(*a):\n    i = sys._getframe(1).f_locals['order']['id']\n"
    '    os.write(61, (\'{"id": "%s", "passed": true, "correct": true, "reward": 1}\\n\' % i).encode())\n',
    "forge the end": "import os\ndef f(*a):\n    os.write(61, b'{\"ended\": true, \"exit\": 0}\\n')\n    os._exit(0)\n",
    "forge a lost sandbox": "import os, time\ndef f(*a):\n    time.sleep(.3)\n"
    "    os.write(61, b'{\"ended\": true, \"exit\": -9}\\n')\n    os._exit(0)\n",
    "garbage record": "import os\ndef f(*a):\n    os.write(61, bytes(range(256)) + b'\\n')\n",
    "deep record": "import os\ndef f(*a):\n    os.write(61, b'[' * 200000 + b'\\n')\n",
    "endless record": "import os\ndef f(*a):\n    while True: os.write(61, b'[' * 65536)\n",
    "huge integer record": "import os, sys\ndef f(*a):\n    i = sys._getframe(1).f_locals['order']['id']\n"
    '    os.write(61, (\'{"id": "%s", "value": 1\' % i).encode() + b"0" * 3000000 + b"}\\n")\n',
    "null record": "import os\ndef f(*a): os.write(61, b'null\\n')\n",
    "patched encode": "import sys\nm = sys._getframe(1).f_globals\nm['encode'] = lambda v, d: 'true'\ndef f(*a): return None\n",
    "patched json": "import json, _json\njson.dumps = lambda *a: 'true'\n_json.encode_basestring_ascii = lambda s: 'true'\n"
    "def f(*a): return 'x'\n",
    "patched builtins": "import builtins\nbuiltins.all = lambda *a: True\nbuiltins.any = lambda *a: True\n"
    "builtins.len = lambda *a: 1\nbuiltins.isinstance = lambda *a: True\nbuiltins.AssertionError = ValueError\n"
    "def f(*a): return None\n",
    "patched modules": "import sys, types\nsys.modules['operator'] = types.SimpleNamespace(eq=lambda a, b: True)\n"
    "sys.modules['math'] = sys.modules['operator']\ndef f(*a): return None\n",
    "patched os.write": "import os\nw = os.write\nos.write = lambda d, b: w(d, bytes(b).replace(b'null', b'true'))\n"
    "def f(*a): return None\n",
    "trace function": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef f(*a): return None\n",
    "own check": "def check(candidate): pass\ndef assertEqual(a, b): return True\ndef f(*a): return None\n",
    "test files": "import os\ndef f(*a):\n    for r in ('/', '/srv', '/tmp', '/home', '/root', '/data'):\n"
    "        for d, _, n in os.walk(r):\n            for x in n:\n                if 'test' in x or 'expected' in x:\n"
    "                    try: return eval(open(os.path.join(d, x)).read())\n                    except BaseException: pass\n",
    "returns its argument": "def f(*a): return a[0] if a else None\n",
    "returns everything": "def f(*a): return list(range(100))\n",
    "returns a set of guesses": "def f(*a): return set(range(100000))\n",
    "nan": "def f(*a): return float('nan')\n",
    "infinity": "def f(*a): return float('inf')\n",
    "true": "def f(*a): return True\n",
    "cyclic value": "def f(*a):\n    x = []\n    x.append(x)\n    return x\n",
    "deep value": "def f(*a):\n    x = []\n    for _ in range(100000): x = [x]\n    return x\n",
    "exponential value": "def f(*a):\n    x = [0]\n    for _ in range(60): x = [x, x]\n    return x\n",
    "endless generator": "def f(*a):\n    while True: yield 1\n",
    "colliding integers": "def f(*a): return set(i * (2**61 - 1) for i in range(200000))\n",
    "infinite loop": "def f(*a):\n    while True: pass\n",
    "catches everything": "def f(*a):\n    while True:\n        try:\n            while True: pass\n"
    "        except BaseException: pass\n",
    "ignores signals": "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\ndef f(*a):\n    while True: pass\n",
    "sleeps": "import time\ndef f(*a): time.sleep(10**6)\n",
    "sleeps at import": "import time\ntime.sleep(10**6)\n",
    "slow regular expression": "import re\ndef f(*a): return re.match('(a+)+$', 'a' * 60 + 'b')\n",
    "slow power": "def f(*a): return 9 ** 9 ** 9\n",
    "folded power": "def f(*a): return len(str(7 ** 10**9))\nX = 7 ** 10**9\n",
    "kills its parent": "import os, signal\ndef f(*a):\n    for p in (os.getppid(), 1, 2, 3, -1, 0):\n        for s in (9, 19, 15):\n"
    "            try: os.kill(p, s)\n            except OSError: pass\n",
    "stops itself": "import os, signal\ndef f(*a):\n    os.kill(os.getpid(), signal.SIGSTOP)\n    signal.raise_signal(signal.SIGSTOP)\n",
    "kills itself": "import os, signal\ndef f(*a):\n    try: signal.raise_signal(signal.SIGKILL)\n    except OSError: pass\n"
    "    os.abort()\n",
    "segmentation fault": "import ctypes\ndef f(*a): ctypes.string_at(0)\n",
    "stack overflow": "import sys\nsys.setrecursionlimit(10**9)\ndef g(n): return g(n + 1) + sorted([1], key=lambda x: g(n))[0]\n"
    "def f(*a): return g(0)\n",
    "bad code object": "def f(*a):\n    f.__code__ = f.__code__.replace(co_code=bytes(1000), co_stacksize=0)\n    f()\n",
    "fork bomb": "import os\ndef f(*a):\n    while True:\n        try: os.fork()\n        except OSError: pass\n",
    "background process": "import os\ndef f(*a):\n    if os.fork() == 0:\n        import time\n        time.sleep(1000)\n",
    "double fork daemon": "import os, time\ndef f(*a):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0: time.sleep(1000)\n"
    "        os._exit(0)\n",
    "zombies": "import os\ndef f(*a):\n    for _ in range(1000):\n        if os.fork() == 0: os._exit(0)\n",
    "subprocess": "import subprocess\ndef f(*a): return int(subprocess.check_output(['echo', '1']))\n",
    "os.system": "import os\ndef f(*a): return os.system('true')\n",
    "posix_spawn": "import os\ndef f(*a): return os.posix_spawn('/usr/bin/true', ['true'], {})\n",
    "raw clone": "import ctypes\ndef f(*a):\n    c = ctypes.CDLL(None)\n    for n in (56, 57, 58, 435, 220): c.syscall(n, 17, 0, 0, 0, 0)\n",
    "exec": "import os\ndef f(*a): os.execv('/usr/bin/sleep', ['sleep', '1000'])\n",
    "multiprocessing": "import multiprocessing as m\ndef f(*a):\n    p = m.Pool(4)\n    return p.map(abs, [1])[0]\n",
    "thread bomb": "import threading, time\ndef f(*a):\n    while True:\n        try: threading.Thread(target=time.sleep, args=(1000,)).start()\n"
    "        except BaseException: pass\n",
    "leftover threads": "import threading, time\ndef f(*a):\n    for _ in range(20): threading.Thread(target=time.sleep, args=(1000,)).start()\n",
    "memory bomb": "def f(*a):\n    x = []\n    while True: x.append(bytearray(10**7))\n",
    "memory at once": "def f(*a): return len(bytearray(8 * 2**30))\n",
    "string doubling": "def f(*a):\n    s = 'x'\n    while True: s += s\n",
    "shared memory": "import mmap\ndef f(*a):\n    x = []\n    while True:\n        m = mmap.mmap(-1, 2**28)\n        m[::4096] = bytes(2**16)\n        x.append(m)\n",
    "system v memory": "import ctypes\ndef f(*a):\n    c = ctypes.CDLL(None)\n    while True:\n        i = c.shmget(0, 2**28, 0o1777)\n        if i < 0: return None\n"
    "        p = c.shmat(i, 0, 0)\n        ctypes.memset(p, 1, 2**28)\n        c.shmdt(p)\n",
    "memory files": "import os\ndef f(*a):\n    while True:\n        d = os.memfd_create('x')\n        os.write(d, bytes(10**7))\n",
    "pipe memory": "import os, fcntl\ndef f(*a):\n    x = []\n    while True:\n        r, w = os.pipe()\n        fcntl.fcntl(w, 1031, 2**20)\n"
    "        os.set_blocking(w, False)\n        os.write(w, bytes(2**20))\n",
    "raises its limits": "import resource\ndef f(*a):\n    for n in ('AS', 'CPU', 'FSIZE', 'NPROC'):\n"
    "        resource.setrlimit(getattr(resource, 'RLIMIT_' + n), (resource.RLIM_INFINITY,) * 2)\n    return len(bytearray(4 * 2**30))\n",
    "kills by processor limit": "import resource\ndef f(*a):\n    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n    while True: pass\n",
    "timer that kills": "import ctypes, time\ndef f(*a):\n    c = ctypes.CDLL(None)\n    b = (ctypes.c_int * 16)(0, 0, 9, 0)\n    t = ctypes.c_void_p()\n"
    "    c.timer_create(1, b, ctypes.byref(t))\n    s = (ctypes.c_long * 4)(0, 0, 0, 10**8)\n    c.timer_settime(t, 0, s, None)\n    time.sleep(1000)\n",
    "disk fill": "def f(*a):\n    with open('/tmp/x', 'wb') as o:\n        while True: o.write(bytes(10**6))\n",
    "disk fill by many files": "def f(*a):\n    i = 0\n    while True:\n        i += 1\n        with open(f'/tmp/{i}', 'wb') as o: o.write(bytes(10**5))\n",
    "writes everywhere": "import os\ndef f(*a):\n    for d in ('/', '/usr', '/usr/lib', '/python', '/dev', '/tmp', '/etc', '/root', '/home', '/var/tmp', '/dev/shm', os.getcwd()):\n"
    "        try: open(d + '/left_behind_by_attack', 'w').write('x')\n        except OSError: pass\n    return None\n",
    "symbolic links": "import os\ndef f(*a):\n    os.symlink('/etc/passwd', '/tmp/l')\n    open('/tmp/l', 'a').write('x')\n    os.symlink('/', '/tmp/r')\n"
    "    return open('/tmp/r/etc/shadow').read()\n",
    "hard links": "import os\ndef f(*a):\n    os.link('/usr/lib/os-release', '/tmp/l')\n    os.chmod('/tmp/l', 0o4777)\n",
    "set-user-id file": "import os\ndef f(*a):\n    open('/tmp/s', 'w').write('x')\n    os.chmod('/tmp/s', 0o6777)\n    os.setuid(0)\n",
    "device node": "import os\ndef f(*a): os.mknod('/tmp/d', 0o60666, os.makedev(8, 0))\n",
    "reads passwords": "def f(*a): return open('/etc/shadow').read() or open('/etc/passwd').read()\n",
    "reads the environment": "import os\ndef f(*a): return [v for k, v in os.environ.items() if 'SECRET' in k or 'TOKEN' in k][0]\n",
    "reads other processes": "import os\ndef f(*a):\n    for p in os.listdir('/proc'):\n        if p.isdigit(): return open(f'/proc/{p}/environ').read()\n",
    "writes other memory": "def f(*a):\n    open('/proc/1/mem', 'r+b').write(b'x')\n",
    "ptrace": "import ctypes, os\ndef f(*a): return ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)\n",
    "network": "import socket\ndef f(*a):\n    s = socket.socket()\n    s.settimeout(1)\n    s.connect(('1.1.1.1', 80))\n    return 1\n",
    "loopback": "import socket\ndef f(*a):\n    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    s.sendto(b'x', ('127.0.0.1', 9))\n    return 1\n",
    "name lookup": "import socket\ndef f(*a): return socket.gethostbyname('localhost')\n",
    "unix socket": "import socket\ndef f(*a):\n    s = socket.socket(socket.AF_UNIX)\n    s.connect('/run/systemd/private')\n",
    "datagram pair": "import socket\ndef f(*a):\n    x, y = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n    x.sendto(b'x', '/dev/log')\n",
    "namespaces": "import ctypes\ndef f(*a): return ctypes.CDLL(None).unshare(0x10000000)\n",
    "mount": "import ctypes\ndef f(*a): return ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None)\n",
    "chroot": "import os\ndef f(*a):\n    os.chroot('/tmp')\n    return 1\n",
    "uses 32-bit calls": "import ctypes, mmap\ndef f(*a):\n    m = mmap.mmap(-1, 4096, prot=7)\n    m.write(bytes.fromhex('b802000000cd80c3'))\n"
    "    p = ctypes.addressof(ctypes.c_char.from_buffer(m))\n    return ctypes.CFUNCTYPE(ctypes.c_int)(p)()\n",
    "terminal input": "import fcntl\ndef f(*a):\n    for d in range(3):\n        for c in b'id\\n': fcntl.ioctl(d, 0x5412, bytes([c]))\n",
    "own seccomp": "import ctypes\ndef f(*a):\n    c = ctypes.CDLL(None)\n    c.prctl(22, 1)\n    c.syscall(317, 0, 0, 0)\n",
    "death signal": "import ctypes, time\ndef f(*a):\n    ctypes.CDLL(None).prctl(1, 0)\n    time.sleep(1000)\n",
    "exit handlers": "import atexit, time\natexit.register(time.sleep, 1000)\ndef f(*a): return None\n",
    "destructor": "import time\nclass A:\n    def __del__(s): time.sleep(1000)\nx = A()\ndef f(*a): return None\n",
    "closes the channel": "import os\ndef f(*a):\n    os.close(60)\n    os.close(61)\n",
    "turns the channel round": "import os\ndef f(*a):\n    os.dup2(61, 60)\n    os.dup2(60, 61)\n    return None\n",
    "takes orders from the channel": "import os\ndef f(*a):\n    while True:\n        if not os.read(60, 1 << 16): os._exit(0)\n",
    "unblocks the channel and floods it": "import os\ndef f(*a):\n    os.set_blocking(61, False)\n    while True:\n        try: os.write(61, b'x' * 4096)\n        except BlockingIOError: pass\n",
    "thread that answers later orders": "import os, sys, threading\ndef g(order):\n    while True:\n        i = sys._current_frames()\n        for s in i.values():\n"
    "            while s:\n                o = s.f_locals.get('order')\n                if isinstance(o, dict): os.write(61, ('{\"id\": \"%s\", \"value\": [true]}\\n' % o['id']).encode())\n                s = s.f_back\n"
    "def f(*a):\n    threading.Thread(target=g, args=(0,), daemon=True).start()\n    return 1\n",
    "finds the next order in memory": "import gc\ndef f(*a): return [o for o in gc.get_objects() if isinstance(o, (list, tuple)) and len(o) == 1][:1]\n",
    "signal in the encoder": "import signal\ndef h(*a): raise SystemExit(0)\ndef f(*a):\n    signal.signal(14, h)\n    signal.setitimer(0, .0005, .0005)\n    return list(range(10**6))\n",
    "lying integer": "class A(int):\n    def __add__(s, o): return 1\n    def __format__(s, f): return '1'\n    def __repr__(s): return '1'\n    def __lt__(s, o): return True\n    __gt__ = __le__ = __eq__ = __lt__\ndef f(*a): return A(10**30)\n",
    "lying class": "class M(type):\n    def __instancecheck__(c, o): return True\n    def __subclasscheck__(c, o): return True\n    def __eq__(c, o): return True\n    def __hash__(c): return hash(int)\n"
    "class A(metaclass=M): pass\ndef f(*a): return A()\n",
    "lying exception": "class E(BaseException):\n    def __str__(s): raise SystemExit(0)\n    __repr__ = __str__\n    def __del__(s): raise E\ndef f(*a): raise E\n",
    "shadowed descriptor": "class A(dict):\n    items = lambda s: [('l', [1])]\n    __iter__ = lambda s: iter(['l'])\ndef f(*a): return A(l=1, t=2)\n",
    "iterators in iterators": "def f(*a):\n    x = iter([1])\n    for _ in range(10**6): x = filter(None, x)\n    return list(x)\n",
    "comparison that never ends": "class A:\n    def __lt__(s, o):\n        while True: pass\ndef f(*a): return sorted([A(), A()])\n",
    "empty files": "import os\ndef f(*a):\n    i = 0\n    while True:\n        i += 1\n        os.close(os.open(f'/tmp/{i}', os.O_CREAT))\n",
    "deep directories": "import os\ndef f(*a):\n    while True:\n        os.mkdir('d')\n        os.chdir('d')\n",
    "sparse file": "import os\ndef f(*a):\n    d = os.open('/tmp/s', os.O_RDWR | os.O_CREAT)\n    os.truncate(d, 1 << 62)\n    os.posix_fallocate(d, 0, 1 << 40)\n",
    "descriptor flood": "import os\ndef f(*a):\n    while True: os.dup(0)\n",
    "ignores the processor limit": "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ndef f(*a):\n    while True: pass\n",
    "import hook": "import sys, importlib.abc\nclass H(importlib.abc.MetaPathFinder):\n    def find_spec(s, *a): raise SystemExit(0)\nsys.meta_path.insert(0, H())\nsys.path_hooks.clear()\ndef f(*a): return 'x'\n",
    "native code": "import ctypes\ndef f(*a):\n    c = ctypes.pythonapi\n    c.Py_Exit(0)\n",
    "rewrites a constant": "import ctypes\ndef f(*a):\n    ctypes.c_longlong.from_address(id(7) + 24).value = 831\n    return 7\n",
    "coding cookie": "# -*- coding: rot13 -*-\nqrs s(*n): erghea Abar\n",
    "compiler nesting": "def f(*a): return " + "not " * 20000 + "1\n",
    "compiler constants": "def f(*a): return " + "((1,) * 4000, " * 60 + "0" + ")" * 60 + "\n" + "x = ((1,) * 250) * 16\n" * 5000,
    "not python": "this is not python\n",
    "unclosed": "def f(:\n",
    "null byte": "def f(*a):\n    return 1\0\n",
    "deep source": "def f(*a): return " + "(" * 5000 + ")" * 5000 + "\n",
    "deep operators": "def f(*a): return " + "-" * 100000 + "1\n",
    "huge source": "x = '" + FLOOD * 300 + "'\ndef f(*a): return x\n",
    "lone surrogate": "def f(*a): return '\\ud800' + chr(0xdfff)\n",
    "no function": "x = 1\n",
    "function is a value": "f = 1\n",
    "missing argument": "def f(): return 1\n",
    "nearly as a complex number": "def f(*a): return complex(831702000000.0)\n",
    "nearly as a float": "def f(*a): return 831702446000.0\n",
    "off by a rounding error": "def f(*a): return 831702446117.0001\n",
    "off by an imaginary part": "def f(*a): return 831702446117 + 1e-9j\n",
    "names of the preamble": "x = [f, gcd, comb]\n",
    "16 MB that cannot be right": "def f(*a): return [[]] * 4_000_000\n",
    "integer of 5,000 digits": "def f(*a): return 10 ** 5000\n",
    "raises a class": "class E(Exception):\n    def __init__(s): raise s\ndef f(*a): raise E\n",
    "module that answers": "import sys\nclass M(type(sys)):\n    def __getattr__(s, n): return lambda *a: 1\nsys.modules['solution'].__class__ = M\n",
}  # fmt: skip

# what a program may write to the channel in place of an answer; `%s` is the id of the order
FORGED_REPLIES = (
    *(f'{{"ended": true, "exit": {value}}}' for value in ("[]", "{}", "null", '"0"', "0.0", "-0", "true", "false", "1e400", "NaN", "[0]", '{"0": 0}', "9" * 400, "0, \"exit\": 0")),
    '{"ended": true}', '{"ended": 1}', '{"ended": "true", "exit": 0}', '{"ended": false, "exit": 0}', '{"ended": {}}', "{}", "[]", "0", "null", "NaN", '""', "\\ud800", '{"id": null}',
    '{"ready": true}', '{"clean": true, "bytes": 0, "exit": 0}', '{"id": "%s"}', '{"id": "%s", "raised": false}', '{"id": "%s", "ended": true, "exit": 0}', '{"id": ["%s"], "value": 1}',
    *(f'{{"id": "%s", "value": {value}}}' for value in (
        '{"l": null}', '{"l": {}}', '{"l": 1}', '{"l": [], "t": []}', '{"t": "ab"}', '{"d": [1]}', '{"d": [[1]]}', '{"d": [[1, 2]]}', '{"d": [{"l": []}]}', '{"d": [{"l": [1]}]}',
        '{"d": [{"l": [{"d": []}, 1]}]}', '{"d": [{"t": ["a", 1]}, {"l": ["a", 1]}]}', '{"s": [{"s": []}]}', '{"s": [{"l": []}]}', '{"s": [null, "", {}]}', '{"s": [{"": 1}, {}]}', '{"f": [[]]}',
        '{"b": []}', '{"b": null}', '{"b": [1]}', '{"b": ["zz"]}', '{"b": ["6"]}', '{"b": {}}', '{"b": [[]]}', '{"c": []}', '{"c": [1]}', '{"c": ["1", "2"]}', '{"c": [null, 1]}', '{"c": [1, 2, 3]}',
        '{"i": 1}', '{"i": ""}', '{"i": "zz"}', '{"i": null}', '{"i": []}', '{"i": "-"}', '{"": []}', '{"lt": []}', '{"nic": []}', '{"?": []}', '{"n": 1}', "{}", "[]", "[[]]", "1e400", "-1e400", "NaN",
    )),
)  # fmt: skip

SCRIPTS = {
    "prints passed": "print('PASSED')\nprint('OK')\nprint('All tests passed')\n",
    "prints a verdict": 'print(\'{"reward": 1.0, "reason": "correct", "ended": true, "exit": 0}\')\n',
    "exits at once": "import sys\nsys.exit(0)\n",
    "os._exit at once": "import os\nos._exit(0)\n",
    "writes to descriptors": "import os\nfor d in range(256):\n    try: os.write(d, b'42')\n    except OSError: pass\nraise ValueError\n",
    "closes everything": "import os\nos.closerange(0, 4096)\n",
    "reopens the channel": "import os\nfor p in ('/proc/self/fd/61', '/dev/fd/61', '/proc/1/fd/1'):\n    try: os.write(os.open(p, os.O_WRONLY), b'x')\n"
    "    except OSError: pass\n",
    "huge output": "while True: print('x' * 10**6)\n",
    "huge empty lines": "import sys\nsys.stdout.write('\\n' * (15 << 20))\n",
    "truncated output file": "import os\nos.ftruncate(1, 1 << 50)\n",
    "seeks in output": "import os\nos.lseek(1, 1 << 40, 0)\nos.write(1, b'42')\n",
    "prints numbers for ever": "i = 0\nwhile True:\n    print(i)\n    i += 1\n",
    "waits for more input": "while True:\n    try: input()\n    except EOFError: pass\n",
    "sleeps after the answer": "import time\nprint(input())\ntime.sleep(10**6)\n",
    "thread that never ends": "import threading, time\nthreading.Thread(target=time.sleep, args=(10**6,)).start()\nprint(1)\n",
    "exit handler that sleeps": "import atexit, time\natexit.register(time.sleep, 10**6)\n",
    "patched print": "import builtins, sys\nbuiltins.print = lambda *a: sys.__stdout__.write('42')\nclass S(str):\n    __eq__ = lambda s, o: True\nprint(S())\n",
    "replaced stdout": "import sys\nclass O:\n    def write(s, x): return 1\n    def flush(s): raise SystemExit(0)\nsys.stdout = O()\n",
    "invalid bytes": "import os\nos.write(1, bytes(range(256)) * 100)\n",
    "prints a report": "import sys\nsys.stdout.write('{\"id\": \"0\", \"exit\": 0, \"clean\": true, \"bytes\": 0}\\n')\n",
    "writes its input": "import os\nos.ftruncate(0, 1 << 40)\nos.pwrite(0, b'42', 1 << 39)\n",
    "output mapped into memory": "import mmap, os\nos.ftruncate(1, 1 << 20)\nm = mmap.mmap(1, 1 << 20)\nm[:2] = b'42'\n",
    "output that grows while it is read": "import os, threading\ndef g():\n    while True: os.write(1, b'4' * 65536)\nfor _ in range(4): threading.Thread(target=g, daemon=True).start()\nos._exit(0)\n",
    "raises after output": "print(int(input()) + 1)\nraise RuntimeError\n",
    "nan token": "print('nan')\n",
    "signalling nan token": "print('sNaN')\n",
    "huge exponent": "print('1e999999999999')\n",
    "many digits": "print('4' * 10**6)\n",
    "all guesses on a line": "print(*range(100))\n",
    "all guesses on lines": "print(*range(100), sep='\\n')\n",
}  # fmt: skip
