/* Defaults, as measured in tests/bench/README.md, and bounds. */
#include "worker/model/bag/model.h"

#include <math.h>

void bag_params_default(struct bag_params *p)
{
    *p = (struct bag_params){
        .features = {.word_max = 2,
                     .word_gap = 3,
                     .char_min = 1,
                     .char_max = 5,
                     .char_across = false,
                     .char_jamo = true},
        .feature_count_min = 1,
        .features_max = BAG_FEATURES_MAX,
        .strength = 8,
        .char_weight = 1.5,
        .class_weight = BAG_CLASS_EQUAL,
        .epochs = 8,
        .hidden = 128,
        .hidden_epochs = 10,
        .hidden_rows_max = 200000,
        .hidden_count_min = 2,
        .patience = 2,
        .tolerance = 0,
        .seed = 1,
        .threads = 1,
    };
}

void bag_params_follow(struct bag_params *p, const struct bag_model *base)
{
    struct bag_params defaults;
    bag_params_default(&defaults);
    p->features.char_jamo = base ? base->spec.char_jamo : defaults.features.char_jamo;
}

static int out_of_bounds(struct err_buf *e, const char *field, double low, double high)
{
    return err_set(e, ERR_INVALID, "%s must be from %g to %g", field, low, high);
}

int bag_params_check(const struct bag_params *p, struct err_buf *e)
{
    const struct {
        const char *field;
        double value, low, high;
    } bounds[] = {
        {"word_max", p->features.word_max, 0, TEXT_WORD_MAX},
        {"word_gap", p->features.word_gap, 0, TEXT_GAP_MAX},
        {"char_max", p->features.char_max, 0, TEXT_CHAR_MAX},
        {"char_min", p->features.char_min, 0, p->features.char_max},
        {"feature_count_min", p->feature_count_min, 1, 1e6},
        {"features_max", p->features_max, 1, BAG_FEATURES_MAX},
        {"strength", p->strength, 1e-6, 1e6},
        {"char_weight", p->char_weight, 0, 100},
        {"class_weight", p->class_weight, BAG_CLASS_EQUAL, BAG_CLASS_BALANCED},
        {"epochs", p->epochs, 1, BAG_EPOCHS_MAX},
        {"hidden", p->hidden, 0, BAG_HIDDEN_MAX},
        {"hidden_epochs", p->hidden_epochs, 1, BAG_EPOCHS_MAX},
        {"hidden_rows_max", p->hidden_rows_max, 1, BAG_FEATURES_MAX},
        {"hidden_count_min", p->hidden_count_min, 1, 1e6},
        {"patience", p->patience, 0, BAG_EPOCHS_MAX},
        {"tolerance", p->tolerance, 0, 1},
        {"rate", p->rate, 0, 1e3},
        {"threads", p->threads, 1, BAG_THREADS_MAX},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        if (!(bounds[i].value >= bounds[i].low && bounds[i].value <= bounds[i].high)) {
            return out_of_bounds(e, bounds[i].field, bounds[i].low, bounds[i].high);
        }
    }
    if (p->one_pass && p->class_weight != BAG_CLASS_EQUAL) {
        return err_set(e, ERR_INVALID, "one_pass cannot weigh classes: it does not know them yet");
    }
    if (p->hidden % 8 != 0) {
        return err_set(e, ERR_INVALID, "hidden must be a multiple of 8");
    }
    if (p->features.word_max == 0 && p->features.char_max == 0) {
        return err_set(e, ERR_INVALID, "word_max and char_max are both 0: no features");
    }
    return 0;
}
