"""UDP load in batches of `sendmmsg` and `recvmmsg`, so that Python does not limit the rate.

    udpload.py recv PORT SECONDS                  prints `ready`, then {"received": packets, "seconds": first to last}
    udpload.py send ADDRESS PORT SIZE RATE SECONDS     {"sent": packets, "seconds": …}

SIZE is the UDP payload in bytes, RATE in packets/s (0: unlimited).
"""

import ctypes
import json
import socket
import struct
import sys
import time

BATCH = 32
SO_RCVBUFFORCE = 33
MSG_WAITFORONE = 0x10000
PR_SET_TIMERSLACK = 29

libc = ctypes.CDLL("libc.so.6", use_errno=True)


class Iovec(ctypes.Structure):
    """struct iovec"""
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    """struct msghdr"""
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.POINTER(Iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    """struct mmsghdr"""
    _fields_ = [("header", Msghdr), ("length", ctypes.c_uint)]


class Batch:
    """Messages of one size, with their memory."""

    def __init__(self, count, size):
        self.buffers = [ctypes.create_string_buffer(size) for _ in range(count)]
        self.vectors = (Iovec * count)(*[Iovec(ctypes.addressof(buffer), size) for buffer in self.buffers])
        self.messages = (Mmsghdr * count)()
        for message, vector in zip(self.messages, self.vectors):
            message.header.iov = ctypes.pointer(vector)
            message.header.iovlen = 1


def receive(port, seconds):
    """Receives datagrams and counts them."""
    inlet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inlet.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    inlet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100_000))
    inlet.bind(("0.0.0.0", port))
    print("ready", flush=True)
    batch = Batch(4 * BATCH, 2048)
    received, first, last = 0, None, None
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        count = libc.recvmmsg(inlet.fileno(), batch.messages, 4 * BATCH, MSG_WAITFORONE, None)
        now = time.perf_counter()
        if count > 0:
            received, first, last = received + count, first or now, now
    return {"received": received, "seconds": last - first if received else 0}


def send(address, port, size, rate, seconds):
    """Sends at a rate, and makes up for delays."""
    libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    outlet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outlet.connect((address, port))
    batch = Batch(BATCH, size)
    sent, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        due = min(BATCH, int(elapsed * rate) - sent) if rate else BATCH
        if due <= 0:
            time.sleep(0.00005)
            continue
        sent += max(0, libc.sendmmsg(outlet.fileno(), batch.messages, due, 0))
    return {"sent": sent, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    if sys.argv[1] == "recv":
        print(json.dumps(receive(int(sys.argv[2]), float(sys.argv[3]))))
    else:
        print(json.dumps(send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), float(sys.argv[6]))))
