// The linked stub as bytes of the engine (found by stub.h).
        .section .rodata
        .balign 16
        .globl stasis_stub_start
        .globl stasis_stub_end
        .hidden stasis_stub_start
        .hidden stasis_stub_end
stasis_stub_start:
        .incbin STUB_FILE
stasis_stub_end:
        .byte 0
        .section .note.GNU-stack, "", %progbits
