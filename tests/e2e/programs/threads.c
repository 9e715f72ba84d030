// Threads, condition variables, malloc and floating point; built static with musl and with glibc.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kSteps = 60, kThreads = 4 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int wanted = -1, done;
static double results[kThreads];

static void* work(void* argument) {
  long number = (long)argument;
  double x = 0.1 + 0.2 * (double)number;
  char* memory = NULL;
  for (int step = 0; step < kSteps; step++) {
    pthread_mutex_lock(&mutex);
    while (wanted < step) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    free(memory);
    memory = malloc(100000 + (size_t)step * 1000);
    if (!memory) abort();
    for (int i = 0; i < 1000000; i++) x = 3.99 * x * (1 - x);
    memset(memory, (int)(x * 255), 100000);
    pthread_mutex_lock(&mutex);
    results[number] = x + memory[777];
    done++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
  }
  free(memory);
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; i++)
    if (pthread_create(&threads[i], NULL, work, (void*)i)) return 1;
  for (int step = 0; step < kSteps; step++) {
    pthread_mutex_lock(&mutex);
    wanted = step;
    done = 0;
    pthread_cond_broadcast(&changed);
    while (done < kThreads) pthread_cond_wait(&changed, &mutex);
    printf("step %d", step);
    for (int i = 0; i < kThreads; i++) printf(" %.17g", results[i]);
    printf("\n");
    pthread_mutex_unlock(&mutex);
    fflush(stdout);
    if (step % 5 == 0) nanosleep(&(struct timespec){0, 10000000}, NULL);
  }
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  return 0;
}
