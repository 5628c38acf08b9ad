/* Products modulo the square of an odd number P, one at a time, with MULX, ADCX and ADOX.
 *
 * The numbers and the formulas are those of _ifma_pairs.h: a residue x modulo P^2 is a pair (a, b)
 * with x = a + b P, here of n words of 64 bits each, in Montgomery form with R = 2^(64 n):
 *
 *     T = a c,  m = -T / P mod R,  t = (T + m P) / R
 *     x y / R = t + u P,   u = (a d + b c + ~m + K) / R modulo P,   K = 1 - R mod P
 *
 * A product is 5 n^2 multiplications of words, a square 4 n^2; GMP takes 8 n^2 and 6 n^2 for P^2 as
 * a whole, with other code for other sizes.
 *
 * Bounds. Let every a, b be below 2 P, and 64 P <= R. As there, t and u are below 2 P: nothing is
 * ever subtracted, and no step depends on data. Word by word (`w = 2^64 - 1`): the first sum is at
 * most S = 3 P before a step, for (S + 2 P w + P w) / 2^64 <= 3 P, and S + 3 P w < 2^(64 n + 64);
 * the second begins below R + P, and R + P + 5 P w < 2^(64 n + 64) likewise. So the n + 1 words that
 * a step works on hold its sum, and the carries of its rows add up without a carry of their own.
 *
 * A row is one number times one word, added to another: two chains of carries that do not wait for
 * each other (Ozturk, Guilford, Gopal, "Large Integer Squaring on Intel Architecture Processors",
 * Intel white paper, 2013).
 *
 * Included by _adx.c.
 */

/* t[0 .. n-1] += a[0 .. n-1] * b for an odd n; return the carry. Offsets count in the assembler. */
#define ROW(N)                                                                                \
    static inline __attribute__((always_inline)) uint64_t row_##N(                            \
        uint64_t *t, const uint64_t *a, uint64_t b)                                           \
    {                                                                                         \
        uint64_t low, even, odd, zero;                                                        \
        __asm__ volatile("xorl %k[zero], %k[zero]\n\t"                                        \
                         "mulx (%[a]), %[low], %[even]\n\t"                                   \
                         "adcx (%[t]), %[low]\n\t"                                            \
                         "movq %[low], (%[t])\n\t"                                            \
                         ".set .Lfraudfed_at, 8\n\t"                                          \
                         ".rept %c[pairs]\n\t"                                                \
                         "mulx .Lfraudfed_at(%[a]), %[low], %[odd]\n\t"                       \
                         "adox %[even], %[low]\n\t"                                           \
                         "adcx .Lfraudfed_at(%[t]), %[low]\n\t"                               \
                         "movq %[low], .Lfraudfed_at(%[t])\n\t"                               \
                         "mulx .Lfraudfed_at+8(%[a]), %[low], %[even]\n\t"                    \
                         "adox %[odd], %[low]\n\t"                                            \
                         "adcx .Lfraudfed_at+8(%[t]), %[low]\n\t"                             \
                         "movq %[low], .Lfraudfed_at+8(%[t])\n\t"                             \
                         ".set .Lfraudfed_at, .Lfraudfed_at+16\n\t"                           \
                         ".endr\n\t"                                                          \
                         "adcx %[zero], %[even]\n\t"                                          \
                         "adox %[zero], %[even]\n\t"                                          \
                         : [low] "=&r"(low), [even] "=&r"(even), [odd] "=&r"(odd),            \
                           [zero] "=&r"(zero)                                                 \
                         : [t] "r"(t), [a] "r"(a), "d"(b), [pairs] "i"(((N) - 1) / 2)         \
                         : "memory", "cc");                                                   \
        return even;                                                                          \
    }

/* One modulus; see MODULUS_WORDS. */
typedef struct {
    const uint64_t *p, *k, *r2;
    uint64_t inverse; /* -1/P mod 2^64 */
} modulus;

/* (a, b) * (c, d), or (a, b)^2 if `y` is NULL. `out` may overlap the factors. */
#define MULTIPLY(N)                                                                           \
    ROW(N)                                                                                    \
    static __attribute__((noinline)) void mul_##N(uint64_t *out, const uint64_t *x,           \
                                                  const uint64_t *y, const modulus *mod)      \
    {                                                                                         \
        const uint64_t *const a = x, *const b = x + (N);                                      \
        const uint64_t *const c = y == NULL ? x : y;                                          \
        uint64_t low[2 * (N) + 1] = {0}, high[2 * (N) + 1] = {0}, m[N], twice[N];             \
        for (int i = 0; i < (N); i++) {                                                       \
            uint64_t carry = row_##N(low + i, a, c[i]);                                       \
            m[i] = low[i] * mod->inverse;                                                     \
            low[i + (N)] = carry + row_##N(low + i, mod->p, m[i]);                            \
        }                                                                                     \
        unsigned __int128 sum = 0;                                                            \
        for (int i = 0; i < (N); i++) {                                                       \
            sum += (unsigned __int128)~m[i] + mod->k[i];                                      \
            high[i] = (uint64_t)sum;                                                          \
            sum >>= 64;                                                                       \
        }                                                                                     \
        high[N] = (uint64_t)sum;                                                              \
        if (y == NULL)                                                                        \
            for (int i = (N) - 1; i >= 0; i--)                                                \
                twice[i] = a[i] << 1 | (i > 0 ? a[i - 1] >> 63 : 0);                          \
        for (int i = 0; i < (N); i++) {                                                       \
            uint64_t carry;                                                                   \
            if (y == NULL) {                                                                  \
                carry = row_##N(high + i, twice, b[i]);                                       \
            } else {                                                                          \
                carry = row_##N(high + i, a, y[(N) + i]);                                     \
                carry += row_##N(high + i, b, c[i]);                                          \
            }                                                                                 \
            high[i + (N)] += carry + row_##N(high + i, mod->p, high[i] * mod->inverse);       \
        }                                                                                     \
        memcpy(out, low + (N), 8 * (N));                                                      \
        memcpy(out + (N), high + (N), 8 * (N));                                               \
    }

MULTIPLY(17)
MULTIPLY(25)
MULTIPLY(33)
MULTIPLY(49)

static void mul(uint64_t *out, const uint64_t *x, const uint64_t *y, const modulus *mod, int n)
{
    switch (n) {
    case 17: mul_17(out, x, y, mod); break;
    case 25: mul_25(out, x, y, mod); break;
    case 33: mul_33(out, x, y, mod); break;
    default: mul_49(out, x, y, mod); break;
    }
}

static void sqr(uint64_t *out, const uint64_t *x, const modulus *mod, int n)
{
    mul(out, x, NULL, mod, n);
}

static modulus load_modulus(const uint64_t *words, int n)
{
    return (modulus){words, words + n, words + 2 * n, words[4 * n]};
}
