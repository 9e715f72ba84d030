/* Where cri_entry() returns to: the frame that the engine left on the stack lies at the stack
 * pointer, and rt_sigreturn(2) puts the thread back where it was. Debuggers know a signal frame by
 * just these instructions. */
        .text
        .globl cri_restorer
        .hidden cri_restorer
        .type cri_restorer, @function
        nop     /* they look one byte before a return address: not into another function's end */
cri_restorer:
        movq    $15, %rax
        syscall
        hlt
        .size cri_restorer, . - cri_restorer
        .section .note.GNU-stack, "", @progbits
