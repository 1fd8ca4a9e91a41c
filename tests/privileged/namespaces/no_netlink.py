"""Runs a program for which socket(AF_NETLINK) fails, as in a sandbox: no_netlink.py ERROR PROGRAM [ARGUMENT ...]

ERROR is EAFNOSUPPORT, as of RestrictAddressFamilies= of systemd, or EPERM, as of a container's seccomp profile. Needs
nothing but Python's own library. The filter is one of seccomp(2); the program takes the place of this one.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

AF_NETLINK = 16
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
# Their offsets in `struct seccomp_data`; of an argument the lower half, on a little-endian machine.
CALL, FIRST_ARGUMENT = 0, 16
SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


error = getattr(errno, sys.argv[1])
instructions = [
    # code, where to go if true, if false, operand
    (LOAD_WORD, 0, 0, CALL),
    (JUMP_IF_EQUAL, 0, 3, SOCKET),
    (LOAD_WORD, 0, 0, FIRST_ARGUMENT),
    (JUMP_IF_EQUAL, 0, 1, AF_NETLINK),
    (RETURN, 0, 0, SECCOMP_RET_ERRNO | error),
    (RETURN, 0, 0, SECCOMP_RET_ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in instructions))
program = Program(len(instructions), ctypes.cast(code, ctypes.c_void_p))
prctl = ctypes.CDLL(None, use_errno=True).prctl
for arguments in (
    (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
):
    if prctl(*arguments) != 0:
        sys.exit(f"prctl({arguments[0]}) failed: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
