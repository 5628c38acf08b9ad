/* fraudfed.paillier.kernels._ifma: powers modulo squares, and a key holder's work, with AVX-512 IFMA.
 *
 * _ifma_pairs.h has the arithmetic and its proofs, _ifma_powers.h the exponentiations, _ifma_key.h
 * encryption and decryption, _ifma_products.h products of ciphertexts; here is what Python calls. The
 * Python faces, compiled.py, ifma_key.py and ifma_products.py, check values; here only lengths are
 * checked.
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
#include "_ifma_pairs.h"
#include "_ifma_powers.h"
#include "_ifma_key.h"
#include "_ifma_products.h"

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

/* Lengths that the functions of a key rely on. */
static int check_key(int n, const Py_buffer *words, Py_ssize_t width)
{
    if (!is_supported()) {
        PyErr_SetString(PyExc_RuntimeError, "this CPU has no AVX-512 IFMA");
        return 0;
    }
    if (n != 20 && n != 30) {
        PyErr_Format(PyExc_ValueError, "n is %d, expected 20 or 30 limbs", n);
        return 0;
    }
    if ((size_t)words->len != 8 * KEY_WORDS(n)) {
        PyErr_Format(PyExc_ValueError, "key has %zd bytes, expected %zu", words->len,
                     8 * KEY_WORDS(n));
        return 0;
    }
    if (width < 1 || (size_t)width > LIMB_BITS * 4 * (size_t)n / 8) {
        PyErr_Format(PyExc_ValueError, "width is %zd, expected 1 .. %d bytes", width,
                     LIMB_BITS * 4 * n / 8);
        return 0;
    }
    return 1;
}

static PyObject *noise(PyObject *self, PyObject *args)
{
    int n, window;
    Py_ssize_t rows, size;
    Py_buffer words, tables[2], exponents[2];
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*y*y*iny*y*n", &n, &words, &tables[0], &tables[1], &window,
                          &rows, &exponents[0], &exponents[1], &size))
        return NULL;
    if (!check_key(n, &words, 1))
        goto done;
    for (int side = 0; side < 2; side++)
        if (window < 3 || window > 16 || rows < 1 || rows > 4096 || size < 1 ||
            (size_t)tables[side].len != (size_t)rows * ((size_t)1 << window) * STRIDE(n) * 8 ||
            exponents[side].len % size != 0 || exponents[side].len != exponents[0].len ||
            (size_t)size * 8 > (size_t)rows * (size_t)window + 7) {
            PyErr_SetString(PyExc_ValueError, "tables or exponents have lengths that do not fit");
            goto done;
        }
    const size_t item = 2 * HALF_BYTES(2 * n), count = (size_t)(exponents[0].len / size);
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * item));
    key_scratch *scratch = new_scratch(sizeof *scratch);
    if (result == NULL || scratch == NULL) {
        Py_CLEAR(result);
        free(scratch);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    const uint64_t *const table[2] = {tables[0].buf, tables[1].buf};
    Py_BEGIN_ALLOW_THREADS
    load_key(&scratch->key, words.buf, n);
    for (size_t i = 0; i < count; i += LANES) {
        const uint8_t *const part[2] = {
            (const uint8_t *)exponents[0].buf + i * (size_t)size,
            (const uint8_t *)exponents[1].buf + i * (size_t)size,
        };
        noise_group(scratch, out + i * item, table, part, count - i < LANES ? count - i : LANES,
                    (size_t)size, n, (unsigned)window, (size_t)rows);
    }
    free_scratch(scratch, sizeof *scratch);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    for (int side = 0; side < 2; side++) {
        PyBuffer_Release(&tables[side]);
        PyBuffer_Release(&exponents[side]);
    }
    return result;
}

static PyObject *hide(PyObject *self, PyObject *args)
{
    int n;
    Py_ssize_t width;
    Py_buffer words, values, plaintexts;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*y*y*n", &n, &words, &values, &plaintexts, &width))
        return NULL;
    if (!check_key(n, &words, width))
        goto done;
    const size_t half = HALF_BYTES(2 * n), count = (size_t)plaintexts.len / half;
    if ((size_t)plaintexts.len % half != 0 || (size_t)values.len != 2 * half * count) {
        PyErr_SetString(PyExc_ValueError, "plaintexts are no whole numbers, or not one for each noise");
        goto done;
    }
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)count * width);
    key_scratch *scratch = new_scratch(sizeof *scratch);
    if (result == NULL || scratch == NULL) {
        Py_CLEAR(result);
        free(scratch);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    load_key(&scratch->key, words.buf, n);
    for (size_t i = 0; i < count; i += LANES)
        hide_group(scratch, out + i * (size_t)width, (const uint8_t *)values.buf + 2 * i * half,
                   (const uint8_t *)plaintexts.buf + i * half,
                   count - i < LANES ? count - i : LANES, (size_t)width, n);
    free_scratch(scratch, sizeof *scratch);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&values);
    PyBuffer_Release(&plaintexts);
    return result;
}

static PyObject *open_ciphertexts(PyObject *self, PyObject *args)
{
    int n;
    Py_ssize_t width, together;
    Py_buffer words, exponents[2], blinds[2], ciphertexts;
    PyObject *plaintexts = NULL, *opened = NULL, *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*y*y*y*y*ny*n", &n, &words, &exponents[0], &exponents[1],
                          &blinds[0], &blinds[1], &together, &ciphertexts, &width))
        return NULL;
    if (!check_key(n, &words, width))
        goto done;
    const size_t half = HALF_BYTES(2 * n), pair = 2 * HALF_BYTES(n);
    const size_t count = (size_t)(ciphertexts.len / width);
    if (ciphertexts.len % width != 0 || together < LANES || together % LANES != 0) {
        PyErr_SetString(PyExc_ValueError, "ciphertexts are no whole numbers");
        goto done;
    }
    const size_t n_blinds = (count + (size_t)together - 1) / (size_t)together;
    for (int side = 0; side < 2; side++)
        if (exponents[side].len < 1 || (size_t)blinds[side].len != n_blinds * pair) {
            PyErr_SetString(PyExc_ValueError, "an exponent is empty, or blinds have another number");
            goto done;
        }
    plaintexts = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * half));
    opened = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)count);
    key_scratch *scratch = new_scratch(sizeof *scratch);
    if (plaintexts == NULL || opened == NULL || scratch == NULL) {
        free(scratch);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(plaintexts);
    uint8_t *flags = (uint8_t *)PyBytes_AS_STRING(opened);
    const uint8_t *const exponent[2] = {exponents[0].buf, exponents[1].buf};
    const size_t sizes[2] = {(size_t)exponents[0].len, (size_t)exponents[1].len};
    Py_BEGIN_ALLOW_THREADS
    load_key(&scratch->key, words.buf, n);
    for (size_t i = 0; i < count; i += LANES) {
        const size_t which = i / (size_t)together * pair;
        const uint8_t *const blind[2] = {(const uint8_t *)blinds[0].buf + which,
                                         (const uint8_t *)blinds[1].buf + which};
        open_group(scratch, out + i * half, flags + i,
                   (const uint8_t *)ciphertexts.buf + i * (size_t)width, blind, exponent, sizes,
                   count - i < LANES ? count - i : LANES, (size_t)width, n);
    }
    free_scratch(scratch, sizeof *scratch);
    Py_END_ALLOW_THREADS
    result = PyTuple_Pack(2, plaintexts, opened);
done:
    Py_XDECREF(plaintexts);
    Py_XDECREF(opened);
    PyBuffer_Release(&words);
    for (int side = 0; side < 2; side++) {
        PyBuffer_Release(&exponents[side]);
        PyBuffer_Release(&blinds[side]);
    }
    PyBuffer_Release(&ciphertexts);
    return result;
}

static int check_wide(int n, const Py_buffer *words, Py_ssize_t width)
{
    if (!is_supported()) {
        PyErr_SetString(PyExc_RuntimeError, "this CPU has no AVX-512 IFMA");
        return 0;
    }
    if ((n != 80 && n != 120) || (size_t)words->len != 8 * WIDE_WORDS(n)) {
        PyErr_Format(PyExc_ValueError, "n is %d with %zd bytes, expected 80 or 120 limbs", n,
                     words->len);
        return 0;
    }
    if (width < 1 || (size_t)width > LIMB_BITS * (size_t)n / 8) {
        PyErr_Format(PyExc_ValueError, "width is %zd, expected 1 .. %d bytes", width,
                     LIMB_BITS * n / 8);
        return 0;
    }
    return 1;
}

static PyObject *multiply_ciphertexts(PyObject *self, PyObject *args)
{
    int n;
    Py_ssize_t width;
    Py_buffer words, first, second;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*y*y*n", &n, &words, &first, &second, &width))
        return NULL;
    if (!check_wide(n, &words, width))
        goto done;
    if (first.len != second.len || first.len % width != 0) {
        PyErr_SetString(PyExc_ValueError, "factors are no whole numbers, or not as many");
        goto done;
    }
    result = PyBytes_FromStringAndSize(NULL, first.len);
    wide_scratch *scratch = new_scratch(sizeof *scratch);
    if (result == NULL || scratch == NULL) {
        Py_CLEAR(result);
        free(scratch);
        PyErr_NoMemory();
        goto done;
    }
    const size_t count = (size_t)(first.len / width);
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    load_wide(scratch, words.buf, n);
    for (size_t i = 0; i < count; i += LANES)
        multiply_group(scratch, out + i * (size_t)width,
                       (const uint8_t *)first.buf + i * (size_t)width,
                       (const uint8_t *)second.buf + i * (size_t)width,
                       count - i < LANES ? count - i : LANES, (size_t)width, n);
    free(scratch);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&first);
    PyBuffer_Release(&second);
    return result;
}

/* Eight numbers, big-endian; a factor of N^2 divides one of them exactly if it divides a value. */
static PyObject *unit_products(PyObject *self, PyObject *args)
{
    int n;
    Py_ssize_t width;
    Py_buffer words, values;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*y*n", &n, &words, &values, &width))
        return NULL;
    if (!check_wide(n, &words, width))
        goto done;
    if (values.len % width != 0) {
        PyErr_SetString(PyExc_ValueError, "values are no whole numbers");
        goto done;
    }
    /* Below 2 N^2, so one byte more than a value may have. */
    result = PyBytes_FromStringAndSize(NULL, LANES * (width + 1));
    wide_scratch *scratch = new_scratch(sizeof *scratch);
    if (result == NULL || scratch == NULL) {
        Py_CLEAR(result);
        free(scratch);
        PyErr_NoMemory();
        goto done;
    }
    const size_t count = (size_t)(values.len / width);
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    load_wide(scratch, words.buf, n);
    start_units(scratch);
    for (size_t i = 0; i < count; i += LANES)
        unit_group(scratch, (const uint8_t *)values.buf + i * (size_t)width,
                   count - i < LANES ? count - i : LANES, (size_t)width, n);
    write_numbers(out, scratch->z, LANES, (size_t)width + 1, n, 1);
    free(scratch);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&values);
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
#define noise unavailable
#define hide unavailable
#define open_ciphertexts unavailable
#define multiply_ciphertexts unavailable
#define unit_products unavailable

#endif

static PyMethodDef methods[] = {
    {"supported", supported, METH_NOARGS, "Tell whether this CPU has the instructions."},
    {"common_exponent", common_exponent, METH_VARARGS,
     "common_exponent(n, modulus, exponent, bases) -> pairs"},
    {"fixed_base_table", fixed_base_table, METH_VARARGS,
     "fixed_base_table(n, modulus, base, window, rows) -> table"},
    {"fixed_base_powers", fixed_base_powers, METH_VARARGS,
     "fixed_base_powers(n, modulus, table, window, rows, exponents, exponent_bytes) -> pairs"},
    {"noise", noise, METH_VARARGS,
     "noise(n, key, table_p, table_q, window, rows, exponents_p, exponents_q, exponent_bytes)"},
    {"hide", hide, METH_VARARGS, "hide(n, key, noise, plaintexts, width) -> ciphertexts"},
    {"open", open_ciphertexts, METH_VARARGS,
     "open(n, key, exponent_p, exponent_q, blinds_p, blinds_q, together, ciphertexts, width)"},
    {"multiply", multiply_ciphertexts, METH_VARARGS,
     "multiply(n, modulus, first, second, width) -> products"},
    {"unit_products", unit_products, METH_VARARGS,
     "unit_products(n, modulus, values, width) -> eight numbers of width + 1 bytes"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "fraudfed.paillier.kernels._ifma",
    .m_doc = "Powers modulo squares with AVX-512 IFMA; see fraudfed/paillier/kernels/ifma.py.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__ifma(void)
{
    return PyModule_Create(&definition);
}
