"""The last step before a sandboxed command: Landlock, no capabilities, a system call filter, then the command itself.

`policy.py` starts this file as a script (`python -I -S -B launcher.py N POLICY… COMMAND…`), inside bubblewrap or,
without it, alone. POLICY is N arguments NAME=VALUE. Paths, an argument for each: `read`, `write` and `devices`, and
`listed`, a folder that may be listed, followed by `names`, the entries in it that may be read, separated by `/`.
Numbers: `alone` says that there are no namespaces, so that the filter has to replace them; `network` allows
connections, only to each TCP `port` if there are any; `accelerator` says that a driver has to start; `processes` is a
limit, 0 for none; `abi` is the version of Landlock to use.
It fails closed: if something cannot be set up, the run ends with exit code 125 and a line with the reason.
Every run waits for it, so it imports little (JSON alone would take as long as all the rest).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import stat
import struct
import sys

REFUSED_EXIT = 125
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
BIND_TCP, CONNECT_TCP = 1, 2
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 22, 24, 38, 47
CAPABILITY_VERSION = 0x20080522
AF_UNIX, SOCK_STREAM, SOCK_SEQPACKET, SOCK_TYPE_MASK = 1, 1, 5, 0xF
NETWORK_FAMILIES = (2, 10, 16)  # IPv4, IPv6, and netlink for name resolution
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# fcntl: F_SETLEASE makes others wait, F_NOTIFY watches them, hints and delegations stay on a file that is only read.
FILE_NOTES = (1024, 1026, 1036, 1038, 1040)
# ioctl requests that write to the file itself (its flags, its encryption), by the letter of their kind: of ext4 and
# most others, of XFS, of versions, of btrfs, of F2FS, of FAT.
ATTRIBUTE_KINDS = (0x6600, 0x5800, 0x7600, 0x9400, 0xF500, 0x7200)
SET_ENCRYPTION_POLICY = 0x800C6613  # says that it reads, and writes
CLONES = (0x40049409, 0x4020940D, 0xC0189436)  # FICLONE, FICLONERANGE, FIDEDUPERANGE: copies, for an open file
IOCTL_WRITES, IOCTL_KIND = 0x40000000, 0xFF00
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
# Numbers on x86_64 and aarch64; -1 if the machine has no such call.
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
    "quotactl_fd": (443, 443),
    "open_tree_attr": (467, 467),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
}
# Libraries do without these if they seem not to exist.
ABSENT = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone3": (435, 435),  # its flags are in memory, where a filter cannot see them
    "file_setattr": (469, 469),
    # One run could leave marks in the page cache of a shared file for the next.
    "cachestat": (451, 451),
    "fadvise64": (221, 223),
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
# What one run could leave for the next if they share the kernel's IPC.
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
# Pairs are created connected; without a network namespace nothing else may connect.
CONNECTING = {
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
}
# They take a process number, which Landlock does not check: allowed for the caller (0, or the command's own number).
OF_PROCESSES = {
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
}
# The same with a kind before the number: the kind that means one process.
OF_KINDS = {
    "setpriority": ((141, 140), 0),
    "ioprio_set": ((251, 30), 1),
}
# glibc gives every thread its processors by the thread's number, and creates no thread if that is refused.
SCHED_SETAFFINITY = (203, 122)
TRUNCATE_CALL = (76, 45)  # by name; the first two versions of Landlock do not know it
SOCKET, SOCKETPAIR, CLONE, IOCTL, FCNTL = (41, 198), (53, 199), (56, 220), (16, 29), (72, 25)

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Raises OSError for a system call that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def landlock_abi() -> int:
    """The kernel's Landlock version; 0 without Landlock."""
    return max(0, int(libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def restrict_files(
    read: list[str],
    listed: list[str],
    write: list[str],
    devices: list[str],
    *,
    abi: int,
    network: bool,
    proc: str,
    ports: tuple[int, ...] = (),
) -> None:
    """Applies Landlock, as far as version `abi` goes: files, TCP, abstract sockets, signals. Needs no_new_privs.

    `proc` is where threads set their names, which a starting driver needs.
    """
    handled = (1 << (13 + (abi >= 2) + (abi >= 3) + (abi >= 5))) - 1
    if abi == 4:  # REFER and TRUNCATE, not yet IOCTL_DEV
        handled = (1 << 15) - 1
    connections = (CONNECT_TCP if ports else 0) if network else BIND_TCP | CONNECT_TCP
    attributes = struct.pack("QQQ", handled, connections if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = checked(libc.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), 0), "Landlock")
    looking = EXECUTE | READ_FILE | READ_DIR
    rules = [(path, looking) for path in read] + [(proc, looking | WRITE_FILE | TRUNCATE)]
    rules += [(path, READ_DIR) for path in listed]
    rules += [(path, handled & ~IOCTL_DEV) for path in write]
    rules += [(path, looking | WRITE_FILE | TRUNCATE | IOCTL_DEV) for path in devices]
    for path, rights in rules:
        add_rule(ruleset, path, rights & handled)
    for port in ports if abi >= 4 and network else ():
        checked(
            libc.syscall(LANDLOCK_ADD, ruleset, 2, struct.pack("QQ", CONNECT_TCP, port), 0), f"Landlock: port {port}"
        )
    checked(libc.syscall(LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)


def add_rule(ruleset: int, path: str, rights: int) -> None:
    """Allows `rights` at and below `path`; a missing path needs no rule."""
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
    """Drops all capabilities for good. An ordinary user has none, and may not change the bounding set."""
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


def masked(mask: int) -> bytes:
    return instruction(0x54, mask)


def on_call(number: int, body: list[bytes]) -> list[bytes]:
    """The instructions for one system call; every path through `body` must end in an answer."""
    return [unless_equal(number, len(body)), *body]


def one_of(offset: int, values: tuple[int, ...], then: bytes, otherwise: list[bytes]) -> list[bytes]:
    """Returns `then` if the argument at `offset` is one of `values`."""
    tests = [part for value in values for part in (unless_equal(value, 1), then)]
    return [load(offset), *tests, *otherwise]


FIRST, SECOND = 16, 24  # offsets of a call's arguments; the upper halves follow, which the kernel ignores here


def build_filter(
    machine: str, alone: bool, network: bool = False, *, accelerator: bool = False, own: int = 0, abi: int = 99
) -> bytes:
    """The BPF program. `own` is the command's process. Raises KeyError for a machine with unknown system call
    numbers."""
    architecture, column = MACHINES[machine]
    refuse = answer(ERROR | errno.EPERM)
    program = [load(4), instruction(0x15, architecture, 1, 0), answer(KILL), load(0)]
    if machine == "x86_64":  # the x32 calls, the same numbers with a bit set
        program += [instruction(0x35, 0x40000000, 0, 1), refuse]
    groups = [(FORBIDDEN, errno.EPERM), (ABSENT, errno.ENOSYS)]
    if alone:
        groups += [(PRETENDED, 0), (SHARED, errno.EPERM), (UNSUPPORTED, errno.EOPNOTSUPP)]
    if alone and not network:
        groups.append((CONNECTING, errno.EPERM))
    if alone and abi < 3:
        groups.append(({"truncate": TRUNCATE_CALL}, errno.EPERM))
    for calls, number in groups:
        for numbers in calls.values():
            if numbers[column] >= 0:
                program += [unless_equal(numbers[column], 1), answer(ERROR | number)]
    program += on_call(SOCKET[column], may_open(alone, network, accelerator))
    program += on_call(CLONE[column], [load(FIRST), instruction(0x45, NEW_NAMESPACES, 0, 1), refuse, answer(ALLOW)])
    program += on_call(FCNTL[column], one_of(SECOND, FILE_NOTES, refuse, [answer(ALLOW)]))
    program += on_call(IOCTL[column], may_control(alone))
    if alone or network:
        # A datagram socket of a pair can send to any socket of the file system by name.
        types = one_of(SECOND, (SOCK_STREAM, SOCK_SEQPACKET), answer(ALLOW), [refuse])
        program += on_call(SOCKETPAIR[column], [types[0], masked(SOCK_TYPE_MASK), *types[1:]])
    if alone:
        program += about_processes(column, (0, own) if own else (0,))
    return b"".join([*program, answer(ALLOW)])


def may_open(alone: bool, network: bool, accelerator: bool) -> list[bytes]:
    """Allows the sockets that may be made.

    Sockets of the file system lead out of a sandbox without namespaces. There, only pairs are allowed, and the socket
    on which NVIDIA's driver listens when it starts; nothing can connect to it.
    """
    families = NETWORK_FAMILIES if network else () if alone else (AF_UNIX,)
    body = one_of(FIRST, families, answer(ALLOW), [])
    if alone and accelerator and not network:
        body += [unless_equal(AF_UNIX, 4), load(SECOND), masked(SOCK_TYPE_MASK)]
        body += [unless_equal(SOCK_SEQPACKET, 1), answer(ALLOW)]
    return [*body, answer(ERROR | errno.EPERM)]


def may_control(alone: bool) -> list[bytes]:
    """Allows requests of ioctl, except those that type into a terminal and, without mounts of its own, those that
    change files' attributes."""
    body = one_of(SECOND, TERMINAL_INJECTION, answer(ERROR | errno.EPERM), [])
    if alone:
        unsupported = answer(ERROR | errno.EOPNOTSUPP)
        body += one_of(SECOND, CLONES, answer(ALLOW), [])
        body += [unless_equal(SET_ENCRYPTION_POLICY, 1), unsupported]
        body += [instruction(0x45, IOCTL_WRITES, 1, 0), answer(ALLOW), masked(IOCTL_KIND)]
        for kind in ATTRIBUTE_KINDS:
            body += [unless_equal(kind, 1), unsupported]
    return [*body, answer(ALLOW)]


def about_processes(column: int, own: tuple[int, ...]) -> list[bytes]:
    """Allows limits, priorities and processor masks to be set for the caller alone."""
    refuse, program = answer(ERROR | errno.EPERM), []
    for numbers in OF_PROCESSES.values():
        program += on_call(numbers[column], one_of(FIRST, own, answer(ALLOW), [refuse]))
    for numbers, process in OF_KINDS.values():
        of_own = one_of(SECOND, own, answer(ALLOW), [refuse])
        program += on_call(numbers[column], [load(FIRST), unless_equal(process, len(of_own)), *of_own, refuse])
    nothing_done = [answer(ERROR)]
    program += on_call(SCHED_SETAFFINITY[column], one_of(FIRST, own, answer(ALLOW), nothing_done))
    return program


def filter_calls(program: bytes) -> None:
    """Installs the seccomp filter for this process and its descendants. Needs no_new_privs."""
    buffer = ctypes.create_string_buffer(program, len(program))
    description = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    checked(libc.prctl(PR_SET_SECCOMP, 2, description, 0, 0), "seccomp")


def read_policy(arguments: list[str]) -> tuple[dict[str, int], dict[str, list[str]]]:
    """The policy's numbers, and its paths and ports. Raises ValueError, IndexError."""
    numbers: dict[str, int] = {}
    lists: dict[str, list[str]] = {"read": [], "write": [], "devices": [], "listed": [], "port": []}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "names":
            lists["read"] += [f"{lists['listed'][-1]}/{each}" for each in value.split("/")]
        elif name in lists:
            lists[name].append(value)
        else:
            numbers[name] = int(value)
    return numbers, lists


def confine(policy: list[str]) -> None:
    """Sets up the whole sandbox, before the first foreign instruction.

    Raises OSError, KeyError, ValueError, IndexError.
    """
    numbers, lists = read_policy(policy)
    alone, network, accelerator = bool(numbers["alone"]), bool(numbers["network"]), bool(numbers["accelerator"])
    processes, abi = numbers["processes"], numbers["abi"]
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if processes:
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        limit = processes if hard == resource.RLIM_INFINITY else min(processes, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    if alone or abi >= 2:  # the first version forbids every move between folders
        ports = tuple(int(port) for port in lists["port"])
        # Without namespaces /proc has all processes, and a rule is for one: children cannot be named in advance.
        proc = f"/proc/{os.getpid()}" if alone else "/proc"
        restrict_files(
            lists["read"], lists["listed"], lists["write"], lists["devices"],
            abi=abi, network=network, proc=proc, ports=ports,
        )  # fmt: skip
    drop_capabilities()
    machine = os.uname().machine
    filter_calls(build_filter(machine, alone, network, accelerator=accelerator, own=os.getpid(), abi=abi))


def main(policy: list[str], command: list[str]) -> int:
    """Returns only if the command could not start."""
    try:
        confine(policy)
    except (OSError, LookupError, ValueError) as error:
        os.write(2, f"the sandbox could not be set up: {error}\n".encode())
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
    start = 2 + int(sys.argv[1])
    sys.exit(main(sys.argv[2:start], sys.argv[start:]))
