/* Products of ciphertexts modulo N^2, eight at a time: public numbers only. Included by _ifma.c.
 *
 * Montgomery's form of N^2 as a whole, with n limbs and R = 2^(52 n) >= 4 N^2: x y / R is below
 * 2 N^2 for x, y below 2 N^2, and one more product with R^2 gives x y. A column gets at most 4 n
 * limb products, each below 2^52: below 2^61 for n <= 120.
 */

#define MAX_WIDE_LIMBS 120

typedef struct {
    vec p[MAX_WIDE_LIMBS];  /* N^2 */
    vec r2[MAX_WIDE_LIMBS]; /* R^2 mod N^2 */
    vec inverse;            /* -1/N^2 mod 2^52 */
    vec x[MAX_WIDE_LIMBS], y[MAX_WIDE_LIMBS], z[MAX_WIDE_LIMBS];
} wide_scratch;

#define WIDE_WORDS(n) ((size_t)(2 * (n) + 1))

static TARGET void load_wide(wide_scratch *s, const uint64_t *words, int n)
{
    words = spread(s->p, words, n);
    words = spread(s->r2, words, n);
    spread(&s->inverse, words, 1);
}

static TARGET __attribute__((noinline)) void wide_product(vec *out, const vec *x, const vec *y,
                                                          const wide_scratch *s, int n)
{
    if (n == 80)
        product(out, x, y, s->p, s->inverse, 80);
    else
        product(out, x, y, s->p, s->inverse, 120);
}

/* x y mod N^2 of one group, in [0, N^2). */
static TARGET void multiply_group(wide_scratch *s, uint8_t *result, const uint8_t *first,
                                  const uint8_t *second, size_t count, size_t width, int n)
{
    read_numbers(s->x, first, count, width, n, 1);
    read_numbers(s->y, second, count, width, n, 1);
    wide_product(s->z, s->x, s->y, s, n);
    wide_product(s->x, s->z, s->r2, s, n);
    subtract_once(s->x, s->p, n);
    write_numbers(result, s->x, count, width, n, 1);
}

static TARGET void start_units(wide_scratch *s)
{
    memset(s->z, 0, sizeof s->z);
    s->z[0] = _mm512_set1_epi64(1);
}

/* z = z x / R for the next group of values in each lane; lanes without one are multiplied by 1. */
static TARGET void unit_group(wide_scratch *s, const uint8_t *values, size_t count, size_t width,
                              int n)
{
    read_numbers(s->x, values, count, width, n, 1);
    uint64_t *words = (uint64_t *)s->x;
    for (size_t lane = count; lane < LANES; lane++)
        words[lane] = 1;
    wide_product(s->y, s->z, s->x, s, n);
    memcpy(s->z, s->y, sizeof(vec) * (size_t)n);
}
