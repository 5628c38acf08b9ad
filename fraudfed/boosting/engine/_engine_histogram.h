/* Histograms: exact integer sums of (gradient, hessian) over the bins of many features.
 *
 * Codes are kept row by row, so that a row of a small node costs one or two cache lines. Pairs are
 * added as two 64-bit lanes; sums wrap modulo 2^64, which is exact whenever the result fits.
 */
#ifndef FRAUDFED_ENGINE_HISTOGRAM_H
#define FRAUDFED_ENGINE_HISTOGRAM_H

#include <stdlib.h>
#include <sys/mman.h>

#include "_engine_arrays.h"

typedef uint64_t pair __attribute__((vector_size(16)));
/* The same, where only the alignment of an int64 is known. */
typedef uint64_t loose_pair __attribute__((vector_size(16), aligned(8)));

static const char PACKED_BINS[] = "fraudfed.boosting.PackedBins";

/* Checked codes; nothing outside of this file reaches them. */
typedef struct {
    size_t n_rows, n_features;
    int item_size;
    int64_t *offsets; /* n_features + 1 */
    void *codes;      /* n_rows x n_features, each at most the number of its feature's bins */
} packed_bins;

enum {
    HUGE_PAGE = 1 << 21,
    PACK_BLOCK = 256,        /* rows transposed at a time: they stay in the first-level cache */
    HISTOGRAM_BLOCK = 2048,  /* rows handed out at a time */
    PREFETCH_ROWS = 16,      /* how far ahead the next rows are asked for */
    WORKER_UPDATES = 100000, /* additions that take about as long as waking up a thread */
};

/* ---- packing ---- */

typedef struct {
    const packed_bins *packed;
    const void *columns;
    int column_size;
    atomic_size_t next;
    atomic_size_t bad_feature; /* n_features if none */
} pack_job;

#define DEFINE_PACK_BLOCK(NAME, SOURCE, CODE)                                                      \
    static void NAME(pack_job *job, size_t start, size_t stop)                                     \
    {                                                                                              \
        const packed_bins *packed = job->packed;                                                   \
        size_t n_features = packed->n_features;                                                    \
        for (size_t f = 0; f < n_features; f++) {                                                  \
            const SOURCE *column = (const SOURCE *)job->columns + f * packed->n_rows;              \
            CODE *codes = (CODE *)packed->codes + f;                                               \
            int64_t n_bins = packed->offsets[f + 1] - packed->offsets[f];                          \
            SOURCE largest = 0;                                                                    \
            for (size_t i = start; i < stop; i++) {                                                \
                largest = column[i] > largest ? column[i] : largest;                               \
                codes[i * n_features] = (CODE)column[i];                                           \
            }                                                                                      \
            if (largest > n_bins)                                                                  \
                atomic_store(&job->bad_feature, f);                                                \
        }                                                                                          \
    }
DEFINE_PACK_BLOCK(pack_block_8, uint8_t, uint8_t)
DEFINE_PACK_BLOCK(pack_block_16, uint16_t, uint16_t)
DEFINE_PACK_BLOCK(pack_block_16_in_8, uint16_t, uint8_t)

static void pack_worker(void *argument)
{
    pack_job *job = argument;
    size_t start, stop;
    while (take_block(&job->next, PACK_BLOCK, job->packed->n_rows, &start, &stop)) {
        if (job->column_size == 1)
            pack_block_8(job, start, stop);
        else if (job->packed->item_size == 1)
            pack_block_16_in_8(job, start, stop);
        else
            pack_block_16(job, start, stop);
    }
}

static void free_packed(packed_bins *packed)
{
    if (packed != NULL) {
        free(packed->offsets);
        free(packed->codes);
    }
    free(packed);
}

static void destroy_packed(PyObject *capsule)
{
    free_packed(PyCapsule_GetPointer(capsule, PACKED_BINS));
}

/* Rows of a small node lie far apart: with 4 KiB pages every one costs a page walk, and half the
 * time of its histogram. Memory that can be had in huge pages is. */
static void *new_codes(size_t size)
{
#ifdef MADV_HUGEPAGE
    if (size >= HUGE_PAGE && size <= SIZE_MAX - HUGE_PAGE) {
        size_t rounded = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        void *codes = aligned_alloc(HUGE_PAGE, rounded);
        if (codes != NULL)
            (void)madvise(codes, rounded, MADV_HUGEPAGE); /* a hint: no error matters */
        return codes;
    }
#endif
    return malloc(size + 1);
}

/* 256 bins and the code of a missing value take two bytes, but where nothing is missing one does. */
static int narrowest_code(const array *bins)
{
    if (bins->view.itemsize == 1)
        return 1;
    const uint16_t *codes = bins->view.buf;
    uint16_t largest = 0;
    for (size_t i = 0; i < (size_t)bins->view.len / sizeof *codes; i++)
        largest = codes[i] > largest ? codes[i] : largest;
    return largest <= UINT8_MAX ? 1 : 2;
}

static packed_bins *new_packed(const array *bins, const array *offsets)
{
    packed_bins *packed = calloc(1, sizeof *packed);
    if (packed == NULL)
        return NULL;
    packed->n_features = extent(bins, 0);
    packed->n_rows = extent(bins, 1);
    packed->item_size = narrowest_code(bins);
    packed->offsets = malloc((packed->n_features + 1) * sizeof(int64_t));
    packed->codes = new_codes(packed->n_rows * packed->n_features * (size_t)packed->item_size);
    if (packed->offsets == NULL || packed->codes == NULL) {
        free_packed(packed);
        return NULL;
    }
    memcpy(packed->offsets, offsets->view.buf, (packed->n_features + 1) * sizeof(int64_t));
    return packed;
}

/* pack_bins(bins, offsets, workers): check all codes and keep them row by row. */
static PyObject *pack_bins(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[2], *result = NULL;
    PyObject *workers;
    worker_pool *pool;
    array held[2] = {0};
    array *bins = &held[0], *offsets = &held[1];
    packed_bins *packed = NULL;
    if (!PyArg_ParseTuple(arguments, "OOO:pack_bins", &objects[0], &objects[1], &workers) ||
        (pool = get_pool(workers)) == NULL)
        return NULL;
    if (!get_bins(objects[0], bins, 0) ||
        !get_array(objects[1], offsets,
                   (array_type){"offsets", SIGNED_INTEGER, 8, 1, .is_writable = 0}) ||
        !check_offsets(offsets, extent(bins, 0)))
        goto done;
    if (!check_row_count(bins, 1))
        goto done;
    packed = new_packed(bins, offsets);
    if (packed == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    pack_job job = {.packed = packed, .columns = bins->view.buf,
                    .column_size = (int)bins->view.itemsize};
    atomic_init(&job.next, 0);
    atomic_init(&job.bad_feature, packed->n_features);
    int n_workers =
        useful_workers(pool, packed->n_rows * packed->n_features, WORKER_UPDATES);
    Py_BEGIN_ALLOW_THREADS
    run_workers(pool, n_workers, pack_worker, &job);
    Py_END_ALLOW_THREADS
    size_t bad = atomic_load(&job.bad_feature);
    if (bad < packed->n_features)
        PyErr_Format(PyExc_ValueError, "bins of feature %zu: a code above %lld, that of a missing value",
                     bad, (long long)(packed->offsets[bad + 1] - packed->offsets[bad]));
    else
        result = PyCapsule_New(packed, PACKED_BINS, destroy_packed);
done:
    if (result == NULL)
        free_packed(packed);
    release_arrays(held, 2);
    return result;
}

/* ---- summing ---- */

/* One histogram that is asked for. */
typedef struct {
    const uint32_t *rows;
    size_t n_rows;
    const int64_t *features;
    size_t n_active;
    size_t first_block, end_block;
    uint64_t *sums;  /* 2 x total bins */
    uint64_t *total; /* 2 */
} histogram_order;

typedef struct {
    const packed_bins *packed;
    const uint64_t *gradients;
    const histogram_order *orders;
    size_t n_orders, n_blocks;
    atomic_size_t next, n_started;
    atomic_int is_bad; /* a row number beyond the table was met */
    pthread_mutex_t flushing;
    pair *cells;  /* per worker: n_bins + 1 of each feature, the last for missing values */
    pair **bases; /* per worker: where each active feature's cells begin */
} histogram_job;

static size_t cells_per_worker(const packed_bins *packed)
{
    return (size_t)packed->offsets[packed->n_features] + packed->n_features;
}

static size_t cell_count(const packed_bins *packed, int64_t feature)
{
    return (size_t)(packed->offsets[feature + 1] - packed->offsets[feature]) + 1;
}

/* `span`: how far apart the codes of a row lie that are wanted. */
#define ROW_LOOP(CODE, ...)                                                                        \
    for (size_t i = 0; i < n; i++) {                                                               \
        size_t ahead = rows[i + PREFETCH_ROWS < n ? i + PREFETCH_ROWS : n - 1];                    \
        __builtin_prefetch(codes + ahead * stride);                                                \
        __builtin_prefetch(codes + ahead * stride + span);                                         \
        __builtin_prefetch(gradients + 2 * ahead);                                                 \
        size_t here = rows[i];                                                                     \
        pair row = *(const loose_pair *)(gradients + 2 * here);                                    \
        const CODE *code = codes + here * stride;                                                  \
        total += row;                                                                              \
        __VA_ARGS__                                                                                \
    }

/* Add n rows over some features and return their total. Four features at a time: loads of codes
 * need not wait for the stores before them, which takes a third off the time.
 */
#define DEFINE_ADD_ROWS(NAME, CODE)                                                                \
    static __attribute__((noinline)) pair NAME##_of_adjacent(                                      \
        const CODE *codes, size_t stride, const uint64_t *gradients, const uint32_t *rows,         \
        size_t n, size_t n_active, pair *const *bases)                                             \
    {                                                                                              \
        size_t span = n_active - 1;                                                                \
        pair total = {0, 0};                                                                       \
        ROW_LOOP(CODE, size_t k = 0; for (; k + 4 <= n_active; k += 4) {                           \
            size_t a = code[k], b = code[k + 1], c = code[k + 2], d = code[k + 3];                 \
            bases[k][a] += row;                                                                    \
            bases[k + 1][b] += row;                                                                \
            bases[k + 2][c] += row;                                                                \
            bases[k + 3][d] += row;                                                                \
        } for (; k < n_active; k++) bases[k][code[k]] += row;)                                     \
        return total;                                                                              \
    }                                                                                              \
    static __attribute__((noinline)) pair NAME##_of_listed(                                        \
        const CODE *codes, size_t stride, const uint64_t *gradients, const uint32_t *rows,         \
        size_t n, const int64_t *features, size_t n_active, pair *const *bases)                    \
    {                                                                                              \
        size_t span = n_active > 0 ? (size_t)features[n_active - 1] : 0;                           \
        pair total = {0, 0};                                                                       \
        ROW_LOOP(CODE, size_t k = 0; for (; k + 2 <= n_active; k += 2) {                           \
            size_t a = code[features[k]], b = code[features[k + 1]];                               \
            bases[k][a] += row;                                                                    \
            bases[k + 1][b] += row;                                                                \
        } if (k < n_active) bases[k][code[features[k]]] += row;)                                   \
        return total;                                                                              \
    }                                                                                              \
    static pair NAME(const packed_bins *packed, const uint64_t *gradients, const uint32_t *rows,   \
                     size_t n, const int64_t *features, size_t n_active, pair *const *bases)       \
    {                                                                                              \
        size_t stride = packed->n_features;                                                        \
        const CODE *codes = packed->codes;                                                         \
        if (n_active > 0 && (size_t)(features[n_active - 1] - features[0]) == n_active - 1)        \
            return NAME##_of_adjacent(codes + features[0], stride, gradients, rows, n, n_active,   \
                                      bases);                                                      \
        return NAME##_of_listed(codes, stride, gradients, rows, n, features, n_active, bases);     \
    }
DEFINE_ADD_ROWS(add_rows_8, uint8_t)
DEFINE_ADD_ROWS(add_rows_16, uint16_t)

static void start_order(const packed_bins *packed, const histogram_order *order, pair *cells,
                        pair **bases)
{
    for (size_t k = 0; k < order->n_active; k++) {
        size_t n = cell_count(packed, order->features[k]);
        bases[k] = cells;
        memset(cells, 0, n * sizeof *cells);
        cells += n;
    }
}

/* Add a worker's cells to the result. */
static void flush_order(histogram_job *job, const histogram_order *order, pair *const *bases,
                        pair total)
{
    const packed_bins *packed = job->packed;
    size_t n_bins = (size_t)packed->offsets[packed->n_features];
    pthread_mutex_lock(&job->flushing);
    for (size_t k = 0; k < order->n_active; k++) {
        size_t n = cell_count(packed, order->features[k]) - 1;
        uint64_t *gradients = order->sums + packed->offsets[order->features[k]];
        uint64_t *hessians = gradients + n_bins;
        for (size_t bin = 0; bin < n; bin++) {
            gradients[bin] += bases[k][bin][0];
            hessians[bin] += bases[k][bin][1];
        }
    }
    order->total[0] += total[0];
    order->total[1] += total[1];
    pthread_mutex_unlock(&job->flushing);
}

static void histogram_worker(void *argument)
{
    histogram_job *job = argument;
    const packed_bins *packed = job->packed;
    size_t worker = atomic_fetch_add(&job->n_started, 1);
    pair *cells = job->cells + worker * cells_per_worker(packed);
    pair **bases = job->bases + worker * packed->n_features;
    const histogram_order *current = NULL, *order = job->orders;
    pair total = {0, 0};
    size_t block, unused;
    while (take_block(&job->next, 1, job->n_blocks, &block, &unused)) {
        while (block >= order->end_block)
            order++;
        if (order != current) {
            if (current != NULL)
                flush_order(job, current, bases, total);
            current = order;
            total = (pair){0, 0};
            start_order(packed, order, cells, bases);
        }
        size_t start = (block - order->first_block) * HISTOGRAM_BLOCK;
        size_t n = order->n_rows - start < HISTOGRAM_BLOCK ? order->n_rows - start : HISTOGRAM_BLOCK;
        const uint32_t *rows = order->rows + start;
        if (!are_rows(rows, n, packed->n_rows)) {
            atomic_store(&job->is_bad, 1);
            continue;
        }
        total += (packed->item_size == 1 ? add_rows_8 : add_rows_16)(
            packed, job->gradients, rows, n, order->features, order->n_active, bases);
    }
    if (current != NULL)
        flush_order(job, current, bases, total);
}

/* Fill one order and its two arrays from Python's. */
static int read_order(histogram_order *order, array *held, PyObject *rows, PyObject *features,
                      const packed_bins *packed)
{
    static const array_type rows_type = {"rows", UNSIGNED_INTEGER, 4, 1, 0, 0};
    static const array_type features_type = {"features", SIGNED_INTEGER, 8, 1, 0, 0};
    if (!get_array(rows, &held[0], rows_type) || !get_array(features, &held[1], features_type) ||
        !check_features(&held[1], packed->n_features))
        return 0;
    order->rows = held[0].view.buf;
    order->n_rows = extent(&held[0], 0);
    order->features = held[1].view.buf;
    order->n_active = extent(&held[1], 0);
    return 1;
}

static int sum_orders(histogram_job *job, worker_pool *pool, size_t n_updates)
{
    const packed_bins *packed = job->packed;
    int n_workers = useful_workers(pool, n_updates, WORKER_UPDATES);
    size_t n_cells = cells_per_worker(packed) * (size_t)n_workers;
    /* aligned_alloc wants a multiple of the alignment. */
    job->cells = aligned_alloc(64, (n_cells * sizeof(pair) / 64 + 1) * 64);
    job->bases = malloc((packed->n_features * (size_t)n_workers + 1) * sizeof(pair *));
    int ok = job->cells != NULL && job->bases != NULL &&
             pthread_mutex_init(&job->flushing, NULL) == 0;
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        run_workers(pool, n_workers, histogram_worker, job);
        Py_END_ALLOW_THREADS
        pthread_mutex_destroy(&job->flushing);
    } else {
        PyErr_NoMemory();
    }
    free(job->cells);
    free(job->bases);
    return ok;
}

/* sum_histograms(packed, gradients, rows, features, sums, totals, workers)
 *
 * rows and features are sequences of arrays, one pair per histogram; sums (n, 2, total bins) and
 * totals (n, 2) are added to. Missing values enter the totals only.
 */
static PyObject *sum_histograms(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *capsule, *objects[3], *lists[2], *result = NULL;
    PyObject *rows = NULL, *features = NULL;
    PyObject *workers;
    worker_pool *pool;
    array held[3] = {0};
    array *gradients = &held[0], *sums = &held[1], *totals = &held[2], *of_orders = NULL;
    histogram_order *orders = NULL;
    Py_ssize_t n = 0;
    if (!PyArg_ParseTuple(arguments, "OOOOOOO:sum_histograms", &capsule, &objects[0], &lists[0],
                          &lists[1], &objects[1], &objects[2], &workers) ||
        (pool = get_pool(workers)) == NULL)
        return NULL;
    packed_bins *packed = PyCapsule_GetPointer(capsule, PACKED_BINS);
    if (packed == NULL)
        return NULL;
    if (!(rows = PySequence_Fast(lists[0], "rows: expected a sequence of arrays")) ||
        !(features = PySequence_Fast(lists[1], "features: expected a sequence of arrays")))
        goto done;
    n = PySequence_Fast_GET_SIZE(rows);
    if (PySequence_Fast_GET_SIZE(features) != n) {
        PyErr_SetString(PyExc_ValueError, "rows and features: expected one array each per histogram");
        n = 0;
        goto done;
    }
    if (!get_array(objects[0], gradients, (array_type){"gradients", SIGNED_INTEGER, 8, 2, 0, 0}) ||
        !get_array(objects[1], sums, (array_type){"sums", SIGNED_INTEGER, 8, 3, 1, 0}) ||
        !get_array(objects[2], totals, (array_type){"totals", SIGNED_INTEGER, 8, 2, 1, 0}) ||
        !check_extent(gradients, "gradients", 0, packed->n_rows) ||
        !check_extent(gradients, "gradients", 1, 2) ||
        !check_extent(sums, "sums", 0, (size_t)n) || !check_extent(sums, "sums", 1, 2) ||
        !check_extent(sums, "sums", 2, (size_t)packed->offsets[packed->n_features]) ||
        !check_extent(totals, "totals", 0, (size_t)n) || !check_extent(totals, "totals", 1, 2))
        goto done;
    orders = calloc((size_t)n + 1, sizeof *orders);
    of_orders = calloc(2 * (size_t)n + 1, sizeof *of_orders);
    if (orders == NULL || of_orders == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    histogram_job job = {.packed = packed, .gradients = gradients->view.buf, .orders = orders};
    size_t n_updates = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        histogram_order *order = &orders[i];
        if (!read_order(order, of_orders + 2 * i, PySequence_Fast_GET_ITEM(rows, i),
                        PySequence_Fast_GET_ITEM(features, i), packed))
            goto done;
        order->sums = (uint64_t *)sums->view.buf + (size_t)i * 2 * extent(sums, 2);
        order->total = (uint64_t *)totals->view.buf + 2 * (size_t)i;
        order->first_block = job.n_blocks;
        job.n_blocks += (order->n_rows + HISTOGRAM_BLOCK - 1) / HISTOGRAM_BLOCK;
        order->end_block = job.n_blocks;
        n_updates += order->n_rows * order->n_active;
    }
    job.n_orders = (size_t)n;
    atomic_init(&job.next, 0);
    atomic_init(&job.n_started, 0);
    atomic_init(&job.is_bad, 0);
    if (!sum_orders(&job, pool, n_updates))
        goto done;
    if (atomic_load(&job.is_bad))
        PyErr_Format(PyExc_ValueError, "rows: a number beyond the %zu rows of the table",
                     packed->n_rows);
    else
        result = Py_NewRef(Py_None);
done:
    if (of_orders != NULL)
        release_arrays(of_orders, 2 * (size_t)n);
    free(of_orders);
    free(orders);
    Py_XDECREF(rows);
    Py_XDECREF(features);
    release_arrays(held, 3);
    return result;
}

#endif
