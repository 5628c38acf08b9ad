/* fraudfed.secure_sum._packing: digits into plaintexts and back, the sums behind their tags, and
 * signed sums of mask streams.
 *
 * The same results as the NumPy in fraudfed/secure_sum/slots.py and masks/streams.py, in one pass
 * each. A plaintext is `n_words` words of 64 bits, little-endian, two's complement: the sum of
 * d_i 2^(offset_i) over its slots, whose offsets add up their widths from HEADER_BITS on. All
 * functions release the GIL and check every length and width that they rely on.
 *
 * What a bank computes from its own values and masks (join, tag_sums, add_stream, carry) takes
 * neither a branch nor an address from them: the time depends on public sizes alone. A right shift
 * of a negative number is arithmetic, as GCC and Clang define it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Slots of this many bits hold every int64. */
#define MAX_WIDTH 64

typedef __int128 int128;
typedef unsigned __int128 uint128;

/* Where slots lie: one plaintext after the other. */
typedef struct {
    const uint8_t *widths;
    const uint64_t *raises;
    const int64_t *firsts;
    size_t n_slots, n_plaintexts, n_words, header;
} layout;

static int is_layout(const layout *l)
{
    if (l->n_plaintexts == 0)
        return l->n_slots == 0;
    for (size_t p = 0; p < l->n_plaintexts; p++) {
        int64_t begin = l->firsts[p];
        int64_t end = p + 1 < l->n_plaintexts ? l->firsts[p + 1] : (int64_t)l->n_slots;
        size_t bits = l->header;
        /* Only a layout without any slot has a plaintext without one. */
        if (begin < 0 || (end <= begin && l->n_slots > 0) || (size_t)end > l->n_slots ||
            (p == 0 && begin != 0) || (p > 0 && l->n_slots == 0))
            return 0;
        for (int64_t i = begin; i < end; i++) {
            if (l->widths[i] < 1 || l->widths[i] > MAX_WIDTH)
                return 0;
            bits += l->widths[i];
        }
        /* A digit may be any int64, whatever its slot's width, and they carry into each other:
         * below 2^63 times the sum of 2^(offset_i), so below 2^(bits + 63). */
        if (bits + 64 > 64 * l->n_words)
            return 0;
    }
    return 1;
}

static size_t end_of(const layout *l, size_t p)
{
    return p + 1 < l->n_plaintexts ? (size_t)l->firsts[p + 1] : l->n_slots;
}

static uint64_t mask_of(unsigned width)
{
    return ~UINT64_C(0) >> (64 - width);
}

/* Or `bits` (below 2^width) into the words at a bit offset. */
static void put_bits(uint64_t *words, size_t offset, uint64_t bits, unsigned width)
{
    size_t word = offset / 64;
    unsigned shift = (unsigned)(offset % 64);
    words[word] |= bits << shift;
    if (shift + width > 64)
        words[word + 1] |= bits >> (64 - shift);
}

static uint64_t get_bits(const uint64_t *words, size_t offset, unsigned width)
{
    size_t word = offset / 64;
    unsigned shift = (unsigned)(offset % 64);
    uint64_t bits = words[word] >> shift;
    if (shift + width > 64)
        bits |= words[word + 1] << (64 - shift);
    return bits & mask_of(width);
}

/* The constant that makes all digits of one plaintext non-negative; returns the bits in use. A
 * raise is part of its slot's span, so it fits its bits. */
static size_t constant_of(uint64_t *words, const layout *l, size_t p)
{
    size_t offset = l->header;
    memset(words, 0, 8 * l->n_words);
    for (size_t i = (size_t)l->firsts[p]; i < end_of(l, p); i++) {
        put_bits(words, offset, l->raises[i] & mask_of(l->widths[i]), l->widths[i]);
        offset += l->widths[i];
    }
    return offset;
}

/* Add up d_i 2^(offset_i) for digits of any size, in range or not: each is cut at a word's end into
 * an unsigned low and a signed high part, the words collect up to 64 of each, and one pass carries.
 * `sums` has n_words elements. */
static void join_all(uint64_t *out, const int64_t *digits, const layout *l, int128 *sums)
{
    for (size_t p = 0; p < l->n_plaintexts; p++, out += l->n_words) {
        size_t offset = l->header;
        memset(sums, 0, sizeof(int128) * l->n_words);
        for (size_t i = (size_t)l->firsts[p]; i < end_of(l, p); i++) {
            uint128 shifted = (uint128)(int128)digits[i] << (offset % 64);
            sums[offset / 64] += (uint64_t)shifted;
            sums[offset / 64 + 1] += (int64_t)(uint64_t)(shifted >> 64);
            offset += l->widths[i];
        }
        int128 carry = 0;
        for (size_t k = 0; k < l->n_words; k++) {
            carry += sums[k];
            out[k] = (uint64_t)carry;
            carry >>= 64;
        }
    }
}

static void split_all(int64_t *digits, uint8_t *fits, const uint64_t *in, const layout *l,
                      uint64_t *constant)
{
    for (size_t p = 0; p < l->n_plaintexts; p++, in += l->n_words) {
        size_t offset = l->header, used = constant_of(constant, l, p);
        uint64_t carry = 0, above = 0;
        for (size_t k = 0; k < l->n_words; k++) {
            uint128 sum = (uint128)in[k] + constant[k] + carry;
            constant[k] = (uint64_t)sum;
            carry = (uint64_t)(sum >> 64);
        }
        /* What lies above the last slot must be zero: then the sum was in range, not negative. */
        for (size_t k = used / 64; k < l->n_words; k++)
            above |= k == used / 64 ? constant[k] >> (used % 64) : constant[k];
        fits[p] = above == 0;
        for (size_t i = (size_t)l->firsts[p]; i < end_of(l, p); i++) {
            unsigned width = l->widths[i];
            uint64_t bits = get_bits(constant, offset, width);
            digits[i] = fits[p] ? (int64_t)(bits - l->raises[i]) : 0;
            offset += width;
        }
    }
}

/* Read the arguments that all share; scratch room of twice `n_words` words is allocated. */
static int read_layout(layout *l, const Py_buffer *widths, const Py_buffer *raises,
                       const Py_buffer *firsts, Py_ssize_t n_words, Py_ssize_t header,
                       void **scratch)
{
    *scratch = NULL;
    l->widths = widths->buf;
    l->raises = raises->buf;
    l->firsts = firsts->buf;
    l->n_slots = (size_t)widths->len;
    l->n_plaintexts = (size_t)firsts->len / 8;
    if (firsts->len % 8 != 0 || raises->len != 8 * widths->len || n_words < 1 || n_words > 4096 ||
        header < 0 || header > 64 * n_words) {
        PyErr_SetString(PyExc_ValueError, "layout: firsts, raises, words or header out of range");
        return 0;
    }
    l->n_words = (size_t)n_words;
    l->header = (size_t)header;
    if (!is_layout(l)) {
        PyErr_SetString(PyExc_ValueError, "layout: slots do not fit into their plaintexts");
        return 0;
    }
    *scratch = PyMem_Calloc((size_t)n_words, sizeof(int128));
    if (*scratch == NULL)
        PyErr_NoMemory();
    return *scratch != NULL;
}

static PyObject *lay_out(PyObject *self, PyObject *args)
{
    Py_buffer spans;
    Py_ssize_t capacity;
    PyObject *widths = NULL, *firsts = NULL, *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*n", &spans, &capacity))
        return NULL;
    const size_t n = (size_t)spans.len / 8;
    const uint64_t *span = spans.buf;
    size_t n_plaintexts = 0;
    if (spans.len % 8 != 0 || capacity < 1) {
        PyErr_SetString(PyExc_ValueError, "spans are no uint64, or a plaintext holds nothing");
        goto done;
    }
    widths = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n);
    int64_t *starts = PyMem_Malloc(8 * n + 8);
    if (widths == NULL || starts == NULL) {
        PyMem_Free(starts);
        PyErr_NoMemory();
        goto done;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(widths);
    int bad = 0;
    Py_BEGIN_ALLOW_THREADS
    size_t filled = (size_t)capacity;
    for (size_t i = 0; i < n; i++) {
        bad |= span[i] == 0;
        unsigned width = 64 - (unsigned)__builtin_clzll(span[i] | 1);
        bad |= width > (size_t)capacity;
        out[i] = (uint8_t)width;
        if (filled + width > (size_t)capacity) {
            starts[n_plaintexts++] = (int64_t)i;
            filled = 0;
        }
        filled += width;
    }
    Py_END_ALLOW_THREADS
    if (bad)
        PyErr_SetString(PyExc_ValueError, "a span is 0, or its slot does not fit");
    else
        firsts = PyBytes_FromStringAndSize((char *)starts, (Py_ssize_t)(8 * n_plaintexts));
    PyMem_Free(starts);
    if (firsts != NULL)
        result = PyTuple_Pack(2, widths, firsts);
done:
    Py_XDECREF(widths);
    Py_XDECREF(firsts);
    PyBuffer_Release(&spans);
    return result;
}

static PyObject *join(PyObject *self, PyObject *args)
{
    Py_buffer digits, widths, raises, firsts;
    Py_ssize_t n_words, header;
    PyObject *result = NULL;
    layout l;
    void *scratch = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*y*nn", &digits, &widths, &raises, &firsts, &n_words,
                          &header))
        return NULL;
    if (!read_layout(&l, &widths, &raises, &firsts, n_words, header, &scratch))
        goto done;
    if ((size_t)digits.len != 8 * l.n_slots) {
        PyErr_SetString(PyExc_ValueError, "digits are not one int64 for each slot");
        goto done;
    }
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(8 * l.n_words * l.n_plaintexts));
    if (result == NULL)
        goto done;
    uint64_t *out = (uint64_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    join_all(out, digits.buf, &l, scratch);
    Py_END_ALLOW_THREADS
done:
    PyMem_Free(scratch);
    PyBuffer_Release(&digits);
    PyBuffer_Release(&widths);
    PyBuffer_Release(&raises);
    PyBuffer_Release(&firsts);
    return result;
}

static PyObject *split(PyObject *self, PyObject *args)
{
    Py_buffer plaintexts, widths, raises, firsts;
    Py_ssize_t n_words, header;
    PyObject *digits = NULL, *fits = NULL, *result = NULL;
    layout l;
    void *scratch = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*y*nn", &plaintexts, &widths, &raises, &firsts, &n_words,
                          &header))
        return NULL;
    if (!read_layout(&l, &widths, &raises, &firsts, n_words, header, &scratch))
        goto done;
    if ((size_t)plaintexts.len != 8 * l.n_words * l.n_plaintexts) {
        PyErr_SetString(PyExc_ValueError, "plaintexts are not as many words as the layout's");
        goto done;
    }
    digits = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(8 * l.n_slots));
    fits = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)l.n_plaintexts);
    if (digits == NULL || fits == NULL)
        goto done;
    int64_t *out = (int64_t *)PyBytes_AS_STRING(digits);
    uint8_t *flags = (uint8_t *)PyBytes_AS_STRING(fits);
    Py_BEGIN_ALLOW_THREADS
    split_all(out, flags, plaintexts.buf, &l, scratch);
    Py_END_ALLOW_THREADS
    result = PyTuple_Pack(2, digits, fits);
done:
    Py_XDECREF(digits);
    Py_XDECREF(fits);
    PyMem_Free(scratch);
    PyBuffer_Release(&plaintexts);
    PyBuffer_Release(&widths);
    PyBuffer_Release(&raises);
    PyBuffer_Release(&firsts);
    return result;
}

/* For each plaintext three sums over its elements: coefficient limb (at most 30 bits) times value. A
 * sum of less than 2^32 products below 2^93 fits 128 bits. */
static PyObject *tag_sums(PyObject *self, PyObject *args)
{
    Py_buffer digits, coefficients, firsts;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*", &digits, &coefficients, &firsts))
        return NULL;
    const size_t n = (size_t)digits.len / 8, count = (size_t)firsts.len / 8;
    const int64_t *digit = digits.buf, *first = firsts.buf;
    const uint32_t *coefficient = coefficients.buf;
    int good = digits.len % 8 == 0 && firsts.len % 8 == 0 && n < (size_t)1 << 32 &&
               (size_t)coefficients.len == 12 * n && (count > 0 || n == 0);
    for (size_t p = 0; good && p < count; p++) {
        int64_t end = p + 1 < count ? first[p + 1] : (int64_t)n;
        good = first[p] >= 0 && first[p] <= end && (size_t)end <= n && (p > 0 || first[0] == 0);
    }
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "digits, coefficients and firsts do not fit together");
        goto done;
    }
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(48 * count));
    if (result == NULL)
        goto done;
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    for (size_t p = 0; p < count; p++, out += 48) {
        size_t end = p + 1 < count ? (size_t)first[p + 1] : n;
        int128 sums[3] = {0, 0, 0};
        for (size_t i = (size_t)first[p]; i < end; i++) {
            const uint32_t *a = coefficient + 3 * i;
            sums[0] += (int128)digit[i] * (a[0] & 0x3fffffff);
            sums[1] += (int128)digit[i] * (a[1] & 0x3fffffff);
            sums[2] += (int128)digit[i] * (a[2] & 0x1fffffff);
        }
        memcpy(out, sums, 48);
    }
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&digits);
    PyBuffer_Release(&coefficients);
    PyBuffer_Release(&firsts);
    return result;
}

/* sums[i] += sign * stream[i]. */
static PyObject *add_stream(PyObject *self, PyObject *args)
{
    Py_buffer sums, stream;
    int sign;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "w*y*i", &sums, &stream, &sign))
        return NULL;
    const size_t n = (size_t)stream.len / 4;
    int64_t *sum = sums.buf;
    const uint32_t *word = stream.buf;
    if (stream.len % 4 != 0 || (size_t)sums.len != 8 * n || (sign != 1 && sign != -1)) {
        PyErr_SetString(PyExc_ValueError, "sums are not one int64 for each word of the stream");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    if (sign > 0)
        for (size_t i = 0; i < n; i++)
            sum[i] += (int64_t)word[i];
    else
        for (size_t i = 0; i < n; i++)
            sum[i] -= (int64_t)word[i];
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    PyBuffer_Release(&sums);
    PyBuffer_Release(&stream);
    return result;
}

/* Numbers of `n_words` signed "words" base 2^32 -> two's complement of one word more. */
static PyObject *carry(PyObject *self, PyObject *args)
{
    Py_buffer sums;
    Py_ssize_t n_words;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*n", &sums, &n_words))
        return NULL;
    if (n_words < 1 || n_words > 1 << 20 || sums.len % (8 * n_words) != 0) {
        PyErr_SetString(PyExc_ValueError, "sums are no whole numbers of as many words");
        goto done;
    }
    const size_t width = (size_t)n_words, count = (size_t)sums.len / 8 / width;
    const int64_t *sum = sums.buf;
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(4 * (width + 1) * count));
    if (result == NULL)
        goto done;
    uint32_t *out = (uint32_t *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    for (size_t item = 0; item < count; item++, sum += width, out += width + 1) {
        int64_t rest = 0;
        for (size_t k = 0; k < width; k++) {
            rest += sum[k];
            out[k] = (uint32_t)rest;
            rest >>= 32;
        }
        out[width] = (uint32_t)rest;
    }
    Py_END_ALLOW_THREADS
done:
    PyBuffer_Release(&sums);
    return result;
}

static PyMethodDef methods[] = {
    {"lay_out", lay_out, METH_VARARGS, "lay_out(spans, capacity) -> widths, firsts"},
    {"join", join, METH_VARARGS, "join(digits, widths, raises, firsts, n_words, header) -> plaintexts"},
    {"split", split, METH_VARARGS,
     "split(plaintexts, widths, raises, firsts, n_words, header) -> digits, fits"},
    {"tag_sums", tag_sums, METH_VARARGS, "tag_sums(values, coefficients, firsts) -> sums"},
    {"add_stream", add_stream, METH_VARARGS, "add_stream(sums, stream, sign)"},
    {"carry", carry, METH_VARARGS, "carry(sums, n_words) -> numbers"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "fraudfed.secure_sum._packing",
    .m_doc = "Slots of plaintexts, compiled; see fraudfed/secure_sum/slots.py.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__packing(void)
{
    return PyModule_Create(&definition);
}
