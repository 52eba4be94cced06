/* The kernels for any CPU, and the choice between them. */
#include "worker/model/bag/kernels_body.h"

static const struct bag_kernels portable = BAG_KERNELS("portable");

#ifdef BAG_HAS_AVX2
extern const struct bag_kernels bag__kernels_avx2;
#endif

const struct bag_kernels *bag__kernels(void)
{
#ifdef BAG_HAS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return &bag__kernels_avx2;
    }
#endif
    return &portable;
}
