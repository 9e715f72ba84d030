/* libcr_run: a process that has it can be saved, and has no callbacks. */
#include "stub.h"

__attribute__((visibility("default"))) struct cri_stub_link cr_run_link_me = {0};

__attribute__((constructor(101))) static void start(void) {
  cri_stub_start(&cr_run_link_me, CRI_KIND_RUN);
}
