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

    # their texts are sent in front of this one
    from hsd_jax.verifiers.sandbox.confine import confine_program, confine_supervisor, limit_program
    from hsd_jax.verifiers.sandbox.values import encode

CHANNEL_IN, CHANNEL_OUT = 60, 61
FINISHED, RAISED, NO_MEMORY, NOT_PYTHON, STALE = 0, 91, 92, 93, 94
STDIN_COPY = "/tmp/.stdin"


def supervise() -> None:
    """Moves the channel away from stdin and stdout, drops privileges, then serves one program."""
    os.dup2(0, CHANNEL_IN)
    os.dup2(1, CHANNEL_OUT)
    streams = standard_streams()
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    setup = receive() | {"streams": streams}
    confine_supervisor(setup)
    for module in setup["preload"]:
        try:
            __import__(module)
        except ImportError:
            pass
    deepen_caches()
    compile("", "", "exec")  # the first call of the compiler makes its types: once here, not in every child
    gc.freeze()  # a child that never traverses these objects never copies their pages
    send_line('{"ready": true}')
    while True:
        serve(setup, receive())


def deepen_caches() -> None:
    """Lets cached functions recurse as deep as others.

    In Python 3.12 and 3.13 calls through C have a limit that nobody can set, of 500 to 3,300 through `lru_cache`; the
    same class as functools has it in Python has none, and takes four times as long for a call that is found.
    """
    if "functools" not in sys.modules or not (3, 12) <= sys.version_info < (3, 14):
        return
    modules, plain = sys.modules, type(sys)("functools")
    functools: Any = modules["functools"]
    fast, modules["_functools"] = modules["_functools"], type(sys)("_functools")  # empty: nothing is replaced by it
    try:
        exec(functools.__loader__.get_code("functools"), plain.__dict__)
        functools._lru_cache_wrapper = plain._lru_cache_wrapper
    finally:
        modules["_functools"] = fast


def serve(setup: dict, order: dict) -> None:
    """Starts the process that reads the program and serves orders until it ends; reports how it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            limit_program(setup)
            (answer_calls if order["mode"] == "call" else run_scripts)(setup, order)
        finally:
            os._exit(RAISED)
    _, status = os.waitpid(pid, 0)
    send_line(f'{{"ended": true, "exit": {os.waitstatus_to_exitcode(status)}, "bytes": 0}}')


def standard_streams() -> tuple:
    """Text streams on descriptors 0 and 1, made once: a child puts its own files behind these descriptors."""
    for descriptor in (0, 1):
        # of the kind that a script will find there, so that the streams know what it can do
        file = os.memfd_create("empty")
        os.dup2(file, descriptor)
        os.close(file)
    text = {"encoding": "utf-8", "errors": "surrogateescape", "closefd": False}
    return open(0, **text), open(1, "w", **text)


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


def report_output(ending: str, clean: bool, output: int) -> None:
    """Sends how a script ended and what it printed, and whether it left nothing behind for the next one."""
    size = os.fstat(output).st_size
    # one write for a short output: each wakes the parent
    head = f'{{{ending}, "clean": {"true" if clean else "false"}, "bytes": {size}}}\n'
    block = head.encode("ascii") + os.pread(output, 1 << 16, 0)
    offset = 1 << 16
    send(block)
    while offset < size:
        block = os.pread(output, 1 << 20, offset)
        send(block)
        offset += len(block)
    os.close(output)


def traces(scratch: str) -> tuple:
    """What a test can change of the one writable directory, if there is one, and the next one could see."""
    if not scratch:
        return ()
    found = os.stat(scratch)
    with os.scandir(scratch) as entries:
        return found.st_ctime_ns, found.st_mode, next(entries, None) is None


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


def run_scripts(setup: dict, order: dict) -> None:
    """Reads the program once and runs it for each order in a new process, which begins where this one stands.

    Nothing of the program runs in this process, so no test finds what another one left.
    """
    module, code = prepare(setup, "__main__")
    gc.freeze()
    before, last = traces(setup["scratch"]), 0
    while True:
        source, output = os.memfd_create("input"), os.memfd_create("output")
        write_all(source, order["input"])
        os.lseek(source, 0, 0)
        if "/dev/stdin" in setup["program"] and os.path.islink("/dev/stdin"):
            copy_input(order["input"])
        pid = os.fork()
        if pid == 0:
            try:
                if setup["own_mounts"] and last and os.getpid() != last + 1:
                    os._exit(STALE)  # the last test had threads: the number of this process tells how many
                confine_program(setup)
                run_script(setup, module, code, source, output)
            finally:
                os._exit(RAISED)
        last, status = os.waitpid(pid, 0)
        os.close(source)
        status = os.waitstatus_to_exitcode(status)
        clean = status != STALE and traces(setup["scratch"]) == before
        report_output(f'"id": "{order["id"]}", "exit": {status}', clean, output)
        order = receive()


def run_script(setup: dict, module: "Any", code: "Any", source: int, output: int) -> None:
    """Runs a program that reads stdin and writes stdout, like an interpreter would."""
    os.dup2(source, 0)
    os.dup2(output, 1)
    for descriptor in (CHANNEL_IN, CHANNEL_OUT, source, output):
        os.close(descriptor)
    sys.stdin, sys.stdout = sys.__stdin__, sys.__stdout__ = setup["streams"]
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
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except BaseException:
        ending = ending or RAISED
    os._exit(ending)


def answer_calls(setup: dict, order: dict) -> None:
    """Defines the program's functions once and calls them as asked, in step with the parent."""
    source = os.memfd_create("input")
    os.dup2(source, 0)
    os.close(source)
    confine_program(setup)
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
