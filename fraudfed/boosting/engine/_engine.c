/* The compiled half of fraudfed.boosting: what must touch every row, or every bin of every node.
 *
 * Law: each function gives the bytes of its counterpart in Python (named in its header), with any
 * number of threads. All sums are of integers; floating-point steps are those of the Python code,
 * one IEEE 754 operation at a time. Arguments are checked here: a wrong array raises, it is never
 * written outside of. The GIL is released while a kernel runs; until it returns, the caller
 * must not change the arrays it gave.
 *
 * compiled.py calls these functions; protocol.py has the shapes and types of the arrays.
 */
#include "_engine_arrays.h"

#include "_engine_gradients.h"
#include "_engine_histogram.h"
#include "_engine_partition.h"
#include "_engine_split.h"
#include "_engine_values.h"

static PyMethodDef methods[] = {
    {"new_workers", new_workers, METH_VARARGS, NULL},
    {"pack_bins", pack_bins, METH_VARARGS, NULL},
    {"sum_histograms", sum_histograms, METH_VARARGS, NULL},
    {"partition_rows", partition_rows, METH_VARARGS, NULL},
    {"add_leaf_values", add_leaf_values, METH_VARARGS, NULL},
    {"logistic_gradients", logistic_gradients, METH_VARARGS, NULL},
    {"best_numeric_split", best_numeric_split, METH_VARARGS, NULL},
    {"bin_values", bin_values, METH_VARARGS, NULL},
    {"count_prefixes", count_prefixes, METH_VARARGS, NULL},
    {"count_parts", count_parts, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "fraudfed.boosting.engine._engine",
    .m_doc = "Compiled kernels of boosting; see protocol.py.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__engine(void)
{
    return PyModuleDef_Init(&definition);
}
