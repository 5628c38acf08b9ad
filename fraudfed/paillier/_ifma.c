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
 * The Python face, fraudfed/paillier/ifma.py, checks values; here only lengths are checked.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_IFMA 1
#include <immintrin.h>
#else
#define HAVE_IFMA 0
#endif

#define LANES 8
#define BLOCK 5 /* limbs; sizes are multiples of it */
#define MAX_LIMBS 60
#define LIMB_BITS 52
#define LIMB_MASK ((UINT64_C(1) << LIMB_BITS) - 1)
#define POWER_WINDOW 4 /* bits of the exponent for one multiplication in common_exponent */
#define ALIGNMENT 64

/* Limbs of one stored pair, padded so that eight at a time can be transposed. */
#define STRIDE(n) ((size_t)((2 * (n) + 7) / 8 * 8))
/* Bytes of one half of a pair in the arguments and results. */
#define HALF_BYTES(n) ((size_t)((LIMB_BITS * (n) + 7) / 8))
/* Words of the modulus' description: P, K, R^2 as a pair, and -1/P mod 2^52. */
#define MODULUS_WORDS(n) ((size_t)(4 * (n) + 1))

#if HAVE_IFMA

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
INLINE void reduce_block(vec *acc, vec *m, const modulus *mod)
{
    const vec zero = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int i = 0; i < BLOCK; i++) {
        m[i] = _mm512_madd52lo_epu64(zero, acc[i], mod->inverse);
#pragma GCC unroll 5
        for (int j = 0; j < BLOCK; j++)
            acc[i + j] = _mm512_madd52lo_epu64(acc[i + j], m[i], mod->p[j]);
#pragma GCC unroll 5
        for (int j = 0; j < BLOCK; j++)
            acc[i + j + 1] = _mm512_madd52hi_epu64(acc[i + j + 1], m[i], mod->p[j]);
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
            reduce_block(low, m + BLOCK * k, mod);
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
            reduce_block(high, m_high + BLOCK * k, mod);
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

static TARGET void load_modulus(modulus *mod, const uint64_t *words, int n)
{
    for (int i = 0; i < n; i++) {
        mod->p[i] = _mm512_set1_epi64((long long)words[i]);
        mod->k[i] = _mm512_set1_epi64((long long)words[n + i]);
    }
    for (int i = 0; i < 2 * n; i++)
        mod->r2[i] = _mm512_set1_epi64((long long)words[2 * n + i]);
    mod->inverse = _mm512_set1_epi64((long long)words[4 * n]);
}

/* Limb i of a number of `size` bytes, little-endian. */
static uint64_t limb_of(const uint8_t *bytes, size_t size, int i)
{
    size_t bit = (size_t)LIMB_BITS * (size_t)i;
    size_t byte = bit / 8;
    uint64_t word = 0;
    for (size_t k = 0; k < 8 && byte + k < size; k++)
        word |= (uint64_t)bytes[byte + k] << (8 * k);
    return (word >> (bit % 8)) & LIMB_MASK;
}

/* `count` <= 8 pairs of bytes into lanes; the others hold zero. */
static TARGET void read_pairs(vec *out, const uint8_t *bytes, size_t count, int n)
{
    const size_t half = HALF_BYTES(n);
    uint64_t *words = (uint64_t *)out;
    memset(out, 0, sizeof(vec) * 2 * (size_t)n);
    for (size_t lane = 0; lane < count; lane++)
        for (int part = 0; part < 2; part++)
            for (int i = 0; i < n; i++)
                words[(size_t)(part * n + i) * LANES + lane] =
                    limb_of(bytes + (2 * lane + (size_t)part) * half, half, i);
}

static TARGET void write_pairs(uint8_t *bytes, const vec *in, size_t count, int n)
{
    const size_t half = HALF_BYTES(n);
    const uint64_t *words = (const uint64_t *)in;
    memset(bytes, 0, 2 * half * count);
    for (size_t lane = 0; lane < count; lane++)
        for (int part = 0; part < 2; part++) {
            uint8_t *out = bytes + (2 * lane + (size_t)part) * half;
            for (int i = 0; i < n; i++) {
                uint64_t limb = words[(size_t)(part * n + i) * LANES + lane];
                size_t bit = (size_t)LIMB_BITS * (size_t)i, byte = bit / 8;
                limb <<= bit % 8; /* 52 + 4 bits at most: seven bytes */
                for (size_t k = 0; k < 7 && byte + k < half; k++)
                    out[byte + k] |= (uint8_t)(limb >> (8 * k));
            }
        }
}

/* The pair (1, 0): leaves Montgomery form. */
static TARGET void set_one(vec *out, int n)
{
    memset(out, 0, sizeof(vec) * 2 * (size_t)n);
    out[0] = _mm512_set1_epi64(1);
}

static unsigned digit_of(const uint8_t *exponent, size_t size, size_t bit, unsigned bits)
{
    size_t byte = bit / 8;
    uint64_t word = 0;
    for (size_t k = 0; k < 4 && byte + k < size; k++)
        word |= (uint64_t)exponent[byte + k] << (8 * k);
    return (unsigned)(word >> (bit % 8)) & ((1u << bits) - 1);
}

typedef struct {
    modulus mod;
    vec work[3][2 * MAX_LIMBS];
    vec table[1 << POWER_WINDOW][2 * MAX_LIMBS];
} power_scratch;

/* out = table[digit]: every entry is read, in order, and the digit decides on masks only. */
static TARGET void select_entry(vec *out, vec (*table)[2 * MAX_LIMBS], unsigned digit, int n)
{
    for (int i = 0; i < 2 * n; i++) {
        vec found = _mm512_setzero_si512();
        for (unsigned entry = 0; entry < (1u << POWER_WINDOW); entry++) {
            uint64_t differs = (uint64_t)(entry ^ digit);
            uint64_t keep = ((differs - 1) & ~differs) >> 63; /* 1 if equal */
            vec mask = _mm512_set1_epi64((long long)(0 - keep));
            found = _mm512_or_si512(found, _mm512_and_si512(mask, table[entry][i]));
        }
        out[i] = found;
    }
}

/* Fixed windows from the top; the exponent has `size` bytes, leading zeros included. */
static TARGET void power_group(power_scratch *s, uint8_t *result, const uint8_t *bases,
                               size_t count, const uint8_t *exponent, size_t size, int n)
{
    vec *base = s->work[0], *value = s->work[1], *other = s->work[2], *swap;
    read_pairs(value, bases, count, n);
    mul(s->table[1], value, s->mod.r2, &s->mod, n);
    set_one(value, n);
    mul(s->table[0], value, s->mod.r2, &s->mod, n);
    for (int entry = 2; entry < (1 << POWER_WINDOW); entry++) {
        if (entry % 2 == 0)
            sqr(s->table[entry], s->table[entry / 2], &s->mod, n);
        else
            mul(s->table[entry], s->table[entry - 1], s->table[1], &s->mod, n);
    }
    memcpy(value, s->table[0], sizeof(vec) * 2 * (size_t)n);
    for (size_t window = size * 8 / POWER_WINDOW; window-- > 0;) {
        if (window != size * 8 / POWER_WINDOW - 1)
            for (int i = 0; i < POWER_WINDOW; i++) {
                sqr(other, value, &s->mod, n);
                swap = value, value = other, other = swap;
            }
        select_entry(base, s->table, digit_of(exponent, size, window * POWER_WINDOW, POWER_WINDOW),
                     n);
        mul(other, value, base, &s->mod, n);
        swap = value, value = other, other = swap;
    }
    set_one(base, n);
    mul(other, value, base, &s->mod, n);
    write_pairs(result, other, count, n);
}

/* Store eight lanes as eight pairs of STRIDE limbs. */
static TARGET void store_entries(uint64_t *entries, const vec *in, int n)
{
    const uint64_t *words = (const uint64_t *)in;
    for (size_t lane = 0; lane < LANES; lane++) {
        uint64_t *entry = entries + lane * STRIDE(n);
        for (int i = 0; i < 2 * n; i++)
            entry[i] = words[(size_t)i * LANES + lane];
    }
}

/* Transpose eight rows of eight words. */
INLINE void transpose(vec *r)
{
    vec a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[i] = _mm512_shuffle_i64x2(a[i], a[i + 2], 0x88);
        b[i + 2] = _mm512_shuffle_i64x2(a[i], a[i + 2], 0xdd);
        b[i + 4] = _mm512_shuffle_i64x2(a[i + 4], a[i + 6], 0x88);
        b[i + 6] = _mm512_shuffle_i64x2(a[i + 4], a[i + 6], 0xdd);
    }
    for (int i = 0; i < 2; i++) {
        r[i] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0x88);
        r[i + 4] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0xdd);
        r[i + 2] = _mm512_shuffle_i64x2(b[i + 2], b[i + 6], 0x88);
        r[i + 6] = _mm512_shuffle_i64x2(b[i + 2], b[i + 6], 0xdd);
    }
}

/* Entry digits[lane] of one row of the table into each lane. */
static TARGET void gather(vec *out, const uint64_t *row, const unsigned *digits, int n)
{
    for (size_t i = 0; i < STRIDE(n); i += 8) {
        vec rows[8];
        for (int lane = 0; lane < LANES; lane++)
            rows[lane] = _mm512_loadu_si512(row + digits[lane] * STRIDE(n) + i);
        transpose(rows);
        for (int k = 0; k < 8 && i + (size_t)k < 2 * (size_t)n; k++)
            out[i + (size_t)k] = rows[k];
    }
}

typedef struct {
    modulus mod;
    vec work[4][2 * MAX_LIMBS];
} base_scratch;

/* table[row][d] = base^(d 2^(w row)) in Montgomery form, eight entries at a time. */
static TARGET void build_table(base_scratch *s, uint64_t *table, const uint8_t *base, int n,
                               unsigned window, size_t rows)
{
    vec *lanes = s->work[0], *step = s->work[1], *other = s->work[2], *generator = s->work[3];
    const size_t entries = (size_t)1 << window;
    uint64_t *words = (uint64_t *)lanes, *source;
    read_pairs(other, base, 1, n);
    mul(generator, other, s->mod.r2, &s->mod, n);
    for (size_t row = 0; row < rows; row++) {
        /* The generator is in lane 0: spread it, then collect its powers 0 .. 7 in the lanes. */
        source = (uint64_t *)generator;
        for (int i = 0; i < 2 * n; i++)
            generator[i] = _mm512_set1_epi64((long long)source[(size_t)i * LANES]);
        set_one(other, n);
        mul(step, other, s->mod.r2, &s->mod, n);
        for (size_t lane = 0; lane < LANES; lane++) {
            source = (uint64_t *)step;
            for (int i = 0; i < 2 * n; i++)
                words[(size_t)i * LANES + lane] = source[(size_t)i * LANES];
            mul(other, step, generator, &s->mod, n);
            memcpy(step, other, sizeof(vec) * 2 * (size_t)n);
        }
        /* step = generator^8 now. */
        for (size_t first = 0; first < entries; first += LANES) {
            store_entries(table + (row * entries + first) * STRIDE(n), lanes, n);
            if (first + LANES < entries) {
                mul(other, lanes, step, &s->mod, n);
                memcpy(lanes, other, sizeof(vec) * 2 * (size_t)n);
            }
        }
        /* generator^(2^w) is the last entry times the generator. */
        mul(other, lanes, generator, &s->mod, n);
        source = (uint64_t *)other;
        for (int i = 0; i < 2 * n; i++)
            generator[i] = _mm512_set1_epi64((long long)source[(size_t)i * LANES + LANES - 1]);
    }
}

static TARGET void base_group(base_scratch *s, uint8_t *result, const uint64_t *table,
                              const uint8_t *exponents, size_t count, size_t size, int n,
                              unsigned window, size_t rows)
{
    const size_t entries = (size_t)1 << window;
    vec *value = s->work[0], *factor = s->work[1], *other = s->work[2], *swap;
    for (size_t row = 0; row < rows; row++) {
        unsigned digits[LANES] = {0};
        for (size_t lane = 0; lane < count; lane++)
            digits[lane] = digit_of(exponents + lane * size, size, row * window, window);
        gather(row == 0 ? value : factor, table + row * entries * STRIDE(n), digits, n);
        if (row != 0) {
            mul(other, value, factor, &s->mod, n);
            swap = value, value = other, other = swap;
        }
    }
    set_one(factor, n);
    mul(other, value, factor, &s->mod, n);
    write_pairs(result, other, count, n);
}

/* Cleared when it is given back: it has held powers under a secret modulus. */
static void *new_scratch(size_t size)
{
    void *memory = NULL;
    if (posix_memalign(&memory, ALIGNMENT, size) != 0)
        return NULL;
    memset(memory, 0, size);
    return memory;
}

static void free_scratch(void *memory, size_t size)
{
    explicit_bzero(memory, size);
    free(memory);
}

#endif /* HAVE_IFMA */

static int is_supported(void)
{
#if HAVE_IFMA
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

static PyObject *supported(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyBool_FromLong(is_supported());
}

#if HAVE_IFMA

/* Lengths and sizes that every function relies on. */
static int check(int n, const Py_buffer *words, int window)
{
    if (!is_supported()) {
        PyErr_SetString(PyExc_RuntimeError, "this CPU has no AVX-512 IFMA");
        return 0;
    }
    if (n != 20 && n != 30 && n != 40 && n != 60) {
        PyErr_Format(PyExc_ValueError, "n is %d, expected 20, 30, 40 or 60 limbs", n);
        return 0;
    }
    if ((size_t)words->len != 8 * MODULUS_WORDS(n)) {
        PyErr_Format(PyExc_ValueError, "modulus has %zd bytes, expected %zu", words->len,
                     8 * MODULUS_WORDS(n));
        return 0;
    }
    if (window < 3 || window > 16) {
        PyErr_Format(PyExc_ValueError, "window is %d, expected 3 .. 16 bits", window);
        return 0;
    }
    return 1;
}

static PyObject *common_exponent(PyObject *self, PyObject *args)
{
    int n;
    Py_buffer words, exponent, bases;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*y*y*", &n, &words, &exponent, &bases))
        return NULL;
    if (!check(n, &words, POWER_WINDOW))
        goto done;
    const size_t pair = 2 * HALF_BYTES(n), count = (size_t)bases.len / pair;
    if ((size_t)bases.len % pair != 0 || exponent.len == 0) {
        PyErr_SetString(PyExc_ValueError, "bases are no whole pairs, or the exponent is empty");
        goto done;
    }
    result = PyBytes_FromStringAndSize(NULL, bases.len);
    power_scratch *scratch = new_scratch(sizeof *scratch);
    if (result == NULL || scratch == NULL) {
        Py_CLEAR(result);
        free(scratch);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    load_modulus(&scratch->mod, words.buf, n);
    for (size_t i = 0; i < count; i += LANES)
        power_group(scratch, out + i * pair, (const uint8_t *)bases.buf + i * pair,
                    count - i < LANES ? count - i : LANES, exponent.buf, (size_t)exponent.len, n);
    free_scratch(scratch, sizeof *scratch);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&exponent);
    PyBuffer_Release(&bases);
    return result;
}

static PyObject *fixed_base_table(PyObject *self, PyObject *args)
{
    int n, window;
    Py_ssize_t rows;
    Py_buffer words, base;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*y*in", &n, &words, &base, &window, &rows))
        return NULL;
    if (!check(n, &words, window))
        goto done;
    if ((size_t)base.len != 2 * HALF_BYTES(n) || rows < 1 || rows > 4096) {
        PyErr_SetString(PyExc_ValueError, "base is no pair, or rows is not 1 .. 4096");
        goto done;
    }
    size_t size = (size_t)rows * ((size_t)1 << window) * STRIDE(n) * 8;
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    base_scratch *scratch = new_scratch(sizeof *scratch);
    if (result == NULL || scratch == NULL) {
        Py_CLEAR(result);
        free(scratch);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    memset(out, 0, size);
    load_modulus(&scratch->mod, words.buf, n);
    build_table(scratch, (uint64_t *)out, base.buf, n, (unsigned)window, (size_t)rows);
    free_scratch(scratch, sizeof *scratch);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&base);
    return result;
}

static PyObject *fixed_base_powers(PyObject *self, PyObject *args)
{
    int n, window;
    Py_ssize_t rows, size;
    Py_buffer words, table, exponents;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*y*iny*n", &n, &words, &table, &window, &rows, &exponents,
                          &size))
        return NULL;
    if (!check(n, &words, window))
        goto done;
    if (rows < 1 || rows > 4096 ||
        (size_t)table.len != (size_t)rows * ((size_t)1 << window) * STRIDE(n) * 8) {
        PyErr_SetString(PyExc_ValueError, "table has another size than window and rows say");
        goto done;
    }
    /* Bits above the table's would be left out, and a wrong power returned. */
    if (size < 1 || exponents.len % size != 0 || (size_t)size * 8 > (size_t)rows * (size_t)window + 7) {
        PyErr_SetString(PyExc_ValueError, "exponents are no whole numbers, or longer than the table");
        goto done;
    }
    const size_t pair = 2 * HALF_BYTES(n), count = (size_t)(exponents.len / size);
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * pair));
    base_scratch *scratch = new_scratch(sizeof *scratch);
    if (result == NULL || scratch == NULL) {
        Py_CLEAR(result);
        free(scratch);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    load_modulus(&scratch->mod, words.buf, n);
    for (size_t i = 0; i < count; i += LANES)
        base_group(scratch, out + i * pair, table.buf,
                   (const uint8_t *)exponents.buf + i * (size_t)size,
                   count - i < LANES ? count - i : LANES, (size_t)size, n, (unsigned)window,
                   (size_t)rows);
    free_scratch(scratch, sizeof *scratch);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&table);
    PyBuffer_Release(&exponents);
    return result;
}

#else

static PyObject *unavailable(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    PyErr_SetString(PyExc_RuntimeError, "built for a CPU without AVX-512 IFMA");
    return NULL;
}
#define common_exponent unavailable
#define fixed_base_table unavailable
#define fixed_base_powers unavailable

#endif

static PyMethodDef methods[] = {
    {"supported", supported, METH_NOARGS, "Tell whether this CPU has the instructions."},
    {"common_exponent", common_exponent, METH_VARARGS,
     "common_exponent(n, modulus, exponent, bases) -> pairs"},
    {"fixed_base_table", fixed_base_table, METH_VARARGS,
     "fixed_base_table(n, modulus, base, window, rows) -> table"},
    {"fixed_base_powers", fixed_base_powers, METH_VARARGS,
     "fixed_base_powers(n, modulus, table, window, rows, exponents, exponent_bytes) -> pairs"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "fraudfed.paillier._ifma",
    .m_doc = "Powers modulo squares with AVX-512 IFMA; see fraudfed/paillier/ifma.py.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__ifma(void)
{
    return PyModule_Create(&definition);
}
