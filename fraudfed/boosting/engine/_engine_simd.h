/* Which of the variants of a kernel this CPU may run. They differ in width, never in a bit. */
#ifndef FRAUDFED_ENGINE_SIMD_H
#define FRAUDFED_ENGINE_SIMD_H

enum { SIMD_NONE, SIMD_AVX2, SIMD_AVX512 };

#if defined(__x86_64__)
#define WITH_AVX2 __attribute__((target("avx2")))
#define WITH_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl")))
#endif

/* The widest level of the CPU, but none above `widest`. */
static int simd_level(int widest)
{
#if defined(__x86_64__)
    if (widest >= SIMD_AVX512 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return SIMD_AVX512;
    if (widest >= SIMD_AVX2 && __builtin_cpu_supports("avx2"))
        return SIMD_AVX2;
#else
    (void)widest;
#endif
    return SIMD_NONE;
}

#endif
