# A guest of 512 bytes: it enters 64-bit mode, works for a while, says so on the first serial port, and halts.
# `as --64 -o probe.o probe.S && objcopy -O binary -j .text probe.o probe.bin` makes SECTOR in probe.py.
    .code16
    .org 0
start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    movw $0x1000, %di               # page tables at 0x1000: the first 2 MiB, mapped onto themselves
    xorl %eax, %eax
    movw $0x0c00, %cx
    cld
    rep stosl
    movl $0x2003, 0x1000
    movl $0x3003, 0x2000
    movl $0x0083, 0x3000
    movl $0xa0, %eax                # CR4: PAE, PGE
    movl %eax, %cr4
    movl $0x1000, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx          # EFER: LME
    rdmsr
    orw $0x100, %ax
    wrmsr
    movl $0x80000011, %eax          # CR0: PG, ET, PE
    movl %eax, %cr0
    lgdt gdtr - start + 0x7c00
    ljmpl $8, $(long - start + 0x7c00)
    .code64
long:
    movl $0x4000000, %ecx           # 67 million times: no time for a processor, long for one that is interpreted
work:
    addl %ecx, 0x5000
    decl %ecx
    jnz work
    movq $(message - start + 0x7c00), %rsi
    movw $0x3f8, %dx
next:
    lodsb
    testb %al, %al
    jz done
    outb %al, %dx
    jmp next
done:
    hlt
    jmp done
    .align 8
gdt:
    .quad 0
    .quad 0x00209a0000000000
gdtr:
    .word 15
    .long gdt - start + 0x7c00
message:
    .asciz "64-bit guest runs\r\n"
    .org 510
    .word 0xaa55
