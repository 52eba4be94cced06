/* See relay.h: a ring of batches under one lock. Only two threads use it, so one condition is
 * enough: they never wait at the same time. */
#include "worker/model/bag/relay.h"

#include "common/base/mem.h"

#include <pthread.h>
#include <string.h>

/* A batch stays in the cache of a core, and is work for longer than a wake-up takes. */
enum { BATCHES = 4, BATCH_FEATURES = 8192, BATCH_SAMPLES = 1024 };

struct sample {
    size_t count; /* of its features, which lie behind those of the one before */
    uint32_t label;
    uint32_t label_count;
};

struct batch {
    struct sample samples[BATCH_SAMPLES];
    struct text_feature features[BATCH_FEATURES];
    size_t sample_count;
    size_t feature_count;
};

struct bag_relay {
    struct bag_stream *stream;
    pthread_t learner;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    size_t given; /* batches; the reader fills number given % BATCHES once that is learnt */
    size_t learnt;
    bool must_end;
    int rc; /* of the first sample that could not be learnt from */
    struct err_buf e;
    /* the reader's from learnt + BATCHES down to given, the learner's from given to learnt */
    struct batch batches[BATCHES];
};

/* --- learning ------------------------------------------------------------------------------------
 */

static int learn(struct bag_relay *r, const struct batch *b, struct err_buf *e)
{
    const struct text_feature *features = b->features;
    for (size_t i = 0; i < b->sample_count; i++) {
        const struct sample *s = &b->samples[i];
        int rc = bag__stream_add(r->stream, features, s->count, s->label, s->label_count, e);
        if (rc) {
            return rc;
        }
        features += s->count;
    }
    return 0;
}

static void *run(void *data)
{
    struct bag_relay *r = data;
    (void)pthread_mutex_lock(&r->lock);
    for (;;) {
        while (r->given == r->learnt && !r->must_end) {
            (void)pthread_cond_wait(&r->changed, &r->lock);
        }
        if (r->must_end) {
            break;
        }
        struct err_buf e = {{0}};
        const struct batch *b = &r->batches[r->learnt % BATCHES];
        bool is_spoiled = r->rc != 0;
        (void)pthread_mutex_unlock(&r->lock);
        int rc = is_spoiled ? 0 : learn(r, b, &e);
        (void)pthread_mutex_lock(&r->lock);
        if (rc) {
            r->rc = rc;
            r->e = e;
        }
        r->learnt++;
        (void)pthread_cond_signal(&r->changed);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- giving --------------------------------------------------------------------------------------
 */

static struct batch *open_batch(struct bag_relay *r)
{
    return &r->batches[r->given % BATCHES];
}

/* Hands the open batch over and waits until at most so many are not learnt. */
static int give(struct bag_relay *r, size_t waiting_max, struct err_buf *e)
{
    (void)pthread_mutex_lock(&r->lock);
    if (open_batch(r)->sample_count > 0) {
        r->given++;
        (void)pthread_cond_signal(&r->changed);
    }
    while (r->given - r->learnt > waiting_max) {
        (void)pthread_cond_wait(&r->changed, &r->lock);
    }
    int rc = r->rc;
    if (rc) {
        (void)err_set(e, rc, "%s", r->e.text); /* rc is returned */
    }
    (void)pthread_mutex_unlock(&r->lock);
    open_batch(r)->sample_count = open_batch(r)->feature_count = 0;
    return rc;
}

int bag__relay_drain(struct bag_relay *r, struct err_buf *e)
{
    return give(r, 0, e);
}

int bag__relay_add(struct bag_relay *r, const struct text_feature *features, size_t count,
                   uint32_t label, uint32_t label_count, struct err_buf *e)
{
    if (count > BATCH_FEATURES) { /* so rare that it may wait for the others */
        int rc = bag__relay_drain(r, e);
        return rc ? rc : bag__stream_add(r->stream, features, count, label, label_count, e);
    }
    struct batch *b = open_batch(r);
    if (b->sample_count == BATCH_SAMPLES || b->feature_count + count > BATCH_FEATURES) {
        int rc = give(r, BATCHES - 1, e);
        if (rc) {
            return rc;
        }
        b = open_batch(r);
    }
    memcpy(b->features + b->feature_count, features, count * sizeof *features);
    b->feature_count += count;
    b->samples[b->sample_count++] =
        (struct sample){.count = count, .label = label, .label_count = label_count};
    return 0;
}

/* --- life ----------------------------------------------------------------------------------------
 */

struct bag_relay *bag__relay_new(struct bag_stream *s)
{
    struct bag_relay *r = mem_new(sizeof *r);
    if (!r) {
        return NULL;
    }
    r->stream = s;
    if (pthread_mutex_init(&r->lock, NULL) == 0) {
        if (pthread_cond_init(&r->changed, NULL) == 0) {
            if (pthread_create(&r->learner, NULL, run, r) == 0) {
                return r;
            }
            (void)pthread_cond_destroy(&r->changed);
        }
        (void)pthread_mutex_destroy(&r->lock);
    }
    mem_free(r);
    return NULL;
}

void bag__relay_free(struct bag_relay *r)
{
    if (!r) {
        return;
    }
    (void)pthread_mutex_lock(&r->lock);
    r->must_end = true;
    (void)pthread_cond_signal(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_join(r->learner, NULL); /* fails only for a thread that does not exist */
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
    mem_free(r);
}
