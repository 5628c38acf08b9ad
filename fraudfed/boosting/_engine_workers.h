/* Threads of one call: started, given equal standing, and joined before the call returns.
 *
 * There is no pool and no global state. Every kernel hands out work in blocks from an atomic
 * counter and adds integers only, so neither the number of threads nor their order shows.
 */
#ifndef FRAUDFED_ENGINE_WORKERS_H
#define FRAUDFED_ENGINE_WORKERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum { MAX_WORKERS = 1024 };

/* Runs in every worker; takes blocks until none is left. */
typedef void (*worker_function)(void *job);

typedef struct {
    worker_function run;
    void *job;
} worker_start;

static void *worker_main(void *argument)
{
    const worker_start *start = argument;
    start->run(start->job);
    return NULL;
}

/* Run `run(job)` in up to n_workers threads, the calling one among them.
 *
 * A thread that cannot be started is done without: the others take its blocks.
 */
static void run_workers(int n_workers, worker_function run, void *job)
{
    pthread_t threads[MAX_WORKERS];
    worker_start start = {run, job};
    int started = 0;
    while (started + 1 < n_workers && started < MAX_WORKERS &&
           pthread_create(&threads[started], NULL, worker_main, &start) == 0)
        started++;
    run(job);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* As many workers as the work is worth: starting one costs as much as `grain` units. */
static int useful_workers(int n_threads, size_t work, size_t grain)
{
    size_t worth = work / grain + 1;
    return worth < (size_t)n_threads ? (int)worth : n_threads;
}

/* The next block [*start, *stop) of 0 .. total, or 0 if none is left. */
static int take_block(atomic_size_t *next, size_t block, size_t total, size_t *start, size_t *stop)
{
    size_t first = atomic_fetch_add_explicit(next, block, memory_order_relaxed);
    if (first >= total)
        return 0;
    *start = first;
    *stop = total - first < block ? total : first + block;
    return 1;
}

#endif
