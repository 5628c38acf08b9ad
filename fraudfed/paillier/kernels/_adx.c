/* fraudfed.paillier.kernels._adx: powers modulo squares with MULX, ADCX and ADOX.
 *
 * For x86-64 processors since about 2015 (Intel Broadwell, AMD Zen) that have no AVX-512 IFMA. The
 * arithmetic and its proofs are in _adx_pairs.h, exponentiations here. Same arguments and results as
 * the functions of these names in _ifma.c, with words of 64 bits for limbs of 52. The Python face,
 * compiled.py, checks values; here only lengths are checked.
 */
#define PY_SSIZE_T_CLEAN
#define _DEFAULT_SOURCE
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_ADX 1
#include <cpuid.h>
#else
#define HAVE_ADX 0
#endif

#if HAVE_ADX
#define MAX_WORDS 49
#define POWER_WINDOW 4 /* bits of the exponent for one multiplication in common_exponent */
#define ENTRIES (1 << POWER_WINDOW)
/* Words of the modulus' description: P, K, R^2 as a pair, and -1/P mod 2^64. */
#define MODULUS_WORDS(n) ((size_t)(4 * (n) + 1))
#define PAIR_BYTES(n) ((size_t)(16 * (n)))

#include "_adx_pairs.h"
#endif

static int is_supported(void)
{
#if HAVE_ADX
    unsigned a, b, c, d;
    const unsigned bmi2 = 1u << 8, adx = 1u << 19;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bmi2) && (b & adx);
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

#if HAVE_ADX

/* What a call works on; holds secrets, so it is cleared before it is given back. */
typedef struct {
    uint64_t words[4 * MAX_WORDS + 1];
    uint64_t table[ENTRIES][2 * MAX_WORDS];
    uint64_t power[2 * MAX_WORDS], chosen[2 * MAX_WORDS], one[2 * MAX_WORDS];
    modulus mod;
} scratch;

static scratch *new_scratch(const Py_buffer *words, int n)
{
    scratch *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    memcpy(made->words, words->buf, 8 * MODULUS_WORDS(n));
    made->mod = load_modulus(made->words, n);
    made->one[0] = 1;
    return made;
}

static void free_scratch(scratch *used)
{
    if (used == NULL)
        return;
    explicit_bzero(used, sizeof *used);
    free(used);
}

/* chosen = table[digit], reading every entry. */
static void choose(scratch *s, unsigned digit, int n)
{
    memset(s->chosen, 0, PAIR_BYTES(n));
    for (unsigned entry = 0; entry < ENTRIES; entry++) {
        uint64_t mask = 0 - (((uint64_t)(digit ^ entry) - 1) >> 63);
        __asm__("" : "+r"(mask)); /* no branch is made of it */
        for (int i = 0; i < 2 * n; i++)
            s->chosen[i] |= s->table[entry][i] & mask;
    }
}

/* out = base^exponent, with windows from the highest; the same work for all exponents of a length. */
static void power_of(scratch *s, uint8_t *out, const uint8_t *base, const uint8_t *exponent,
                     size_t size, int n)
{
    const modulus *mod = &s->mod;
    memcpy(s->chosen, base, PAIR_BYTES(n));
    mul(s->table[1], s->chosen, mod->r2, mod, n);
    mul(s->table[0], s->one, mod->r2, mod, n);
    for (int i = 2; i < ENTRIES; i++)
        mul(s->table[i], s->table[i - 1], s->table[1], mod, n);
    for (size_t i = 2 * size; i-- > 0;) {
        choose(s, exponent[i / 2] >> (i % 2 ? 4 : 0) & 15, n);
        if (i == 2 * size - 1) {
            memcpy(s->power, s->chosen, PAIR_BYTES(n));
            continue;
        }
        for (int k = 0; k < POWER_WINDOW; k++)
            sqr(s->power, s->power, mod, n);
        mul(s->power, s->power, s->chosen, mod, n);
    }
    mul(s->power, s->power, s->one, mod, n);
    memcpy(out, s->power, PAIR_BYTES(n));
}

/* Lengths and sizes that every function relies on. */
static int check(int n, const Py_buffer *words, int window)
{
    if (!is_supported()) {
        PyErr_SetString(PyExc_RuntimeError, "this CPU has no BMI2 and ADX");
        return 0;
    }
    if (n != 17 && n != 25 && n != 33 && n != 49) {
        PyErr_Format(PyExc_ValueError, "n is %d, expected 17, 25, 33 or 49 words", n);
        return 0;
    }
    if ((size_t)words->len != 8 * MODULUS_WORDS(n)) {
        PyErr_Format(PyExc_ValueError, "modulus has %zd bytes, expected %zu", words->len,
                     8 * MODULUS_WORDS(n));
        return 0;
    }
    if (window != 8) {
        PyErr_Format(PyExc_ValueError, "window is %d, expected 8 bits", window);
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
    if (!check(n, &words, 8))
        goto done;
    if ((size_t)bases.len % PAIR_BYTES(n) != 0 || exponent.len == 0) {
        PyErr_SetString(PyExc_ValueError, "bases are no whole pairs, or the exponent is empty");
        goto done;
    }
    result = PyBytes_FromStringAndSize(NULL, bases.len);
    scratch *s = new_scratch(&words, n);
    if (result == NULL || s == NULL) {
        Py_CLEAR(result);
        free_scratch(s);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    for (size_t at = 0; at < (size_t)bases.len; at += PAIR_BYTES(n))
        power_of(s, out + at, (const uint8_t *)bases.buf + at, exponent.buf, (size_t)exponent.len, n);
    free_scratch(s);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&exponent);
    PyBuffer_Release(&bases);
    return result;
}

/* Rows of 256 entries: base^(d 256^row) in Montgomery form, of each row and each byte d. */
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
    if ((size_t)base.len != PAIR_BYTES(n) || rows < 1 || rows > 4096) {
        PyErr_SetString(PyExc_ValueError, "base is no pair, or rows is not 1 .. 4096");
        goto done;
    }
    result = PyBytes_FromStringAndSize(NULL, rows * 256 * (Py_ssize_t)PAIR_BYTES(n));
    scratch *s = new_scratch(&words, n);
    if (result == NULL || s == NULL) {
        Py_CLEAR(result);
        free_scratch(s);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    memcpy(s->chosen, base.buf, PAIR_BYTES(n));
    mul(s->chosen, s->chosen, s->mod.r2, &s->mod, n);
    for (Py_ssize_t row = 0; row < rows; row++) {
        mul(s->power, s->one, s->mod.r2, &s->mod, n);
        for (int digit = 0; digit < 256; digit++) {
            memcpy(out, s->power, PAIR_BYTES(n));
            out += PAIR_BYTES(n);
            mul(s->power, s->power, s->chosen, &s->mod, n);
        }
        memcpy(s->chosen, s->power, PAIR_BYTES(n));
    }
    free_scratch(s);
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
    if (rows < 1 || rows > 4096 || (size_t)table.len != (size_t)rows * 256 * PAIR_BYTES(n)) {
        PyErr_SetString(PyExc_ValueError, "table has another size than window and rows say");
        goto done;
    }
    /* Bytes above the table's would be left out, and a wrong power returned. */
    if (size != rows || exponents.len % size != 0) {
        PyErr_SetString(PyExc_ValueError, "exponents are no whole numbers of the table's rows");
        goto done;
    }
    const size_t count = (size_t)(exponents.len / size);
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * PAIR_BYTES(n)));
    scratch *s = new_scratch(&words, n);
    if (result == NULL || s == NULL) {
        Py_CLEAR(result);
        free_scratch(s);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    const uint8_t *digits = exponents.buf;
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < count; i++, digits += size, out += PAIR_BYTES(n)) {
        const uint8_t *row = table.buf;
        memcpy(s->power, row + digits[0] * PAIR_BYTES(n), PAIR_BYTES(n));
        for (Py_ssize_t k = 1; k < rows; k++) {
            row += 256 * PAIR_BYTES(n);
            memcpy(s->chosen, row + digits[k] * PAIR_BYTES(n), PAIR_BYTES(n));
            mul(s->power, s->power, s->chosen, &s->mod, n);
        }
        mul(s->power, s->power, s->one, &s->mod, n);
        memcpy(out, s->power, PAIR_BYTES(n));
    }
    free_scratch(s);
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&words);
    PyBuffer_Release(&table);
    PyBuffer_Release(&exponents);
    return result;
}

#else

static PyObject *unavailable(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    PyErr_SetString(PyExc_RuntimeError, "built for a CPU without BMI2 and ADX");
    return NULL;
}
#define common_exponent unavailable
#define fixed_base_table unavailable
#define fixed_base_powers unavailable

#endif

static PyMethodDef methods[] = {
    {"supported", supported, METH_NOARGS, "Tell whether this CPU has the instructions."},
    {"common_exponent", common_exponent, METH_VARARGS,
     "common_exponent(n, modulus, exponent, bases) -> pairs"},
    {"fixed_base_table", fixed_base_table, METH_VARARGS,
     "fixed_base_table(n, modulus, base, window, rows) -> table"},
    {"fixed_base_powers", fixed_base_powers, METH_VARARGS,
     "fixed_base_powers(n, modulus, table, window, rows, exponents, exponent_bytes) -> pairs"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "fraudfed.paillier.kernels._adx",
    .m_doc = "Powers modulo squares with MULX, ADCX and ADOX; see fraudfed/paillier/kernels/adx.py.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__adx(void)
{
    return PyModule_Create(&definition);
}
