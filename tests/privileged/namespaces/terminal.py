#!/usr/bin/env python3
"""Runs a program on a terminal of its own, and copies all that it draws to stdout.

usage: terminal.py COLUMNS PROGRAM [ARGUMENT…]

Ends as the program does.
"""
import fcntl
import os
import pty
import struct
import sys
import termios

pid, terminal = pty.fork()
if pid == 0:
    # Before the program reads the size: a terminal without a size passes for one of 80 columns, or for none.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
while True:
    try:
        drawn = os.read(terminal, 65536)
    except OSError:
        break  # Linux returns EIO where the last program has closed the other end.
    if not drawn:
        break
    os.write(1, drawn)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
