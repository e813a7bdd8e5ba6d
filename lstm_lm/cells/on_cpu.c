/* An LSTM's window on a CPU, forth and back, and products of all of a window's words. The equations are in fused.py.

   Operator by operator, a word is a product too small for two cores and six passes over memory. Here every core takes
   some sequences and goes through all their words by itself. It makes a block of a word's product at a time, of a few
   sequences and units, whose sums stay in registers; then all four gates of these units are at hand, and the cell state
   and the output follow at once. Where there are too few sequences for that, the cores share the units, and wait for
   each other once per word.

   The recurrent weights are laid out once per window in the order in which they are read. Every sum runs over the units
   in their order, so results do not hang on how the work is dealt out.

   Source: blocks in registers and packed panels, Goto and van de Geijn 2008 (ACM TOMS 34, 3); exp, Moshier's Cephes.

   Shapes: T time, B batch, H hidden size; gates (T, B, 4H) in the order f, i, g, o; states h and c (T+1, B, H), the
   first given; recurrent (4H, H); keep (T, B), or NULL for all 1: where it is 0, the state is let go before that word.
   The candidate comes doubled, as tanh(a) = 2 sigmoid(2a) - 1. room: 4H times H, rounded up to LANES, floats. */

#include <omp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What the registers hold: a block is at most ROWS sequences times VECTORS vectors of LANES columns. Of a panel, as
   wide as a block, a core's own cache holds DEEPEST rows (on_cpu.py says how many). */
#if defined __AVX512F__
enum { LANES = 16, ROWS = 6 };
#elif defined __AVX2__
enum { LANES = 8, ROWS = 3 };
#else
enum { LANES = 4, ROWS = 6 };
#endif
enum { VECTORS = 4 };

typedef ptrdiff_t size;
typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")

INLINE size least(size a, size b) { return a < b ? a : b; }
INLINE size most(size a, size b) { return a > b ? a : b; }
INLINE size parts_of(size whole, size part) { return (whole + part - 1) / part; }

/* The first of `whole` things in share `number` of `shares` even ones; it ends where the next one starts. */
INLINE size start(size whole, size number, size shares) { return whole * number / shares; }

/* As many numbers as are left of a row; a whole vector is one instruction. */
INLINE vector load(const float *from, size left) {
    vector v = {0};
    if (left >= LANES) memcpy(&v, from, sizeof v);
    else memcpy(&v, from, left * sizeof(float));
    return v;
}

INLINE void store(float *to, vector v, size left) {
    if (left >= LANES) memcpy(to, &v, sizeof v);
    else memcpy(to, &v, left * sizeof(float));
}

INLINE vector choose(bits where, vector this, vector that) {
    return (vector)(((bits)this & where) | ((bits)that & ~where));
}

/* 1 / (1 + exp(-a)), to 1e-7; exp(x) = 2^n exp(r) with r = x - n ln 2. What is not a number stays none. */
INLINE vector sigmoid(vector a) {
    const float end = 87.0f, to_whole = 12582912.0f;            /* 1.5 * 2^23: the last bits of a sum with it are n */
    const vector zero = {0};
    vector x = choose(a < -end, zero + end, choose(a > end, zero - end, -a));
    vector shifted = x * 1.44269504f + to_whole, n = shifted - to_whole;
    vector r = x - n * 0.693359375f + n * 2.12194440e-4f;       /* ln 2 in two pieces */
    vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    vector power = (vector)((bits)p + ((bits)shifted << 23));
    return 1.0f / (1.0f + power);
}

INLINE vector tanh_of(vector a) { return 2 * sigmoid(2 * a) - 1; }

/* sums (R, V vectors) = rows (R, K), `stride` apart and their numbers `step`, times packed (K, V vectors). */
INLINE void multiply_block(int R, int V, vector sums[ROWS][VECTORS], const float *rows, size stride, size step,
                           const float *packed, size K) {
    vector sum[ROWS][VECTORS], weight[VECTORS];
    UNROLLED for (int r = 0; r < R; r++) {
        UNROLLED for (int v = 0; v < V; v++) sum[r][v] = (vector){0};
    }
    for (size k = 0; k < K; k++, rows += step, packed += V * LANES) {
        UNROLLED for (int v = 0; v < V; v++) weight[v] = load(packed + v * LANES, LANES);
        UNROLLED for (int r = 0; r < R; r++) {
            UNROLLED for (int v = 0; v < V; v++) sum[r][v] += weight[v] * rows[r * stride];
        }
    }
    UNROLLED for (int r = 0; r < R; r++) {
        UNROLLED for (int v = 0; v < V; v++) sums[r][v] = sum[r][v];
    }
}

/* The same, for numbers that the compiler does not know: it lays out registers for every one by itself. */
static void multiply(size R, size V, vector sums[ROWS][VECTORS], const float *rows, size stride, size step,
                     const float *packed, size K) {
#define BLOCK(R, V) case R * 8 + V: multiply_block(R, V, sums, rows, stride, step, packed, K); break;
#define BLOCKS(R) BLOCK(R, 1) BLOCK(R, 2) BLOCK(R, 3) BLOCK(R, 4)
    switch (R * 8 + V) {
        BLOCKS(1) BLOCKS(2) BLOCKS(3)
#if !defined __AVX2__ || defined __AVX512F__
        BLOCKS(4) BLOCKS(5) BLOCKS(6)
#endif
    }
}

/* Lays a matrix (K, columns), or turned (columns, K), out in panels of VECTORS vectors of columns, or fewer. */
static void pack(const float *matrix, bool turned, float *room, size K, size columns) {
    size vectors = parts_of(columns, LANES), panels = parts_of(vectors, VECTORS);
#pragma omp for
    for (size panel = 0; panel < panels; panel++) {
        size first = start(vectors, panel, panels) * LANES, width = start(vectors, panel + 1, panels) * LANES - first;
        float *packed = room + first * K;
        if (turned)
            for (size column = 0; column < width; column++)
                for (size k = 0; k < K; k++)
                    packed[k * width + column] = first + column < columns ? matrix[(first + column) * K + k] : 0;
        else
            for (size k = 0; k < K; k++, packed += width)
                for (size column = 0; column < width; column += LANES)
                    store(packed + column, load(matrix + k * columns + first + column, columns - first - column),
                          LANES);
    }
}

/* Lays the rows of every block side by side: number k of R rows, then number k + 1. */
static void lay_side_by_side(const float *rows, size stride, size step, float *room, size count, size depth) {
    size blocks = parts_of(count, ROWS);
    for (size k = 0; k < depth; k++)
        for (size block = 0; block < blocks; block++) {
            size begin = start(count, block, blocks), R = start(count, block + 1, blocks) - begin;
            for (size r = 0; r < R; r++) room[begin * depth + k * R + r] = rows[(begin + r) * stride + k * step];
        }
}

/* products (R, V vectors) = sums + before, whose rows are `stride` apart, or + 0; left: columns to the end of a row. */
static void put(size R, size V, vector sums[ROWS][VECTORS], const float *before, size stride, float *products,
                size columns, size left) {
    for (size r = 0; r < R; r++)
        for (size v = 0; v < V; v++) {
            size at = v * LANES;
            vector sum = before ? sums[r][v] + load(before + r * stride + at, left - at) : sums[r][v];
            store(products + r * columns + at, sum, left - at);
        }
}

/* products (count, columns) = rows (count, K) times a matrix as in `pack`, plus bias (columns), unless that is NULL.
   Row r's number k is rows[r * stride + k * step]; a step above 1 takes more room, count times DEEPEST. */
void multiply_rows(const float *rows, size stride, size step, const float *matrix, bool turned, const float *bias,
                   float *products, float *room, size count, size K, size columns, int cores) {
    size vectors = parts_of(columns, LANES), panels = parts_of(vectors, VECTORS), chunks = parts_of(K, DEEPEST);
#pragma omp parallel num_threads(cores)
    {
        pack(matrix, turned, room, K, columns);
        size core = omp_get_thread_num(), from = start(count, core, omp_get_num_threads());
        size mine = start(count, core + 1, omp_get_num_threads()) - from, blocks = parts_of(mine, ROWS);
        float *side_by_side = room + vectors * LANES * K + from * least(K, DEEPEST);
        for (size chunk = 0; chunk < chunks; chunk++) {
            size top = start(K, chunk, chunks), depth = start(K, chunk + 1, chunks) - top;
            const float *own = rows + from * stride + top * step;
            if (step > 1) lay_side_by_side(own, stride, step, side_by_side, mine, depth);
            for (size panel = 0; panel < panels; panel++) {
                size first = start(vectors, panel, panels), V = start(vectors, panel + 1, panels) - first;
                size column = first * LANES;
                const float *packed = room + column * K + top * V * LANES;
                for (size block = 0; block < blocks; block++) {
                    size begin = start(mine, block, blocks), R = start(mine, block + 1, blocks) - begin;
                    float *product = products + (from + begin) * columns + column;
                    vector sums[ROWS][VECTORS];
                    if (step > 1) multiply(R, V, sums, side_by_side + begin * depth, 1, R, packed, depth);
                    else multiply(R, V, sums, own + begin * stride, stride, 1, packed, depth);
                    if (chunk) put(R, V, sums, product, columns, product, columns, columns - column);
                    else put(R, V, sums, bias ? bias + column : NULL, 0, product, columns, columns - column);
                }
            }
        }
    }
}

/* What a core takes: sequences [first, last) and panels of units [from, to), and whether it waits for others. */
typedef struct { size first, last, from, to; bool waits; } Share;

static Share my_share(size batch, size panels) {
    size cores = omp_get_num_threads(), me = omp_get_thread_num();
    size by_sequence = most(1, least(cores, batch / ROWS)), by_unit = cores / by_sequence;
    if (me >= by_sequence * by_unit) return (Share){.waits = by_unit > 1};
    size row = me / by_unit, column = me % by_unit;
    return (Share){start(batch, row, by_sequence), start(batch, row + 1, by_sequence),
                   start(panels, column, by_unit), start(panels, column + 1, by_unit), by_unit > 1};
}

static void wait_for_all(void) {
#pragma omp barrier
}

/* The gates of R sequences and LANES units from `unit` on; sums is what the h before adds to them. */
static void step(size R, vector sums[ROWS][VECTORS], float *gates, float *h, float *c, const float *keep, size batch,
                 size hidden, size unit) {
    size left = hidden - unit, after = batch * hidden;
    for (size r = 0; r < R; r++) {
        float *f_at = gates + r * 4 * hidden + unit, *i_at = f_at + hidden, *g_at = i_at + hidden;
        float *o_at = g_at + hidden, *h_at = h + r * hidden + unit, *c_at = c + r * hidden + unit;
        float kept = keep ? keep[r] : 1;
        vector f = sigmoid(load(f_at, left) + kept * sums[r][0]);
        vector i = sigmoid(load(i_at, left) + kept * sums[r][1]);
        vector g = 2 * sigmoid(load(g_at, left) + kept * sums[r][2]) - 1;
        vector o = sigmoid(load(o_at, left) + kept * sums[r][3]);
        vector memory = f * kept * load(c_at, left) + i * g;
        store(f_at, f, left), store(i_at, i, left), store(g_at, g, left), store(o_at, o, left);
        store(c_at + after, memory, left), store(h_at + after, o * tanh_of(memory), left);
    }
}

/* Panels with the four gates of LANES units each. */
static void pack_units(const float *recurrent, float *room, size hidden) {
    size panels = parts_of(hidden, LANES), columns = 4 * LANES;
#pragma omp for
    for (size panel = 0; panel < panels; panel++)
        for (size k = 0; k < hidden; k++)
            for (size column = 0; column < columns; column++) {
                size unit = panel * LANES + column % LANES, row = column / LANES * hidden + unit;
                room[(panel * hidden + k) * columns + column] = unit < hidden ? recurrent[row * hidden + k] : 0;
            }
}

/* Fills in h and c, and writes the gates over what the inputs add to them. */
void lstm_forward(float *gates, const float *recurrent, float *h, float *c, const float *keep, float *room, size time,
                  size batch, size hidden, int cores) {
#pragma omp parallel num_threads(cores)
    {
        pack_units(recurrent, room, hidden);
        Share mine = my_share(batch, parts_of(hidden, LANES));
        size sequences = mine.last - mine.first, blocks = parts_of(sequences, ROWS);
        for (size t = 0; t < time; t++) {
            for (size panel = mine.from; panel < mine.to; panel++)
                for (size block = 0; block < blocks; block++) {
                    size begin = start(sequences, block, blocks), R = start(sequences, block + 1, blocks) - begin;
                    size row = t * batch + mine.first + begin;
                    vector sums[ROWS][VECTORS];
                    multiply(R, 4, sums, h + row * hidden, hidden, 1, room + panel * hidden * 4 * LANES, hidden);
                    step(R, sums, gates + row * 4 * hidden, h + row * hidden, c + row * hidden,
                         keep ? keep + row : NULL, batch, hidden, panel * LANES);
                }
            if (mine.waits) wait_for_all();
        }
    }
}

/* The gates' gradients of R sequences and V vectors of units from `unit` on; sums is what comes from the word after. */
static void step_back(size R, size V, vector sums[ROWS][VECTORS], const float *d_outputs, const float *gates,
                      const float *c, const float *keep, bool is_last, float *d_gates, float *d_c, size batch,
                      size hidden, size unit) {
    for (size r = 0; r < R; r++) {
        float kept = keep ? keep[r] : 1, kept_after = keep && !is_last ? keep[batch + r] : 1;
        for (size v = 0; v < V; v++) {
            size at = r * hidden + unit + v * LANES, at_gate = at + 3 * r * hidden, left = hidden - unit - v * LANES;
            const float *f_at = gates + at_gate;
            float *d_at = d_gates + at_gate;
            vector f = load(f_at, left), i = load(f_at + hidden, left);
            vector g = load(f_at + 2 * hidden, left), o = load(f_at + 3 * hidden, left);
            vector tanh_c = tanh_of(load(c + batch * hidden + at, left));
            vector dh = load(d_outputs + at, left) + kept_after * sums[r][v];
            vector dc = load(d_c + at, left) + dh * o * (1 - tanh_c * tanh_c);
            store(d_at, dc * kept * load(c + at, left) * f * (1 - f), left);
            store(d_at + hidden, dc * g * i * (1 - i), left);
            store(d_at + 2 * hidden, dc * i * (1 - g * g) * 0.5f, left);            /* of 2 a_g */
            store(d_at + 3 * hidden, dh * tanh_c * o * (1 - o), left);
            store(d_c + at, dc * f * kept, left);
        }
    }
}

/* Fills in d_gates (T, B, 4H) from d_outputs (T, B, H), and takes d_c (B, H) from the last word back to the first. */
void lstm_backward(const float *d_outputs, const float *recurrent, const float *gates, const float *c,
                   const float *keep, float *d_gates, float *d_c, float *room, size time, size batch, size hidden,
                   int cores) {
    size vectors = parts_of(hidden, LANES), panels = parts_of(vectors, VECTORS);
#pragma omp parallel num_threads(cores)
    {
        pack(recurrent, false, room, 4 * hidden, hidden);
        Share mine = my_share(batch, panels);
        size sequences = mine.last - mine.first, blocks = parts_of(sequences, ROWS);
        for (size t = time - 1; t >= 0; t--) {
            bool is_last = t == time - 1;
            for (size panel = mine.from; panel < mine.to; panel++)
                for (size block = 0; block < blocks; block++) {
                    size begin = start(sequences, block, blocks), R = start(sequences, block + 1, blocks) - begin;
                    size from = start(vectors, panel, panels), V = start(vectors, panel + 1, panels) - from;
                    size unit = from * LANES, column = mine.first + begin, row = t * batch + column;
                    vector sums[ROWS][VECTORS] = {0};
                    if (!is_last)
                        multiply(R, V, sums, d_gates + (row + batch) * 4 * hidden, 4 * hidden, 1,
                                 room + unit * 4 * hidden, 4 * hidden);
                    step_back(R, V, sums, d_outputs + row * hidden, gates + row * 4 * hidden, c + row * hidden,
                              keep ? keep + row : NULL, is_last, d_gates + row * 4 * hidden, d_c + column * hidden,
                              batch, hidden, unit);
                }
            if (mine.waits) wait_for_all();
        }
    }
}
