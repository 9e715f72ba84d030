/* What callbacks can ask about the request that they run for. */
#include "internal.h"

CRI_PUBLIC const struct cr_checkpoint_info* cr_get_checkpoint_info(void) {
  const struct cri_block* block = cri_block_get();
  if (cri_self.frame == NULL) return NULL;
  cri_self.checkpoint_info = (struct cr_checkpoint_info){.signal = block->signal,
                                                         .dest = block->destination,
                                                         .requester = block->requester,
                                                         .target = block->target,
                                                         .scope = (cr_scope_t)block->scope};
  return &cri_self.checkpoint_info;
}

/* The block goes on telling of the last restart when a later checkpoint continues. */
CRI_PUBLIC const struct cr_restart_info* cr_get_restart_info(void) {
  const struct cri_block* block = cri_block_get();
  if (cri_self.frame == NULL || cri_self.frame->result <= 0) return NULL;
  cri_self.restart_info =
      (struct cr_restart_info){.requester = block->restart_requester, .src = block->source};
  return &cri_self.restart_info;
}
