# A program that knows nothing of checkpoints: four threads that compute, some hundred MB of data, an
# open log that grows by a line at a time. SIGTERM: it checks its data, says so, and ends.
import hashlib
import os
import random
import signal
import sys
import threading
import time

MEGABYTES = 300
counts = [0] * 4
ending = threading.Event()


def work(number):
    digest = bytes([number])
    while not ending.is_set():
        for _ in range(200):
            digest = hashlib.sha256(digest).digest()
        counts[number] += 1
        time.sleep(0.001)


def checksum(blocks):
    total = hashlib.sha256()
    for block in blocks:
        total.update(block)
    return total.hexdigest()


signal.signal(signal.SIGTERM, lambda *_: ending.set())
words = [word.encode() for word in sys.modules] + [bytes(str(i), "ascii") for i in range(5000)]
generator = random.Random(1)
text = b" ".join(generator.choices(words, k=20000))
blocks = [b"%d " % i + text[i % 1000:] for i in range(MEGABYTES * 1000000 // len(text))]
before = checksum(blocks)
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
with open(sys.argv[1], "w") as log:
    line = 0
    while not ending.is_set():
        line += 1
        print(f"line {line} pid {os.getpid()} threads {threading.active_count()} "
              f"work {sum(counts)}", file=log, flush=True)
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    whole = "whole" if checksum(blocks) == before else "DAMAGED"
    print(f"end: {line} lines, {len(blocks)} blocks, data {whole}", file=log, flush=True)
