/*
 * Not linked with libcr: loads the library named by its argument when it has been running for a
 * while and has threads, and calls it by dlsym(). Speaks as echo.c does; besides, 'n' is answered
 * by the number of callbacks that have run, as a letter from 'A', and 'x' closes the library again.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <libcr.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static int (*checkpoint)(int);
static int calls;

static int counts(void* unused) {
  calls += checkpoint(0) >= 0;
  return unused != NULL;
}

static void* sleeps(void* unused) {
  pause();
  for (;;) pause();
  return unused;
}

static void* load(const char* path) {
  cr_client_id_t (*init)(void);
  cr_callback_id_t (*add)(cr_callback_t, void*, int);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    _exit(5);
  }
  *(void**)&checkpoint = dlsym(library, "cr_checkpoint");
  *(void**)&init = dlsym(library, "cr_init");
  *(void**)&add = dlsym(library, "cr_register_callback");
  if (!checkpoint || !init || !add || init() < 0) _exit(6);
  if (add(counts, NULL, CR_SIGNAL_CONTEXT) < 0 || add(counts, NULL, CR_THREAD_CONTEXT) < 0)
    _exit(7);
  return library;
}

int main(int argc, char** argv) {
  pthread_t thread;
  int down = open("down", O_RDWR | O_CLOEXEC), up = open("up", O_RDWR | O_CLOEXEC);
  if (argc != 2 || down < 0 || up < 0 || pthread_create(&thread, NULL, sleeps, NULL)) return 2;
  void* library = load(argv[1]);
  for (char word = 'r'; word != 'q';) {
    if (write(up, &word, 1) != 1 || read(down, &word, 1) != 1) return 3;
    if (word == 'n') word = (char)('A' + calls);
    if (word == 'x') dlclose(library);
  }
  _exit(0);
}
