/* Gradients of the logistic loss: logistic.py and elementary.py, operation by operation.
 *
 * Every step is one that IEEE 754 fixes completely, in the order of the Python code, and contraction
 * is off: the bits are the same at every SIMD width, so the widest the CPU has is taken.
 */
#ifndef FRAUDFED_ENGINE_GRADIENTS_H
#define FRAUDFED_ENGINE_GRADIENTS_H

#include <float.h>

#include "_engine_arrays.h"
#include "_engine_simd.h"

#if FLT_EVAL_METHOD != 0
#error "float and double must be computed in their own precision"
#endif

enum {
    GRADIENT_BLOCK = 4096,
    WORKER_GRADIENTS = 20000, /* rows that take about as long as waking up a thread */
    TABLE_BITS = 5,
    TABLE_SIZE = 1 << TABLE_BITS,
};

typedef struct {
    const float *margins, *labels;
    const float *weights; /* NULL: all 1 */
    float scale_pos_weight;
    const double *powers; /* 2**(j / 32) */
    int64_t *pairs;
    size_t n_rows;
    int level;
    atomic_size_t next;
    atomic_int is_outside; /* something lies outside of what this code covers */
} gradient_job;

/* 1.5 * 2^52: adding it rounds a double below 2^51 to an integer, ties to even, in its low bits. */
#define ROUNDER 0x1.8p52

static inline int64_t bits_of(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double double_of(int64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Fixed point with 32 fractional bits of a value below 2^19, ties to even. */
static inline int64_t fixed_point(float value)
{
    return bits_of((double)value * 0x1p32 + ROUNDER) - bits_of(ROUNDER);
}

/* Return 0 if a row is not covered: a margin that is no number, or a weight of 2^18 or more. */
static inline __attribute__((always_inline)) int gradients_of_rows(
    const float *restrict margins, const float *restrict labels, const float *restrict weights,
    float scale_pos_weight, const double *restrict powers, int64_t *restrict pairs, size_t n)
{
    int outside = 0;
    for (size_t i = 0; i < n; i++) {
        float negated = -margins[i];
        outside |= !(margins[i] == margins[i]);
        float capped = negated < 88.7f ? negated : 88.7f;
        /* exp, see elementary.py. Below -120 it vanishes next to 1 in float as it does there. */
        double x = (double)(capped > -120.0f ? capped : -120.0f);
        double shifted = x * (0x1.71547652b82fep+0 * TABLE_SIZE) + ROUNDER;
        int64_t whole = bits_of(shifted) - bits_of(ROUNDER);
        double steps = shifted - ROUNDER;
        double r = x - steps * (0x1.62e42feep-1 / TABLE_SIZE);
        r -= steps * (0x1.a39ef35793c76p-33 / TABLE_SIZE);
        double series = 1.0 / 720;
        series = series * r + 1.0 / 120;
        series = series * r + 1.0 / 24;
        series = series * r + 1.0 / 6;
        series = series * r + 1.0 / 2;
        series = series * r + 1.0;
        series = series * r;
        double base = powers[whole & (TABLE_SIZE - 1)];
        double mantissa = base + base * series;
        /* A normal double times 2**(whole / 32, rounded down): the exponents add up. */
        int64_t exponent = whole - (whole & (TABLE_SIZE - 1));
        float power =
            (float)double_of(bits_of(mantissa) + exponent * ((int64_t)1 << (52 - TABLE_BITS)));

        float probability = 1.0f / (power + 1.0f);
        float scaled = weights[i] * scale_pos_weight;
        float weight = labels[i] == 1.0f ? scaled : weights[i];
        outside |= !(weight < 0x1p18f) | !(labels[i] >= 0.0f) | !(labels[i] <= 1.0f);
        float gradient = (probability - labels[i]) * weight;
        float hessian = probability * (1.0f - probability);
        hessian = hessian > 1e-16f ? hessian : 1e-16f;
        pairs[2 * i] = fixed_point(gradient);
        pairs[2 * i + 1] = fixed_point(hessian * weight);
    }
    return !outside;
}

#define DEFINE_GRADIENTS(NAME, ATTRIBUTE)                                                          \
    ATTRIBUTE static int NAME(const gradient_job *job, const float *weights, size_t start, size_t n) \
    {                                                                                              \
        return gradients_of_rows(job->margins + start, job->labels + start, weights,               \
                                 job->scale_pos_weight, job->powers, job->pairs + 2 * start, n);   \
    }
DEFINE_GRADIENTS(gradients_plain, )
#if defined(__x86_64__)
DEFINE_GRADIENTS(gradients_avx2, WITH_AVX2)
DEFINE_GRADIENTS(gradients_avx512, WITH_AVX512)
#endif

typedef int (*gradient_function)(const gradient_job *job, const float *weights, size_t start,
                                 size_t n);

static gradient_function gradients_at(int level)
{
#if defined(__x86_64__)
    if (level == SIMD_AVX512)
        return gradients_avx512;
    if (level == SIMD_AVX2)
        return gradients_avx2;
#else
    (void)level;
#endif
    return gradients_plain;
}

static void gradient_worker(void *argument)
{
    gradient_job *job = argument;
    gradient_function gradients = gradients_at(job->level);
    float ones[GRADIENT_BLOCK];
    for (size_t i = 0; i < GRADIENT_BLOCK; i++)
        ones[i] = 1.0f;
    size_t start, stop;
    while (take_block(&job->next, GRADIENT_BLOCK, job->n_rows, &start, &stop)) {
        const float *weights = job->weights == NULL ? ones : job->weights + start;
        if (!gradients(job, weights, start, stop - start))
            atomic_store(&job->is_outside, 1);
    }
}

/* logistic_gradients(margins, labels, weights or None, scale_pos_weight, powers, pairs,
 *                    threads, widest SIMD level)
 *
 * Fill pairs (n_rows, 2) and return True; False if a row lies outside of what is covered here.
 */
static PyObject *logistic_gradients(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[5], *result = NULL;
    PyObject *workers;
    worker_pool *pool;
    int widest;
    gradient_job job = {0};
    array held[5] = {0};
    array *margins = &held[0], *labels = &held[1], *weights = &held[2], *powers = &held[3];
    array *pairs = &held[4];
    if (!PyArg_ParseTuple(arguments, "OOOfOOOi:logistic_gradients", &objects[0], &objects[1],
                          &objects[2], &job.scale_pos_weight, &objects[3], &objects[4],
                          &workers, &widest) ||
        (pool = get_pool(workers)) == NULL)
        return NULL;
    if (!get_array(objects[0], margins, (array_type){"margins", FLOATING, 4, 1, 0, 0}) ||
        !get_array(objects[1], labels, (array_type){"labels", FLOATING, 4, 1, 0, 0}) ||
        (objects[2] != Py_None &&
         !get_array(objects[2], weights, (array_type){"weights", FLOATING, 4, 1, 0, 0})) ||
        !get_array(objects[3], powers, (array_type){"powers", FLOATING, 8, 1, 0, 0}) ||
        !get_array(objects[4], pairs, (array_type){"pairs", SIGNED_INTEGER, 8, 2, 1, 0}))
        goto done;
    job.n_rows = extent(margins, 0);
    if (!check_extent(labels, "labels", 0, job.n_rows) ||
        (weights->is_held && !check_extent(weights, "weights", 0, job.n_rows)) ||
        !check_extent(powers, "powers", 0, TABLE_SIZE) ||
        !check_extent(pairs, "pairs", 0, job.n_rows) || !check_extent(pairs, "pairs", 1, 2))
        goto done;
    job.margins = margins->view.buf;
    job.labels = labels->view.buf;
    job.weights = weights->is_held ? weights->view.buf : NULL;
    job.powers = powers->view.buf;
    job.pairs = pairs->view.buf;
    job.level = simd_level(widest);
    atomic_init(&job.next, 0);
    atomic_init(&job.is_outside, 0);
    Py_BEGIN_ALLOW_THREADS
    run_workers(pool, useful_workers(pool, job.n_rows, WORKER_GRADIENTS), gradient_worker, &job);
    Py_END_ALLOW_THREADS
    result = PyBool_FromLong(!atomic_load(&job.is_outside));
done:
    release_arrays(held, 5);
    return result;
}

#endif
