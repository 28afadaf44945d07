"""seccomp: system calls that a candidate has no business with answer "not permitted" (Linux 3.17 and later).

A filter in classic BPF, installed by ctypes for every thread of the process;
children inherit it and nobody can take it off.  It closes what Landlock does
not: sockets of every kind, other processes' memory, new namespaces, handles to
files by number, memory that belongs to no process, and what an owner may do to
his files and processes where a candidate has no user of its own.
Source: kernel.org, Documentation/userspace-api/seccomp_filter.rst; numbers from the kernel's syscall tables.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1  # SECCOMP_FILTER_FLAG_TSYNC
_NO_NEW_PRIVILEGES: Final = 38

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RETURN: Final = 0x06

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data."""

_NEW_NAMESPACES: Final = 0x7E020080 | 0x02000000
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
_DATAGRAM: Final = 2

_X86: Final = {
    # other processes
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_open": 434,
    "pidfd_send_signal": 424, "pidfd_getfd": 438, "process_madvise": 440, "process_mrelease": 448,
    "migrate_pages": 256, "move_pages": 279, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
    # the network, and sockets of other programs
    "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "accept4": 288,
    # namespaces and file systems
    "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "swapon": 167, "swapoff": 168, "quotactl": 179, "quotactl_fd": 443,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "fanotify_init": 300, "mknod": 133, "mknodat": 259,
    # the kernel and the machine
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "init_module": 175, "finit_module": 313,
    "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "syslog": 103,
    "acct": 163, "iopl": 172, "ioperm": 173, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159,
    "clock_adjtime": 305, "sethostname": 170, "setdomainname": 171, "vhangup": 153, "lookup_dcookie": 212,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    # keys, and memory that belongs to no process
    "add_key": 248, "request_key": 249, "keyctl": 250, "memfd_create": 319, "memfd_secret": 447,
    "shmget": 29, "shmat": 30, "msgget": 68, "semget": 64, "mq_open": 240,
    # who one is
    "setuid": 105, "setgid": 106, "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117,
    "setresgid": 119, "setfsuid": 122, "setfsgid": 123, "capset": 126,
}  # fmt: skip
_ARM: Final = {
    "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "pidfd_open": 434,
    "pidfd_send_signal": 424, "pidfd_getfd": 438, "process_madvise": 440, "process_mrelease": 448,
    "migrate_pages": 238, "move_pages": 239, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
    "socket": 198, "connect": 203, "accept": 202, "bind": 200, "listen": 201, "accept4": 242,
    "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "swapon": 224, "swapoff": 225, "quotactl": 60, "quotactl_fd": 443,
    "name_to_handle_at": 264, "open_by_handle_at": 265, "fanotify_init": 262, "mknodat": 33,
    "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "init_module": 105, "finit_module": 273,
    "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294, "reboot": 142, "syslog": 116,
    "acct": 89, "settimeofday": 170, "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266,
    "sethostname": 161, "setdomainname": 162, "vhangup": 58, "lookup_dcookie": 18,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "add_key": 217, "request_key": 218, "keyctl": 219, "memfd_create": 279, "memfd_secret": 447,
    "shmget": 194, "shmat": 196, "msgget": 186, "semget": 190, "mq_open": 180,
    "setuid": 146, "setgid": 144, "setreuid": 145, "setregid": 143, "setgroups": 159, "setresuid": 147,
    "setresgid": 149, "setfsuid": 151, "setfsgid": 152, "capset": 91,
}  # fmt: skip

_CARD: Final = ("socket", "bind", "listen", "memfd_create")
"""What NVIDIA's driver does when it starts, or it fails with error 304: files without a name, and one
socket for other programs of CUDA to find (NVIDIA/OpenShell, issue 1696; the profiles of AppArmor, "cuda")."""
_UNIX, _IN_PACKETS = 1, 5

_MACHINES: Final = {
    # audit architecture, denied calls, (clone, clone3, socketpair, sendto, ioctl, seccomp)
    "x86_64": (0xC000003E, _X86, (56, 435, 53, 44, 16, 317)),
    "aarch64": (0xC00000B7, _ARM, (220, 435, 199, 206, 29, 277)),
}
_SIGNALS: Final = {"x86_64": (62, 200, 234), "aarch64": (129, 130, 131)}
"""kill, tkill, tgkill"""
_PUSH_INPUT: Final = (0x5412, 0x541C)
"""ioctl TIOCSTI and TIOCLINUX: typing into somebody's terminal."""

_OWNERS: Final = {
    "x86_64": {
        "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "chown": 92, "fchown": 93, "lchown": 94,
        "fchownat": 260, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "setxattrat": 463,
        "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "removexattrat": 466,
    },
    "aarch64": {
        "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55, "fchownat": 54, "setxattr": 5,
        "lsetxattr": 6, "fsetxattr": 7, "setxattrat": 463, "removexattr": 14, "lremovexattr": 15,
        "fremovexattr": 16, "removexattrat": 466,
    },
}  # fmt: skip
"""What the owner of a file may do to it that Landlock does not look at."""
_PROCESS, _IO_PROCESS = 0, 1
"""PRIO_PROCESS and IOPRIO_WHO_PROCESS: one process, and not a group's or all of a user's."""
_RULERS: Final[dict[str, tuple[tuple[int, int, int | None], ...]]] = {
    # prlimit64, setpriority, ioprio_set, sched_setscheduler, sched_setparam, sched_setattr
    "x86_64": ((302, 0, None), (141, 1, _PROCESS), (251, 1, _IO_PROCESS), (144, 0, None), (142, 0, None),
               (314, 0, None)),
    "aarch64": ((261, 0, None), (140, 1, _PROCESS), (30, 1, _IO_PROCESS), (119, 0, None), (118, 0, None),
                (274, 0, None)),
}  # fmt: skip
"""Calls that rule any process of the same user: number, the argument that says which, and what the first
one must be."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value & 0xFFFFFFFF)


def _argument(index: int) -> bytes:
    """Load the low half of an argument (both machines are little-endian)."""
    return _step(_LOAD, _ARGUMENTS + 8 * index)


def program(machine: str, pid: int = 0, *, card: bool = False, shared: int = 0) -> bytes:
    """The filter for a machine (`x86_64`, `aarch64`), 8 bytes an instruction.

    With a `pid` signals reach that process only.  With a `card` CUDA may start:
    sockets of the kind that it listens on are allowed, and still none that
    connects or sends; how much files without a name hold is watched from outside.
    `shared` is the process where it runs as the user who started it: then it may
    neither do what only the owner of a file may nor rule another process.

    Raises:
        KeyError: a machine whose system calls are not known here.
    """
    architecture, denied, (clone, clone3, pair, send, control, _) = _MACHINES[machine]
    refuse = _step(_RETURN, _ERRNO | errno.EPERM)
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":  # the x32 table has other numbers for the same calls
        steps += [_step(_AT_LEAST, 0x40000000, 0, 1), refuse]
    allowed = {denied[name] for name in _CARD} if card else set()
    owners = set(_OWNERS[machine].values()) if shared else set()
    for number in sorted(set(denied.values()) - allowed | owners):
        steps += [_step(_EQUAL, number, 0, 1), refuse]
    if card:
        steps += [
            _step(_EQUAL, denied["socket"], 0, 7),
            _argument(0),
            _step(_EQUAL, _UNIX, 1, 0),
            refuse,
            _argument(1),
            _step(_AND, 0xF),
            _step(_EQUAL, _IN_PACKETS, 1, 0),
            refuse,
            _step(_LOAD, _NUMBER),
        ]
    # glibc falls back to clone, whose flags can be read here
    steps += [_step(_EQUAL, clone3, 0, 1), _step(_RETURN, _ERRNO | errno.ENOSYS)]
    steps += [
        _step(_EQUAL, clone, 0, 4),
        _argument(0),
        _step(_ANY_BIT, _NEW_NAMESPACES & ~0x80, 0, 1),
        refuse,
        _step(_RETURN, _ALLOW),
    ]
    # a connected pair reaches nobody else, unless it can be sent elsewhere
    steps += [
        _step(_EQUAL, pair, 0, 5),
        _argument(1),
        _step(_AND, 0xF),
        _step(_EQUAL, _DATAGRAM, 0, 1),
        refuse,
        _step(_RETURN, _ALLOW),
    ]
    steps += [
        _step(_EQUAL, send, 0, 4),
        _argument(4),
        _step(_EQUAL, 0, 1, 0),
        refuse,
        _step(_RETURN, _ALLOW),
    ]
    steps += [
        _step(_EQUAL, control, 0, 5),
        _argument(1),
        _step(_EQUAL, _PUSH_INPUT[0], 1, 0),
        _step(_EQUAL, _PUSH_INPUT[1], 0, 1),
        refuse,
        _step(_RETURN, _ALLOW),
    ]
    for number in _SIGNALS[machine] if pid else ():
        steps += [
            _step(_EQUAL, number, 0, 4),
            _argument(0),
            _step(_EQUAL, pid, 1, 0),
            refuse,
            _step(_RETURN, _ALLOW),
        ]
    for number, who, kind in _RULERS[machine] if shared else ():
        which = [] if kind is None else [_argument(0), _step(_EQUAL, kind, 1, 0), refuse]
        steps += [
            _step(_EQUAL, number, 0, len(which) + 5),
            *which,
            _argument(who),
            _step(_EQUAL, 0, 2, 0),
            _step(_EQUAL, shared, 1, 0),
            refuse,
            _step(_RETURN, _ALLOW),
        ]
    steps.append(_step(_RETURN, _ALLOW))
    return b"".join(steps)


def available() -> bool:
    """Whether this system can filter calls and their numbers are known here."""
    if not sys.platform.startswith("linux") or platform.machine() not in _MACHINES:
        return False
    try:
        with open("/proc/self/status", encoding="ascii", errors="ignore") as status:  # noqa: PTH123
            return any(line.startswith("Seccomp:") for line in status)
    except OSError:
        return False


def restrict(*, signals: bool, card: bool = False, shared: bool = False) -> None:
    """From now on the calls above fail with EPERM, in this process and all that it starts.

    Without `signals` only this process can be sent any: where nothing else keeps
    a candidate's from others of its user.  `card`, `shared`: see `program`.

    Raises:
        OSError: the kernel refuses.
    """
    machine = platform.machine()
    pid = os.getpid()
    steps = program(machine, 0 if signals else pid, card=card, shared=pid if shared else 0)
    buffer = ctypes.create_string_buffer(steps, len(steps))
    filter_ = _Program(len(steps) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    number = _MACHINES[machine][2][5]
    found = library.syscall(
        ctypes.c_long(number),
        ctypes.c_uint(_SET_MODE_FILTER),
        ctypes.c_uint(_ALL_THREADS),
        ctypes.byref(filter_),
    )
    if found:
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp ({os.strerror(error) if found < 0 else f'thread {found}'})")
