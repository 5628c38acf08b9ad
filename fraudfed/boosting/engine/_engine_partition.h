/* Rows sorted by node: one array of row numbers, in which every node owns a range. */
#ifndef FRAUDFED_ENGINE_PARTITION_H
#define FRAUDFED_ENGINE_PARTITION_H

#include <stdlib.h>

#include "_engine_arrays.h"

enum {
    PARTITION_BLOCK = 4096,
    WORKER_ROWS = 20000, /* rows whose partition takes about as long as waking up a thread */
};

/* One node that is split: rows [begin, middle) are in the sample, [middle, stop) are not. */
typedef struct {
    const void *column;
    const uint8_t *goes_left; /* by code; one entry past the last bin for a missing value */
    size_t n_codes;
    int64_t begin, middle, stop;
    uint8_t of_byte[UINT8_MAX + 1];
} node_split;

typedef struct {
    const node_split *split;
    size_t start, n_rows;
    size_t n_left;
    size_t left_target, right_target;
} partition_block;

typedef struct {
    uint32_t *order, *scratch;
    size_t n_rows;
    int code_size;
    partition_block *blocks;
    size_t n_blocks;
    atomic_size_t next;
    atomic_int is_bad;
} partition_job;

enum { GOES_RIGHT, GOES_LEFT, NO_CODE };

/* Where a code of one byte sends a row: looked up without a comparison. */
static void fill_table_of_bytes(node_split *split)
{
    for (size_t code = 0; code <= UINT8_MAX; code++)
        split->of_byte[code] = code >= split->n_codes       ? NO_CODE
                               : split->goes_left[code] != 0 ? GOES_LEFT
                                                             : GOES_RIGHT;
}

static inline int side_of_8(const node_split *split, uint8_t code)
{
    return split->of_byte[code];
}

static inline int side_of_16(const node_split *split, uint16_t code)
{
    if (code >= split->n_codes)
        return NO_CODE;
    return split->goes_left[code] != 0 ? GOES_LEFT : GOES_RIGHT;
}

/* Write the left rows of a block to scratch from its start, the right ones from its end. */
#define DEFINE_PART_BLOCK(NAME, CODE, SIDE)                                                        \
    static int NAME(const partition_job *job, partition_block *block)                              \
    {                                                                                              \
        const node_split *split = block->split;                                                    \
        const CODE *column = split->column;                                                        \
        const uint32_t *rows = job->order + block->start;                                          \
        uint32_t *scratch = job->scratch + block->start;                                           \
        ptrdiff_t left = 0, right = (ptrdiff_t)block->n_rows - 1;                                  \
        int seen = 0;                                                                              \
        for (size_t i = 0; i < block->n_rows; i++) {                                               \
            uint32_t row = rows[i];                                                                \
            int side = SIDE(split, column[row]);                                                   \
            seen |= side;                                                                          \
            scratch[left] = row;                                                                   \
            scratch[right] = row;                                                                  \
            left += side & GOES_LEFT;                                                              \
            right -= !(side & GOES_LEFT);                                                          \
        }                                                                                          \
        block->n_left = (size_t)left;                                                              \
        return !(seen & NO_CODE);                                                                  \
    }
DEFINE_PART_BLOCK(part_block_8, uint8_t, side_of_8)
DEFINE_PART_BLOCK(part_block_16, uint16_t, side_of_16)

static void part_worker(void *argument)
{
    partition_job *job = argument;
    size_t i, unused;
    while (take_block(&job->next, 1, job->n_blocks, &i, &unused)) {
        partition_block *block = &job->blocks[i];
        if (!are_rows(job->order + block->start, block->n_rows, job->n_rows) ||
            !(job->code_size == 1 ? part_block_8 : part_block_16)(job, block))
            atomic_store(&job->is_bad, 1);
    }
}

static void gather_worker(void *argument)
{
    partition_job *job = argument;
    size_t i, unused;
    while (take_block(&job->next, 1, job->n_blocks, &i, &unused)) {
        const partition_block *block = &job->blocks[i];
        memcpy(job->order + block->left_target, job->scratch + block->start,
               block->n_left * sizeof(uint32_t));
        const uint32_t *last = job->scratch + block->start + block->n_rows - 1;
        uint32_t *right = job->order + block->right_target;
        for (size_t k = 0; k < block->n_rows - block->n_left; k++)
            right[k] = *(last - k);
    }
}

/* Say where each block's rows go, and how many of each node go left: of the sample, and in all. */
static void plan_targets(partition_job *job, const node_split *splits, size_t n_splits,
                         int64_t *counts)
{
    partition_block *block = job->blocks, *end = job->blocks + job->n_blocks;
    for (size_t s = 0; s < n_splits; s++) {
        partition_block *first = block;
        size_t n_left = 0, n_left_sampled = 0;
        for (; block < end && block->split == &splits[s]; block++) {
            n_left += block->n_left;
            if (block->start < (size_t)splits[s].middle)
                n_left_sampled += block->n_left;
        }
        size_t left = (size_t)splits[s].begin, right = left + n_left;
        for (; first < block; first++) {
            first->left_target = left;
            first->right_target = right;
            left += first->n_left;
            right += first->n_rows - first->n_left;
        }
        counts[2 * s] = (int64_t)n_left_sampled;
        counts[2 * s + 1] = (int64_t)n_left;
    }
}

static size_t add_blocks(partition_block *blocks, const node_split *split, int64_t start, int64_t stop)
{
    size_t n = 0;
    for (; start < stop; start += PARTITION_BLOCK, n++)
        if (blocks != NULL)
            blocks[n] = (partition_block){
                .split = split,
                .start = (size_t)start,
                .n_rows = (size_t)(stop - start < PARTITION_BLOCK ? stop - start : PARTITION_BLOCK),
            };
    return n;
}

/* Ranges ascend and do not overlap, so that no two threads write to the same place. */
static int check_ranges(const int64_t *ranges, size_t n, size_t width, size_t n_rows)
{
    int64_t previous = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < width; k++) {
            if (ranges[i * width + k] < previous || ranges[i * width + k] > (int64_t)n_rows) {
                PyErr_SetString(PyExc_ValueError,
                                "ranges: expected to ascend within the rows without overlap");
                return 0;
            }
            previous = ranges[i * width + k];
        }
    return 1;
}

static int read_splits(node_split *splits, size_t n, const array *bins, const array *ranges,
                       const array *features, const array *tables, const array *table_offsets)
{
    const int64_t *feature = features->view.buf, *start = table_offsets->view.buf;
    const int64_t *range = ranges->view.buf;
    int64_t size = (int64_t)extent(tables, 0);
    for (size_t i = 0; i < n; i++) {
        if (feature[i] < 0 || feature[i] >= (int64_t)extent(bins, 0) || start[i] < 0 ||
            start[i + 1] <= start[i] || start[i + 1] > size) {
            PyErr_SetString(PyExc_ValueError, "splits: a feature or table that does not exist");
            return 0;
        }
        splits[i] = (node_split){
            .column = (const char *)bins->view.buf +
                      (size_t)feature[i] * extent(bins, 1) * (size_t)bins->view.itemsize,
            .goes_left = (const uint8_t *)tables->view.buf + start[i],
            .n_codes = (size_t)(start[i + 1] - start[i]),
            .begin = range[3 * i],
            .middle = range[3 * i + 1],
            .stop = range[3 * i + 2],
        };
        fill_table_of_bytes(&splits[i]);
    }
    return 1;
}

/* partition_rows(bins, order, scratch, ranges, features, tables, table_offsets, counts, workers)
 *
 * Reorder each range of `order`, left rows first, keeping the order within left and right; write
 * to counts (n, 2) how many of the sample and of all rows went left. On an error nothing moves.
 */
static PyObject *partition_rows(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[8], *result = NULL;
    PyObject *workers;
    worker_pool *pool;
    array held[8] = {0};
    array *bins = &held[0], *order = &held[1], *scratch = &held[2], *ranges = &held[3];
    array *features = &held[4], *tables = &held[5], *starts = &held[6], *counts = &held[7];
    node_split *splits = NULL;
    partition_block *blocks = NULL;
    if (!PyArg_ParseTuple(arguments, "OOOOOOOOO:partition_rows", &objects[0], &objects[1],
                          &objects[2], &objects[3], &objects[4], &objects[5], &objects[6],
                          &objects[7], &workers) ||
        (pool = get_pool(workers)) == NULL)
        return NULL;
    if (!get_bins(objects[0], bins, 0) ||
        !get_array(objects[1], order, (array_type){"order", UNSIGNED_INTEGER, 4, 1, 1, 0}) ||
        !get_array(objects[2], scratch, (array_type){"scratch", UNSIGNED_INTEGER, 4, 1, 1, 0}) ||
        !get_array(objects[3], ranges, (array_type){"ranges", SIGNED_INTEGER, 8, 2, 0, 0}) ||
        !get_array(objects[4], features, (array_type){"features", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[5], tables, (array_type){"tables", UNSIGNED_INTEGER, 1, 1, 0, 0}) ||
        !get_array(objects[6], starts, (array_type){"table_offsets", SIGNED_INTEGER, 8, 1, 0, 0}) ||
        !get_array(objects[7], counts, (array_type){"counts", SIGNED_INTEGER, 8, 2, 1, 0}))
        goto done;
    size_t n = extent(features, 0), n_rows = extent(bins, 1);
    if (!check_row_count(bins, 1) || !check_extent(order, "order", 0, n_rows) || !check_extent(scratch, "scratch", 0, n_rows) ||
        !check_extent(ranges, "ranges", 0, n) || !check_extent(ranges, "ranges", 1, 3) ||
        !check_extent(starts, "table_offsets", 0, n + 1) || !check_extent(counts, "counts", 0, n) ||
        !check_extent(counts, "counts", 1, 2) ||
        !check_ranges(ranges->view.buf, n, 3, n_rows))
        goto done;
    if (n_rows > 0 && order->view.buf == scratch->view.buf) {
        PyErr_SetString(PyExc_ValueError, "scratch: expected another array than order");
        goto done;
    }
    partition_job job = {
        .order = order->view.buf,
        .scratch = scratch->view.buf,
        .n_rows = n_rows,
        .code_size = (int)bins->view.itemsize,
    };
    size_t n_moving = 0;
    if (!(splits = calloc(n + 1, sizeof *splits))) {
        PyErr_NoMemory();
        goto done;
    }
    if (!read_splits(splits, n, bins, ranges, features, tables, starts))
        goto done;
    for (size_t i = 0; i < n; i++) {
        job.n_blocks += add_blocks(NULL, NULL, splits[i].begin, splits[i].middle) +
                        add_blocks(NULL, NULL, splits[i].middle, splits[i].stop);
        n_moving += (size_t)(splits[i].stop - splits[i].begin);
    }
    if (!(blocks = calloc(job.n_blocks + 1, sizeof *blocks))) {
        PyErr_NoMemory();
        goto done;
    }
    job.blocks = blocks;
    size_t filled = 0;
    for (size_t i = 0; i < n; i++) {
        filled += add_blocks(blocks + filled, &splits[i], splits[i].begin, splits[i].middle);
        filled += add_blocks(blocks + filled, &splits[i], splits[i].middle, splits[i].stop);
    }
    int n_workers = useful_workers(pool, n_moving, WORKER_ROWS);
    atomic_init(&job.next, 0);
    atomic_init(&job.is_bad, 0);
    Py_BEGIN_ALLOW_THREADS
    run_workers(pool, n_workers, part_worker, &job);
    if (!atomic_load(&job.is_bad)) {
        plan_targets(&job, splits, n, counts->view.buf);
        atomic_store(&job.next, 0);
        run_workers(pool, n_workers, gather_worker, &job);
    }
    Py_END_ALLOW_THREADS
    if (atomic_load(&job.is_bad))
        PyErr_SetString(PyExc_ValueError, "order or bins: a row or a bin code that does not exist");
    else
        result = Py_NewRef(Py_None);
done:
    free(splits);
    free(blocks);
    release_arrays(held, 8);
    return result;
}

/* ---- what a tree adds to its rows ---- */

/* Return 0 if there is a row number beyond the table.
 *
 * In one thread: the rows of different leaves share cache lines, over which threads would quarrel.
 */
static int add_values(const uint32_t *order, const int64_t *ranges, const float *values,
                      size_t n_leaves, float *margins, size_t n_rows)
{
    for (size_t leaf = 0; leaf < n_leaves; leaf++)
        for (int64_t i = ranges[2 * leaf]; i < ranges[2 * leaf + 1]; i++) {
            if (order[i] >= n_rows)
                return 0;
            margins[order[i]] += values[leaf];
        }
    return 1;
}

/* add_leaf_values(order, ranges, values, margins): margins[order[range]] += value. */
static PyObject *add_leaf_values(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[4], *result = NULL;
    array held[4] = {0};
    array *order = &held[0], *ranges = &held[1], *values = &held[2], *margins = &held[3];
    if (!PyArg_ParseTuple(arguments, "OOOO:add_leaf_values", &objects[0], &objects[1], &objects[2],
                          &objects[3]))
        return NULL;
    if (!get_array(objects[0], order, (array_type){"order", UNSIGNED_INTEGER, 4, 1, 0, 0}) ||
        !get_array(objects[1], ranges, (array_type){"ranges", SIGNED_INTEGER, 8, 2, 0, 0}) ||
        !get_array(objects[2], values, (array_type){"values", FLOATING, 4, 1, 0, 0}) ||
        !get_array(objects[3], margins, (array_type){"margins", FLOATING, 4, 1, 1, 0}))
        goto done;
    size_t n_rows = extent(order, 0), n = extent(values, 0);
    if (!check_extent(margins, "margins", 0, n_rows) || !check_extent(ranges, "ranges", 0, n) ||
        !check_extent(ranges, "ranges", 1, 2) || !check_ranges(ranges->view.buf, n, 2, n_rows))
        goto done;
    int ok;
    Py_BEGIN_ALLOW_THREADS
    ok = add_values(order->view.buf, ranges->view.buf, values->view.buf, n, margins->view.buf,
                    n_rows);
    Py_END_ALLOW_THREADS
    if (!ok)
        PyErr_SetString(PyExc_ValueError, "order: a row that does not exist");
    else
        result = Py_NewRef(Py_None);
done:
    release_arrays(held, 4);
    return result;
}

#endif
