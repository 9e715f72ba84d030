/*
 * Names below /proc that BLCR's kernel module had. Stasis needs no module and makes no such files:
 * the names are here for sources that mention them, and opening one fails with ENOENT.
 */
#ifndef STASIS_BLCR_PROC_H
#define STASIS_BLCR_PROC_H

#define CR_CTRL_FILE "/proc/checkpoint/ctrl"

#endif /* STASIS_BLCR_PROC_H */
