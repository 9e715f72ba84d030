/*
 * cr_replace_callback() and cr_replace_self().
 */
#include "compat.h"

static char* const letters[] = {(char*)"a", (char*)"b", (char*)"c", (char*)"d"};

static void takes_the_place(int context) {
  cr_callback_id_t ids[3];
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 3; i++) ids[i] = cr_register_callback(cp_noting, letters[i], context);
  CHECK_EQ(cr_replace_callback(ids[1], cp_noting, letters[3], context), 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("cdaADC");
  CHECK_EQ(cr_replace_callback(ids[1], cp_noting, letters[1], context), 0);
  cp_restart("");
  CHECK_NOTES("cdaADCcba123");
}

CP_CASE(new_callback_takes_the_place_of_the_old_signal_context) {
  takes_the_place(CR_SIGNAL_CONTEXT);
}

CP_CASE(new_callback_takes_the_place_of_the_old_thread_context) {
  takes_the_place(CR_THREAD_CONTEXT);
}

static void null_disables(int context) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, letters[0], context) >= 0);
  cr_callback_id_t id = cr_register_callback(cp_noting, letters[1], context);
  CHECK_EQ(cr_replace_callback(id, NULL, letters[2], context), 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("aA");
  CHECK_EQ(cr_replace_callback(id, cp_noting, letters[1], context), 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("aAbaAB");
}

CP_CASE(null_disables_and_a_function_enables_again) {
  null_disables(CR_SIGNAL_CONTEXT);
}

CP_CASE(null_disables_in_thread_context_too) {
  null_disables(CR_THREAD_CONTEXT);
}

CP_CASE(all_disabled_is_no_obstacle) {
  CHECK(cr_init() >= 0);
  cr_callback_id_t one = cr_register_callback(cp_noting, letters[0], CR_SIGNAL_CONTEXT);
  cr_callback_id_t two = cr_register_callback(cp_noting, letters[0], CR_THREAD_CONTEXT);
  CHECK_EQ(cr_replace_callback(one, NULL, NULL, CR_SIGNAL_CONTEXT), 0);
  CHECK_EQ(cr_replace_callback(two, NULL, NULL, CR_THREAD_CONTEXT), 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_NOTES("");
}

CP_CASE(context_cannot_change) {
  CHECK(cr_init() >= 0);
  cr_callback_id_t mine = cr_register_callback(cp_noting, letters[0], CR_SIGNAL_CONTEXT);
  cr_callback_id_t ours = cr_register_callback(cp_noting, letters[1], CR_THREAD_CONTEXT);
  CHECK_FAILS(cr_replace_callback(mine, NULL, NULL, CR_THREAD_CONTEXT), EINVAL);
  CHECK_FAILS(cr_replace_callback(ours, NULL, NULL, CR_SIGNAL_CONTEXT), EINVAL);
  CHECK_FAILS(cr_replace_callback(mine, NULL, NULL, 0), EINVAL);
  CHECK_FAILS(cr_replace_callback(mine, NULL, NULL, CR_SIGNAL_CONTEXT | CR_THREAD_CONTEXT), EINVAL);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK(cp_noted('A') == 1 && cp_noted('B') == 1);
}

CP_CASE(unknown_ids_are_invalid) {
  CHECK(cr_init() >= 0);
  cr_callback_id_t id = cr_register_callback(cp_noting, letters[0], CR_SIGNAL_CONTEXT);
  CHECK_FAILS(cr_replace_callback(id + 1, NULL, NULL, CR_SIGNAL_CONTEXT), EINVAL);
  CHECK_FAILS(cr_replace_callback(-1, NULL, NULL, CR_SIGNAL_CONTEXT), EINVAL);
  CHECK_FAILS(cr_replace_callback(-1, NULL, NULL, CR_THREAD_CONTEXT), EINVAL);
  CHECK_FAILS(cr_replace_callback(0x12345, NULL, NULL, CR_THREAD_CONTEXT), EINVAL);
}

static cr_callback_id_t global_id;
static void* replaces_from_here(void* unused) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_replace_callback(global_id, cp_noting, letters[1], CR_THREAD_CONTEXT), 0);
  return unused;
}

CP_CASE(thread_context_ids_are_global) {
  CHECK(cr_init() >= 0);
  global_id = cr_register_callback(cp_noting, letters[0], CR_THREAD_CONTEXT);
  cp_join(cp_thread(replaces_from_here, NULL));
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("bB");
}

static void* has_none_of_that_id(void* unused) {
  CHECK(cr_init() >= 0);
  CHECK_FAILS(cr_replace_callback(global_id, NULL, NULL, CR_SIGNAL_CONTEXT), EINVAL);
  return unused;
}

CP_CASE(signal_context_ids_are_the_threads) {
  CHECK(cr_init() >= 0);
  global_id = cr_register_callback(cp_noting, letters[0], CR_SIGNAL_CONTEXT);
  cp_join(cp_thread(has_none_of_that_id, NULL));
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("aA");
}

static int replaces_inside(void* unused) {
  CHECK_FAILS(cr_replace_callback(global_id, NULL, NULL, CR_THREAD_CONTEXT), EBUSY);
  CHECK_FAILS(cr_replace_callback(global_id, NULL, NULL, CR_SIGNAL_CONTEXT), EBUSY);
  CHECK(cr_checkpoint(0) >= 0);
  CHECK_FAILS(cr_replace_callback(global_id, NULL, NULL, CR_SIGNAL_CONTEXT), EBUSY);
  cp_note('r');
  return unused != NULL;
}

CP_CASE(replacing_inside_a_callback_is_busy) {
  CHECK(cr_init() >= 0);
  global_id = cr_register_callback(replaces_inside, NULL, CR_SIGNAL_CONTEXT);
  CHECK(cr_register_callback(replaces_inside, NULL, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("rr");
}

/* ---- cr_replace_self() */

static int becomes_b(void* context) {
  int flags = *(int*)context;
  CHECK_FAILS(cr_replace_self(cp_noting, NULL, 0), EINVAL);
  CHECK_FAILS(cr_replace_self(cp_noting, NULL, (CR_THREAD_CONTEXT | CR_SIGNAL_CONTEXT) & ~flags),
              EINVAL);
  CHECK_FAILS(cr_replace_self(cp_noting, NULL, CR_THREAD_CONTEXT | CR_SIGNAL_CONTEXT), EINVAL);
  CHECK_EQ(cr_replace_self(cp_noting, letters[1], flags), 0);
  return cp_noting(letters[0]);
}

static void replaces_self(int context) {
  static int flags;
  flags = context;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, letters[2], context) >= 0);
  CHECK(cr_register_callback(becomes_b, &flags, context) >= 0);
  CHECK(cr_register_callback(cp_noting, letters[3], context) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("dacCAD");
  cp_restart("");
  CHECK_NOTES("dacCADdbc324");
}

CP_CASE(self_is_another_one_next_time_signal_context) {
  replaces_self(CR_SIGNAL_CONTEXT);
}

CP_CASE(self_is_another_one_next_time_thread_context) {
  replaces_self(CR_THREAD_CONTEXT);
}

static int only_once(void* context) {
  cp_note('o');
  CHECK(cr_checkpoint(0) >= 0);
  CHECK_EQ(cr_replace_self(NULL, NULL, *(int*)context), 0); /* after the checkpoint as well */
  return 0;
}

CP_CASE(self_disables_itself) {
  static int contexts[] = {CR_SIGNAL_CONTEXT, CR_THREAD_CONTEXT};
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 2; i++)
    CHECK(cr_register_callback(only_once, &contexts[i], contexts[i]) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("oo");
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("oo");
}

CP_CASE(self_outside_a_callback_is_enotcb) {
  CHECK_FAILS(cr_replace_self(cp_noting, NULL, CR_SIGNAL_CONTEXT), CR_ENOTCB);
  CHECK(cr_init() >= 0);
  CHECK_FAILS(cr_replace_self(cp_noting, NULL, CR_SIGNAL_CONTEXT), CR_ENOTCB);
  CHECK_FAILS(cr_replace_self(cp_noting, NULL, CR_THREAD_CONTEXT), CR_ENOTCB);
}
