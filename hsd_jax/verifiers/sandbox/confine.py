"""The part of the sandbox program that gives up rights; sent together with `sandbox_child`."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost every sandbox some milliseconds
    from typing import Any


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
    # bound as devices they cannot be bound for reading only: that is done here, with the last right of the supervisor
    if setup["own_mounts"] and native("mount")(0, address(b"/dev/null\0"), 0, 1 | 2 | 8 | 32 | 4096, 0):
        os._exit(74)
    uid = setup["uid"]
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    give_up_capabilities()
    setup["prctl"](38, 1, 0, 0, 0)  # no new privileges
    if setup["landlock"]:
        restrict_files(setup["readable"], setup["writable"])
    setup["prctl"](4, 0, 0, 0, 0)  # not dumpable: /proc of this process belongs to root
    install(setup, setup["shared_filter"])


def give_up_capabilities() -> None:
    """All of them, for good: of a user namespace's own user as well."""
    header, none = (0x20080522).to_bytes(8, "little"), bytes(24)
    if native("capset")(address(header), address(none)):
        os._exit(75)


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


def limit_program(setup: dict) -> None:
    """Limits for the process that reads a program, and for all it starts."""
    set_limits(setup, setup["limits"])
    setup["prctl"](1, 9, 0, 0, 0)  # die with the supervisor


def confine_program(setup: dict) -> None:
    """The last limits and the last system-call filter, in the process that will run the candidate."""
    set_limits(setup, setup["last_limits"])
    setup["prctl"](1, 9, 0, 0, 0)
    install(setup, setup["filter"].replace(setup["own_pid"], os.getpid().to_bytes(4, "little")))


def set_limits(setup: dict, limits: list) -> None:
    resource = setup["resource"]
    for name, value in limits:
        limit = getattr(resource, name)
        hard = resource.getrlimit(limit)[1]
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (ceiling, ceiling))


def install(setup: dict, code: bytes) -> None:
    """Adds a system-call filter to those of this process, for good."""
    if code:
        header = (len(code) // 8).to_bytes(8, "little") + address(code).to_bytes(8, "little")
        if setup["prctl"](22, 2, address(header), 0, 0):
            os._exit(73)
