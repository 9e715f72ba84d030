/* Registering callbacks. Lists are changed inside a critical section, that is, never while a
 * checkpoint reads them; callbacks of the thread context are shared, so a lock as well. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct cri_callbacks cri_thread_callbacks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void cri_count_registered(int was, int is) {
  if (was != is) (void)cri_add(&cri_block_get()->registered, (uint32_t)(is - was));
}

struct cri_callbacks* cri_own_callbacks(void) {
  return cri_self.is_callback_thread ? &cri_thread_callbacks : &cri_self.signal_callbacks;
}

static struct cri_callbacks* list_of(int context) {
  return context == CR_THREAD_CONTEXT ? &cri_thread_callbacks : &cri_self.signal_callbacks;
}

static int is_context(int flags) {
  return flags == CR_SIGNAL_CONTEXT || flags == CR_THREAD_CONTEXT;
}

static int grow(struct cri_callbacks* list) {
  if (list->count == CR_MAX_CALLBACKS) return ENOSPC;
  if (list->count < list->capacity) return 0;
  const uint32_t capacity = list->capacity == 0 ? 8 : 2 * list->capacity;
  struct cri_callback* items = realloc(list->items, capacity * sizeof *items);
  if (items == NULL) return ENOMEM;
  list->items = items;
  list->capacity = capacity;
  return 0;
}

static int add(int context, struct cri_callback callback, cr_callback_id_t* id) {
  struct cri_callbacks* list = list_of(context);
  int error = grow(list);
  if (error == 0 && context == CR_THREAD_CONTEXT) error = cri_callback_thread_start();
  if (error != 0) return error;
  *id = (int)list->count | context;
  list->items[list->count++] = callback;
  cri_count_registered(0, callback.func != NULL);
  return 0;
}

static int replace(int context, uint32_t index, struct cri_callback callback) {
  struct cri_callbacks* list = list_of(context);
  if (index >= list->count) return EINVAL;
  struct cri_callback* place = &list->items[index];
  cri_count_registered(place->func != NULL, callback.func != NULL);
  *place = callback;
  return 0;
}

/* What keeps the calling thread from registering; 0: nothing. */
static int obstacle(int context) {
  if (cri_in_callback()) return EBUSY;
  if (!cri_thread_known()) return CR_ENOINIT;
  return is_context(context) ? 0 : EINVAL;
}

CRI_PUBLIC cr_callback_id_t cr_register_callback(cr_callback_t func, void* arg, int context) {
  cr_callback_id_t id = -1;
  int error = obstacle(context);
  if (error != 0) return cri_error(error);
  cri_enter();
  pthread_mutex_lock(&lock);
  error = add(context, (struct cri_callback){func, arg}, &id);
  pthread_mutex_unlock(&lock);
  cri_leave();
  return error == 0 ? id : cri_error(error);
}

CRI_PUBLIC int cr_replace_callback(cr_callback_id_t id, cr_callback_t func, void* arg,
                                   int context) {
  int error = obstacle(context);
  if (error == 0 && (id < 0 || (id & ~CR_MAX_CALLBACKS) != context)) error = EINVAL;
  if (error != 0) return cri_error(error);
  cri_enter();
  pthread_mutex_lock(&lock);
  error = replace(context, (uint32_t)(id & CR_MAX_CALLBACKS), (struct cri_callback){func, arg});
  pthread_mutex_unlock(&lock);
  cri_leave();
  return error == 0 ? 0 : cri_error(error);
}

/* In a callback nobody else changes the list: the gate is closed, and only this thread runs it. */
CRI_PUBLIC int cr_replace_self(cr_callback_t func, void* arg, int context) {
  const struct cri_frame* frame = cri_self.frame;
  if (frame == NULL) return cri_error(CR_ENOTCB);
  const int own = cri_self.is_callback_thread ? CR_THREAD_CONTEXT : CR_SIGNAL_CONTEXT;
  if (context != own) return cri_error(EINVAL);
  const int error = replace(context, frame->index, (struct cri_callback){func, arg});
  return error == 0 ? 0 : cri_error(error);
}

void cri_callbacks_release(struct cri_callbacks* list) {
  for (uint32_t i = 0; i < list->count; ++i) {
    cri_count_registered(list->items[i].func != NULL, 0);
  }
  free(list->items);
  memset(list, 0, sizeof *list);
}

void cri_callbacks_forked(void) {
  static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
  lock = unlocked;
  memset(&cri_thread_callbacks, 0, sizeof cri_thread_callbacks);
}
