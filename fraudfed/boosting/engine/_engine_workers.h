/* Threads that share the work of one call at a time: a pool that its caller owns.
 *
 * Every kernel hands out work in blocks from an atomic counter and adds integers only, so neither
 * the number of threads nor their order shows in a result. The calling thread works as well. When
 * it finds no block left it calls off the threads that have not woken up yet and waits only for
 * those that still hold a block: on busy cores a kernel is never slower than its caller alone.
 */
#ifndef FRAUDFED_ENGINE_WORKERS_H
#define FRAUDFED_ENGINE_WORKERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MAX_WORKERS = 1024,
    /* Looks for the next job before a thread goes to sleep: the two steps of a partition follow
     * each other within microseconds, waking up takes tens. */
    SPINS = 500,
};

/* Runs in every worker; takes blocks until none is left. */
typedef void (*worker_function)(void *job);

typedef struct {
    int n_threads; /* the caller included */
    pid_t owner;   /* a forked child has the pool, but not its threads */
    pthread_mutex_t in_use;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t called, finished;
    int n_started, is_closing;
    worker_function run;
    void *job;
    /* Changed with the mutex only; atomic for those who look while they spin. */
    atomic_int tickets;  /* how many more threads may join the job */
    atomic_int n_active; /* how many did and are not done */
    pthread_t threads[];
} worker_pool;

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *worker_main(void *argument)
{
    worker_pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->is_closing) {
        if (atomic_load(&pool->tickets) == 0) {
            pthread_cond_wait(&pool->called, &pool->mutex);
            continue;
        }
        atomic_fetch_sub(&pool->tickets, 1);
        atomic_fetch_add(&pool->n_active, 1);
        worker_function run = pool->run;
        void *job = pool->job;
        pthread_mutex_unlock(&pool->mutex);
        run(job);
        pthread_mutex_lock(&pool->mutex);
        if (atomic_fetch_sub(&pool->n_active, 1) == 1)
            pthread_cond_signal(&pool->finished);
        pthread_mutex_unlock(&pool->mutex);
        for (int i = 0; i < SPINS && atomic_load(&pool->tickets) == 0; i++)
            relax();
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* A pool for n_threads, without any yet; NULL if there is no memory. */
static worker_pool *new_pool(int n_threads)
{
    worker_pool *pool = calloc(1, sizeof *pool + (size_t)n_threads * sizeof(pthread_t));
    if (pool == NULL)
        return NULL;
    pool->n_threads = n_threads;
    pool->owner = getpid();
    atomic_init(&pool->tickets, 0);
    atomic_init(&pool->n_active, 0);
    if (pthread_mutex_init(&pool->in_use, NULL) == 0) {
        if (pthread_mutex_init(&pool->mutex, NULL) == 0) {
            if (pthread_cond_init(&pool->called, NULL) == 0) {
                if (pthread_cond_init(&pool->finished, NULL) == 0)
                    return pool;
                pthread_cond_destroy(&pool->called);
            }
            pthread_mutex_destroy(&pool->mutex);
        }
        pthread_mutex_destroy(&pool->in_use);
    }
    free(pool);
    return NULL;
}

static void free_pool(worker_pool *pool)
{
    if (pool->owner == getpid()) {
        pthread_mutex_lock(&pool->mutex);
        pool->is_closing = 1;
        pthread_cond_broadcast(&pool->called);
        pthread_mutex_unlock(&pool->mutex);
        for (int i = 0; i < pool->n_started; i++)
            pthread_join(pool->threads[i], NULL);
        pthread_cond_destroy(&pool->finished);
        pthread_cond_destroy(&pool->called);
        pthread_mutex_destroy(&pool->mutex);
        pthread_mutex_destroy(&pool->in_use);
    }
    free(pool);
}

/* Run `run(job)` in up to n_workers threads, the calling one among them.
 *
 * If the pool is at work for another caller, or belongs to a parent process, the caller does all of
 * it. A thread that cannot be started is done without.
 */
static void run_workers(worker_pool *pool, int n_workers, worker_function run, void *job)
{
    if (n_workers < 2 || pool->owner != getpid() || pthread_mutex_trylock(&pool->in_use) != 0) {
        run(job);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    while (pool->n_started < n_workers - 1 &&
           pthread_create(&pool->threads[pool->n_started], NULL, worker_main, pool) == 0)
        pool->n_started++;
    pool->run = run;
    pool->job = job;
    atomic_store(&pool->tickets, n_workers - 1);
    pthread_cond_broadcast(&pool->called);
    pthread_mutex_unlock(&pool->mutex);
    run(job);
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->tickets, 0);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < SPINS && atomic_load(&pool->n_active) != 0; i++)
        relax();
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->n_active) != 0)
        pthread_cond_wait(&pool->finished, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    pthread_mutex_unlock(&pool->in_use);
}

/* As many workers as the work is worth: waking one up costs as much as `grain` units. */
static int useful_workers(const worker_pool *pool, size_t work, size_t grain)
{
    size_t worth = work / grain + 1;
    return worth < (size_t)pool->n_threads ? (int)worth : pool->n_threads;
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
