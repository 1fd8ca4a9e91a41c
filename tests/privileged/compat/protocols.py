"""The legacy protocols as their own programs implement them, for tests/privileged/compat. Python's standard library
alone, and the `openssl` command for AES-CTR. Written from the description of the bytes; none of the old programs' code is in it.

    protocols.py COMMAND ARGUMENT...
"""

import datetime
import hashlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time


def report(text):
    print(text, flush=True)


def udp(port=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if port is not None:
        s.bind(("", port))
    return s


# PyDiscover: AES-256-CTR over the whole datagram, key = password cut or padded with "0", counter from 1.


def crypt(data, password):
    if not password:
        return data
    key = password[:32].ljust(32, "0").encode().hex()
    command = ["openssl", "enc", "-aes-256-ctr", "-K", key, "-iv", "0" * 31 + "1"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def pydiscover_ask(magic, password, target, port, age="0"):
    """Prints the answer's text, decrypted as the old client does, or nothing within two seconds."""
    s = udp()
    query = "%s%s" % (magic, datetime.datetime.now().timestamp() - float(age))
    s.sendto(crypt(query.encode(), password), (target, int(port)))
    s.settimeout(2)
    try:
        data, _ = s.recvfrom(1024)
    except socket.timeout:
        return
    text = crypt(data, password).decode(errors="ignore")
    # The refusal of a wrong magic is in the clear in any case.
    report(text if "#ERROR#" in text or "#OK#" in text else data.decode(errors="ignore"))


def pydiscover_serve(magic, password, port, answer):
    s = udp(int(port))
    report("ready")
    while True:
        data, source = s.recvfrom(1024)
        text = crypt(data, password).decode(errors="ignore")
        if text.startswith(magic) and time.time() - float(text[len(magic):]) < 20:
            s.sendto(crypt(("%s#OK#%s" % (magic, answer)).encode(), password), source)


# DynIP: the raw host name; the server rewrites its file for each.


def dynip_send(name, host, port):
    udp().sendto(name.encode(), (host, int(port)))


def dynip_serve(path, port):
    s, records = udp(int(port)), {}
    report("ready")
    while True:
        data, source = s.recvfrom(1024)
        records[data[:256].decode()] = [source[0], datetime.datetime.now().isoformat(" ")]
        with open(path, "w") as file:
            json.dump(records, file)


# Terminals and a base.


def terminal(port, line, path=None):
    """Shows itself; with a path, writes what it gets there, in place, and prints its digest."""
    s = udp(int(port))
    report("ready")
    while True:
        data, source = s.recvfrom(1024)
        if data == b"show yourself":
            with socket.create_connection((source[0], int(port)), 5) as base:
                base.sendall(line.encode() + b"\n")
                while base.recv(1024):
                    pass
            report("showed")
        elif data == b"get updates" and path is not None:
            with socket.create_connection((source[0], int(port)), 30) as base, open(path, "wb") as file:
                base.sendall(b"get\n")
                try:
                    while True:
                        block = base.recv(1024)
                        if not block:
                            break
                        file.write(block)
                except ConnectionResetError:
                    report("cut")
                    continue
            with open(path, "rb") as file:
                report("got %s" % hashlib.sha256(file.read()).hexdigest())


def base(port):
    """Calls until a terminal shows itself; prints what it said and from where."""
    listener = socket.create_server(("", int(port)))
    listener.settimeout(0.5)
    caller = udp()
    while True:
        caller.sendto(b"show yourself", ("255.255.255.255", int(port)))
        try:
            connection, source = listener.accept()
        except socket.timeout:
            continue
        with connection:
            connection.settimeout(5)
            report("%s %s" % (source[0], connection.makefile("rb").readline().decode().rstrip("\n")))
        return


def base_updates(port, path, how, target="255.255.255.255"):
    """Calls once for updates, and serves each `get`: `whole`, `empty` or `cut` by a reset after half; prints each line asked."""
    listener = socket.create_server(("", int(port)))
    udp().sendto(b"get updates", (target, int(port)))
    while True:
        connection, source = listener.accept()
        with connection:
            report("%s %s" % (source[0], connection.recv(64).decode().rstrip("\n")))
            with open(path, "rb") as file:
                content = file.read()
            if how == "whole":
                connection.sendall(content)
            elif how == "cut":
                connection.sendall(content[: len(content) // 2])
                # Only what the other side has is cut: what is on its way would be dropped with the reset.
                time.sleep(0.2)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# What no client should send.


def abuse(host):
    """Bad names, a thousand names at once, a thousand connections whose line never ends; prints when all was sent."""
    s = udp()
    bad = [b"a" * 65000, b"\xff\xfe\xfd", b"\x1b[31mred", b"a\x00b", b"../../etc/passwd", b"/etc/passwd", b"", b"\n", b"."]
    for name in bad:
        for port in (28630, 50000, 9998):
            s.sendto(name, (host, port))
    for index in range(1000):
        s.sendto(b"made-up-%d" % index, (host, 28630))
        s.sendto(b"fna349fn%d" % time.time(), (host, 50000))
    held = []

    def connect():
        try:
            connection = socket.create_connection((host, 9998), 5)
            connection.sendall(b"sho")
            held.append(connection)
        except OSError:
            pass

    threads = [threading.Thread(target=connect) for _ in range(1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        # A connection that is refused at once is well, too.
        endless = socket.create_connection((host, 9998), 5)
        for _ in range(1000):
            endless.sendall(b"a" * 65536)
    except OSError:
        pass
    report("sent, %d connections held" % len(held))
    # Held until the test is over: a reader that waits for the end of these lines waits for ever.
    time.sleep(3600)


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
