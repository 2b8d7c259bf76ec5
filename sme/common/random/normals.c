/* Random numbers for W pairs at a time. What defines W stands above this line. */

static inline uint32_t turn(uint32_t x, int by) { return (x << by) | (x >> (32 - by)); }

/* log u for 0 < u <= 1, and sine and cosine of 2 pi angle/2^32: polynomials, so that every compiler makes vectors of
   them (coefficients of Moshier's Cephes library; errors of one unit in the last place). */
static inline float logarithm(float u) {
    union { float number; int32_t bits; } m = {u};
    int32_t exponent = ((m.bits >> 23) & 0xff) - 126;
    m.bits = (m.bits & 0x007fffff) | 0x3f000000;
    const int small = m.number < 0.707106781f;
    const float e = (float)(small ? exponent - 1 : exponent);
    const float x = small ? m.number + m.number - 1.0f : m.number - 1.0f, z = x * x;
    float y = 7.0376836292e-2f;
    y = y * x - 1.1514610310e-1f;
    y = y * x + 1.1676998740e-1f;
    y = y * x - 1.2420140846e-1f;
    y = y * x + 1.4249322787e-1f;
    y = y * x - 1.6668057665e-1f;
    y = y * x + 2.0000714765e-1f;
    y = y * x - 2.4999993993e-1f;
    y = (y * x + 3.3333331174e-1f) * x * z - 2.12194440e-4f * e - 0.5f * z;
    return x + y + 0.693359375f * e;
}

static inline void circle(uint32_t angle, float *cosine, float *sine) {
    const uint32_t quarter = (angle + 0x20000000u) >> 30;
    const float x = (float)(int32_t)(angle - (quarter << 30)) * (1.57079632679f * 0x1p-30f), z = x * x;
    const float s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * x + x;
    const float c = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
    const float one = quarter & 1u ? s : c, other = quarter & 1u ? c : s;
    *cosine = (quarter + 1u) & 2u ? -one : one;
    *sine = quarter & 2u ? -other : other;
}

/* Two standard normals for each pair from each of `n` calls, a constant once this is inlined: Threefry-2x32 with 20 rounds
   (Salmon et al. 2011), then Box and Muller. Each round waits for the one before, so two calls side by side take less time. */
static inline __attribute__((always_inline)) void some_normals(const int n, const uint32_t *restrict key, uint32_t pair,
                                                               uint32_t call, float (*restrict z)[W]) {
    const uint32_t k0 = key[0], k1 = key[1], k2 = k0 ^ k1 ^ 0x1BD11BDAu;
#pragma omp simd
    for (int p = 0; p < W; p++) {
        uint32_t a[2], b[2];
#define EACH _Pragma("GCC unroll 2") for (int c = 0; c < n; c++)
#define ROUND(by) EACH { a[c] += b[c]; b[c] = turn(b[c], by) ^ a[c]; }
#define KEY(one, other) EACH { a[c] += one; b[c] += other; }
        EACH { a[c] = pair + (uint32_t)p + k0; b[c] = call + (uint32_t)c + k1; }
        ROUND(13) ROUND(15) ROUND(26) ROUND(6) KEY(k1, k2 + 1u)
        ROUND(17) ROUND(29) ROUND(16) ROUND(24) KEY(k2, k0 + 2u)
        ROUND(13) ROUND(15) ROUND(26) ROUND(6) KEY(k0, k1 + 3u)
        ROUND(17) ROUND(29) ROUND(16) ROUND(24) KEY(k1, k2 + 4u)
        ROUND(13) ROUND(15) ROUND(26) ROUND(6) KEY(k2, k0 + 5u)
        EACH {
            const float radius = sqrtf(-2.0f * logarithm((float)(int32_t)(a[c] & 0x7fffffffu) * 0x1p-31f + 0x1p-32f));
            float cosine, sine;
            circle(b[c], &cosine, &sine);
            z[2 * c][p] = radius * cosine;
            z[2 * c + 1][p] = radius * sine;
        }
    }
}

/* Those of so many calls, and of one more if they are odd: there must be room for it. */
static __attribute__((noinline)) void normals(const uint32_t *key, uint32_t pair, uint32_t call, int64_t calls, float (*z)[W]) {
    for (int64_t c = 0; c < calls; c += 2) some_normals(2, key, pair, call + (uint32_t)c, z + 2 * c);
}

#ifdef FILL
/* Normals 2 call, 2 call + 1, ... for each of `pairs` pairs, row by row. */
void fill(const uint32_t *key, int64_t pairs, int64_t offset, int64_t call, int64_t calls, double *to) {
    float z[2][W];
    for (int64_t c = 0; c < calls; c++)
        for (int64_t at = 0; at < pairs; at += W) {
            some_normals(1, key, (uint32_t)(offset + at), (uint32_t)(call + c), z);
            const int64_t here = pairs - at < W ? pairs - at : W;
            for (int row = 0; row < 2; row++)
                for (int64_t p = 0; p < here; p++) to[(2 * c + row) * pairs + at + p] = z[row][p];
        }
}
#endif
