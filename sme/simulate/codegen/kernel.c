/* Antithetic pairs of the discrete run and of its equations, W pairs at a time, from one step to another.

   What the lines above this one define: W pairs a block; FIRST, SECOND motions, REMEMBERED of the first within a
   step; SIGNS and STAYS(m), whether motion m stays through a substep of the coarsest level, if any does; EQUATIONS, LEVELS, STATE numbers of a path, SYSTEM with those that an equation hides;
   JUMPS (whether the first motions count jumps); CHAIN (whether there is a discrete run), COUNTED places that it draws in a step; of each of GROUPS of the control variates
   CARRY numbers that a path carries from step to step, FOLLOWED from substep to substep, and SHARED a step that all
   paths share; KICKS numbers of each substep of the first equation that go into SUMS of those carried, the last ones, in
   each of STAGES; FLOOR_FROM, FLOOR_COUNT, FLOOR_LEVEL; the functions substep_0, substep_1 and, with a
   floor, their usual forms usual_substep_0, usual_substep_1; chain_step, follow_substep, follow_step, level_sums and, of several
   groups, chain_rows. */

#define ALL (FIRST + SECOND)
#define ROWS(n) ((n) > 0 ? (n) : 1)
#define OWN static _Thread_local __attribute__((aligned(64))) /* of a thread, but not on its stack: there may be many motions */

OWN float normals_1[ROWS(4 * FIRST) + 3][W], normals_2[ROWS(4 * SECOND) + 3][W];
OWN double increments[4][ROWS(ALL)][W], coarser[ROWS(ALL)][W], totals[2][ROWS(FIRST)][W], remembered[ROWS(REMEMBERED)][W];

#ifndef WHOLE
#define WHOLE (FLOOR_COUNT == 0) /* whether no substep is tried in its usual form */
#endif
/* In its usual form, if that is tried and no path is near the floor, from `x` to `spare`, which then change names; else as it is,
   from then on. */
#if FLOOR_COUNT
#define SUBSTEP(e) \
    if (*near || usual_substep_##e(t, dt, tau, *x, noise, since, kicks, *spare)) { \
        *near = 1; \
        substep_##e(t, dt, tau, *x, noise, since, kicks); \
    } else { \
        double (*const was)[W] = *x; \
        *x = *spare; \
        *spare = was; \
    }
#else
#define SUBSTEP(e) substep_##e(t, dt, tau, *x, noise, since, kicks);
#endif

/* One substep of every path of the level, on the sum of `factor` increments beginning with `dw[0]`. */
static inline void level(int equation, double t, double dt, double tau, int factor, double (**x)[W], double (**spare)[W],
                         double (*restrict dw)[ROWS(ALL)][W], double (*restrict since)[W], double (*restrict kicks)[W], int *near) {
    double (*restrict const sum)[W] = coarser, (*noise)[W] = dw[0];
    if (factor > 1) {
        for (int m = 0; m < ALL; m++)
#pragma omp simd
            for (int p = 0; p < W; p++) {
                double total = dw[0][m][p];
                for (int i = 1; i < factor; i++) total += dw[i][m][p];
                sum[m][p] = total;
            }
        noise = sum;
    }
#if EQUATIONS > 1
    if (equation == 1) {
        SUBSTEP(1)
    } else
#endif
    {
#if EQUATIONS > 0
        SUBSTEP(0)
#endif
    }
    for (int m = 0; m < REMEMBERED; m++)
#pragma omp simd
        for (int p = 0; p < W; p++) since[m][p] += noise[m][p];
}

static void below(double (*restrict x)[W], int32_t *restrict seen) {
    for (int i = FLOOR_FROM; i < FLOOR_FROM + FLOOR_COUNT; i++)
#pragma omp simd
        for (int p = 0; p < W; p++) seen[p] |= x[i][p] < FLOOR_LEVEL;
}

/* Rows of `pairs` numbers from and to blocks of W; beyond the last pair stands a copy of it. */
static void load(const double *from, int64_t pairs, int64_t at, int rows, double (*to)[W]) {
    for (int i = 0; i < rows; i++)
        for (int64_t p = 0; p < W; p++) to[i][p] = from[2 * i * pairs + (at + p < pairs ? at + p : pairs - 1)];
}

static void store(double *to, int64_t pairs, int64_t at, int rows, double (*from)[W]) {
    for (int i = 0; i < rows; i++)
        for (int64_t p = 0; p < W && at + p < pairs; p++) to[2 * i * pairs + at + p] = from[i][p];
}

/* So many of the levels does each number, of this sign, exceed. */
static void jumps(int64_t count, const double *levels, const float *z, float sign, double *dw) {
#pragma omp simd
    for (int p = 0; p < W; p++) dw[p] = 0;
    for (int64_t i = 0; i < count; i++) {
        const double least = levels[i];
#pragma omp simd
        for (int p = 0; p < W; p++) dw[p] += (double)(sign * z[p]) > least;
    }
}

/* How often each place is drawn, from COUNTED rows of places. */
static void tally(const int32_t *drawn, int64_t pairs, int64_t at, double (*restrict counts)[W]) {
    memset(counts, 0, sizeof totals[0]);
    for (int i = 0; i < COUNTED; i++)
        for (int64_t p = 0; p < W; p++) counts[drawn[2 * i * pairs + (at + p < pairs ? at + p : pairs - 1)]][p] += 1;
}

/* The motion at its mean in each of the substeps. */
static void hold(int unit, int m, double (*restrict dw)[ROWS(ALL)][W]) {
    for (int p = 0; p < W; p++) {
        double total = 0;
        for (int i = 0; i < unit; i++) total += dw[i][m][p];
        for (int i = 0; i < unit; i++) dw[i][m][p] = total / (double)unit;
    }
}

#define USED (KICKS ? used : LEVELS) /* a constant where all are always */
#define WEIGHTS(g) (shared + (k * GROUPS + (g)) * SHARED)

/* Of each group of control variates, whose order is that of time, `ends` has the last step with weights; of each of the levels
   in use, the finest first, `parts` has its part in each stage. */
void run(const uint32_t *keys, int64_t pairs, int64_t offset, int64_t from, int64_t to, int64_t substeps,
         double tau, double start, double *x, double *state, double *carry, uint8_t *floored, const double *shared,
         int64_t count, const double *levels, const int32_t *drawn, const int64_t *ends, int64_t used,
         const double *parts) {
    const double dt = tau / (double)substeps, root = sqrt(dt);
    const int unit = substeps < 4 ? (int)substeps : 4;
    float (*const first)[W] = normals_1, (*const second)[W] = normals_2;
    double (*const dw)[ROWS(ALL)][W] = increments, (*const total)[ROWS(FIRST)][W] = totals, (*const since)[W] = remembered;
    const int64_t first_calls = (substeps * FIRST + 1) / 2, second_calls = (substeps * SECOND + 1) / 2;
    for (int64_t at = 0; at < pairs; at += W) {
        double numbers[ROWS(EQUATIONS)][LEVELS][2][SYSTEM][W], other[SYSTEM][W], discrete[2][STATE][W];
        double carried[2][GROUPS][ROWS(CARRY)][W], before[SYSTEM][W], kicks[ROWS(KICKS)][W];
        double (*xs[ROWS(EQUATIONS)][LEVELS][2])[W], (*spare)[W] = other;
        int32_t seen[2][W] = {{0}};
        for (int s = 0; s < 2; s++) {
            for (int e = 0; e < EQUATIONS; e++)
                for (int l = 0; l < USED; l++) {
                    xs[e][l][s] = numbers[e][l][s];
                    load(x + ((e * LEVELS + l) * SYSTEM * 2 + s) * pairs, pairs, at, SYSTEM, xs[e][l][s]);
                }
            if (CHAIN) load(state + s * pairs, pairs, at, STATE, discrete[s]);
            if (CARRY) load(carry + s * pairs, pairs, at, GROUPS * CARRY, carried[s][0]);
        }
        for (int64_t k = from; k < to; k++) {
            const double t = start + (double)k * tau;
            int64_t over = 0;
            while (over < GROUPS - 1 && ends[over] < k) over++;
            memset(total, 0, sizeof totals);
            int near[ROWS(EQUATIONS) * LEVELS * 2];
            for (int i = 0; i < ROWS(EQUATIONS) * LEVELS * 2; i++) near[i] = WHOLE;
#if FOLLOWED
            double begun[2][STATE][W], followed[2][GROUPS][FOLLOWED][W];
            for (int s = 0; s < 2; s++) memcpy(begun[s], xs[0][0][s], sizeof begun[s]);
            memset(followed, 0, sizeof followed);
#endif
            for (int64_t j = 0; j < substeps; j += unit) {
                if (FIRST) normals(keys, (uint32_t)(offset + at), (uint32_t)(k * first_calls + j * FIRST / 2),
                                   (unit * FIRST + 1) / 2, first);
                if (SECOND) normals(keys + 2, (uint32_t)(offset + at), (uint32_t)(k * second_calls + j * SECOND / 2),
                                    (unit * SECOND + 1) / 2, second);
                for (int s = 0; s < 2; s++) {
                    const double scale = s ? -root : root;
                    for (int i = 0; i < unit; i++)
                        for (int m = 0; m < ALL; m++) {
                            const float *z = m < FIRST ? first[i * FIRST + m] : second[i * SECOND + m - FIRST];
                            if (JUMPS) {
                                jumps(count, levels, z, s ? -1 : 1, dw[i][m]);
                                continue;
                            }
#pragma omp simd
                            for (int p = 0; p < W; p++) dw[i][m][p] = scale * (double)z[p];
                        }
                    for (int m = 0; m < (SIGNS && USED > 1 ? ALL : 0); m++)
                        if (STAYS(m)) hold(unit, m, dw);
                    for (int e = 0; e < EQUATIONS; e++)
                        for (int l = 0; l < USED; l++) {
                            const int factor = 1 << l;
                            if (REMEMBERED) memcpy(since, total[s], sizeof remembered);
                            for (int i = 0; i < unit; i += factor) {
#if FOLLOWED
                                for (int64_t g = over; g < (e == 0 && l == 0 ? GROUPS : 0); g++)
                                    follow_substep(tau, ((double)(j + i) + 0.5) / (double)substeps - 0.5, 1.0 / (double)substeps,
                                                   begun[s], followed[s][g], dw[i], WEIGHTS(g));
#endif
                                if (KICKS && e == 0) memcpy(before, xs[0][l][s], sizeof before);
                                level(e, t + (double)((j + i) / factor) * (dt * factor), dt * factor, tau, factor, &xs[e][l][s],
                                      &spare, dw + i, since, kicks, near + (e * LEVELS + l) * 2 + s);
#if KICKS
                                for (int64_t g = over; g < (e == 0 ? GROUPS : 0); g++)
                                    level_sums((double)(j + i) / (double)substeps, (double)factor / (double)substeps, parts + STAGES * l,
                                               before, kicks, carried[s][g] + CARRY - SUMS, WEIGHTS(g));
#endif
                            }
                        }
                    for (int i = 0; i < unit; i++)
                        for (int m = 0; m < ((CHAIN && !COUNTED) || REMEMBERED ? FIRST : 0); m++)
#pragma omp simd
                            for (int p = 0; p < W; p++) total[s][m][p] += dw[i][m][p];
                }
            }
            for (int s = 0; s < 2; s++) {
#if FOLLOWED
                for (int64_t g = over; g < GROUPS; g++) follow_step(begun[s], carried[s][g], followed[s][g], WEIGHTS(g));
#endif
#if CHAIN
                if (COUNTED) tally(drawn + (2 * (k - from) * COUNTED + s) * pairs, pairs, at, total[s]);
#if GROUPS > 1
                for (int64_t g = over; g < GROUPS - 1; g++) chain_rows(t, tau, discrete[s], carried[s][g], total[s], WEIGHTS(g));
#endif
                chain_step(t, tau, discrete[s], carried[s][GROUPS - 1], total[s], WEIGHTS(GROUPS - 1));
                if (FLOOR_COUNT) below(discrete[s], seen[s]);
#endif
                if (FLOOR_COUNT && EQUATIONS) below(xs[0][0][s], seen[s]);
            }
        }
        for (int s = 0; s < 2; s++) {
            for (int e = 0; e < EQUATIONS; e++)
                for (int l = 0; l < USED; l++)
                    store(x + ((e * LEVELS + l) * SYSTEM * 2 + s) * pairs, pairs, at, SYSTEM, xs[e][l][s]);
            if (CHAIN) store(state + s * pairs, pairs, at, STATE, discrete[s]);
            if (CARRY) store(carry + s * pairs, pairs, at, GROUPS * CARRY, carried[s][0]);
            for (int64_t p = 0; p < W && at + p < pairs; p++) floored[s * pairs + at + p] |= (uint8_t)seen[s][p];
        }
    }
}
