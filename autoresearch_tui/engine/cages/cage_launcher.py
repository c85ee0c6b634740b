"""The last step before a caged command: Landlock, no capabilities, a system call filter, then the command itself.

`sandbox.py` starts this file as a script (`python -I -S -B cage_launcher.py POLICY COMMAND…`), inside bubblewrap or,
where there is none, by itself. POLICY is JSON: `read`, `write` and `devices` are paths, `parts` folders that may be
listed, with the names in each that may be read; `alone` says that there are no namespaces around, so that the filter
has to stand in for them; `network` that connections may be opened; `processes` is a limit, 0 for none.
It fails closed: what cannot be set up ends the run with exit code 125 and a line that says why.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import stat
import struct
import sys

REFUSED_EXIT = 125
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 22, 24, 38, 47
CAPABILITY_VERSION = 0x20080522
AF_UNIX = 1
NETWORK_FAMILIES = (2, 10, 16)  # IPv4, IPv6, and netlink, by which names are looked up
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
# Numbers on x86_64 and aarch64; -1 where the machine has no such call.
FORBIDDEN = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
}
# Libraries do without these when they are told that there are none.
ABSENT = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone3": (435, 435),  # its flags are in memory, where a filter cannot see them
}
# Landlock says nothing about these. They do nothing and report success: a refusal would break shutil.copy.
PRETENDED = {
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "utimensat": (280, 88),
}
# What one run could leave for the next where they share the kernel's IPC.
SHARED = {
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
UNSUPPORTED = {
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}
SOCKET, CLONE, IOCTL = (41, 198), (56, 220), (16, 29)

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Raises OSError for a system call that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def landlock_abi() -> int:
    """The kernel's Landlock version; 0 where there is none."""
    return max(0, int(libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def restrict_files(read: list[str], listed: list[str], write: list[str], devices: list[str], *, network: bool) -> None:
    """Landlock, as much of it as the kernel has: files, TCP, abstract sockets, signals. Needs no_new_privs."""
    abi = landlock_abi()
    handled = (1 << (13 + (abi >= 2) + (abi >= 3) + (abi >= 5))) - 1
    if abi == 4:  # REFER and TRUNCATE, not yet IOCTL_DEV
        handled = (1 << 15) - 1
    attributes = struct.pack("QQQ", handled, 3 if abi >= 4 and not network else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = checked(libc.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), 0), "Landlock")
    looking = EXECUTE | READ_FILE | READ_DIR
    own = f"/proc/{os.getpid()}"  # threads name themselves there
    rules = [(path, looking) for path in read] + [(own, looking | WRITE_FILE | TRUNCATE)]
    rules += [(path, READ_DIR) for path in listed]
    rules += [(path, handled & ~IOCTL_DEV) for path in write]
    rules += [(path, looking | WRITE_FILE | TRUNCATE | IOCTL_DEV) for path in devices]
    for path, rights in rules:
        add_rule(ruleset, path, rights & handled)
    checked(libc.syscall(LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)


def add_rule(ruleset: int, path: str, rights: int) -> None:
    """Allows `rights` at and below `path`; a path that is not there needs no rule."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= FILE_RIGHTS
    rule = struct.pack("=Qi", rights, descriptor)
    checked(libc.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0), f"Landlock: {path}")
    os.close(descriptor)


def drop_capabilities() -> None:
    """All of them, for good. An ordinary user has none, and may not touch the bounding set."""
    capability = 0
    while libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    libc.prctl(PR_CAP_AMBIENT, 4, 0, 0, 0)
    header, none = struct.pack("Ii", CAPABILITY_VERSION, 0), struct.pack("IIIIII", 0, 0, 0, 0, 0, 0)
    checked(libc.capset(header, none), "capset")


def instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def load(offset: int) -> bytes:
    return instruction(0x20, offset)


def unless_equal(value: int, skip: int) -> bytes:
    return instruction(0x15, value, 0, skip)


def answer(value: int) -> bytes:
    return instruction(0x06, value)


def build_filter(machine: str, alone: bool, network: bool = False) -> bytes:
    """The BPF program. Raises KeyError for a machine whose numbers are not known."""
    architecture, column = MACHINES[machine]
    refuse = answer(ERROR | errno.EPERM)
    program = [load(4), instruction(0x15, architecture, 1, 0), answer(KILL), load(0)]
    if machine == "x86_64":  # the x32 calls, same numbers in another guise
        program += [instruction(0x35, 0x40000000, 0, 1), refuse]
    groups = [(FORBIDDEN, errno.EPERM), (ABSENT, errno.ENOSYS)]
    if alone:
        groups += [(PRETENDED, 0), (SHARED, errno.EPERM), (UNSUPPORTED, errno.EOPNOTSUPP)]
    for calls, number in groups:
        for numbers in calls.values():
            if numbers[column] >= 0:
                program += [unless_equal(numbers[column], 1), answer(ERROR | number)]
    # Sockets of the file system lead out of a cage without namespaces of its own: there only pairs.
    families = NETWORK_FAMILIES if network else () if alone else (AF_UNIX,)
    program += [unless_equal(SOCKET[column], 2 + 2 * len(families)), load(16)]
    for family in families:
        program += [unless_equal(family, 1), answer(ALLOW)]
    program.append(refuse)
    program += [unless_equal(CLONE[column], 4), load(16), instruction(0x45, NEW_NAMESPACES, 0, 1), refuse]
    program += [answer(ALLOW), unless_equal(IOCTL[column], 1 + 2 * len(TERMINAL_INJECTION)), load(24)]
    for request in TERMINAL_INJECTION:
        program += [unless_equal(request, 1), refuse]
    return b"".join([*program, answer(ALLOW)])


def filter_calls(program: bytes) -> None:
    """seccomp, for this process and all that come from it. Needs no_new_privs."""
    buffer = ctypes.create_string_buffer(program, len(program))
    description = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    checked(libc.prctl(PR_SET_SECCOMP, 2, description, 0, 0), "seccomp")


def close_the_cage(policy: dict[str, object]) -> None:
    """Everything that has to hold before the first foreign instruction. Raises OSError, KeyError."""
    alone, processes, network = bool(policy["alone"]), policy["processes"], bool(policy.get("network"))
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if isinstance(processes, int) and processes:
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        limit = processes if hard == resource.RLIM_INFINITY else min(processes, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    if alone or landlock_abi() >= 2:  # the first version forbids every move between folders
        groups = [policy[name] for name in ("read", "write", "devices")]
        read, write, devices = ([str(path) for path in group] for group in groups if isinstance(group, list))
        parts = policy["parts"] if isinstance(policy["parts"], dict) else {}
        read = [*read, *(f"{folder}/{name}" for folder, names in parts.items() for name in names)]
        restrict_files(read, list(parts), write, devices, network=network)
    drop_capabilities()
    filter_calls(build_filter(os.uname().machine, alone, network))


def main(policy: str, command: list[str]) -> int:
    """Only returns where the command could not be started."""
    try:
        close_the_cage(json.loads(policy))
    except (OSError, KeyError, ValueError) as error:
        os.write(2, f"the cage could not be closed: {error}\n".encode())
        return REFUSED_EXIT
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        os.write(2, f"command not found: {command[0]}\n".encode())
        return 127
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
        return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
