/* Widths after Unicode's East Asian Width (W and F) and the non-spacing marks that names hold. */
#include "ops/cli/width.h"

#include <stdint.h>

struct range {
    uint32_t low;
    uint32_t high;
};

static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
    {0x25fd, 0x25fe},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26a1, 0x26a1},
    {0x2705, 0x2705},   {0x274c, 0x274c},   {0x2753, 0x2755},   {0x2795, 0x2797},
    {0x2e80, 0x303e},   {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},
    {0xa000, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
    {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18aff},
    {0x1b000, 0x1b2ff}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
    {0x20000, 0x3fffd},
};

static const struct range zero[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
    {0x0670, 0x0670}, {0x06d6, 0x06dc}, {0x0900, 0x0902}, {0x093a, 0x093a}, {0x093c, 0x093c},
    {0x0941, 0x0948}, {0x094d, 0x094d}, {0x0951, 0x0957}, {0x0981, 0x0981}, {0x09bc, 0x09bc},
    {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x200b, 0x200f}, {0x202a, 0x202e},
    {0x2060, 0x2064}, {0x20d0, 0x20f0}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef},
};

static bool is_in(const struct range *ranges, size_t count, uint32_t u)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (u > ranges[middle].high) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && u >= ranges[low].low;
}

/* The code point at text[0] and its bytes; a broken sequence is one byte. */
static size_t decode(struct span text, uint32_t *ret_point)
{
    const unsigned char *p = (const unsigned char *)text.data;
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 1;
    *ret_point = p[0];
    if (n == 1 || n > text.length) {
        return 1;
    }
    uint32_t u = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 1;
        }
        u = u << 6 | (p[i] & 0x3fu);
    }
    *ret_point = u;
    return n;
}

static size_t width_of_point(uint32_t u)
{
    if (u < 0x300) {
        return 1;
    }
    if (is_in(zero, sizeof zero / sizeof *zero, u)) {
        return 0;
    }
    return is_in(wide, sizeof wide / sizeof *wide, u) ? 2 : 1;
}

size_t width_of(struct span text)
{
    size_t columns = 0;
    uint32_t u = 0;
    while (text.length > 0) {
        size_t n = decode(text, &u);
        columns += width_of_point(u);
        text.data += n;
        text.length -= n;
    }
    return columns;
}

size_t width_cut(struct span text, size_t columns)
{
    size_t taken = 0;
    size_t used = 0;
    uint32_t u = 0;
    while (taken < text.length) {
        size_t n = decode(span_make(text.data + taken, text.length - taken), &u);
        if (used + width_of_point(u) > columns) {
            break;
        }
        used += width_of_point(u);
        taken += n;
    }
    return taken;
}
