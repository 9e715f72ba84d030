/*
 * A program that knows nothing of checkpoints: writes 'r' to the fifo `up`, then answers each byte
 * from the fifo `down` with the same byte, until 'q'. Linked in several ways by meson.build;
 * compat_stubs.py says what each of them is for.
 */
#include <fcntl.h>
#include <unistd.h>

int main(void) {
  int down = open("down", O_RDWR | O_CLOEXEC), up = open("up", O_RDWR | O_CLOEXEC);
  char word = 'r';
  if (down < 0 || up < 0) return 2;
  while (word != 'q') {
    if (write(up, &word, 1) != 1) return 3;
    ssize_t got = read(down, &word, 1);
    if (got != 1) return 4;
  }
  return 0;
}
