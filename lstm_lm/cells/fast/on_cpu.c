/* An LSTM's window on a CPU, forth and back, and products of all of a window's words. The equations are in fused.py.

   Operator by operator, a word is a product too small for two cores and six passes over memory. Here every core takes
   some sequences and goes through all their words by itself. It makes a block of a word's product at a time, of a few
   sequences and units, whose sums are in registers; and when it is done, all four gates of these units are at hand, and
   the cell state and the output follow at once. Where there are too few sequences for that, the cores share the units,
   and wait for each other once per word.

   The recurrent weights are laid out once per window in the order in which they are read. They come from far away, so a
   piece is used for many sequences while it is near, and meanwhile the next one is fetched. Every sum runs over the
   units in their order, so results do not hang on how the work is dealt out.

   Source: blocks in registers and packed panels, Goto and van de Geijn 2008 (ACM TOMS 34, 3); exp, Moshier's Cephes.

   Shapes: T time, B batch, H hidden size; gates (T, B, 4H) in the order f, i, g, o; states h and c (T+1, B, H), the
   first given; recurrent (4H, H); keep (T, B), or NULL for all 1: where it is 0, the state is let go before that word.
   The candidate comes doubled, as tanh(a) = 2 sigmoid(2a) - 1. room: 4H times H, rounded up to LANES, floats. */

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

/* What the registers hold: a block is at most ROWS sequences times VECTORS vectors of LANES columns. What the nearest
   cache holds, of 32 KB or more: DEEP rows of a panel, as wide as a block, and a part of the sums of GROUP sequences.
   What a core's own cache holds: DEEPEST rows of a panel and what they are multiplied by (on_cpu.py says how many), or
   alone, if it is of 2 MB, NEAR weights. */
#if defined __AVX512F__
enum { LANES = 16, ROWS = 6 };
#elif defined __AVX2__
enum { LANES = 8, ROWS = 3 };
#else
enum { LANES = 4, ROWS = 6 };
#endif
enum { VECTORS = 4, DEEP = 1600 / LANES, GROUP = 72, BLOCKS = GROUP / ROWS, NEAR = 1 << 19 };

typedef ptrdiff_t size;
typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")

INLINE size least(size a, size b) { return a < b ? a : b; }
INLINE size most(size a, size b) { return a > b ? a : b; }
INLINE size parts_of(size whole, size part) { return (whole + part - 1) / part; }
INLINE size even_part(size whole, size most_of_it) { return parts_of(whole, most(1, parts_of(whole, most_of_it))); }

/* The first of `whole` things in share `number` of `shares` even ones; it ends where the next one starts. */
INLINE size start(size whole, size number, size shares) { return whole * number / shares; }

bool is_by_intel(void) {
#ifdef __x86_64__
    unsigned leaf, b, c, d;
    return __get_cpuid(0, &leaf, &b, &c, &d) && b == signature_INTEL_ebx;
#else
    return false;
#endif
}

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

typedef vector Block[ROWS][VECTORS];

/* sums (R, V vectors) += rows (R, K), `stride` apart and their numbers `step`, times packed (K, V vectors).
   Fetches K vectors from `ahead` on, to be there later. */
INLINE void multiply_block(int R, int V, Block sums, const float *rows, size stride, size step, const float *packed,
                           size K, const float *ahead) {
    vector sum[ROWS][VECTORS], weight[VECTORS];
    UNROLLED for (int r = 0; r < R; r++) {
        UNROLLED for (int v = 0; v < V; v++) sum[r][v] = sums[r][v];
    }
    for (size k = 0; k < K; k++, rows += step, packed += V * LANES, ahead += LANES) {
        __builtin_prefetch(ahead, 0, 2);
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
static void multiply_some(size R, size V, Block sums, const float *rows, size stride, size step, const float *packed,
                          size K, const float *ahead) {
#define CASE(R, V) case R * 8 + V: multiply_block(R, V, sums, rows, stride, step, packed, K, ahead); break;
#define CASES(R) CASE(R, 1) CASE(R, 2) CASE(R, 3) CASE(R, 4)
    switch (R * 8 + V) {
        CASES(1) CASES(2) CASES(3)
#if !defined __AVX2__ || defined __AVX512F__
        CASES(4) CASES(5) CASES(6)
#endif
    }
}

/* sums = rows (count, K), at most GROUP of them, times packed (K, V vectors). While some blocks are multiplied by a piece
   of it, each fetches its part of what lies behind that piece: the next one, or, most often, another panel. */
static void multiply(size count, size V, Block *sums, const float *rows, size stride, const float *packed, size K) {
    size blocks = parts_of(count, ROWS), pieces = parts_of(K, DEEP);
    memset(sums, 0, blocks * sizeof *sums);
    for (size piece = 0, depth; piece < pieces; piece++, rows += depth, packed += depth * V * LANES) {
        depth = start(K, piece + 1, pieces) - start(K, piece, pieces);
        for (size block = 0; block < blocks; block++) {
            size begin = start(count, block, blocks), R = start(count, block + 1, blocks) - begin;
            const float *ahead = packed + (V + least(block, V)) * depth * LANES;
            multiply_some(R, V, sums[block], rows + begin * stride, stride, 1, packed, depth, ahead);
        }
    }
}

/* Lays LANES rows (count of them, K), or fewer and zeros, side by side in columns of a panel of that width. */
static void turn(const float *rows, size count, size K, float *panel, size width) {
    for (size k = 0; k < K; k++)
        for (size r = 0; r < LANES; r++) panel[k * width + r] = r < count ? rows[r * K + k] : 0;
}

/* Lays a matrix (K, columns), or turned (columns, K), out in panels of some vectors of columns, at most VECTORS. */
static void pack(const float *matrix, bool turned, float *room, size K, size columns, size panels) {
    size vectors = parts_of(columns, LANES);
#pragma omp for
    for (size panel = 0; panel < panels; panel++) {
        size first = start(vectors, panel, panels) * LANES, end = start(vectors, panel + 1, panels) * LANES;
        float *packed = room + first * K;
        for (size column = first; column < end; column += LANES, packed += LANES)
            if (turned) turn(matrix + column * K, columns - column, K, packed, end - first);
            else
                for (size k = 0; k < K; k++)
                    store(packed + k * (end - first), load(matrix + k * columns + column, columns - column), LANES);
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
static void put(size R, size V, Block sums, const float *before, size stride, float *products, size columns,
                size left) {
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
        pack(matrix, turned, room, K, columns, panels);
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
                    Block sums = {0};
                    if (step > 1) multiply_some(R, V, sums, side_by_side + begin * depth, 1, R, packed, depth, packed);
                    else multiply_some(R, V, sums, own + begin * stride, stride, 1, packed, depth, packed);
                    if (chunk) put(R, V, sums, product, columns, product, columns, columns - column);
                    else put(R, V, sums, bias ? bias + column : NULL, 0, product, columns, columns - column);
                }
            }
        }
    }
}

/* How many cores share the units of a sequence. Each is to have about a block of sequences, and four where the weights
   come from far away: as long as one piece of these is at work, the next one takes to be fetched. */
static size sharing(size batch, size hidden) {
    size cores = omp_get_num_threads(), fewest = 4 * hidden * hidden > NEAR ? 4 * ROWS : ROWS;
    return cores / most(1, least(cores, batch / fewest));
}

/* Sequences [first, last) and panels of units [from, to). */
typedef struct { size first, last, from, to; } Share;

/* What this core takes; nothing, where the cores cannot be divided evenly and it is left over. */
static Share my_share(size batch, size panels, size shared_by) {
    size groups = omp_get_num_threads() / shared_by, me = omp_get_thread_num();
    size row = me / shared_by, column = me % shared_by;
    if (row >= groups) return (Share){0};
    return (Share){start(batch, row, groups), start(batch, row + 1, groups),
                   start(panels, column, shared_by), start(panels, column + 1, shared_by)};
}

/* Where cores wait for each other. OpenMP's own barrier looks out for the others for milliseconds before it sleeps, which
   is the end of all speed, once per word, where another process has one of the cores; this one looks a few
   microseconds. */
typedef struct {
    atomic_int arrived, rounds;
    pthread_mutex_t lock;
    pthread_cond_t passed;
} Meeting;

#define MEETING {.lock = PTHREAD_MUTEX_INITIALIZER, .passed = PTHREAD_COND_INITIALIZER}

static void wait_for_all(Meeting *meeting) {
    enum { LOOKS = 200 };
    int round = atomic_load(&meeting->rounds);
    bool is_last = atomic_fetch_add(&meeting->arrived, 1) == omp_get_num_threads() - 1;
    for (int look = 0; !is_last && look < LOOKS; look++) {
        if (atomic_load(&meeting->rounds) != round) return;
#ifdef __x86_64__
        __builtin_ia32_pause();
#endif
    }
    pthread_mutex_lock(&meeting->lock);
    if (is_last) {
        atomic_store(&meeting->arrived, 0);
        atomic_store(&meeting->rounds, round + 1);
        pthread_cond_broadcast(&meeting->passed);
    }
    while (atomic_load(&meeting->rounds) == round) pthread_cond_wait(&meeting->passed, &meeting->lock);
    pthread_mutex_unlock(&meeting->lock);
}

/* The gates of R sequences and LANES units from `unit` on; sums is what the h before adds to them. */
static void step(size R, Block sums, float *gates, float *h, float *c, const float *keep, size batch,
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
        for (size gate = 0; gate < 4; gate++) {
            size unit = panel * LANES;
            turn(recurrent + (gate * hidden + unit) * hidden, hidden - unit, hidden,
                 room + unit * 4 * hidden + gate * LANES, columns);
        }
}

/* Fills in h and c, and writes the gates over what the inputs add to them. */
void lstm_forward(float *gates, const float *recurrent, float *h, float *c, const float *keep, float *room, size time,
                  size batch, size hidden, int cores) {
    Meeting meeting = MEETING;
#pragma omp parallel num_threads(cores)
    {
        pack_units(recurrent, room, hidden);
        size shared_by = sharing(batch, hidden);
        Share mine = my_share(batch, parts_of(hidden, LANES), shared_by);
        size group = even_part(mine.last - mine.first, GROUP);
        for (size t = 0; t < time; t++) {
            for (size first = mine.first; first < mine.last; first += group) {
                size count = least(group, mine.last - first), blocks = parts_of(count, ROWS);
                for (size panel = mine.from; panel < mine.to; panel++) {
                    Block sums[BLOCKS];
                    multiply(count, 4, sums, h + (t * batch + first) * hidden, hidden,
                             room + panel * LANES * 4 * hidden, hidden);
                    for (size block = 0; block < blocks; block++) {
                        size begin = start(count, block, blocks), R = start(count, block + 1, blocks) - begin;
                        size row = t * batch + first + begin;
                        step(R, sums[block], gates + row * 4 * hidden, h + row * hidden, c + row * hidden,
                             keep ? keep + row : NULL, batch, hidden, panel * LANES);
                    }
                }
            }
            if (shared_by > 1) wait_for_all(&meeting);
        }
    }
}

/* The gates' gradients of R sequences and V vectors of units from `unit` on; sums is what comes from the word after. */
static void step_back(size R, size V, Block sums, const float *d_outputs, const float *gates,
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
    size vectors = parts_of(hidden, LANES);
    Meeting meeting = MEETING;
#pragma omp parallel num_threads(cores)
    {
        size shared_by = sharing(batch, hidden);
        size panels = parts_of(parts_of(vectors, VECTORS), shared_by) * shared_by;          /* as many for each core */
        pack(recurrent, false, room, 4 * hidden, hidden, panels);
        Share mine = my_share(batch, panels, shared_by);
        size group = even_part(mine.last - mine.first, GROUP);
        for (size t = time - 1; t >= 0; t--) {
            bool is_last = t == time - 1;
            for (size first = mine.first; first < mine.last; first += group) {
                size count = least(group, mine.last - first), blocks = parts_of(count, ROWS);
                for (size panel = mine.from; panel < mine.to; panel++) {
                    size from = start(vectors, panel, panels), V = start(vectors, panel + 1, panels) - from;
                    size unit = from * LANES;
                    Block sums[BLOCKS];
                    if (is_last) memset(sums, 0, blocks * sizeof *sums);
                    else multiply(count, V, sums, d_gates + ((t + 1) * batch + first) * 4 * hidden, 4 * hidden,
                                  room + unit * 4 * hidden, 4 * hidden);
                    for (size block = 0; block < blocks; block++) {
                        size begin = start(count, block, blocks), R = start(count, block + 1, blocks) - begin;
                        size column = first + begin, row = t * batch + column;
                        step_back(R, V, sums[block], d_outputs + row * hidden, gates + row * 4 * hidden,
                                  c + row * hidden, keep ? keep + row : NULL, is_last, d_gates + row * 4 * hidden,
                                  d_c + column * hidden, batch, hidden, unit);
                    }
                }
            }
            if (shared_by > 1) wait_for_all(&meeting);
        }
    }
}
