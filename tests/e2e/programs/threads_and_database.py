# Four threads that compute, and a sqlite3 database in WAL mode with a transaction open all the time.
import hashlib
import random
import sqlite3
import sys
import threading

STEPS = 60
lock = threading.Condition()
turn = [0] * 4
digests = [b""] * 4


def work(number):
    digest = b"%d" % number
    for step in range(STEPS):
        with lock:
            while turn[number] <= step:
                lock.wait()
        for _ in range(8000):
            digest = hashlib.sha256(digest).digest()
        with lock:
            digests[number] = digest
            turn[number] = -turn[number]
            lock.notify_all()


database = sqlite3.connect("data.sqlite", isolation_level=None)
print(database.execute("pragma journal_mode = wal").fetchone()[0])
database.execute("create table item (step integer, value text)")
database.execute("insert into item values (-1, 'committed before')")
reader = sqlite3.connect("data.sqlite", isolation_level=None)
database.execute("begin immediate")
threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(4)]
for thread in threads:
    thread.start()
generator = random.Random(5)
for step in range(STEPS):
    with lock:
        turn = [step + 1] * 4
        lock.notify_all()
    for i in range(50):
        database.execute("insert into item values (?, ?)", (step, str(generator.random()) * 20))
    with lock:
        while any(value > 0 for value in turn):
            lock.wait()
    seen = reader.execute("select count(*) from item").fetchone()[0]
    total = database.execute("select count(*), sum(length(value)) from item").fetchone()
    print("step", step, seen, total, digests[step % 4].hex(), flush=True)
database.execute("commit")
for thread in threads:
    thread.join()
print(reader.execute("select count(*) from item").fetchone(),
      reader.execute("pragma integrity_check").fetchone())
rows = "".join(map(str, reader.execute("select * from item order by rowid")))
print(hashlib.sha256(rows.encode()).hexdigest(), threading.active_count(), file=sys.stdout)
