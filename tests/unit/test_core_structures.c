/* The core's data structures and its table of states. */
#include "common/base/rng.h"
#include "scheduler/core/heap.h"
#include "scheduler/core/id.h"
#include "scheduler/core/list.h"
#include "scheduler/core/names.h"
#include "scheduler/core/slab.h"
#include "scheduler/core/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct item {
    struct heap_node node;
    uint32_t key;
};

/* Keys that differ only in their last part, or in nothing, are told apart by this. */
static bool item_before(const struct heap_node *a, const struct heap_node *b)
{
    return LIST_OWNER(a, struct item, node)->key < LIST_OWNER(b, struct item, node)->key;
}

/* Of key 0..999: one digit in each part, the last digit only in the item. */
static struct heap_key item_key(const struct item *item)
{
    return (struct heap_key){.major = (int64_t)item->key / 100 - 5,
                             .minor = (int64_t)item->key / 10 % 10 - 5,
                             .last = (int64_t)item->key % 10 / 5};
}

/* Whatever is added, changed and taken out in between, the smallest comes first. */
static void test_core_heap_gives_the_first_after_any_changes(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static struct item items[COUNT];
    struct heap h;
    struct rng rng = {.key = 4};
    heap_init(&h, item_before);
    for (int i = 0; i < COUNT; i++) {
        items[i] = (struct item){.key = rng_below(&rng, 1000)};
        assert_int_equal(heap_add(&h, &items[i].node, item_key(&items[i])), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        if (i % 3 == 0) {
            heap_remove(&h, &items[i].node);
        } else {
            items[i].key = rng_below(&rng, 1000);
            heap_moved(&h, &items[i].node, item_key(&items[i]));
            assert_true(heap_is_ordered(&h));
        }
    }
    uint32_t last = 0;
    size_t seen = 0;
    for (struct heap_node *first; (first = heap_first(&h)) != NULL; seen++) {
        uint32_t key = LIST_OWNER(first, struct item, node)->key;
        assert_true(key >= last);
        last = key;
        heap_remove(&h, first);
        assert_false(heap_has(first));
    }
    assert_int_equal(seen, COUNT - (COUNT + 2) / 3);
    heap_close(&h);
}

/* Every name finds its own object, also after the table has grown. */
static void test_core_names_finds_each_of_many(void **state)
{
    (void)state;
    static char text[1000][8];
    struct names n;
    names_init(&n);
    assert_null(names_find(&n, span_of("m0")));
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(text[i], sizeof text[i], "m%d", i);
        assert_int_equal(names_add(&n, span_of(text[i]), text[i]), 0);
    }
    for (int i = 0; i < 1000; i++) {
        assert_ptr_equal(names_find(&n, span_of(text[i])), text[i]);
    }
    assert_null(names_find(&n, span_of("m1000")));
    names_close(&n);
}

/* An id reads back as it was written; anything else is no id. */
static void test_core_id_reads_back_what_it_writes(void **state)
{
    (void)state;
    const char *text = "0123abcd-4567-89ef-fedc-ba9876543210";
    struct core_id id = {0, 0};
    assert_true(core_id_parse(span_of(text), &id));
    assert_string_equal(core_id_format(id).text, text);
    assert_false(core_id_parse(span_of("0123abcd-4567-89ef-fedc-ba987654321"), &id));
    assert_false(core_id_parse(span_of("0123ABCD-4567-89ef-fedc-ba9876543210"), &id));
}

/* Nothing leaves an ended state, and the scheduler decides only to queue and to offer. */
static void test_core_state_allows_only_the_drawn_moves(void **state)
{
    (void)state;
    for (int from = 0; from < CORE_STATE_COUNT; from++) {
        for (int to = 1; to < CORE_STATE_COUNT; to++) {
            bool ended = core_state_is_ended((enum core_state)from);
            assert_int_equal(core_state_may_follow((enum core_state)from, (enum core_state)to),
                             !ended || from == to);
            bool decided = (from == CORE_STATE_WAITING && to == CORE_STATE_QUEUED) ||
                           (from == CORE_STATE_QUEUED && to == CORE_STATE_DISPATCHED);
            assert_int_equal(core_state_may_decide((enum core_state)from, (enum core_state)to),
                             decided);
        }
        enum core_state named = core_state_parse(span_of(core_state_name((enum core_state)from)));
        assert_int_equal(named, from);
    }
}

/* Objects are zeroed, apart from each other and from the start of a cache line, also those that
 * take the place of freed ones; a slab in which nothing is left keeps one block at most. */
static void test_core_slab_gives_zeroed_objects_again(void **state)
{
    (void)state;
    enum { COUNT = 20000, SIZE = 200 }; /* 5 MB: several blocks */
    static unsigned char *objects[COUNT];
    struct slab s;
    slab_init(&s, SIZE);
    for (int round = 0; round < 2; round++) {
        for (int i = round; i < COUNT; i += 1 + round) { /* all, then those that were freed */
            objects[i] = slab_new(&s);
            assert_non_null(objects[i]);
            assert_int_equal((uintptr_t)objects[i] % 64 % sizeof(void *), 0);
            for (int k = 0; k < SIZE; k++) {
                assert_int_equal(objects[i][k], 0);
            }
            memset(objects[i], i % 251 + 1, SIZE);
        }
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(objects[i][0], i % 251 + 1);
            assert_int_equal(objects[i][SIZE - 1], i % 251 + 1);
        }
        for (int i = 1; i < COUNT && round == 0; i += 2) {
            slab_free(&s, objects[i]);
        }
    }
    for (int i = 0; i < COUNT; i++) {
        slab_free(&s, objects[i]);
    }
    assert_true(s.blocks <= 1);
    slab_close(&s);
    assert_int_equal(s.blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_slab_gives_zeroed_objects_again),
        cmocka_unit_test(test_core_heap_gives_the_first_after_any_changes),
        cmocka_unit_test(test_core_names_finds_each_of_many),
        cmocka_unit_test(test_core_id_reads_back_what_it_writes),
        cmocka_unit_test(test_core_state_allows_only_the_drawn_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
