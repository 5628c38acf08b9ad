/* What a key holder does with ciphertexts, eight at a time: from exponents to noise, from plaintexts
 * and noise to ciphertexts, and from ciphertexts to plaintexts. Included by _ifma.c.
 *
 * n limbs hold P or Q with R = 2^(52 n) >= 2^16 P; 2 n limbs hold N. Whoever calls has P and Q of
 * equal length, so P < 2 Q and Q < 2 P. Selections are made by masks; nothing branches on a value.
 *
 * Chinese remainders go digit by digit (Garner). Of x = a + b P modulo P^2, x = c + d Q modulo Q^2:
 *
 *     low  = a + s P = c + t Q        s = (c - a) / P mod Q,  t = (a - c) / Q mod P
 *     high = y with y Q = b - s modulo P and y P = d - t modulo Q
 *
 * A ciphertext is (1 + m N) (low + high N) = low + (high + m low mod N) N.
 */

typedef struct {
    modulus p, q, n;     /* of n only the limbs, k = R_N^2 mod N and the inverse are used */
    vec p_inverse[MAX_LIMBS]; /* R / P mod Q */
    vec q_inverse[MAX_LIMBS]; /* R / Q mod P */
    vec p_scale[MAX_LIMBS];   /* R / L_P((1 + N)^e) mod P */
    vec q_scale[MAX_LIMBS];
    vec p_shift[4][2 * MAX_LIMBS]; /* R^(i + 2) modulo P^2: takes chunk i into Montgomery form */
    vec q_shift[4][2 * MAX_LIMBS];
} key;

/* Words of the key's description, in the order of the fields above. */
#define KEY_WORDS(n) (2 * MODULUS_WORDS(n) + (size_t)(4 * (n) + 1) + (size_t)(4 * (n)) + 16 * (size_t)(n))

static TARGET const uint64_t *spread(vec *out, const uint64_t *words, int count)
{
    for (int i = 0; i < count; i++)
        out[i] = _mm512_set1_epi64((long long)words[i]);
    return words + count;
}

static TARGET void load_key(key *k, const uint64_t *words, int n)
{
    load_modulus(&k->p, words, n);
    words += MODULUS_WORDS(n);
    load_modulus(&k->q, words, n);
    words += MODULUS_WORDS(n);
    words = spread(k->n.p, words, 2 * n);
    words = spread(k->n.k, words, 2 * n);
    words = spread(&k->n.inverse, words, 1);
    words = spread(k->p_inverse, words, n);
    words = spread(k->q_inverse, words, n);
    words = spread(k->p_scale, words, n);
    words = spread(k->q_scale, words, n);
    for (int i = 0; i < 4; i++)
        words = spread(k->p_shift[i], words, 2 * n);
    for (int i = 0; i < 4; i++)
        words = spread(k->q_shift[i], words, 2 * n);
}

/* x y / R modulo p, below 2 p if x y < R p. */
INLINE void product(vec *out, const vec *x, const vec *y, const vec *p, vec inverse, int n)
{
    const int blocks = n / BLOCK;
    vec m[2 * MAX_LIMBS], acc[2 * BLOCK];
    vec carry = _mm512_setzero_si512();
    clear(acc);
    for (int k = 0; k < 2 * blocks; k++) {
        const int first = k < blocks ? 0 : k - blocks + 1;
        const int last = k < blocks ? k : blocks - 1;
        for (int i = first; i <= last; i++) {
            tile(acc, x + BLOCK * i, y + BLOCK * (k - i));
            if (i != k)
                tile(acc, m + BLOCK * i, p + BLOCK * (k - i));
        }
        if (k < blocks)
            reduce_block(acc, m + BLOCK * k, p, inverse);
        else
            carry = put(out + BLOCK * (k - blocks), acc, carry);
        shift(acc);
    }
}

/* out = x y + z as 2 n limbs; z has n limbs. */
INLINE void join(vec *out, const vec *x, const vec *y, const vec *z, int n)
{
    const int blocks = n / BLOCK;
    vec acc[2 * BLOCK];
    vec carry = _mm512_setzero_si512();
    clear(acc);
    for (int k = 0; k < 2 * blocks; k++) {
        const int first = k < blocks ? 0 : k - blocks + 1;
        const int last = k < blocks ? k : blocks - 1;
        for (int i = first; i <= last; i++)
            tile(acc, x + BLOCK * i, y + BLOCK * (k - i));
        if (k < blocks)
            for (int i = 0; i < BLOCK; i++)
                acc[i] = _mm512_add_epi64(acc[i], z[BLOCK * k + i]);
        carry = put(out + BLOCK * k, acc, carry);
        shift(acc);
    }
}

static TARGET __attribute__((noinline)) void product_of(vec *out, const vec *x, const vec *y,
                                                        const modulus *mod, int n)
{
    switch (n) {
    case 20: product(out, x, y, mod->p, mod->inverse, 20); break;
    case 30: product(out, x, y, mod->p, mod->inverse, 30); break;
    case 40: product(out, x, y, mod->p, mod->inverse, 40); break;
    default: product(out, x, y, mod->p, mod->inverse, 60); break;
    }
}

static TARGET __attribute__((noinline)) void join_of(vec *out, const vec *x, const vec *y,
                                                     const vec *z, int n)
{
    switch (n) {
    case 20: join(out, x, y, z, 20); break;
    case 30: join(out, x, y, z, 30); break;
    case 40: join(out, x, y, z, 40); break;
    default: join(out, x, y, z, 60); break;
    }
}

/* Columns of any sign to limbs of 52 bits; the sign of the whole is returned as the last carry. */
static TARGET vec settle(vec *x, int n)
{
    const vec mask = _mm512_set1_epi64((long long)LIMB_MASK);
    vec carry = _mm512_setzero_si512();
    for (int i = 0; i < n; i++) {
        vec sum = _mm512_add_epi64(x[i], carry);
        x[i] = _mm512_and_si512(sum, mask);
        carry = _mm512_srai_epi64(sum, LIMB_BITS);
    }
    return carry;
}

/* x - p where that is not negative; returns in which lanes it was done. */
static TARGET __mmask8 subtract_once(vec *x, const vec *p, int n)
{
    vec less[2 * MAX_LIMBS];
    for (int i = 0; i < n; i++)
        less[i] = _mm512_sub_epi64(x[i], p[i]);
    __mmask8 done = (__mmask8)~_mm512_movepi64_mask(settle(less, n));
    for (int i = 0; i < n; i++)
        x[i] = _mm512_mask_mov_epi64(x[i], done, less[i]);
    return done;
}

/* out = x - y + 4 p; positive for y < 4 p. */
static TARGET void difference(vec *out, const vec *x, const vec *y, const vec *p, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = _mm512_add_epi64(_mm512_sub_epi64(x[i], y[i]), _mm512_slli_epi64(p[i], 2));
    settle(out, n);
}

/* (x - y) f / R modulo p, in [0, p). */
static TARGET void scaled_difference(vec *out, const vec *x, const vec *y, const vec *f,
                                     const modulus *mod, int n)
{
    vec d[MAX_LIMBS];
    memset(d, 0, sizeof d);
    difference(d, x, y, mod->p, n);
    product_of(out, d, f, mod, n);
    subtract_once(out, mod->p, n);
}

/* Digits below 2 p to digits in [0, p). */
static TARGET void canonical(vec *pair, const modulus *mod, int n)
{
    __mmask8 carry = subtract_once(pair, mod->p, n);
    pair[n] = _mm512_mask_add_epi64(pair[n], carry, pair[n], _mm512_set1_epi64(1));
    settle(pair + n, n);
    subtract_once(pair + n, mod->p, n);
    subtract_once(pair + n, mod->p, n);
}

/* Limbs of `count` numbers of `size` bytes into lanes; the other lanes hold zero. */
static TARGET void read_numbers(vec *out, const uint8_t *bytes, size_t count, size_t size,
                                int limbs, int big_endian)
{
    uint64_t *words = (uint64_t *)out;
    uint8_t reversed[LIMB_BITS * 2 * MAX_LIMBS / 8 + 8];
    memset(out, 0, sizeof(vec) * (size_t)limbs);
    for (size_t lane = 0; lane < count; lane++) {
        const uint8_t *number = bytes + lane * size;
        if (big_endian) {
            for (size_t i = 0; i < size; i++)
                reversed[i] = number[size - 1 - i];
            number = reversed;
        }
        for (int i = 0; i < limbs; i++)
            words[(size_t)i * LANES + lane] = limb_of(number, size, i);
    }
}

static TARGET void write_numbers(uint8_t *bytes, const vec *in, size_t count, size_t size,
                                 int limbs, int big_endian)
{
    const uint64_t *words = (const uint64_t *)in;
    uint8_t number[LIMB_BITS * 2 * MAX_LIMBS / 8 + 16];
    for (size_t lane = 0; lane < count; lane++) {
        uint8_t *out = bytes + lane * size;
        memset(number, 0, sizeof number);
        for (int i = 0; i < limbs; i++) {
            size_t bit = (size_t)LIMB_BITS * (size_t)i;
            uint64_t word;
            memcpy(&word, number + bit / 8, 8);
            word |= words[(size_t)i * LANES + lane] << (bit % 8);
            memcpy(number + bit / 8, &word, 8);
        }
        for (size_t i = 0; i < size; i++)
            out[i] = number[big_endian ? size - 1 - i : i];
    }
}

typedef struct {
    key key;
    base_scratch base;
    power_scratch power;
    vec pairs[2][2 * MAX_LIMBS];
    vec numbers[4][2 * MAX_LIMBS];
} key_scratch;

/* low + high N from digits modulo P^2 and Q^2, all canonical. */
static TARGET void join_sides(key_scratch *s, vec *low, vec *high, int n)
{
    const key *k = &s->key;
    const vec *a = s->pairs[0], *b = a + n, *c = s->pairs[1], *d = c + n;
    vec u[MAX_LIMBS], t[MAX_LIMBS], at_p[MAX_LIMBS], at_q[MAX_LIMBS], rest[MAX_LIMBS];
    scaled_difference(u, c, a, k->p_inverse, &k->q, n);
    scaled_difference(t, a, c, k->q_inverse, &k->p, n);
    join_of(low, u, k->p.p, a, n);
    scaled_difference(at_p, b, u, k->q_inverse, &k->p, n);
    scaled_difference(at_q, d, t, k->p_inverse, &k->q, n);
    scaled_difference(rest, at_q, at_p, k->p_inverse, &k->q, n);
    join_of(high, rest, k->p.p, at_p, n);
}

/* One group's noise: powers on both sides, joined. */
static TARGET void noise_group(key_scratch *s, uint8_t *result, const uint64_t *const *tables,
                               const uint8_t *const *exponents, size_t count, size_t size, int n,
                               unsigned window, size_t rows)
{
    const size_t half = HALF_BYTES(2 * n);
    for (int side = 0; side < 2; side++) {
        const modulus *mod = side == 0 ? &s->key.p : &s->key.q;
        memcpy(&s->base.mod, mod, sizeof *mod);
        base_power(&s->base, s->pairs[side], tables[side], exponents[side], count, size, n, window,
                   rows);
        canonical(s->pairs[side], mod, n);
    }
    join_sides(s, s->numbers[0], s->numbers[1], n);
    for (size_t lane = 0; lane < count; lane++) {
        uint8_t *out = result + 2 * lane * half;
        for (int part = 0; part < 2; part++) {
            /* One lane at a time, because low and high alternate. */
            vec one[2 * MAX_LIMBS];
            const uint64_t *words = (const uint64_t *)s->numbers[part];
            for (int i = 0; i < 2 * n; i++)
                one[i] = _mm512_set1_epi64((long long)words[(size_t)i * LANES + lane]);
            write_numbers(out + (size_t)part * half, one, 1, half, 2 * n, 0);
        }
    }
}

/* low + (high + m low mod N) N, big-endian. */
static TARGET void hide_group(key_scratch *s, uint8_t *result, const uint8_t *noise,
                              const uint8_t *plaintexts, size_t count, size_t width, int n)
{
    const key *k = &s->key;
    const int w = 2 * n;
    const size_t half = HALF_BYTES(w);
    vec *low = s->numbers[0], *high = s->numbers[1], *m = s->numbers[2];
    vec digits[4 * MAX_LIMBS], scaled[2 * MAX_LIMBS];
    /* noise alternates low, high: read as pairs of numbers of `half` bytes each */
    for (size_t lane = 0; lane < LANES; lane++)
        for (int part = 0; part < 2; part++) {
            uint64_t *words = (uint64_t *)(part == 0 ? low : high);
            const uint8_t *number = noise + (2 * lane + (size_t)part) * half;
            for (int i = 0; i < w; i++)
                words[(size_t)i * LANES + lane] = lane < count ? limb_of(number, half, i) : 0;
        }
    read_numbers(m, plaintexts, count, half, w, 0);
    product_of(scaled, low, k->n.k, &k->n, w); /* low R_N */
    product_of(digits, scaled, m, &k->n, w);   /* m low, below 2 N */
    for (int i = 0; i < w; i++)
        digits[i] = _mm512_add_epi64(digits[i], high[i]);
    settle(digits, w);
    subtract_once(digits, k->n.p, w);
    subtract_once(digits, k->n.p, w);
    memcpy(high, digits, sizeof(vec) * (size_t)w);
    join_of(digits, high, k->n.p, low, w);
    write_numbers(result, digits, count, width, 2 * w, 1);
}

/* The power of one side's residues of the ciphertexts in `chunks`, times a blind. */
static TARGET __mmask8 open_side(key_scratch *s, vec *plaintext, const vec *chunks,
                                 const uint8_t *blind, const uint8_t *exponent, size_t size,
                                 const modulus *mod, const vec (*shifts)[2 * MAX_LIMBS],
                                 const vec *scale, int n)
{
    power_scratch *power = &s->power;
    vec *value = power->work[1], *other = power->work[2], *term = power->work[0];
    vec *pair = s->pairs[0];
    memcpy(&power->mod, mod, sizeof *mod);
    memset(value, 0, sizeof(vec) * 2 * (size_t)n);
    for (int i = 0; i < 4; i++) {
        memset(term, 0, sizeof(vec) * 2 * (size_t)n);
        memcpy(term, chunks + i * n, sizeof(vec) * (size_t)n);
        mul(other, term, shifts[i], mod, n);
        for (int j = 0; j < 2 * n; j++)
            value[j] = _mm512_add_epi64(value[j], other[j]);
    }
    settle(value, n);
    settle(value + n, n);
    for (int part = 0; part < 2; part++)
        for (int i = 0; i < n; i++)
            term[part * n + i] = _mm512_set1_epi64(
                (long long)limb_of(blind + (size_t)part * HALF_BYTES(n), HALF_BYTES(n), i));
    mul(other, term, mod->r2, mod, n);
    mul(power->table[1], value, other, mod, n);
    power_of_entry(power, pair, exponent, size, n);
    canonical(pair, mod, n);
    /* A unit whose noise is gone has the low digit 1. */
    vec differs = _mm512_xor_si512(pair[0], _mm512_set1_epi64(1));
    for (int i = 1; i < n; i++)
        differs = _mm512_or_si512(differs, pair[i]);
    product_of(plaintext, pair + n, scale, mod, n);
    subtract_once(plaintext, mod->p, n);
    return _mm512_testn_epi64_mask(differs, differs);
}

static TARGET void open_group(key_scratch *s, uint8_t *result, uint8_t *opened,
                              const uint8_t *ciphertexts, const uint8_t *const *blinds,
                              const uint8_t *const *exponents, const size_t *sizes, size_t count,
                              size_t width, int n)
{
    const key *k = &s->key;
    vec chunks[4 * MAX_LIMBS];
    vec *at_p = s->numbers[0], *at_q = s->numbers[1], *rest = s->numbers[2], *m = s->numbers[3];
    read_numbers(chunks, ciphertexts, count, width, 4 * n, 1);
    __mmask8 good = open_side(s, at_p, chunks, blinds[0], exponents[0], sizes[0], &k->p,
                              k->p_shift, k->p_scale, n);
    good &= open_side(s, at_q, chunks, blinds[1], exponents[1], sizes[1], &k->q, k->q_shift,
                      k->q_scale, n);
    scaled_difference(rest, at_q, at_p, k->p_inverse, &k->q, n);
    join_of(m, rest, k->p.p, at_p, n);
    write_numbers(result, m, count, HALF_BYTES(2 * n), 2 * n, 0);
    for (size_t lane = 0; lane < count; lane++)
        opened[lane] = (uint8_t)(good >> lane & 1);
}
