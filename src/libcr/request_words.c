/* The helper's command line, a word at a time. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "request_internal.h"

void cri_words_add(struct cri_words* words, const char* format, ...) {
  va_list arguments;
  char* word = NULL;
  if (words->failed) return;
  va_start(arguments, format);
  const int length = vasprintf(&word, format, arguments);
  va_end(arguments);
  if (length < 0 || words->count == CRI_MAX_WORDS) {
    if (length >= 0) free(word);
    words->failed = 1;
    return;
  }
  words->items[words->count++] = word;
  words->items[words->count] = NULL;
}

void cri_words_begin(struct cri_words* words, const char* what) {
  *words = (struct cri_words){.count = 0};
  cri_words_add(words, "cr_helper");
  cri_words_add(words, "%s", what);
  cri_words_add(words, "0"); /* CRI_WORD_REPLY */
  cri_words_add(words, "%d", (int)getpid());
}

void cri_words_add_signal(struct cri_words* words, int number) {
  if (number < 0) cri_words_add(words, CRI_HELPER_EARLY);
  if (number != 0) cri_words_add(words, "--signal=%d", abs(number));
}

void cri_words_free(struct cri_words* words) {
  for (int i = 0; i < words->count; ++i) free(words->items[i]);
  words->count = 0;
}
