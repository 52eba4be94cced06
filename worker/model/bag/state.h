/*
 * The state of a training as bytes: everything that its further course depends on and that
 * parameters, data and base do not give. Private to the bag family.
 *
 * Each part of the trainer lists its variables once, by name, and the same list is written and
 * read: what is not in it is lost at a resume, and tests/unit/test_bag_resume.c says so. The format
 * is in README.md.
 */
#ifndef WORKER_MODEL_BAG_STATE_H
#define WORKER_MODEL_BAG_STATE_H

#include "worker/model/bag/bag.h"

enum { BAG_STATE_ENTRIES_MAX = 64, BAG_STATE_NAME_MAX = 31 };

enum bag_state_type { BAG_STATE_U32 = 1, BAG_STATE_U64, BAG_STATE_F32, BAG_STATE_F64 };

struct bag_state_entry {
    char name[BAG_STATE_NAME_MAX + 1];
    enum bag_state_type type;
    void *data;
    size_t count;
};

struct bag_state_list {
    struct bag_state_entry entries[BAG_STATE_ENTRIES_MAX];
    size_t count;
};

/* Lists count values at data (kept). prefix and name together make the name. */
void bag__state_add(struct bag_state_list *s, const char *prefix, const char *name,
                    enum bag_state_type type, void *data, size_t count);

/* Gives the state to take, which must not keep it. ERR_NOMEM; then take was not called. */
MUST_CHECK int bag__state_write(const struct bag_state_list *s,
                                void (*take)(const struct bag_state *state, void *data),
                                void *data);

/* Fills what is listed with the bytes that read gives (see bag_watch). ERR_CORRUPT naming the
 * entry, ERR_NOMEM, or what read says; then some of it may be filled. */
MUST_CHECK int bag__state_read(const struct bag_state_list *s,
                               int (*read)(void *to, size_t bytes, void *data, struct err_buf *e),
                               void *data, struct err_buf *e);

#endif
