"""A pool of processes that works through a list; the result does not depend on who did what."""

import hashlib
import multiprocessing
import os

TASKS = 240


def work(number):
    digest = hashlib.sha256(str(number).encode())
    for _ in range(12000):
        digest = hashlib.sha256(digest.digest())
    return number, digest.hexdigest(), os.getpid()


def main():
    whole = hashlib.sha256()
    workers = set()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for number, digest, worker in pool.imap(work, range(TASKS), chunksize=3):
            whole.update(f"{number} {digest}\n".encode())
            workers.add(worker)
            with open("done", "a", encoding="ascii") as done:
                done.write(f"{number}\n")
        pool.close()
        pool.join()
    with open("result", "w", encoding="ascii") as result:
        result.write(f"{whole.hexdigest()} {TASKS} tasks\n")


if __name__ == "__main__":
    main()
