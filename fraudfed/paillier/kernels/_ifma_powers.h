/* Powers, eight at a time: lanes in and out of bytes, windows of a common exponent, tables of a fixed
 * base. Included by _ifma.c after _ifma_pairs.h, which has the products.
 */

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
    if (byte + 8 <= size)
        memcpy(&word, bytes + byte, 8);
    else
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

/* out = table[1]^exponent, out of Montgomery form. Fixed windows from the top; the exponent has
 * `size` bytes, leading zeros included. Uses all of work. */
static TARGET void power_of_entry(power_scratch *s, vec *out, const uint8_t *exponent, size_t size,
                                  int n)
{
    vec *base = s->work[0], *value = s->work[1], *other = s->work[2], *swap;
    const size_t windows = size * 8 / POWER_WINDOW;
    set_one(value, n);
    mul(s->table[0], value, s->mod.r2, &s->mod, n);
    for (int entry = 2; entry < (1 << POWER_WINDOW); entry++) {
        if (entry % 2 == 0)
            sqr(s->table[entry], s->table[entry / 2], &s->mod, n);
        else
            mul(s->table[entry], s->table[entry - 1], s->table[1], &s->mod, n);
    }
    memcpy(value, s->table[0], sizeof(vec) * 2 * (size_t)n);
    for (size_t window = windows; window-- > 0;) {
        if (window != windows - 1)
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
    mul(out, value, base, &s->mod, n);
}

static TARGET void power_group(power_scratch *s, uint8_t *result, const uint8_t *bases,
                               size_t count, const uint8_t *exponent, size_t size, int n)
{
    vec out[2 * MAX_LIMBS];
    read_pairs(s->work[0], bases, count, n);
    mul(s->table[1], s->work[0], s->mod.r2, &s->mod, n);
    power_of_entry(s, out, exponent, size, n);
    write_pairs(result, out, count, n);
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

/* out = base^exponent in each lane, out of Montgomery form. */
static TARGET void base_power(base_scratch *s, vec *out, const uint64_t *table,
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
    mul(out, value, factor, &s->mod, n);
}

static TARGET void base_group(base_scratch *s, uint8_t *result, const uint64_t *table,
                              const uint8_t *exponents, size_t count, size_t size, int n,
                              unsigned window, size_t rows)
{
    base_power(s, s->work[3], table, exponents, count, size, n, window, rows);
    write_pairs(result, s->work[3], count, n);
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
