// What bench.py checkpoints: a counter with, if wanted, some memory full of text, random bytes or
// zeros. It shows in a shared page of a file how long it was ever held up and when it last went on.
//   bench-subject PAGE-FILE KIND MEBIBYTES    runs until it is killed
//   bench-subject --copy KIND MEBIBYTES       seconds to copy that much memory once, and ends
//   bench-subject --dump KIND MEBIBYTES       writes those bytes to stdout
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct page {  // bench.py reads it
  int64_t count, longest_ns, resumed_ns, ready;
};

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t next(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

static void fill(char* memory, size_t size, const char* kind) {
  uint64_t state = 88172645463325252ULL;
  if (!strcmp(kind, "zeros")) {
    memset(memory, 0, size);
  } else if (!strcmp(kind, "random")) {
    for (size_t i = 0; i + 8 <= size; i += 8) *(uint64_t*)(memory + i) = next(&state);
  } else {  // text: words of a vocabulary of 4096, 2 to 9 letters
    static char words[4096][10];
    for (int i = 0; i < 4096; i++)
      for (int j = 0, length = 2 + (int)(next(&state) % 8); j < length; j++)
        words[i][j] = (char)('a' + next(&state) % 26);
    for (size_t i = 0; i < size;) {
      const char* word = words[next(&state) % 4096 & next(&state)];
      for (; *word && i < size; i++) memory[i] = *word++;
      if (i < size) memory[i++] = ' ';
    }
  }
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  size_t size = strtoul(argv[3], NULL, 10) << 20;
  char* memory = NULL;
  if (size) {
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    fill(memory, size, argv[2]);
  }
  if (!strcmp(argv[1], "--dump")) return fwrite(memory, 1, size, stdout) != size;
  if (!strcmp(argv[1], "--copy")) {
    char* block = malloc(1 << 20);  // hot, as a reader of another process would have it
    int64_t start = now_ns();
    for (size_t i = 0; i < size; i += 1 << 20) {
      memcpy(block, memory + i, 1 << 20);
      __asm__ volatile("" : : "r"(block) : "memory");
    }
    printf("%.6f\n", (double)(now_ns() - start) / 1e9);
    return 0;
  }
  int fd = open(argv[1], O_RDWR);
  struct page* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return 1;
  close(fd);
  page->ready = 1;
  for (int64_t last = now_ns(), now;; last = now) {
    nanosleep(&(struct timespec){0, 50000}, NULL);
    now = now_ns();
    page->count++;
    if (now - last > page->longest_ns) page->longest_ns = now - last;
    if (now - last > 2000000) page->resumed_ns = now;
  }
}
