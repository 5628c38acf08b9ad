/* Powers modulo the square of an odd number P, eight at a time, with AVX-512 IFMA.
 *
 * A residue x modulo P^2 is kept as a pair (a, b) with x = a + b P: `a` and `b` are n limbs of 52
 * bits each. A product in Montgomery form with R = 2^(52 n) is then two reductions modulo P instead
 * of one modulo the twice as long P^2:
 *
 *     T = a c,  m = -T / P mod R,  t = (T + m P) / R           hence  T = R t - m P  (exactly)
 *     x y = T + (a d + b c) P = R t + (a d + b c - m) P        modulo P^2
 *     x y / R = t + u P,   u = (a d + b c - m) / R modulo P
 *
 * -m is taken as ~m + K with ~m = R - 1 - m (the complement of every limb) and K = 1 - R mod P.
 * A product takes 10 n^2 multiply-adds and a square 7 n^2, against 16 n^2 and 12 n^2 for P^2 as a
 * whole (the technique of Montgomery, "Modular multiplication without trial division", Math. Comp.
 * 44 (1985), applied to the P-adic digits of x).
 *
 * Bounds. Let every a, b be below 2 P, and 64 P <= R. Then t < (4 P^2 + R P) / R < 2 P, and
 * u < (8 P^2 + R + P + R P) / R < P (8/64 + 1) + 2 < 2 P: nothing is ever subtracted, and no step
 * depends on data. A limb product is added to a column at most 6 n + 12 times, each below 2^52, so
 * for n <= 60 a column stays below 2^61.
 *
 * Secret exponents: `common_exponent` does the same operations and touches the same memory whatever
 * the exponent's bits are; only its length shows. `fixed_base_powers` looks its table up by the
 * digits of the exponent: it is for noise, where every exponent is random and used once.
 *
 * Included by _ifma.c.
 */

#define TARGET __attribute__((target("avx512f,avx512ifma,avx512dq,avx512vl")))
#define INLINE static inline __attribute__((always_inline)) TARGET

typedef __m512i vec;

/* One modulus in all lanes. */
typedef struct {
    vec p[MAX_LIMBS];
    vec k[MAX_LIMBS];
    vec r2[2 * MAX_LIMBS];
    vec inverse; /* -1/P mod 2^52 */
} modulus;

/* acc[0..9] += a[0..4] * b[0..4] */
INLINE void tile(vec *acc, const vec *a, const vec *b)
{
    vec y[BLOCK];
#pragma GCC unroll 5
    for (int j = 0; j < BLOCK; j++)
        y[j] = b[j];
#pragma GCC unroll 5
    for (int i = 0; i < BLOCK; i++) {
        vec x = a[i];
#pragma GCC unroll 5
        for (int j = 0; j < BLOCK; j++)
            acc[i + j] = _mm512_madd52lo_epu64(acc[i + j], x, y[j]);
#pragma GCC unroll 5
        for (int j = 0; j < BLOCK; j++)
            acc[i + j + 1] = _mm512_madd52hi_epu64(acc[i + j + 1], x, y[j]);
    }
}

/* twice[0..9] += the products a[i] * a[j] with i < j; acc[0..9] += the squares a[i] * a[i] */
INLINE void square_tile(vec *acc, vec *twice, const vec *a)
{
#pragma GCC unroll 5
    for (int i = 0; i < BLOCK; i++) {
        acc[2 * i] = _mm512_madd52lo_epu64(acc[2 * i], a[i], a[i]);
        acc[2 * i + 1] = _mm512_madd52hi_epu64(acc[2 * i + 1], a[i], a[i]);
#pragma GCC unroll 5
        for (int j = i + 1; j < BLOCK; j++) {
            twice[i + j] = _mm512_madd52lo_epu64(twice[i + j], a[i], a[j]);
            twice[i + j + 1] = _mm512_madd52hi_epu64(twice[i + j + 1], a[i], a[j]);
        }
    }
}

INLINE void add_twice(vec *acc, const vec *twice)
{
#pragma GCC unroll 10
    for (int i = 0; i < 2 * BLOCK; i++)
        acc[i] = _mm512_add_epi64(acc[i], _mm512_slli_epi64(twice[i], 1));
}

/* Make the five lowest limbs of acc vanish modulo 2^52 by adding m P; their rest goes to acc[5]. */
INLINE void reduce_block(vec *acc, vec *m, const vec *p, vec inverse)
{
    const vec zero = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int i = 0; i < BLOCK; i++) {
        m[i] = _mm512_madd52lo_epu64(zero, acc[i], inverse);
#pragma GCC unroll 5
        for (int j = 0; j < BLOCK; j++)
            acc[i + j] = _mm512_madd52lo_epu64(acc[i + j], m[i], p[j]);
#pragma GCC unroll 5
        for (int j = 0; j < BLOCK; j++)
            acc[i + j + 1] = _mm512_madd52hi_epu64(acc[i + j + 1], m[i], p[j]);
        acc[i + 1] = _mm512_add_epi64(acc[i + 1], _mm512_srli_epi64(acc[i], LIMB_BITS));
    }
}

/* Drop the five lowest columns. */
INLINE void shift(vec *acc)
{
#pragma GCC unroll 5
    for (int i = 0; i < BLOCK; i++) {
        acc[i] = acc[i + BLOCK];
        acc[i + BLOCK] = _mm512_setzero_si512();
    }
}

INLINE void clear(vec *acc)
{
#pragma GCC unroll 10
    for (int i = 0; i < 2 * BLOCK; i++)
        acc[i] = _mm512_setzero_si512();
}

/* Write five columns as limbs of 52 bits; return the carry into the next. */
INLINE vec put(vec *out, const vec *acc, vec carry)
{
    const vec mask = _mm512_set1_epi64((long long)LIMB_MASK);
#pragma GCC unroll 5
    for (int i = 0; i < BLOCK; i++) {
        vec sum = _mm512_add_epi64(acc[i], carry);
        out[i] = _mm512_and_si512(sum, mask);
        carry = _mm512_srli_epi64(sum, LIMB_BITS);
    }
    return carry;
}

/* (a, b) * (c, d), or (a, b)^2 if `is_square` (then c and d are not read). Column by column, five
 * at a time, both sums at once: the second takes each m of the first as soon as it is known.
 * `out` must not overlap the factors. */
INLINE void multiply(vec *out, const vec *x, const vec *y, const modulus *mod, int n, int is_square)
{
    const int blocks = n / BLOCK;
    const vec mask = _mm512_set1_epi64((long long)LIMB_MASK);
    const vec *a = x, *b = x + n, *c = y, *d = y + n;
    vec m[MAX_LIMBS], m_high[MAX_LIMBS];
    vec low[2 * BLOCK], high[2 * BLOCK];
    vec carry_low = _mm512_setzero_si512(), carry_high = carry_low;
    clear(low);
    clear(high);
    for (int k = 0; k < 2 * blocks; k++) {
        const int first = k < blocks ? 0 : k - blocks + 1;
        const int last = k < blocks ? k : blocks - 1;
        if (is_square) {
            vec twice[2 * BLOCK];
            clear(twice);
            for (int i = first; 2 * i < k; i++)
                tile(twice, a + BLOCK * i, a + BLOCK * (k - i));
            if (k % 2 == 0)
                square_tile(low, twice, a + BLOCK * (k / 2));
            add_twice(low, twice);
        } else {
            for (int i = first; i <= last; i++)
                tile(low, a + BLOCK * i, c + BLOCK * (k - i));
        }
        for (int i = first; i <= last; i++)
            if (i != k)
                tile(low, m + BLOCK * i, mod->p + BLOCK * (k - i));
        if (k < blocks)
            reduce_block(low, m + BLOCK * k, mod->p, mod->inverse);
        else
            carry_low = put(out + BLOCK * (k - blocks), low, carry_low);
        shift(low);

        if (is_square) {
            vec twice[2 * BLOCK];
            clear(twice);
            for (int i = first; i <= last; i++)
                tile(twice, a + BLOCK * i, b + BLOCK * (k - i));
            add_twice(high, twice);
        } else {
            for (int i = first; i <= last; i++) {
                tile(high, a + BLOCK * i, d + BLOCK * (k - i));
                tile(high, b + BLOCK * i, c + BLOCK * (k - i));
            }
        }
        for (int i = first; i <= last; i++)
            if (i != k)
                tile(high, m_high + BLOCK * i, mod->p + BLOCK * (k - i));
        if (k < blocks) {
#pragma GCC unroll 5
            for (int i = 0; i < BLOCK; i++) {
                vec complement = _mm512_xor_si512(m[BLOCK * k + i], mask);
                high[i] = _mm512_add_epi64(high[i], complement);
                high[i] = _mm512_add_epi64(high[i], mod->k[BLOCK * k + i]);
            }
            reduce_block(high, m_high + BLOCK * k, mod->p, mod->inverse);
        } else {
            carry_high = put(out + n + BLOCK * (k - blocks), high, carry_high);
        }
        shift(high);
    }
}

/* One instance for each size, so that the compiler knows every trip count. */
#define INSTANCE(N)                                                                          \
    static TARGET __attribute__((noinline)) void mul_##N(vec *out, const vec *x,             \
                                                         const vec *y, const modulus *mod)  \
    {                                                                                        \
        multiply(out, x, y, mod, N, 0);                                                      \
    }                                                                                        \
    static TARGET __attribute__((noinline)) void sqr_##N(vec *out, const vec *x,             \
                                                         const modulus *mod)                 \
    {                                                                                        \
        multiply(out, x, x, mod, N, 1);                                                      \
    }
INSTANCE(20)
INSTANCE(30)
INSTANCE(40)
INSTANCE(60)

static TARGET void mul(vec *out, const vec *x, const vec *y, const modulus *mod, int n)
{
    switch (n) {
    case 20: mul_20(out, x, y, mod); break;
    case 30: mul_30(out, x, y, mod); break;
    case 40: mul_40(out, x, y, mod); break;
    default: mul_60(out, x, y, mod); break;
    }
}

static TARGET void sqr(vec *out, const vec *x, const modulus *mod, int n)
{
    switch (n) {
    case 20: sqr_20(out, x, mod); break;
    case 30: sqr_30(out, x, mod); break;
    case 40: sqr_40(out, x, mod); break;
    default: sqr_60(out, x, mod); break;
    }
}
