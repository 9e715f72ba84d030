/* libcr_omit: a process that has it is left out of checkpoints. */
#include "stub.h"

__attribute__((visibility("default"))) struct cri_stub_link cr_omit_link_me = {0};

__attribute__((constructor(101))) static void start(void) {
  cri_stub_start(&cr_omit_link_me, CRI_KIND_OMIT);
}
