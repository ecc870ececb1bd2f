"""The system-call filters of the sandbox, as classic BPF for `prctl(PR_SET_SECCOMP)`: what is not named is refused.

Two of them add up. `shared` binds the supervisor and everything it starts, and is the long one: it is installed
once. `program` binds the process of one test and takes away what the supervisor itself needs. A refused call returns
an error instead of killing: an honest program that probes for a feature goes on. Calls that would leave a trace on a
file of the host and that honest programs make (locks, times, modes) are answered with success and not done.
Processes cannot be made (threads can), so the memory limit of one process is the limit of the program; no sockets
but pairs; no signals to anyone else; no kernel objects whose memory the limit does not count.
"""

import functools
import platform
import struct

OWN_PID = 0x5EC0_0D1D  # stands for the process id of the program, put in place after the fork

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_CLONE_THREAD, _CLONE_NAMESPACES = 0x00010000, 0x7E020080

# name, number on x86_64, number on aarch64; -1: does not exist there
ALLOWED = """
    read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, lseek 8 62, open 2 -1,
    openat 257 56, close 3 57, close_range 436 436, dup 32 23, dup2 33 -1, dup3 292 24, pipe 22 -1, pipe2 293 59,
    fstat 5 80, stat 4 -1, lstat 6 -1, newfstatat 262 79, statx 332 291, access 21 -1, faccessat 269 48,
    faccessat2 439 439, readlink 89 -1, readlinkat 267 78, getdents 78 -1, getdents64 217 61, getcwd 79 17,
    chdir 80 49, fchdir 81 50, mkdir 83 -1, mkdirat 258 34, rmdir 84 -1, unlink 87 -1, unlinkat 263 35, rename 82 -1,
    renameat 264 38, renameat2 316 276, link 86 -1, linkat 265 37, symlink 88 -1, symlinkat 266 36, truncate 76 45,
    ftruncate 77 46, fallocate 285 47, fsync 74 82, fdatasync 75 83, sendfile 40 71, copy_file_range 326 285,
    umask 95 166, mmap 9 222, munmap 11 215, mremap 25 216, mprotect 10 226, madvise 28 233, brk 12 214,
    rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137,
    sigaltstack 131 132, pause 34 -1, alarm 37 -1, setitimer 38 103, getitimer 36 102, restart_syscall 219 128,
    exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95, set_tid_address 218 96, set_robust_list 273 99,
    futex 202 98, rseq 334 293, getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175,
    getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158, nanosleep 35 101,
    clock_nanosleep 230 115, clock_getres 229 114, gettimeofday 96 169, time 201 -1, times 100 153, getrusage 98 165,
    getrlimit 97 163, sched_yield 24 124, sched_getaffinity 204 123, getcpu 309 168, poll 7 -1, ppoll 271 73,
    select 23 -1, pselect6 270 72, epoll_create 213 -1, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -1,
    epoll_pwait 281 22, epoll_pwait2 441 441, eventfd 284 -1, eventfd2 290 19, sendto 44 206, recvfrom 45 207,
    sendmsg 46 211, recvmsg 47 212, shutdown 48 210, getsockopt 55 209, setsockopt 54 208, getsockname 51 204,
    getpeername 52 205, getrandom 318 278, uname 63 160
"""
FOR_THE_SUPERVISOR = (
    "clone 56 220, memfd_create 319 279, tgkill 234 131, prctl 157 167, setrlimit 160 164, prlimit64 302 261"
)
NOT_DONE = """
    flock 73 32, chmod 90 -1, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, utime 132 -1, utimes 235 -1,
    futimesat 261 -1, utimensat 280 88
"""
CHECKED = "fcntl 72 25, ioctl 16 29, socketpair 53 199, clone3 435 435, clock_gettime 228 113"
# duplicate, flags, pipe size, seals; setting a lock, which a test needs of nobody, is not done
_FCNTL, _LOCKS = (0, 1, 2, 3, 4, 1030, 1032, 1033, 1034), (6, 7, 37, 38)
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, what waits, blocking, close on exec
_PRCTL = (3, 15, 16, 38, 39, 0x53564D41)  # dumpable?, names of threads and of memory, no new privileges


def numbers(table: str, machine: str) -> dict[str, int]:
    """The calls of a table that exist on a machine. Raises: OSError: no table for this architecture."""
    if machine not in _ARCHITECTURES:
        raise OSError(f"no seccomp filter for {machine}; known are {', '.join(_ARCHITECTURES)}")
    column = 1 + list(_ARCHITECTURES).index(machine)
    rows = [row.split() for row in table.split(",")]
    return {row[0]: int(row[column]) for row in rows if int(row[column]) >= 0}


def shared() -> bytes:
    """The filter for the supervisor and all below it. Raises: OSError."""
    return _shared(platform.machine())


def program() -> bytes:
    """The filter for the process of one test. Holds OWN_PID where the process id belongs. Raises: OSError."""
    return _program(platform.machine())


@functools.cache
def _shared(machine: str) -> bytes:
    checked = numbers(CHECKED, machine)
    code = [_op(_LOAD, 4), _op(_EQUAL, _ARCHITECTURES[machine], 1, 0), _op(_RETURN, _KILL), _op(_LOAD, 0)]
    for table, answer in ((ALLOWED, _ALLOW), (FOR_THE_SUPERVISOR, _ALLOW), (NOT_DONE, _ERRNO)):
        for number in numbers(table, machine).values():
            code += [_op(_EQUAL, number, 0, 1), _op(_RETURN, answer)]
    code += _block(checked["clone3"], [_op(_RETURN, _ERRNO | _ENOSYS)])
    code += _block(checked["fcntl"], _only(1, _FCNTL, not_done=_LOCKS))
    code += _block(checked["ioctl"], _only(1, _IOCTL))
    stream = [
        _op(_LOAD, 24),
        _op(_SET, 2, 0, 1),
        _refused(),
        *_only(0, (1,)),
    ]  # no datagrams: their memory is unbounded
    code += _block(checked["socketpair"], stream)
    # a negative clock is the processor time of another process
    code += _block(
        checked["clock_gettime"], [_op(_LOAD, 16), _op(_SET, 1 << 31, 0, 1), _refused(), _op(_RETURN, _ALLOW)]
    )
    return b"".join([*code, _refused()])


@functools.cache
def _program(machine: str) -> bytes:
    of = numbers(FOR_THE_SUPERVISOR, machine)
    code = _block(of["memfd_create"], [_refused()])
    # honest programs raise their stack limit first thing: they are told it worked
    code += _block(of["setrlimit"], [_op(_RETURN, _ERRNO)])
    code += _block(of["prlimit64"], [*_argument_nonzero(2), _op(_RETURN, _ERRNO)])
    thread = [_op(_LOAD, 16), _op(_SET, _CLONE_NAMESPACES, 2, 0), _op(_SET, _CLONE_THREAD, 0, 1), _op(_RETURN, _ALLOW)]
    code += _block(of["clone"], [*thread, _refused()])
    code += _block(of["tgkill"], _own_signals())
    code += _block(of["prctl"], _only(0, _PRCTL))
    return b"".join([*code, _op(_RETURN, _ALLOW)])


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _refused() -> bytes:
    return _op(_RETURN, _ERRNO | _EPERM)


def _block(number: int, body: list[bytes]) -> list[bytes]:
    """Instructions for one call number; they must end in a return. Others jump over them."""
    return [_op(_LOAD, 0), _op(_EQUAL, number, 0, len(body)), *body]


def _argument_nonzero(index: int) -> list[bytes]:
    """Falls through when the 64-bit argument is not zero, allows the call when it is."""
    low = 16 + 8 * index
    return [
        _op(_LOAD, low), _op(_EQUAL, 0, 0, 3), _op(_LOAD, low + 4), _op(_EQUAL, 0, 0, 1), _op(_RETURN, _ALLOW),
    ]  # fmt: skip


def _own_signals() -> list[bytes]:
    """A signal to this very process is allowed unless it is KILL or STOP, which only the parent may send."""
    return [
        _op(_LOAD, 16), _op(_EQUAL, OWN_PID, 1, 0), _refused(),
        _op(_LOAD, 32), _op(_EQUAL, 9, 1, 0), _op(_EQUAL, 19, 0, 1), _refused(), _op(_RETURN, _ALLOW),
    ]  # fmt: skip


def _only(argument: int, allowed: tuple[int, ...], not_done: tuple[int, ...] = ()) -> list[bytes]:
    body = [_op(_LOAD, 16 + 8 * argument)]
    for values, answer in ((allowed, _ALLOW), (not_done, _ERRNO)):
        for value in values:
            body += [_op(_EQUAL, value, 0, 1), _op(_RETURN, answer)]
    return [*body, _refused()]
