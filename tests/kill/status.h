/* What a target of the kill test shows to the outside: a file that both map. */
#ifndef STASIS_KILL_STATUS_H
#define STASIS_KILL_STATUS_H

enum { kThreads = 16 };

struct status {
  unsigned long ready;              /* 1 when everything runs */
  unsigned long progress[kThreads]; /* rounds of each activity; 0: not used */
  unsigned long signals;            /* handled */
  unsigned long epoll_eintr;        /* epoll_wait said EINTR */
  char failure[256];                /* the first thing that was wrong; empty: nothing */
  unsigned long handler, restorer;  /* addresses: where threads may be sent */
  unsigned long handled;            /* how often they were */
};

#endif
