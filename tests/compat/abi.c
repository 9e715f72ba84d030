/*
 * The binary interface: sizes, offsets, values and types. abi_cxx.cc compiles the same as C++. What
 * concerns the library files themselves is in compat_files.py.
 */
#include <blcr_common.h>
#include <blcr_errcodes.h>
#include <blcr_ioctl.h>
#include <blcr_proc.h>
#include <stddef.h>

#include "compat.h"

CP_CASE(sizes_and_offsets_of_structs) {
  CHECK_EQ(sizeof(cr_checkpoint_args_t), 28);
  CHECK_EQ(offsetof(cr_checkpoint_args_t, cr_version), 0);
  CHECK_EQ(offsetof(cr_checkpoint_args_t, cr_scope), 4);
  CHECK_EQ(offsetof(cr_checkpoint_args_t, cr_target), 8);
  CHECK_EQ(offsetof(cr_checkpoint_args_t, cr_fd), 12);
  CHECK_EQ(offsetof(cr_checkpoint_args_t, cr_signal), 16);
  CHECK_EQ(offsetof(cr_checkpoint_args_t, cr_timeout), 20);
  CHECK_EQ(offsetof(cr_checkpoint_args_t, cr_flags), 24);
  CHECK_EQ(sizeof(cr_restart_args_t), 24);
  CHECK_EQ(offsetof(cr_restart_args_t, cr_version), 0);
  CHECK_EQ(offsetof(cr_restart_args_t, cr_fd), 4);
  CHECK_EQ(offsetof(cr_restart_args_t, cr_signal), 8);
  CHECK_EQ(offsetof(cr_restart_args_t, cr_flags), 12);
  CHECK_EQ(offsetof(cr_restart_args_t, cr_relocate), 16);
  CHECK_EQ(sizeof(struct cr_checkpoint_info), 32);
  CHECK_EQ(offsetof(struct cr_checkpoint_info, signal), 0);
  CHECK_EQ(offsetof(struct cr_checkpoint_info, dest), 8);
  CHECK_EQ(offsetof(struct cr_checkpoint_info, requester), 16);
  CHECK_EQ(offsetof(struct cr_checkpoint_info, target), 20);
  CHECK_EQ(offsetof(struct cr_checkpoint_info, scope), 24);
  CHECK_EQ(sizeof(struct cr_restart_info), 16);
  CHECK_EQ(offsetof(struct cr_restart_info, requester), 0);
  CHECK_EQ(offsetof(struct cr_restart_info, src), 8);
  CHECK_EQ(offsetof(struct cr_rstrt_relocate, count), 0);
  CHECK_EQ(offsetof(struct cr_rstrt_relocate, path), 8);
  CHECK_EQ(sizeof(((struct cr_rstrt_relocate*)NULL)->path[0]), 16);
  CHECK_EQ(sizeof(struct cr_checkpoint_args), sizeof(cr_checkpoint_args_t));
  CHECK_EQ(sizeof(struct cr_restart_args), sizeof(cr_restart_args_t));
}

CP_CASE(sizes_of_types) {
  CHECK_EQ(sizeof(cr_version_t), 4);
  CHECK_EQ(sizeof(cr_client_id_t), 4);
  CHECK_EQ(sizeof(cr_callback_id_t), 4);
  CHECK_EQ(sizeof(cr_spinlock_t), 4);
  CHECK_EQ(sizeof(cr_scope_t), 4);
  CHECK_EQ(sizeof(cr_hook_event_t), 4);
  CHECK_EQ(sizeof(cr_checkpoint_handle_t), sizeof(unsigned long));
  CHECK_EQ(sizeof(cr_restart_handle_t), sizeof(unsigned long));
  CHECK_EQ(sizeof(cr_callback_t), sizeof(void*));
  CHECK_EQ(sizeof(cr_hook_fn_t), sizeof(void*));
  CHECK((cr_client_id_t)-1 < 0);
  CHECK((cr_callback_id_t)-1 < 0);
  CHECK((cr_version_t)-1 < 0);
  CHECK((cr_spinlock_t)-1 > 0);
  CHECK((cr_checkpoint_handle_t)-1 > 0);
}

CP_CASE(values_of_scopes_states_and_flags) {
  CHECK_EQ(CR_SCOPE_PROC, 0);
  CHECK_EQ(CR_SCOPE_PGRP, 1);
  CHECK_EQ(CR_SCOPE_SESS, 2);
  CHECK_EQ(CR_SCOPE_TREE, 3);
  CHECK_EQ(CR_STATE_IDLE, 0);
  CHECK_EQ(CR_STATE_PENDING, 1);
  CHECK_EQ(CR_STATE_ACTIVE, 2);
  CHECK_EQ(CR_DEST_CWD, -4096);
  CHECK_EQ(CR_CHKPT_PROHIBIT_SELF, 1);
  CHECK_EQ(CR_CHKPT_PTRACED_ALLOW, 2);
  CHECK_EQ(CR_CHKPT_PTRACED_SKIP, 4);
  CHECK_EQ(CR_CHKPT_PTRACER_SKIP, 8);
  CHECK_EQ(CR_CHKPT_ASYNC_ERR, 0x10);
  CHECK_EQ(CR_CHKPT_DUMP_EXEC, 0x200);
  CHECK_EQ(CR_CHKPT_DUMP_PRIVATE, 0x400);
  CHECK_EQ(CR_CHKPT_DUMP_SHARED, 0x800);
  CHECK_EQ(CR_CHKPT_DUMP_ALL, 0xE00);
  CHECK_EQ(CR_RSTRT_ASYNC_ERR, 1);
  CHECK_EQ(CR_RSTRT_RESTORE_PID, 2);
  CHECK_EQ(CR_RSTRT_RESTORE_PGID, 4);
  CHECK_EQ(CR_RSTRT_RESTORE_SID, 8);
  CHECK_EQ(CR_MAX_RSTRT_RELOC, 16);
  CHECK_EQ(CR_CHECKPOINT_ARGS_VERSION, 1);
  CHECK_EQ(CR_RESTART_ARGS_VERSION, 1);
}

CP_CASE(values_for_callbacks_hooks_and_holds) {
  CHECK_EQ(CR_THREAD_CONTEXT, 0x4000000);
  CHECK_EQ(CR_SIGNAL_CONTEXT, 0x2000000);
  CHECK_EQ(CR_MAX_CALLBACKS, 0x1FFFFFF);
  CHECK_EQ(CR_ID_CALLBACK, -1);
  CHECK_EQ(CR_SPINLOCK_INITIALIZER, 0);
  CHECK_EQ(CR_CHECKPOINT_READY, 0);
  CHECK_EQ(CR_CHECKPOINT_TEMP_FAILURE, 1);
  CHECK_EQ(CR_CHECKPOINT_PERM_FAILURE, 2);
  CHECK_EQ(CR_CHECKPOINT_OMIT, 4);
  CHECK_EQ(CR_CHECKPOINT_TEMP_FAILURE_CODE(0x123), 0x1230001);
  CHECK_EQ(CR_CHECKPOINT_PERM_FAILURE_CODE(0x123), 0x1230002);
  CHECK_EQ(CR_HOOK_CONT_SIGNAL_CONTEXT, 0);
  CHECK_EQ(CR_HOOK_CONT_THREAD_CONTEXT, 1);
  CHECK_EQ(CR_HOOK_CONT_NO_CALLBACKS, 2);
  CHECK_EQ(CR_HOOK_RSTRT_SIGNAL_CONTEXT, 3);
  CHECK_EQ(CR_HOOK_RSTRT_THREAD_CONTEXT, 4);
  CHECK_EQ(CR_HOOK_RSTRT_NO_CALLBACKS, 5);
  CHECK_EQ(CR_NUM_HOOKS, 6);
  CHECK(CR_HOOK_FN_ERROR == (cr_hook_fn_t)~0UL);
  CHECK_EQ(CR_HOLD_SCOPE_THREAD, 0);
  CHECK_EQ(CR_HOLD_SCOPE_INIT, 1);
  CHECK_EQ(CR_HOLD_SCOPE_UNINIT, 2);
  CHECK_EQ(CR_HOLD_READ, -1);
  CHECK_EQ(CR_HOLD_NONE, 0);
  CHECK_EQ(CR_HOLD_CONT, 1);
  CHECK_EQ(CR_HOLD_RSTRT, 2);
  CHECK_EQ(CR_HOLD_BOTH, 3);
  CHECK_EQ(CR_HOLD_DFLT, 4);
  CHECK_EQ(CR_POLL_CHKPT_ERR_PRE, -1);
  CHECK_EQ(CR_POLL_CHKPT_ERR_POST, -2);
  CHECK_EQ(CR_POLL_CHKPT_ERR_LOG, -3);
  CHECK_EQ(CR_POLL_RSTRT_ERR_PRE, -1);
  CHECK_EQ(CR_POLL_RSTRT_ERR_POST, -2);
  CHECK_EQ(CR_POLL_RSTRT_ERR_LOG, -3);
}

CP_CASE(values_of_error_codes) {
  CHECK_EQ(CR_MIN_ERRCODE, 2353);
  CHECK_EQ(CR_ETEMPFAIL, 2354);
  CHECK_EQ(CR_EPERMFAIL, 2355);
  CHECK_EQ(CR_ENOSUPPORT, 2356);
  CHECK_EQ(CR_EVERSION, 2357);
  CHECK_EQ(CR_EOMITTED, 2358);
  CHECK_EQ(CR_EBADARCH, 2359);
  CHECK_EQ(CR_EPTRACED, 2360);
  CHECK_EQ(CR_EPTRACER, 2361);
  CHECK_EQ(CR_ERSTRTABRT, 2362);
  CHECK_EQ(CR_ERESTARTED, 2363);
  CHECK_EQ(CR_ENOTCB, 2364);
  CHECK_EQ(CR_ENOINIT, 2365);
  CHECK_EQ(CR_MAX_ERRCODE, 2366);
}

CP_CASE(types_of_functions) {
  cr_client_id_t (*init)(void) = cr_init;
  cr_callback_id_t (*callback)(cr_callback_t, void*, int) = cr_register_callback;
  int (*replace)(cr_callback_id_t, cr_callback_t, void*, int) = cr_replace_callback;
  int (*self)(cr_callback_t, void*, int) = cr_replace_self;
  cr_hook_fn_t (*hook)(cr_hook_event_t, cr_hook_fn_t) = cr_register_hook;
  int (*sections[])(cr_client_id_t) = {cr_enter_cs, cr_tryenter_cs, cr_leave_cs};
  int (*plain[])(void) = {cr_status, cr_inc_persist, cr_dec_persist};
  int (*checkpoint)(int) = cr_checkpoint;
  int (*hold)(int, int) = cr_hold_ctrl;
  int (*forward)(cr_scope_t, pid_t) = cr_forward_checkpoint;
  const struct cr_checkpoint_info* (*info)(void) = cr_get_checkpoint_info;
  const struct cr_restart_info* (*restart_info)(void) = cr_get_restart_info;
  void (*locks[])(cr_spinlock_t*) = {cr_spinlock_init, cr_spinlock_lock, cr_spinlock_unlock};
  int (*trylock)(cr_spinlock_t*) = cr_spinlock_trylock;
  const char* (*text)(int) = cr_strerror;
  CHECK(init && callback && replace && self && hook && sections[2] && plain[2] && checkpoint &&
        hold && forward && info && restart_info && locks[2] && trylock && text);
}

CP_CASE(types_of_request_functions) {
  int (*ask)(cr_checkpoint_args_t*, cr_checkpoint_handle_t*) = cr_request_checkpoint;
  int (*wait[])(cr_checkpoint_handle_t*, struct timeval*) = {cr_wait_checkpoint,
                                                             cr_poll_checkpoint};
  int (*log)(cr_checkpoint_handle_t*, unsigned int, char*) = cr_log_checkpoint;
  int (*reap)(cr_checkpoint_handle_t*) = cr_reap_checkpoint;
  int (*poll_msg)(cr_checkpoint_handle_t*, struct timeval*, char**) = cr_poll_checkpoint_msg;
  int (*ask_restart)(cr_restart_args_t*, cr_restart_handle_t*) = cr_request_restart;
  int (*wait_restart[])(cr_restart_handle_t*, struct timeval*) = {cr_wait_restart, cr_poll_restart};
  int (*log_restart)(cr_restart_handle_t*, unsigned int, char*) = cr_log_restart;
  int (*reap_restart)(cr_restart_handle_t*) = cr_reap_restart;
  int (*poll_restart_msg)(cr_restart_handle_t*, struct timeval*, char**) = cr_poll_restart_msg;
  int (*init_args)(cr_version_t, cr_checkpoint_args_t*) = cri_init_checkpoint_args_t;
  int (*init_restart_args)(cr_version_t, cr_restart_args_t*) = cri_init_restart_args_t;
  CHECK(ask && wait[1] && log && reap && poll_msg && ask_restart && wait_restart[1] &&
        log_restart && reap_restart && poll_restart_msg && init_args && init_restart_args);
}

CP_CASE(initializer_is_a_constant) {
  static cr_spinlock_t lock = CR_SPINLOCK_INITIALIZER;
  CHECK(cr_spinlock_trylock(&lock));
  CHECK(!strcmp(CR_CTRL_FILE, "/proc/checkpoint/ctrl"));
}

CP_CASE(versions_of_the_release) {
  CHECK_EQ(CR_RELEASE_MAJOR, 0);
  CHECK_EQ(CR_RELEASE_MINOR, 8);
  CHECK_EQ(CR_RELEASE_PATCH, 6);
  CHECK_EQ(LIBCR_MAJOR, 0);
  CHECK_EQ(LIBCR_MINOR, 5);
  CHECK_EQ(LIBCR_PATCH, 5);
  CHECK_EQ(CR_MODULE_MAJOR, 0);
  CHECK_EQ(CR_MODULE_MINOR, 10);
  CHECK_EQ(CR_MODULE_PATCH, 3);
  CHECK(!strcmp(CR_RELEASE_VERSION, "0.8.6"));
  CHECK(!strcmp(LIBCR_VERSION, "0.5.5"));
  CHECK(!strcmp(CR_MODULE_VERSION, "0.10.3"));
  CHECK_EQ(CR_SIGNUM, 64);
}

CP_CASE(relocations_are_allocated_by_their_size) {
  CHECK_EQ(sizeof(struct cr_rstrt_relocate_pair), 16);
  CHECK_EQ(offsetof(struct cr_rstrt_relocate_pair, newpath), 8);
  CHECK_EQ(CR_RSTRT_RELOCATE_SIZE(0), 8);
  CHECK_EQ(CR_RSTRT_RELOCATE_SIZE(CR_MAX_RSTRT_RELOC), 8 + 16 * 16);
  struct cr_rstrt_relocate* paths = (struct cr_rstrt_relocate*)calloc(1, CR_RSTRT_RELOCATE_SIZE(2));
  CHECK(paths != NULL);
  struct cr_rstrt_relocate_pair* second = &paths->path[1];
  CHECK_EQ((char*)second - (char*)paths, 24);
  free(paths);
}

CP_CASE(arguments_of_the_kernel_module) {
  CHECK_EQ(sizeof(struct cr_chkpt_args), 28);
  CHECK_EQ(sizeof(struct cr_fwd_args), 8);
  CHECK_EQ(sizeof(struct cr_rstrt_args), 24);
  CHECK_EQ(sizeof(struct cr_procs_tbl), 8);
  CHECK_EQ(sizeof(struct cr_chkpt_info), 24);
  CHECK_EQ(sizeof(struct cr_log_args), 16);
  CHECK_EQ(CR_OP_CHKPT_REQ, 0x4008a110);
  CHECK_EQ(CR_OP_RSTRT_REAP, 0xa122);
  CHECK(open(CR_CTRL_FILE, O_WRONLY) < 0 && errno == ENOENT);
}

/* Names that the preprocessor has to know, as sources choose by them. */
CP_CASE(names_are_macros) {
#if !defined CR_SIGNUM || !defined CR_RSTRT_RELOCATE_SIZE || !defined CR_CHECKPOINT_ABORT_MASK || \
    !defined CR_HOLD_BOTH || !defined CR_HOLD_READ || !defined CR_CHKPT_ASYNC_ERR ||              \
    !defined CR_CHECKPOINT_TEMP_FAILURE_CODE || !defined CR_DEST_CWD || !defined CR_OP_VERSION
  cp_fail("a name is no macro");
#endif
#if CR_RELEASE_MAJOR <= 0 && CR_RELEASE_MINOR < 6 /* as Open MPI asks */
  cp_fail("older than 0.6.0");
#endif
  CHECK_EQ(CR_CHECKPOINT_ABORT_MASK, 7);
}
