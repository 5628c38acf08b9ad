/* Feature values: their bins, and counts of their keys for the search of cuts.
 *
 * The table comes as it lies in memory, row by row or column by column. Rows are taken in blocks
 * that stay in the first-level cache while one feature after the other is read from them.
 */
#ifndef FRAUDFED_ENGINE_VALUES_H
#define FRAUDFED_ENGINE_VALUES_H

#include <stdlib.h>

#include "_engine_arrays.h"

enum {
    VALUE_BLOCK = 256,
    WORKER_VALUES = 20000, /* values that take about as long as waking up a thread */
    KEY_BITS = 32,
    STEP_BITS = 4,
    N_PARTS = 1 << STEP_BITS,
    PREFIX_BITS = 16,
    N_PREFIXES = 1 << PREFIX_BITS,
    COLUMN_GROUP = 16, /* columns whose tables exist at a time, 128 KiB each */
};

/* Any matrix of float32. */
typedef struct {
    const char *data;
    ptrdiff_t row_stride, column_stride;
    size_t n_rows, n_columns;
} value_matrix;

static value_matrix matrix_of(const array *a)
{
    return (value_matrix){a->view.buf, a->view.strides[0], a->view.strides[1], extent(a, 0),
                          extent(a, 1)};
}

static inline float value_at(const value_matrix *m, size_t row, size_t column)
{
    return *(const float *)(m->data + (ptrdiff_t)row * m->row_stride +
                            (ptrdiff_t)column * m->column_stride);
}

/* ---- bins ---- */

typedef struct {
    value_matrix values;
    const float *edges;
    const int64_t *offsets;
    const uint8_t *is_categorical;
    void *bins;
    int code_size;
    float *ladders;      /* per feature: its edges, and +inf up to a power of two less one */
    size_t *ladder_starts; /* n_columns + 1 */
    atomic_size_t next;
    atomic_size_t bad_feature;
} bin_job;

/* How many edges lie at or below each value; 0 for NaN. A binary search, all values in step. */
static void edges_below(const float *restrict ladder, int32_t length, const float *restrict values,
                        int32_t *restrict below, size_t n)
{
    for (size_t i = 0; i < n; i++)
        below[i] = 0;
    for (int32_t step = (length + 1) / 2; step > 0; step /= 2)
        for (size_t i = 0; i < n; i++)
            below[i] += ladder[below[i] + step - 1] <= values[i] ? step : 0;
}

/* The codes of one block of one feature; as int32, whatever they are stored as. */
static void find_bins(bin_job *job, size_t feature, size_t start, size_t n, int32_t *codes)
{
    int32_t n_bins = (int32_t)(job->offsets[feature + 1] - job->offsets[feature]);
    float values[VALUE_BLOCK];
    for (size_t i = 0; i < n; i++)
        values[i] = value_at(&job->values, start + i, feature);
    if (job->is_categorical[feature]) {
        for (size_t i = 0; i < n; i++) {
            int is_code = values[i] > -1.0f && values[i] < (float)n_bins;
            if (values[i] == values[i] && !is_code)
                atomic_store(&job->bad_feature, feature);
            codes[i] = is_code ? (int32_t)values[i] : n_bins;
        }
        return;
    }
    size_t first = job->ladder_starts[feature];
    int32_t length = (int32_t)(job->ladder_starts[feature + 1] - first);
    edges_below(job->ladders + first, length, values, codes, n);
    for (size_t i = 0; i < n; i++) {
        codes[i] = codes[i] < n_bins - 1 ? codes[i] : n_bins - 1;
        codes[i] = values[i] == values[i] ? codes[i] : n_bins;
    }
}

static void bin_worker(void *argument)
{
    bin_job *job = argument;
    int32_t codes[VALUE_BLOCK];
    size_t start, stop;
    while (take_block(&job->next, VALUE_BLOCK, job->values.n_rows, &start, &stop))
        for (size_t f = 0; f < job->values.n_columns; f++) {
            find_bins(job, f, start, stop - start, codes);
            size_t place = f * job->values.n_rows + start;
            if (job->code_size == 1)
                for (size_t i = 0; i < stop - start; i++)
                    ((uint8_t *)job->bins)[place + i] = (uint8_t)codes[i];
            else
                for (size_t i = 0; i < stop - start; i++)
                    ((uint16_t *)job->bins)[place + i] = (uint16_t)codes[i];
        }
}

/* Lay out the ladders; 0 and an exception if there is no memory. */
static int build_ladders(bin_job *job)
{
    size_t n = job->values.n_columns, total = 0;
    job->ladder_starts = malloc((n + 1) * sizeof(size_t));
    if (job->ladder_starts == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    for (size_t f = 0; f <= n; f++) {
        job->ladder_starts[f] = total;
        size_t length = 0;
        if (f < n && !job->is_categorical[f])
            while (length < (size_t)(job->offsets[f + 1] - job->offsets[f]))
                length = 2 * length + 1;
        total += length;
    }
    job->ladders = malloc((total + 1) * sizeof(float));
    if (job->ladders == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    for (size_t i = 0; i < total; i++)
        job->ladders[i] = INFINITY;
    for (size_t f = 0; f < n; f++)
        if (!job->is_categorical[f])
            memcpy(job->ladders + job->ladder_starts[f], job->edges + job->offsets[f],
                   (size_t)(job->offsets[f + 1] - job->offsets[f]) * sizeof(float));
    return 1;
}

static int check_bin_counts(const bin_job *job)
{
    int64_t largest = job->code_size == 1 ? UINT8_MAX : UINT16_MAX;
    for (size_t f = 0; f < job->values.n_columns; f++) {
        int64_t n_bins = job->offsets[f + 1] - job->offsets[f];
        if (n_bins < 1 || n_bins > largest) {
            PyErr_Format(PyExc_ValueError, "feature %zu: %lld bins, expected 1 to %lld", f,
                         (long long)n_bins, (long long)largest);
            return 0;
        }
    }
    return 1;
}

/* bin_values(values, edges, offsets, is_categorical, bins, workers)
 *
 * Fill bins (n_columns, n_rows) with each value's bin; the code of a missing value is the number
 * of bins. A categorical value is its own bin.
 */
static PyObject *bin_values(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[5], *result = NULL;
    PyObject *workers;
    worker_pool *pool;
    bin_job job = {0};
    array held[5] = {0};
    array *values = &held[0], *edges = &held[1], *offsets = &held[2], *categorical = &held[3];
    array *bins = &held[4];
    if (!PyArg_ParseTuple(arguments, "OOOOOO:bin_values", &objects[0], &objects[1], &objects[2],
                          &objects[3], &objects[4], &workers) ||
        (pool = get_pool(workers)) == NULL)
        return NULL;
    if (!get_bins(objects[4], bins, 1) ||
        !get_array(objects[0], values, (array_type){"values", FLOATING, 4, 2, 0, 1}) ||
        !get_array(objects[1], edges, (array_type){"edges", FLOATING, 4, 1, 0, 0}) ||
        !get_array(objects[2], offsets, (array_type){"offsets", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[3], categorical,
                   (array_type){"is_categorical", UNSIGNED_INTEGER, 1, 1, 0, 0}))
        goto done;
    job.values = matrix_of(values);
    job.edges = edges->view.buf;
    job.offsets = offsets->view.buf;
    job.is_categorical = categorical->view.buf;
    job.bins = bins->view.buf;
    job.code_size = (int)bins->view.itemsize;
    size_t n = job.values.n_columns;
    if (!check_offsets(offsets, n) ||
        !check_extent(edges, "edges", 0, (size_t)job.offsets[n]) ||
        !check_extent(categorical, "is_categorical", 0, n) || !check_extent(bins, "bins", 0, n) ||
        !check_extent(bins, "bins", 1, job.values.n_rows) || !check_bin_counts(&job) ||
        !build_ladders(&job))
        goto done;
    atomic_init(&job.next, 0);
    atomic_init(&job.bad_feature, n);
    int n_workers = useful_workers(pool, n * job.values.n_rows, WORKER_VALUES);
    Py_BEGIN_ALLOW_THREADS
    run_workers(pool, n_workers, bin_worker, &job);
    Py_END_ALLOW_THREADS
    size_t bad = atomic_load(&job.bad_feature);
    if (bad < n)
        PyErr_Format(PyExc_ValueError, "feature %zu: a value that is no category code", bad);
    else
        result = Py_NewRef(Py_None);
done:
    free(job.ladders);
    free(job.ladder_starts);
    release_arrays(held, 5);
    return result;
}

/* ---- counts of keys ---- */

/* Order-preserving key of a value, see keys_from_values. */
static inline uint32_t key_of(float value)
{
    uint32_t bits;
    value += 0.0f; /* -0.0 becomes 0.0 */
    memcpy(&bits, &value, sizeof bits);
    return bits ^ (0x80000000u | (0u - (bits >> 31)));
}

typedef struct {
    value_matrix values;
    const int64_t *columns;
    size_t n_columns;
    uint64_t *counts;        /* n_columns x N_PREFIXES */
    uint32_t *worker_counts; /* the same for each worker; a column has fewer than 2^31 rows */
    atomic_size_t next, n_started;
    pthread_mutex_t flushing;
} prefix_job;

static void prefix_worker(void *argument)
{
    prefix_job *job = argument;
    size_t n_counts = job->n_columns * N_PREFIXES;
    uint32_t *counts = job->worker_counts + atomic_fetch_add(&job->n_started, 1) * n_counts;
    size_t start, stop;
    while (take_block(&job->next, VALUE_BLOCK, job->values.n_rows, &start, &stop))
        for (size_t k = 0; k < job->n_columns; k++)
            for (size_t i = start; i < stop; i++) {
                float value = value_at(&job->values, i, (size_t)job->columns[k]);
                uint32_t prefix = key_of(value) >> (KEY_BITS - PREFIX_BITS);
                counts[k * N_PREFIXES + prefix] += value == value;
            }
    pthread_mutex_lock(&job->flushing);
    for (size_t i = 0; i < n_counts; i++)
        job->counts[i] += counts[i];
    pthread_mutex_unlock(&job->flushing);
}

/* count_prefixes(values, columns, counts, workers)
 *
 * Add to counts (n, 2^16) how many keys of each column begin with each 16 bits. Missing values are
 * left out.
 */
static PyObject *count_prefixes(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[3], *result = NULL;
    PyObject *workers;
    worker_pool *pool;
    array held[3] = {0};
    array *values = &held[0], *columns = &held[1], *counts = &held[2];
    prefix_job job = {0};
    if (!PyArg_ParseTuple(arguments, "OOOO:count_prefixes", &objects[0], &objects[1], &objects[2],
                          &workers) ||
        (pool = get_pool(workers)) == NULL)
        return NULL;
    if (!get_array(objects[0], values, (array_type){"values", FLOATING, 4, 2, 0, 1}) ||
        !get_array(objects[1], columns, (array_type){"columns", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[2], counts, (array_type){"counts", SIGNED_INTEGER, 8, 2, 1, 0}))
        goto done;
    job.values = matrix_of(values);
    job.columns = columns->view.buf;
    job.n_columns = extent(columns, 0);
    job.counts = counts->view.buf;
    if (!check_features(columns, job.values.n_columns) ||
        !check_extent(counts, "counts", 0, job.n_columns) ||
        !check_extent(counts, "counts", 1, N_PREFIXES))
        goto done;
    if (!check_row_count(values, 0))
        goto done;
    int n_workers = useful_workers(pool, job.n_columns * job.values.n_rows, WORKER_VALUES);
    job.worker_counts =
        calloc((size_t)n_workers * job.n_columns * N_PREFIXES + 1, sizeof *job.worker_counts);
    if (job.worker_counts == NULL || pthread_mutex_init(&job.flushing, NULL) != 0) {
        PyErr_NoMemory();
        goto done;
    }
    atomic_init(&job.next, 0);
    atomic_init(&job.n_started, 0);
    Py_BEGIN_ALLOW_THREADS
    run_workers(pool, n_workers, prefix_worker, &job);
    Py_END_ALLOW_THREADS
    pthread_mutex_destroy(&job.flushing);
    result = Py_NewRef(Py_None);
done:
    free(job.worker_counts);
    release_arrays(held, 3);
    return result;
}

/* A bucket of keys with the same leading bits. Bucket 0 of every column takes what is not asked for. */
typedef struct {
    uint32_t low, high;
    int shift; /* key >> shift, relative to low, is the part */
} key_bucket;

typedef struct {
    value_matrix values;
    const int64_t *columns;    /* of this group */
    size_t n_columns;
    const key_bucket *buckets; /* of this group, per column one more than asked for */
    const size_t *starts;      /* of this group, n_columns + 1 */
    const uint16_t *tables;    /* n_columns x N_PREFIXES: bucket of a key by its leading bits */
    const uint8_t *is_narrow;  /* whether some bucket shares more leading bits than the tables see */
    uint64_t *counts;          /* of this group, N_PARTS per bucket */
    uint64_t *worker_counts;
    atomic_size_t next, n_started;
    pthread_mutex_t flushing;
} count_job;

/* Bucket of a key where leading bits alone do not tell: 0 if none holds it. */
static size_t find_bucket(const key_bucket *buckets, size_t n_buckets, size_t first, uint32_t key)
{
    while (first > 0 && first < n_buckets && key > buckets[first].high)
        first++;
    return first < n_buckets && key >= buckets[first].low && key <= buckets[first].high ? first : 0;
}

static void count_column(const count_job *job, size_t k, size_t start, size_t stop, uint64_t *counts)
{
    const key_bucket *buckets = job->buckets + job->starts[k];
    const uint16_t *table = job->tables + k * N_PREFIXES;
    size_t n_buckets = job->starts[k + 1] - job->starts[k], n = stop - start;
    uint32_t keys[VALUE_BLOCK];
    uint16_t owners[VALUE_BLOCK];
    counts += job->starts[k] * N_PARTS;
    for (size_t i = 0; i < n; i++) {
        float value = value_at(&job->values, start + i, (size_t)job->columns[k]);
        keys[i] = key_of(value);
        owners[i] = value == value ? table[keys[i] >> (KEY_BITS - PREFIX_BITS)] : 0;
    }
    if (job->is_narrow[k])
        for (size_t i = 0; i < n; i++)
            owners[i] = (uint16_t)find_bucket(buckets, n_buckets, owners[i], keys[i]);
    for (size_t i = 0; i < n; i++) {
        key_bucket bucket = buckets[owners[i]];
        counts[owners[i] * N_PARTS + (((keys[i] - bucket.low) >> bucket.shift) & (N_PARTS - 1))]++;
    }
}

static void count_worker(void *argument)
{
    count_job *job = argument;
    size_t n_counts = job->starts[job->n_columns] * N_PARTS;
    size_t worker = atomic_fetch_add(&job->n_started, 1);
    uint64_t *counts = job->worker_counts + worker * n_counts;
    size_t start, stop;
    while (take_block(&job->next, VALUE_BLOCK, job->values.n_rows, &start, &stop))
        for (size_t k = 0; k < job->n_columns; k++)
            count_column(job, k, start, stop, counts);
    pthread_mutex_lock(&job->flushing);
    for (size_t i = 0; i < n_counts; i++)
        job->counts[i] += counts[i];
    pthread_mutex_unlock(&job->flushing);
}

/* Turn lows and bits into buckets and tables. Return 0 unless they ascend without overlap. */
static int fill_buckets(const uint32_t *lows, const int64_t *bits, size_t n, key_bucket *buckets,
                        uint16_t *table, uint8_t *is_narrow)
{
    buckets[0] = (key_bucket){0, UINT32_MAX, KEY_BITS - STEP_BITS};
    memset(table, 0, N_PREFIXES * sizeof *table);
    *is_narrow = 0;
    for (size_t i = 0; i < n; i++) {
        if (bits[i] < 0 || bits[i] > KEY_BITS - STEP_BITS)
            return 0;
        uint32_t width_less_one = bits[i] == 0 ? UINT32_MAX : (1u << (KEY_BITS - bits[i])) - 1;
        if ((lows[i] & width_less_one) != 0 || (i > 0 && lows[i] <= buckets[i].high))
            return 0;
        buckets[i + 1] = (key_bucket){lows[i], lows[i] + width_less_one,
                                      (int)(KEY_BITS - STEP_BITS - bits[i])};
        *is_narrow |= bits[i] > PREFIX_BITS;
        size_t last = buckets[i + 1].high >> (KEY_BITS - PREFIX_BITS);
        for (size_t p = lows[i] >> (KEY_BITS - PREFIX_BITS); p <= last; p++)
            if (table[p] == 0)
                table[p] = (uint16_t)(i + 1);
    }
    return 1;
}

typedef struct {
    key_bucket *buckets;
    size_t *starts;
    uint16_t *tables;
    uint8_t *is_narrow;
    uint64_t *counts, *worker_counts;
} count_memory;

static void free_count_memory(count_memory *m)
{
    free(m->buckets);
    free(m->starts);
    free(m->tables);
    free(m->is_narrow);
    free(m->counts);
    free(m->worker_counts);
}

/* Count the keys of up to COLUMN_GROUP columns; n_asked buckets in all. Sets an exception at 0. */
static int count_group(const value_matrix *values, const int64_t *columns, size_t n_columns,
                       const int64_t *starts, const uint32_t *lows, const int64_t *bits,
                       int64_t *parts, worker_pool *pool)
{
    size_t n_buckets = (size_t)(starts[n_columns] - starts[0]) + n_columns;
    size_t n_counts = n_buckets * N_PARTS;
    int n_workers = useful_workers(pool, n_columns * values->n_rows, WORKER_VALUES);
    count_memory m = {
        .buckets = calloc(n_buckets, sizeof(key_bucket)),
        .starts = calloc(n_columns + 1, sizeof(size_t)),
        .tables = malloc(n_columns * N_PREFIXES * sizeof(uint16_t)),
        .is_narrow = calloc(n_columns, 1),
        .counts = calloc(n_counts, sizeof(uint64_t)),
        .worker_counts = calloc(n_counts * (size_t)n_workers, sizeof(uint64_t)),
    };
    count_job job = {.values = *values, .columns = columns, .n_columns = n_columns,
                     .buckets = m.buckets, .starts = m.starts, .tables = m.tables,
                     .is_narrow = m.is_narrow, .counts = m.counts, .worker_counts = m.worker_counts};
    int ok = m.buckets && m.starts && m.tables && m.is_narrow && m.counts && m.worker_counts &&
             pthread_mutex_init(&job.flushing, NULL) == 0;
    if (!ok) {
        PyErr_NoMemory();
        free_count_memory(&m);
        return 0;
    }
    for (size_t k = 0; ok && k < n_columns; k++) {
        size_t first = (size_t)(starts[k] - starts[0]), n = (size_t)(starts[k + 1] - starts[k]);
        m.starts[k + 1] = m.starts[k] + n + 1;
        ok = n < UINT16_MAX && fill_buckets(lows + first, bits + first, n, m.buckets + m.starts[k],
                                            m.tables + k * N_PREFIXES, &m.is_narrow[k]);
    }
    if (ok) {
        atomic_init(&job.next, 0);
        atomic_init(&job.n_started, 0);
        Py_BEGIN_ALLOW_THREADS
        run_workers(pool, n_workers, count_worker, &job);
        Py_END_ALLOW_THREADS
        for (size_t k = 0; k < n_columns; k++)
            memcpy(parts + (starts[k] - starts[0]) * N_PARTS,
                   m.counts + (m.starts[k] + 1) * N_PARTS,
                   (size_t)(starts[k + 1] - starts[k]) * N_PARTS * sizeof(int64_t));
    } else {
        PyErr_SetString(PyExc_ValueError, "buckets: expected to ascend without overlap");
    }
    pthread_mutex_destroy(&job.flushing);
    free_count_memory(&m);
    return ok;
}

/* count_parts(values, columns, starts, lows, bits, parts, workers)
 *
 * Buckets starts[k] .. starts[k + 1] belong to columns[k]; fill parts (n, 16) with the number of
 * rows in each sixteenth of each bucket. Missing values are left out.
 */
static PyObject *count_parts(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[6], *result = NULL;
    PyObject *workers;
    worker_pool *pool;
    array held[6] = {0};
    array *values = &held[0], *columns = &held[1], *starts = &held[2], *lows = &held[3];
    array *bits = &held[4], *parts = &held[5];
    if (!PyArg_ParseTuple(arguments, "OOOOOOO:count_parts", &objects[0], &objects[1], &objects[2],
                          &objects[3], &objects[4], &objects[5], &workers) ||
        (pool = get_pool(workers)) == NULL)
        return NULL;
    if (!get_array(objects[0], values, (array_type){"values", FLOATING, 4, 2, 0, 1}) ||
        !get_array(objects[1], columns, (array_type){"columns", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[2], starts, (array_type){"starts", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[3], lows, (array_type){"lows", UNSIGNED_INTEGER, 4, 1, 0, 0}) ||
        !get_array(objects[4], bits, (array_type){"bits", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[5], parts, (array_type){"parts", SIGNED_INTEGER, 8, 2, 1, 0}))
        goto done;
    value_matrix matrix = matrix_of(values);
    size_t n_columns = extent(columns, 0), n_buckets = extent(lows, 0);
    if (!check_offsets(starts, n_columns) || !check_extent(bits, "bits", 0, n_buckets) ||
        !check_extent(lows, "lows", 0, (size_t)((const int64_t *)starts->view.buf)[n_columns]) ||
        !check_extent(parts, "parts", 0, n_buckets) || !check_extent(parts, "parts", 1, N_PARTS) ||
        !check_features(columns, matrix.n_columns))
        goto done;
    for (size_t k = 0; k < n_columns; k += COLUMN_GROUP) {
        size_t n = n_columns - k < COLUMN_GROUP ? n_columns - k : COLUMN_GROUP;
        const int64_t *start = (const int64_t *)starts->view.buf + k;
        if (!count_group(&matrix, (const int64_t *)columns->view.buf + k, n, start,
                         (const uint32_t *)lows->view.buf + start[0],
                         (const int64_t *)bits->view.buf + start[0],
                         (int64_t *)parts->view.buf + start[0] * N_PARTS,
                         pool))
            goto done;
    }
    result = Py_NewRef(Py_None);
done:
    release_arrays(held, 6);
    return result;
}

#endif
