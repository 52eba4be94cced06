/* The kernels for x86-64 with AVX2 and FMA; compiled with those on, called only where they are. */
#if defined(__AVX2__) && defined(__FMA__)
#include "worker/model/bag/kernels_body.h"

extern const struct bag_kernels bag__kernels_avx2;
const struct bag_kernels bag__kernels_avx2 = BAG_KERNELS("avx2");
#else
typedef int bag__no_avx2_here; /* a translation unit must hold something */
#endif
