/* Products of one matrix with W vectors at a time. What defines W stands above this line. */

#ifdef __AVX512F__
#define WIDE 8 /* numbers of a register */
#else
#define WIDE 4
#endif
#define AT_ONCE (2 * WIDE) /* vectors whose sums stay in registers together with the rows of a block */
#define MOST_ROWS WIDE
typedef double wide __attribute__((vector_size(8 * WIDE), aligned(8), may_alias));

/* y[i] = sum_j a[i row + j col] x[j] for `rows` consecutive i, a constant once this is inlined. */
static inline __attribute__((always_inline)) void some_rows(const int rows, const double *restrict a, int cols, int row, int col,
                                                            const double (*restrict x)[W], int dx, double (*restrict y)[W],
                                                            int dy) {
    for (int p = 0; p < W; p += AT_ONCE) {
        wide sum[MOST_ROWS][2];
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = (wide){0};
        for (int j = 0; j < cols; j++) {
            const wide one = *(const wide *)&x[j * dx][p], other = *(const wide *)&x[j * dx][p + WIDE];
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) {
                const double number = a[i * row + j * col];
                sum[i][0] += number * one;
                sum[i][1] += number * other;
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            *(wide *)&y[i * dy][p] = sum[i][0];
            *(wide *)&y[i * dy][p + WIDE] = sum[i][1];
        }
    }
}

static inline void matvec(const double *restrict a, int rows, int cols, int row, int col, const double (*restrict x)[W], int dx,
                          double (*restrict y)[W], int dy) {
    int i = 0;
    for (; i + MOST_ROWS <= rows; i += MOST_ROWS) some_rows(MOST_ROWS, a + i * row, cols, row, col, x, dx, y + i * dy, dy);
#if MOST_ROWS > 4
    for (; i + 4 <= rows; i += 4) some_rows(4, a + i * row, cols, row, col, x, dx, y + i * dy, dy);
#endif
    for (; i + 2 <= rows; i += 2) some_rows(2, a + i * row, cols, row, col, x, dx, y + i * dy, dy);
    for (; i < rows; i++) some_rows(1, a + i * row, cols, row, col, x, dx, y + i * dy, dy);
}
