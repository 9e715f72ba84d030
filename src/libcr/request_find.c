/* Where cr_helper is and in what environment it runs. The folder of libcr comes from the memory map
 * rather than from the loader, whose names may be relative to a folder that the program has left.
 * Starts nothing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "request_internal.h"

#ifndef STASIS_HELPER_PATH
#define STASIS_HELPER_PATH "/usr/local/libexec/stasis/cr_helper"
#endif

static const char* const beside_library[] = {
    "../libexec/stasis/cr_helper", "../../libexec/stasis/cr_helper", /* lib/ARCH-linux-gnu */
    "../cli/cr_helper",                                              /* where it was built */
};

static int is_program(const char* path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
         faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* DIRECTORY/NAME if that is a program, else NULL. */
static char* program_in(const char* directory, size_t length, const char* name) {
  char* path = malloc(length + strlen(name) + 2);
  if (path == NULL) return NULL;
  memcpy(path, directory, length);
  path[length] = '/';
  strcpy(path + length + 1, name);
  if (is_program(path)) return path;
  free(path);
  return NULL;
}

/* The file behind one line of /proc/self/maps, or NULL when `address` is not in its range. */
static char* file_of_line(char* line, unsigned long address) {
  unsigned long begin = 0, end = 0;
  if (sscanf(line, "%lx-%lx", &begin, &end) != 2 || address < begin || address >= end) return NULL;
  char* path = strchr(line, '/');
  if (path != NULL) path[strcspn(path, "\n")] = '\0';
  return path;
}

/* The file that this code was loaded from: libcr.so, or a program linked statically. */
static int own_file(char* path, size_t size) {
  char line[PATH_MAX + 128];
  FILE* maps = fopen("/proc/self/maps", "re");
  int found = 0;
  if (maps == NULL) return 0;
  while (!found && fgets(line, sizeof line, maps) != NULL) {
    const char* file = file_of_line(line, (unsigned long)(uintptr_t)&cri_helper_path);
    if (file == NULL || strlen(file) >= size) continue;
    strcpy(path, file);
    found = 1;
  }
  fclose(maps);
  return found;
}

static char* find_beside_library(void) {
  char file[PATH_MAX];
  if (!own_file(file, sizeof file)) return NULL;
  const size_t length = (size_t)(strrchr(file, '/') - file);
  for (size_t i = 0; i < sizeof beside_library / sizeof beside_library[0]; ++i) {
    char* path = program_in(file, length, beside_library[i]);
    if (path != NULL) return path;
  }
  return NULL;
}

/* Beside the commands: of a program that is linked statically nothing else tells where they are. */
static char* find_in_search_path(void) {
  const char* list = getenv("PATH");
  while (list != NULL && *list != '\0') {
    const size_t length = strcspn(list, ":");
    char* path = length > 0 ? program_in(list, length, "cr_helper") : NULL;
    if (path == NULL && length > 0) path = program_in(list, length, beside_library[0]);
    if (path != NULL) return path;
    list += length + (list[length] == ':');
  }
  return NULL;
}

char* cri_helper_path(void) {
  const int trusted = getauxval(AT_SECURE) == 0; /* the environment is the user's own */
  const char* told = trusted ? getenv("STASIS_HELPER") : NULL;
  if (told != NULL && *told != '\0') return strdup(told);
  char* path = find_beside_library();
  if (path == NULL && is_program(STASIS_HELPER_PATH)) path = strdup(STASIS_HELPER_PATH);
  if (path == NULL && trusted) path = find_in_search_path();
  if (path == NULL) errno = ENOSYS; /* what a kernel without BLCR's module said */
  return path;
}

/* All of ours but LD_PRELOAD: what it names is for the program, and may be libcr itself. */
char** cri_helper_environment(void) {
  size_t count = 0, kept = 0;
  while (environ != NULL && environ[count] != NULL) ++count;
  char** list = calloc(count + 1, sizeof *list);
  if (list == NULL) return NULL;
  for (size_t i = 0; i < count && environ[i] != NULL; ++i) {
    if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0) list[kept++] = environ[i];
  }
  return list;
}
