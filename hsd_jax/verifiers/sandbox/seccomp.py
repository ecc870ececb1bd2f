"""The system-call filters of the sandbox, as classic BPF for `prctl(PR_SET_SECCOMP)`.

Two of them add up. `shared` binds the supervisor and everything it starts, and is the long one: it is installed
once. `program` binds the process of one test and holds what the supervisor itself needs. A denied call returns an
error instead of killing: an honest program that probes for a feature goes on. Processes cannot be made (threads
can), so the memory limit of one process is the limit of the program; no sockets; no signals to anyone else; no
kernel objects whose memory the limit does not count.
"""

import functools
import platform
import struct

OWN_PID = 0x5EC0_0D1D  # stands for the process id of the program, put in place after the fork

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _SET, _GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_CLONE_THREAD = 0x00010000

# name: (number on x86_64, number on aarch64); -1: does not exist there
_DENIED = {
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "accept4": (288, 242), "bind": (49, 200),
    "listen": (50, 201), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_setup": (206, 0), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    "iopl": (172, -1), "ioperm": (173, -1), "quotactl": (179, 60), "quotactl_fd": (443, 443), "acct": (163, 89),
    "syslog": (103, 116), "vhangup": (153, 58), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "inotify_init": (253, -1), "inotify_init1": (294, 26), "personality": (135, 92),
    "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "semget": (64, 190), "semctl": (66, 191), "msgget": (68, 186), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_notify": (244, 184), "timer_create": (222, 107),
    "setpriority": (141, 140), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "sched_setaffinity": (203, 122), "ioprio_set": (251, 30), "seccomp": (317, 277),
    "mlock": (149, 228), "mlock2": (325, 284), "mlockall": (151, 230), "mbind": (237, 235),
    "setsid": (112, 157), "setpgid": (109, 154), "mknod": (133, -1), "mknodat": (259, 33),
}  # fmt: skip
_DENIED_TO_TESTS = {"fork": (57, -1), "vfork": (58, -1), "memfd_create": (319, 279)}
_CLONE, _CLONE3, _TGKILL, _PRCTL = (56, 220), (435, 435), (234, 131), (157, 167)
_FCNTL, _IOCTL, _SOCKETPAIR = (72, 25), (16, 29), (53, 199)
_SETRLIMIT, _PRLIMIT = (160, 164), (302, 261)
_DENIED_PRCTL = (1, 4, 22, 35, 36, 0x59616D61, 59)  # death signal, dumpable, seccomp, mm, subreaper, ptracer, sched
_DENIED_FCNTL = (8, 10, 15, 1031)  # owner, signal, owner_ex, pipe size
_DENIED_IOCTL = (0x5412, 0x8901, 0x8902, 0x541C)  # push to a terminal, owner of a descriptor, console


def shared() -> bytes:
    """The filter for the supervisor and all below it.

    Raises:
        OSError: no table of system calls for this architecture.
    """
    return _shared(platform.machine())


def program() -> bytes:
    """The filter for the process of one test. Holds OWN_PID where the process id belongs. Raises: OSError."""
    return _program(platform.machine())


@functools.cache
def _shared(machine: str) -> bytes:
    column = _column(machine)
    code = [
        _op(_LOAD, 4), _op(_EQUAL, _ARCHITECTURES[machine], 1, 0), _op(_RETURN, _KILL),
        _op(_LOAD, 0), _op(_GREATER_EQUAL, 0x40000000, 0, 1), _op(_RETURN, _ERRNO | _ENOSYS),
    ]  # fmt: skip
    code += _denials(_DENIED, column)
    code += _block(_CLONE3[column], [_op(_RETURN, _ERRNO | _ENOSYS)])
    code += _block(_SOCKETPAIR[column], [_op(_LOAD, 24), _op(_SET, 2, 0, 1), _denied(), _op(_RETURN, _ALLOW)])
    code += _block(_FCNTL[column], _refused_values(1, _DENIED_FCNTL))
    code += _block(_IOCTL[column], _refused_values(1, _DENIED_IOCTL))
    return b"".join([*code, _op(_RETURN, _ALLOW)])


@functools.cache
def _program(machine: str) -> bytes:
    column = _column(machine)
    code = [_op(_LOAD, 0), *_denials(_DENIED_TO_TESTS, column)]
    # honest programs raise their stack limit first thing: they are told it worked
    code += _block(_SETRLIMIT[column], [_op(_RETURN, _ERRNO)])
    code += _block(_PRLIMIT[column], [*_argument_nonzero(2), _op(_RETURN, _ERRNO)])
    code += _block(_CLONE[column], [_op(_LOAD, 16), _op(_SET, _CLONE_THREAD, 0, 1), _op(_RETURN, _ALLOW), _denied()])
    code += _block(_TGKILL[column], _own_signals())
    code += _block(_PRCTL[column], _refused_values(0, _DENIED_PRCTL))
    return b"".join([*code, _op(_RETURN, _ALLOW)])


def _column(machine: str) -> int:
    if machine not in _ARCHITECTURES:
        raise OSError(f"no seccomp filter for {machine}; known are {', '.join(_ARCHITECTURES)}")
    return list(_ARCHITECTURES).index(machine)


def _denials(calls: dict[str, tuple[int, int]], column: int) -> list[bytes]:
    code = []
    for numbers in calls.values():
        if numbers[column] >= 0:
            code += [_op(_EQUAL, numbers[column], 0, 1), _denied()]
    return code


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _denied() -> bytes:
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
        _op(_LOAD, 16), _op(_EQUAL, OWN_PID, 1, 0), _denied(),
        _op(_LOAD, 32), _op(_EQUAL, 9, 1, 0), _op(_EQUAL, 19, 0, 1), _denied(), _op(_RETURN, _ALLOW),
    ]  # fmt: skip


def _refused_values(argument: int, values: tuple[int, ...]) -> list[bytes]:
    body = [_op(_LOAD, 16 + 8 * argument)]
    for value in values:
        body += [_op(_EQUAL, value, 0, 1), _denied()]
    return [*body, _op(_RETURN, _ALLOW)]
