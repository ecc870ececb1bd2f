"""The program inside the sandbox: runs a candidate against inputs and reports what it answered.

It is sent into a bare interpreter (`-I -S`) as compiled code and imports only built-in modules, so that a sandbox
starts in milliseconds. It never holds an expected value: whoever takes it over can only send answers. Messages in
are marshalled by the parent; messages out are one line of JSON each, made from exact built-in types.
"""

import gc
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost every sandbox some milliseconds
    from typing import Any

CHANNEL_IN, CHANNEL_OUT = 60, 61
FINISHED, RAISED, NO_MEMORY, NOT_PYTHON = 0, 91, 92, 93
MOST_DEPTH = 200
STDIN_COPY = "/tmp/.stdin"


def supervise() -> None:
    """Moves the channel away from stdin and stdout, drops privileges, then serves one program."""
    os.dup2(0, CHANNEL_IN)
    os.dup2(1, CHANNEL_OUT)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    setup = receive()
    confine_supervisor(setup)
    for module in setup["preload"]:
        try:
            __import__(module)
        except ImportError:
            pass
    gc.freeze()  # a child that never traverses these objects never copies their pages
    send_line('{"ready": true}')
    while True:
        order = receive()
        if order["mode"] == "call":
            serve(setup, order, b"", -1)
        else:
            serve(setup, order, order["input"], os.memfd_create("output"))


def receive() -> dict:
    size = int.from_bytes(read_exactly(8), "little")
    return marshal.loads(read_exactly(size))


def read_exactly(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(CHANNEL_IN, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def send_line(text: str) -> None:
    send(text.encode("ascii") + b"\n")


def send(data: bytes) -> None:
    write_all(CHANNEL_OUT, data)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def copy_input(given: bytes) -> None:
    """Puts the input where the link /dev/stdin leads, for programs that open it by name (there is no /proc)."""
    try:
        descriptor = os.open(STDIN_COPY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        write_all(descriptor, given)
        os.close(descriptor)
    except OSError:
        pass


def native(name: str) -> "Any":
    """A C function of this process that returns an int (the ctypes package itself takes 10 ms to import)."""
    import _ctypes

    class Integer(_ctypes._SimpleCData):
        _type_ = "i"

    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
        _restype_ = Integer

    class Pointer(_ctypes._SimpleCData):
        _type_ = "P"

    this_process: Any = None
    function = Function(_ctypes.dlsym(_ctypes.dlopen(this_process, 0), name))
    return lambda *arguments: function(*(Pointer(argument) for argument in arguments))


def address(data: bytes) -> int:
    return id(data) + bytes.__basicsize__ - 1


def confine_supervisor(setup: dict) -> None:
    """Gives up the user id and, where asked, the file system, for this process and all it will start."""
    import resource

    setup["resource"] = resource  # loaded once, used in every child
    setup["prctl"] = native("prctl")
    uid = setup["uid"]
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    setup["prctl"](38, 1, 0, 0, 0)  # no new privileges
    if setup["landlock"]:
        restrict_files(setup["readable"], setup["writable"])
    setup["prctl"](4, 0, 0, 0, 0)  # not dumpable: /proc of this process belongs to root


def restrict_files(readable: list, writable: list) -> None:
    """Landlock: only these paths can be opened, for reading (and the device null for writing)."""
    syscall = native("syscall")
    version = syscall(444, 0, 0, 1)
    if version < 1:
        os._exit(70)
    rights = {1: (1 << 13) - 1, 2: (1 << 14) - 1}.get(version, (1 << 15) - 1)
    attributes = rights.to_bytes(8, "little")
    ruleset = syscall(444, address(attributes), 8, 0)
    for paths, allowed, on_file in ((readable, 1 << 2 | 1 << 3, 1 << 2), (writable, 1 << 2 | 1 << 1, 1 << 2 | 1 << 1)):
        for path in paths:
            try:
                descriptor = os.open(path, os.O_PATH)
            except OSError:
                continue
            granted = allowed if os.path.isdir(path) else on_file
            rule = granted.to_bytes(8, "little") + descriptor.to_bytes(4, "little")
            if syscall(445, ruleset, 1, address(rule), 0):
                os._exit(71)
            os.close(descriptor)
    if ruleset < 0 or syscall(446, ruleset, 0):
        os._exit(72)
    os.close(ruleset)


def serve(setup: dict, order: dict, given: bytes, output: int) -> None:
    """Runs the program in a process of its own and reports how that ended."""
    source = os.memfd_create("input")
    if given:
        write_all(source, given)
        os.lseek(source, 0, 0)
    if output >= 0 and "/dev/stdin" in setup["program"] and os.path.islink("/dev/stdin"):
        copy_input(given)
    pid = os.fork()
    if pid == 0:
        try:
            confine_program(setup)
            (answer_calls if order["mode"] == "call" else run_script)(setup, order, source, output)
        finally:
            os._exit(RAISED)
    _, status = os.waitpid(pid, 0)
    os.close(source)
    ending = f'"exit": {os.waitstatus_to_exitcode(status)}'
    if output < 0:
        send_line(f'{{"ended": true, {ending}}}')
        return
    size = os.fstat(output).st_size
    send_line(f'{{"id": "{order["id"]}", {ending}, "bytes": {size}}}')
    offset = 0
    while offset < size:
        block = os.pread(output, 1 << 20, offset)
        send(block)
        offset += len(block)
    os.close(output)


def confine_program(setup: dict) -> None:
    """Limits and the system-call filter, in the process that will run the candidate."""
    resource = setup["resource"]
    for name, value in setup["limits"]:
        limit = getattr(resource, name)
        soft, hard = resource.getrlimit(limit)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (ceiling, ceiling))
    setup["prctl"](1, 9, 0, 0, 0)  # die with the supervisor
    code = setup["filter"].replace(setup["own_pid"], os.getpid().to_bytes(4, "little"))
    if code:
        header = (len(code) // 8).to_bytes(8, "little") + address(code).to_bytes(8, "little")
        if setup["prctl"](22, 2, address(header), 0, 0):
            os._exit(73)


def prepare(setup: dict, name: str) -> tuple:
    """A fresh module for the candidate and its compiled code; leaves with NOT_PYTHON if it does not compile."""
    import builtins

    sys.setrecursionlimit(50_000)
    builtins.exit = builtins.quit = sys.exit  # an interpreter without the site module has neither
    module = type(sys)(name)
    sys.modules[name] = module
    try:
        code = compile(setup["program"], "<program>", "exec", dont_inherit=True)
    except MemoryError:
        os._exit(NO_MEMORY)
    except BaseException:
        os._exit(NOT_PYTHON)
    for name, source, attribute in setup["names"]:
        try:
            found = __import__(source)
            setattr(module, name, getattr(found, attribute) if attribute else found)
        except (ImportError, AttributeError):
            pass
    return module, code


def run_script(setup: dict, order: dict, source: int, output: int) -> None:
    """Runs a program that reads stdin and writes stdout, like an interpreter would."""
    os.dup2(source, 0)
    os.dup2(output, 1)
    for descriptor in (CHANNEL_IN, CHANNEL_OUT, source, output):
        os.close(descriptor)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    module, code = prepare(setup, "__main__")
    ending = FINISHED
    try:
        exec(code, module.__dict__)
    except SystemExit:
        pass
    except MemoryError:
        ending = NO_MEMORY
    except BaseException:
        ending = RAISED
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        ending = ending or RAISED
    os._exit(ending)


def answer_calls(setup: dict, order: dict, source: int, output: int) -> None:
    """Defines the program's functions once and calls them as asked, in step with the parent."""
    os.dup2(source, 0)
    os.close(source)
    send_text, encode_value, read_order = send_line, encode, receive
    module, code = prepare(setup, "solution")
    try:
        exec(code, module.__dict__)
    except MemoryError:
        os._exit(NO_MEMORY)
    except BaseException:
        os._exit(RAISED)
    while True:
        try:
            value = find(module, order["call"])(*order["args"])
            text = encode_value(value, 0)
        except MemoryError:
            os._exit(NO_MEMORY)
        except BaseException:
            text = 'null, "raised": true'
        send_text(f'{{"id": "{order["id"]}", "value": {text}}}')
        order = read_order()


def find(module: "Any", name: str) -> "Any":
    """A function by name, `Class.method` on a fresh instance, or the method of a class `Solution`."""
    owner, _, method = name.rpartition(".")
    if owner:
        return getattr(getattr(module, owner.removesuffix("()"))(), method)
    if name not in module.__dict__ and hasattr(module, "Solution"):
        return getattr(module.Solution(), name)
    return getattr(module, name)


def encode(value: object, depth: int) -> str:
    """JSON for a value of built-in type; containers and what JSON lacks carry a tag. Subclasses count as their base."""
    if depth > MOST_DEPTH:
        raise ValueError
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    for base, writer in WRITERS:
        if issubclass(kind, base):
            return writer(value, depth)
    raise TypeError


def encode_text(value: str, depth: int) -> str:
    from _json import encode_basestring_ascii

    return encode_basestring_ascii(str.__str__(value))


def encode_integer(value: int, depth: int) -> str:
    plain = int.__add__(value, 0)
    if -(1 << 60) < plain < 1 << 60:
        return int.__repr__(plain)
    return '{"i": "' + format(plain, "x") + '"}'


def encode_float(value: float, depth: int) -> str:
    text = float.__repr__(value)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


def encode_many(tag: str, iterate: "Any") -> "Any":
    return lambda value, depth: f'{{"{tag}": [' + ", ".join([encode(item, depth + 1) for item in iterate(value)]) + "]}"


def pairs(value: dict) -> list:
    return [[key, item] for key, item in dict.items(value)]


WRITERS: "Any" = (
    (str, encode_text),
    (int, encode_integer),
    (float, encode_float),
    (list, encode_many("l", list.__iter__)),
    (tuple, encode_many("t", tuple.__iter__)),
    (dict, encode_many("d", pairs)),
    (set, encode_many("s", set.__iter__)),
    (frozenset, encode_many("f", frozenset.__iter__)),
    (complex, encode_many("c", lambda value: (value.real, value.imag))),
    ((bytes, bytearray), encode_many("b", lambda value: [bytes(value).hex()])),
)
