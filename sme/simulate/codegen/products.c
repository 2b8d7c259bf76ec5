/* Products of one matrix with W vectors at a time. What defines W stands above this line. */

#define AT_ONCE 16 /* vectors whose sums stay in registers together with the rows of a block */
typedef double eight __attribute__((vector_size(64), aligned(8), may_alias));

/* y[i] = sum_j a[i row + j col] x[j] for `rows` consecutive i, a constant once this is inlined. */
static inline __attribute__((always_inline)) void some_rows(const int rows, const double *restrict a, int cols, int row, int col,
                                                            const double (*restrict x)[W], int dx, double (*restrict y)[W],
                                                            int dy) {
    for (int p = 0; p < W; p += AT_ONCE) {
        eight sum[8][2];
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = (eight){0};
        for (int j = 0; j < cols; j++) {
            const eight one = *(const eight *)&x[j * dx][p], other = *(const eight *)&x[j * dx][p + 8];
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) {
                const double number = a[i * row + j * col];
                sum[i][0] += number * one;
                sum[i][1] += number * other;
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            *(eight *)&y[i * dy][p] = sum[i][0];
            *(eight *)&y[i * dy][p + 8] = sum[i][1];
        }
    }
}

static inline void matvec(const double *restrict a, int rows, int cols, int row, int col, const double (*restrict x)[W], int dx,
                          double (*restrict y)[W], int dy) {
    int i = 0;
    for (; i + 8 <= rows; i += 8) some_rows(8, a + i * row, cols, row, col, x, dx, y + i * dy, dy);
    for (; i + 4 <= rows; i += 4) some_rows(4, a + i * row, cols, row, col, x, dx, y + i * dy, dy);
    for (; i + 2 <= rows; i += 2) some_rows(2, a + i * row, cols, row, col, x, dx, y + i * dy, dy);
    for (; i < rows; i++) some_rows(1, a + i * row, cols, row, col, x, dx, y + i * dy, dy);
}
