#include "textflag.h"

// BLOCK adds 16 bytes of m to both sums: the words at (SI) plus those of the key
// at (DI), and plus those two further on. The compiler spills the sums; here they
// stay where they are.
#define BLOCK(at) \
	MOVQ at(SI), R12; \
	MOVQ at+8(SI), R13; \
	MOVQ at(DI), AX; \
	MOVQ at+8(DI), DX; \
	ADDQ R12, AX; \
	ADDQ R13, DX; \
	MULQ DX; \
	ADDQ AX, R8; \
	ADCQ DX, R9; \
	ADDQ at+16(DI), R12; \
	ADDQ at+24(DI), R13; \
	MOVQ R12, AX; \
	MULQ R13; \
	ADDQ AX, R10; \
	ADCQ DX, R11

// func nhWhole(m *byte, k *uint64, chunks int) (a, b wide)
TEXT ·nhWhole(SB), NOSPLIT, $0-56
	MOVQ m+0(FP), SI
	MOVQ k+8(FP), DI
	MOVQ chunks+16(FP), CX
	XORL R8, R8
	XORL R9, R9
	XORL R10, R10
	XORL R11, R11
	JMP  more

next:
	BLOCK(0)
	BLOCK(16)
	BLOCK(32)
	BLOCK(48)
	ADDQ $64, SI
	ADDQ $64, DI
	DECQ CX

more:
	TESTQ CX, CX
	JNE   next
	MOVQ R8, a_lo+24(FP)
	MOVQ R9, a_hi+32(FP)
	MOVQ R10, b_lo+40(FP)
	MOVQ R11, b_hi+48(FP)
	RET
