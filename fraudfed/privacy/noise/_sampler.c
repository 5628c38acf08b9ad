/* fraudfed.privacy.noise._sampler: discrete Gaussian noise from a stream of random bytes.
 *
 * The same numbers from the same bytes as fraudfed/privacy/noise/reference.py, function by function;
 * that file says which algorithms these are and why nothing is rounded. There is no floating point
 * here: a test reads this text for it.
 *
 * Widths: a variance is at most 2^62, so the scale t at most 2^31 + 1, t^2 and 2v below 2^63 + 2^33,
 * and a denominator times a byte below 2^72. The distance d is below (steps + 2) t^2 < 2^80. All are
 * unsigned, so nothing can overflow without being defined.
 *
 * The time depends on what is drawn: callers draw where it does not show. The GIL is released.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

typedef unsigned __int128 uint128;

#define MAXIMUM_VARIANCE (UINT64_C(1) << 62)
/* So that d fits: what the caller may allow at most. */
#define MAXIMUM_STEPS (UINT64_C(1) << 16)

/* What is left of the stream. When it is used up, `ended` is set and 255 is read; what is computed
 * then counts for nothing, and every loop ends. */
typedef struct {
    const uint8_t *at, *end;
    uint64_t most_steps;
    int ended, not_random;
} stream;

static inline uint64_t next_byte(stream *s)
{
    if (__builtin_expect(s->at == s->end, 0)) {
        s->ended = 1;
        return 255;
    }
    return *s->at++;
}

static inline int bernoulli(uint64_t numerator, uint64_t denominator, stream *s)
{
    if (numerator == 0)
        return 0;
    if (numerator >= denominator)
        return 1;
    do {
        const uint128 shifted = (uint128)numerator << 8;
        const uint128 lowest = (uint128)denominator * next_byte(s);
        if (lowest >= shifted)
            return 0;
        if (lowest + denominator <= shifted)
            return 1;
        numerator = (uint64_t)(shifted - lowest); /* in 1 .. denominator - 1 */
    } while (!s->ended);
    return 0;
}

static inline int exp_bernoulli(uint64_t f, uint64_t f_of, uint64_t g, uint64_t g_of, stream *s)
{
    uint64_t k = 1;
    while (bernoulli(f, f_of, s) && bernoulli(g, g_of, s) && bernoulli(1, k, s))
        k++;
    return k % 2 == 1;
}

static inline uint64_t below(uint64_t limit, unsigned bits, stream *s)
{
    const uint64_t mask = (UINT64_C(1) << bits) - 1;
    uint64_t drawn;
    do {
        drawn = 0;
        for (unsigned shift = 0; shift < bits; shift += 8)
            drawn |= next_byte(s) << shift;
        drawn &= mask;
    } while (drawn >= limit && !s->ended);
    return drawn;
}

/* A variance, and what follows from it. */
typedef struct {
    uint64_t variance, scale, square, twice;
    unsigned bits;
} width;

static width width_of(uint64_t variance)
{
    /* The floor of the square root, bit by bit. */
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit > 0; bit >>= 1)
        if ((root + bit) * (root + bit) <= variance)
            root += bit;
    width w = {.variance = variance, .scale = root + 1, .twice = 2 * variance};
    w.square = w.scale * w.scale;
    w.bits = 64 - (unsigned)__builtin_clzll(root); /* of scale - 1, which is at least 1 */
    return w;
}

static int64_t gaussian(const width *w, stream *s)
{
    while (!s->ended) {
        const uint64_t rest = below(w->scale, w->bits, s);
        if (!exp_bernoulli(rest, w->scale, 1, 1, s))
            continue;
        uint64_t steps = 0;
        while (exp_bernoulli(1, 1, 1, 1, s)) {
            if (++steps > s->most_steps) {
                s->not_random = !s->ended;
                return 0;
            }
        }
        const int negative = (int)(next_byte(s) & 1);
        if (negative && rest == 0 && steps == 0)
            continue;

        const uint128 reached = (uint128)steps * w->square + rest * w->scale;
        const uint128 distance =
            reached >= w->variance ? reached - w->variance : w->variance - reached;
        uint64_t a, b, f, g;
        if (__builtin_expect((uint64_t)(distance >> 64) == 0, 1)) {
            const uint64_t low = (uint64_t)distance;
            a = low / w->square, f = low % w->square;
            b = low / w->twice, g = low % w->twice;
        } else {
            a = (uint64_t)(distance / w->square), f = (uint64_t)(distance % w->square);
            b = (uint64_t)(distance / w->twice), g = (uint64_t)(distance % w->twice);
        }
        int accepted = 1;
        for (uint64_t i = 0; accepted && i < a * b; i++)
            accepted = exp_bernoulli(1, 1, 1, 1, s);
        for (uint64_t i = 0; accepted && i < a; i++)
            accepted = exp_bernoulli(1, 1, g, w->twice, s);
        for (uint64_t i = 0; accepted && i < b; i++)
            accepted = exp_bernoulli(f, w->square, 1, 1, s);
        if (accepted && exp_bernoulli(f, w->square, g, w->twice, s)) {
            const int64_t size = (int64_t)(rest + steps * w->scale);
            return negative ? -size : size;
        }
    }
    return 0;
}

static PyObject *gaussians(PyObject *self, PyObject *args)
{
    Py_buffer variances, noise, bytes;
    Py_ssize_t most_steps;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*w*y*n", &variances, &noise, &bytes, &most_steps))
        return NULL;
    const size_t n = (size_t)variances.len / 8;
    const int64_t *variance = variances.buf;
    int64_t *out = noise.buf;
    const uint8_t *begin = bytes.buf;
    stream s = {.at = begin, .end = begin + bytes.len, .most_steps = (uint64_t)most_steps};
    const uint8_t *used = begin;
    size_t done = 0;
    int bad = variances.len % 8 != 0 || noise.len != variances.len || most_steps < 0 ||
              (uint64_t)most_steps > MAXIMUM_STEPS;
    if (!bad) {
        Py_BEGIN_ALLOW_THREADS
        width w = width_of(1);
        for (; done < n; done++) {
            if (variance[done] < 1 || (uint64_t)variance[done] > MAXIMUM_VARIANCE) {
                bad = 1;
                break;
            }
            if ((uint64_t)variance[done] != w.variance)
                w = width_of((uint64_t)variance[done]);
            const int64_t drawn = gaussian(&w, &s);
            if (s.ended || s.not_random)
                break;
            out[done] = drawn;
            used = s.at;
        }
        Py_END_ALLOW_THREADS
    }
    if (bad)
        PyErr_SetString(PyExc_ValueError,
                        "variances are no int64 in 1 .. 2^62, or there is not one place for each");
    else
        result = Py_BuildValue("nnO", (Py_ssize_t)done, (Py_ssize_t)(used - begin),
                               s.not_random ? Py_False : Py_True);
    PyBuffer_Release(&variances);
    PyBuffer_Release(&noise);
    PyBuffer_Release(&bytes);
    return result;
}

static PyMethodDef methods[] = {
    {"gaussians", gaussians, METH_VARARGS,
     "gaussians(variances, noise, stream, most_steps) -> drawn, bytes used, random"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "fraudfed.privacy.noise._sampler",
    .m_doc = "Discrete Gaussian noise, compiled; see fraudfed/privacy/noise/reference.py.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__sampler(void)
{
    return PyModule_Create(&definition);
}
