/* Arrays that come from Python: every kernel gets at them here, checked, or not at all. */
#ifndef FRAUDFED_ENGINE_ARRAYS_H
#define FRAUDFED_ENGINE_ARRAYS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#include "_engine_workers.h"

typedef enum { SIGNED_INTEGER, UNSIGNED_INTEGER, FLOATING } number_kind;

/* What is asked of an array. */
typedef struct {
    const char *name;
    number_kind kind;
    int item_size;
    int n_dimensions;
    int is_writable;
    int is_strided; /* any strides; otherwise C-contiguous */
} array_type;

/* An array as it was found; release_array() may be called on one that was never filled. */
typedef struct {
    Py_buffer view;
    int is_held;
} array;

static void release_array(array *a)
{
    if (a->is_held)
        PyBuffer_Release(&a->view);
    a->is_held = 0;
}

static void release_arrays(array *arrays, size_t n)
{
    for (size_t i = 0; i < n; i++)
        release_array(&arrays[i]);
}

static int has_kind(const char *format, number_kind kind)
{
    static const char *codes[] = {"bhilq", "?BHILQ", "fd"};
    /* One native item: a byte order or a record would have a longer format. */
    return format != NULL && format[0] != '\0' && format[1] == '\0' &&
           strchr(codes[kind], format[0]) != NULL;
}

/* Fill `a`, or set an exception and return 0. */
static int get_array(PyObject *object, array *a, array_type type)
{
    int flags = PyBUF_FORMAT | (type.is_strided ? PyBUF_STRIDES : PyBUF_C_CONTIGUOUS);
    if (type.is_writable)
        flags |= PyBUF_WRITABLE;
    if (PyObject_GetBuffer(object, &a->view, flags) != 0)
        return 0;
    a->is_held = 1;
    int is_aligned = (uintptr_t)a->view.buf % (size_t)type.item_size == 0;
    if (type.is_strided)
        for (int i = 0; i < a->view.ndim; i++)
            is_aligned &= a->view.strides[i] % type.item_size == 0;
    if (a->view.ndim != type.n_dimensions || a->view.itemsize != type.item_size ||
        !has_kind(a->view.format, type.kind) || (a->view.len > 0 && !is_aligned)) {
        static const char *kinds[] = {"signed integers", "unsigned integers", "floats"};
        PyErr_Format(PyExc_TypeError, "%s: expected an aligned array of %d dimension(s) of %d-byte %s",
                     type.name, type.n_dimensions, type.item_size, kinds[type.kind]);
        return 0;
    }
    return 1;
}

static size_t extent(const array *a, int dimension)
{
    return (size_t)a->view.shape[dimension];
}

/* Set ValueError and return 0 unless the extent is the expected one. */
static int check_extent(const array *a, const char *name, int dimension, size_t expected)
{
    if (extent(a, dimension) == expected)
        return 1;
    PyErr_Format(PyExc_ValueError, "%s: dimension %d has %zu elements, expected %zu", name,
                 dimension, extent(a, dimension), expected);
    return 0;
}

/* A feature's bins lie at offsets[f] .. offsets[f + 1]: ascending, from 0, below 2^31 in all. */
static int check_offsets(const array *a, size_t n_features)
{
    const int64_t *offsets = a->view.buf;
    if (!check_extent(a, "offsets", 0, n_features + 1))
        return 0;
    int ok = offsets[0] == 0;
    for (size_t f = 0; ok && f < n_features; f++)
        ok = offsets[f + 1] >= offsets[f] && offsets[f + 1] <= INT32_MAX;
    if (!ok)
        PyErr_SetString(PyExc_ValueError, "offsets: expected to ascend from 0 to less than 2^31");
    return ok;
}

/* Ascending numbers of features, each of which there is. */
static int check_features(const array *features, size_t n_features)
{
    const int64_t *numbers = features->view.buf;
    int64_t previous = -1;
    for (size_t k = 0; k < extent(features, 0); k++) {
        if (numbers[k] <= previous || numbers[k] >= (int64_t)n_features) {
            PyErr_Format(PyExc_ValueError, "features: expected to ascend within 0 to %zu",
                         n_features - 1);
            return 0;
        }
        previous = numbers[k];
    }
    return 1;
}

/* A bank holds fewer than 2^31 rows, so that row numbers can be checked as signed integers. */
static int check_row_count(const array *a, int dimension)
{
    if (extent(a, dimension) <= INT32_MAX)
        return 1;
    PyErr_SetString(PyExc_ValueError, "more than 2^31 - 1 rows");
    return 0;
}

/* Tell whether all are numbers of rows of which there are n_rows, at most 2^31 - 1. */
static int are_rows(const uint32_t *rows, size_t n, size_t n_rows)
{
    /* Signed, because the least common SIMD compares signed integers only. */
    int32_t largest = -1, least = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t row = (int32_t)rows[i];
        largest = row > largest ? row : largest;
        least = row < least ? row : least;
    }
    return least >= 0 && largest < (int32_t)n_rows;
}

static const char WORKER_POOL[] = "fraudfed.boosting.WorkerPool";

static void destroy_pool(PyObject *capsule)
{
    worker_pool *pool = PyCapsule_GetPointer(capsule, WORKER_POOL);
    Py_BEGIN_ALLOW_THREADS
    free_pool(pool);
    Py_END_ALLOW_THREADS
}

/* new_workers(threads): a pool of so many threads, the calling one included. */
static PyObject *new_workers(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int n_threads;
    if (!PyArg_ParseTuple(arguments, "i:new_workers", &n_threads))
        return NULL;
    if (n_threads < 1 || n_threads > MAX_WORKERS)
        return PyErr_Format(PyExc_ValueError, "threads: got %d, expected 1 to %d", n_threads,
                            MAX_WORKERS);
    worker_pool *pool = new_pool(n_threads);
    if (pool == NULL)
        return PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(pool, WORKER_POOL, destroy_pool);
    if (capsule == NULL)
        free_pool(pool);
    return capsule;
}

/* The pool in a capsule of new_workers(), or NULL and an exception. */
static worker_pool *get_pool(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, WORKER_POOL);
}

/* The matrix of bin codes is of uint8 or of uint16, one row per feature. */
static int get_bins(PyObject *object, array *a, int is_writable)
{
    array_type type = {"bins", UNSIGNED_INTEGER, 1, 2, is_writable, 0};
    Py_buffer probe;
    if (PyObject_GetBuffer(object, &probe, PyBUF_ND) != 0)
        return 0;
    type.item_size = probe.itemsize == 2 ? 2 : 1;
    PyBuffer_Release(&probe);
    return get_array(object, a, type);
}

#endif
