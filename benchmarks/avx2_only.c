// Shows programs a processor without AVX-512 and AMX, so that all engines are timed as they run on an
// AVX2 machine. Linux on x86-64, where the kernel can trap CPUID (`cpuid_fault` in /proc/cpuinfo):
//
//     cc -O2 -shared -fPIC -o avx2_only.so benchmarks/avx2_only.c
//     LD_PRELOAD=./avx2_only.so python benchmarks/engines.py
//
// CPUID raises SIGSEGV in every thread; the handler answers in its place, without the bits of the newer
// instructions. Clock, caches and memory stay those of the machine.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_CPUID = 0x1012 };

static long trap(int on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on); }

static void hide(unsigned leaf, unsigned subleaf, unsigned* a, unsigned* b, unsigned* c,
                 unsigned* d) {
  if (leaf == 7 && subleaf == 0) {
    *b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
    *c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);        // AVX-512 of bytes and bits
    *d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);  // FP16, AMX
  } else if (leaf == 7 && subleaf == 1) {
    *a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);  // AVX-VNNI, AVX-512 BF16, AMX FP16, AVX-IFMA
    *d &= ~(1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19);
  } else if (leaf == 0x1d || leaf == 0x1e || leaf == 0x24) {
    *a = *b = *c = *d = 0;
  }
}

static void answer(int number, siginfo_t* info, void* context) {
  (void)info;
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const unsigned char* at = (const unsigned char*)registers[REG_RIP];
  if (at[0] != 0x0f || at[1] != 0xa2) {  // no CPUID: a fault of the program
    signal(number, SIG_DFL);
    return;
  }
  const unsigned leaf = (unsigned)registers[REG_RAX], subleaf = (unsigned)registers[REG_RCX];
  unsigned a, b, c, d;
  trap(0);
  __cpuid_count(leaf, subleaf, a, b, c, d);
  trap(1);
  hide(leaf, subleaf, &a, &b, &c, &d);
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, NULL);
  if (trap(1) != 0) {
    fputs("avx2_only: this kernel or processor cannot trap CPUID.\n", stderr);
    exit(1);
  }
}
