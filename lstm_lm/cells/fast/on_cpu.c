/* An LSTM's window on a CPU, forward and backward, and products of many rows with a matrix.
   The equations are in ../fused.py.

   In torch's operators, one word is a product that is too small for two cores, and six passes over
   memory. Here every core takes some of the sequences and reads all their words by itself. It
   computes a block of a word's product at a time, for a few sequences and a few units, with the sums
   in registers. Then all gates of these units are known, and the cell state and the output
   follow at once. With too few sequences for that, the cores share the units instead and wait for
   each other once per word.

   The recurrent weights are packed once per window: copied in the order in which they are read.
   They are in a slow cache or in memory, so a piece of them is used for many sequences while it is
   in a fast cache, and the next piece is prefetched meanwhile. Every sum runs over the units in
   their order, so the number of cores does not change a bit of the results.

   Sources: blocks in registers and packed panels, Goto and van de Geijn 2008 (ACM TOMS 34, 3);
   exp, Moshier's Cephes library.

   Shapes: T time, B batch, H hidden size, G gates. All arrays are float and contiguous.
   gates      (T, B, GH)   in the order f, i, g, o; without i if it is coupled: 1 - f
   h, c       (T+1, B, H)  states before and after every word
   recurrent  (GH, H)
   peepholes  (3, H)       weights of c_prev in f and i and of c in o; or NULL: no peepholes
   keep       (T, B)       or NULL for all 1: where it is 0, the state is zero before that word
   scratch    GH times H floats, H rounded up to a multiple of FLOATS
   The candidate's pre-activation is doubled, because tanh(a) = 2 sigmoid(2a) - 1.

   A panel is some neighbouring columns of a matrix, up to BLOCK_VECTORS vectors wide. */

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

/* FLOATS: numbers in a vector register. BLOCK_ROWS and BLOCK_VECTORS: the sums of a block, which must
   fit the registers (32 of them with AVX-512, 16 with AVX2) beside one row of weights. */
#if defined __AVX512F__
enum { FLOATS = 16, BLOCK_ROWS = 6 };
#elif defined __AVX2__
enum { FLOATS = 8, BLOCK_ROWS = 3 };
#else
enum { FLOATS = 4, BLOCK_ROWS = 6 };
#endif
enum { BLOCK_VECTORS = 4 };

/* Sizes that follow from the caches. The nearest cache (L1) has 32 KB or more: PIECE_ROWS rows of a
   panel take 25.6 KB of it. The sums of GROUP_SEQUENCES sequences take up to 18 KB. A core's own
   cache (L2), where it has 2 MB, holds WEIGHTS_IN_L2 weights. CHUNK_ROWS, the rows of a panel that
   L2 holds beside what they are multiplied by, comes from on_cpu.py. */
enum {
    PIECE_ROWS = 1600 / FLOATS,
    GROUP_SEQUENCES = 72,
    GROUP_BLOCKS = GROUP_SEQUENCES / BLOCK_ROWS,
    WEIGHTS_IN_L2 = 1 << 19
};

typedef ptrdiff_t size;
typedef float vector __attribute__((vector_size(4 * FLOATS)));
typedef int32_t bits __attribute__((vector_size(4 * FLOATS)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")

INLINE size smaller(size a, size b) { return a < b ? a : b; }
INLINE size larger(size a, size b) { return a > b ? a : b; }
INLINE size divide_up(size whole, size part) { return (whole + part - 1) / part; }

/* The size of even parts of a whole, none larger than `limit`. */
INLINE size even_part(size whole, size limit) {
    return divide_up(whole, larger(1, divide_up(whole, limit)));
}

typedef struct { size start, count; } Range;

/* Part `number` of `whole` things that are divided into `parts` parts of nearly equal size. */
INLINE Range part_of(size whole, size number, size parts) {
    size start = whole * number / parts, end = whole * (number + 1) / parts;
    return (Range){start, end - start};
}

bool is_intel(void) {
#ifdef __x86_64__
    unsigned leaf, b, c, d;
    return __get_cpuid(0, &leaf, &b, &c, &d) && b == signature_INTEL_ebx;
#else
    return false;
#endif
}

/* Loads a vector from a row that has `left` more numbers; missing ones are 0. */
INLINE vector load(const float *from, size left) {
    vector v = {0};
    if (left >= FLOATS) memcpy(&v, from, sizeof v);
    else memcpy(&v, from, left * sizeof(float));
    return v;
}

INLINE void store(float *to, vector v, size left) {
    if (left >= FLOATS) memcpy(to, &v, sizeof v);
    else memcpy(to, &v, left * sizeof(float));
}

/* `this` where the condition holds, `that` elsewhere. */
INLINE vector choose(bits where, vector this, vector that) {
    return (vector)(((bits)this & where) | ((bits)that & ~where));
}

/* 1 / (1 + exp(-a)), to 1e-7. exp(x) = 2^n exp(r) with r = x - n ln 2. NaN stays NaN. */
INLINE vector sigmoid(vector a) {
    /* 1.5 * 2^23: the last bits of a sum with it are the nearest whole number. */
    const float end = 87.0f, to_whole = 12582912.0f;
    const vector zero = {0};
    vector x = choose(a < -end, zero + end, choose(a > end, zero - end, -a));
    vector shifted = x * 1.44269504f + to_whole, n = shifted - to_whole;
    vector r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two terms, for precision */
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

typedef vector Block[BLOCK_ROWS][BLOCK_VECTORS];

/* sums (R, V vectors) += rows (R, K) times packed (K, V vectors).
   Number k of row r is rows[r * stride + k * step]. Prefetches K vectors from `ahead` on. */
INLINE void multiply_block(int R, int V, Block sums, const float *rows, size stride, size step,
                           const float *packed, size K, const float *ahead) {
    vector sum[BLOCK_ROWS][BLOCK_VECTORS], weight[BLOCK_VECTORS];
    UNROLLED for (int r = 0; r < R; r++) {
        UNROLLED for (int v = 0; v < V; v++) sum[r][v] = sums[r][v];
    }
    for (size k = 0; k < K; k++, rows += step, packed += V * FLOATS, ahead += FLOATS) {
        __builtin_prefetch(ahead, 0, 2);
        UNROLLED for (int v = 0; v < V; v++) weight[v] = load(packed + v * FLOATS, FLOATS);
        UNROLLED for (int r = 0; r < R; r++) {
            UNROLLED for (int v = 0; v < V; v++) sum[r][v] += weight[v] * rows[r * stride];
        }
    }
    UNROLLED for (int r = 0; r < R; r++) {
        UNROLLED for (int v = 0; v < V; v++) sums[r][v] = sum[r][v];
    }
}

/* `multiply_block` for R and V that are known only at run time. Every pair has compiled code of its
   own, in which the sums are in registers. */
static void multiply_any_block(size R, size V, Block sums, const float *rows, size stride,
                               size step, const float *packed, size K, const float *ahead) {
#define CASE(R, V) \
    case R * 8 + V: multiply_block(R, V, sums, rows, stride, step, packed, K, ahead); break;
#define CASES(R) CASE(R, 1) CASE(R, 2) CASE(R, 3) CASE(R, 4)
    switch (R * 8 + V) {
        CASES(1) CASES(2) CASES(3)
#if !defined __AVX2__ || defined __AVX512F__
        CASES(4) CASES(5) CASES(6)
#endif
    }
}

/* sums = rows (count, K) times packed (K, V vectors), for count <= GROUP_SEQUENCES rows.
   While the blocks are multiplied by one piece of `packed`, they prefetch what follows it: the next
   piece, or the beginning of another panel. */
static void multiply(size count, size V, Block *sums, const float *rows, size stride,
                     const float *packed, size K) {
    size blocks = divide_up(count, BLOCK_ROWS), pieces = divide_up(K, PIECE_ROWS);
    memset(sums, 0, blocks * sizeof *sums);
    for (size p = 0; p < pieces; p++) {
        size depth = part_of(K, p, pieces).count;
        for (size b = 0; b < blocks; b++) {
            Range block = part_of(count, b, blocks);
            const float *ahead = packed + (V + smaller(b, V)) * depth * FLOATS;
            multiply_any_block(block.count, V, sums[b], rows + block.start * stride, stride, 1,
                               packed, depth, ahead);
        }
        rows += depth, packed += depth * V * FLOATS;
    }
}

/* Writes FLOATS rows (count, K) as neighbouring columns of a panel of that width. If count is less
   than FLOATS, the other columns are 0. */
static void transpose_rows(const float *rows, size count, size K, float *panel, size width) {
    for (size k = 0; k < K; k++)
        for (size r = 0; r < FLOATS; r++) panel[k * width + r] = r < count ? rows[r * K + k] : 0;
}

/* Packs a matrix (K, columns) into panels, each of which is contiguous. A transposed matrix is
   (columns, K) in memory. The cores share the panels. */
static void pack(const float *matrix, bool transposed, float *scratch, size K, size columns,
                 size panels) {
    size vectors = divide_up(columns, FLOATS);
#pragma omp for
    for (size p = 0; p < panels; p++) {
        Range panel = part_of(vectors, p, panels);
        size first = panel.start * FLOATS, width = panel.count * FLOATS;
        float *packed = scratch + first * K;
        for (size column = first; column < first + width; column += FLOATS, packed += FLOATS) {
            size left = columns - column;
            if (transposed) transpose_rows(matrix + column * K, left, K, packed, width);
            else
                for (size k = 0; k < K; k++)
                    store(packed + k * width, load(matrix + k * columns + column, left), FLOATS);
        }
    }
}

/* Interleaves the rows of every block: number k of its R rows, then number k + 1 of them. */
static void interleave_rows(const float *rows, size stride, size step, float *interleaved,
                            size count, size depth) {
    size blocks = divide_up(count, BLOCK_ROWS);
    for (size k = 0; k < depth; k++)
        for (size b = 0; b < blocks; b++) {
            Range block = part_of(count, b, blocks);
            float *to = interleaved + block.start * depth + k * block.count;
            for (size r = 0; r < block.count; r++)
                to[r] = rows[(block.start + r) * stride + k * step];
        }
}

/* products (R, V vectors) = sums + before, or sums + 0 if `before` is NULL. Rows of `before` are
   `stride` apart; `left` columns are left in a row of the products. */
static void write_products(size R, size V, Block sums, const float *before, size stride,
                           float *products, size columns, size left) {
    for (size r = 0; r < R; r++)
        for (size v = 0; v < V; v++) {
            size at = v * FLOATS;
            vector sum = sums[r][v];
            if (before) sum = sum + load(before + r * stride + at, left - at);
            store(products + r * columns + at, sum, left - at);
        }
}

/* products (count, columns) = rows (count, K) times a matrix as in `pack`, plus bias (columns), which
   may be NULL. Number k of row r is rows[r * stride + k * step]. If step is above 1, the rows are
   interleaved first, which takes count times CHUNK_ROWS more floats of scratch. */
void multiply_rows(const float *rows, size stride, size step, const float *matrix, bool transposed,
                   const float *bias, float *products, float *scratch, size count, size K,
                   size columns, int cores) {
    size vectors = divide_up(columns, FLOATS), panels = divide_up(vectors, BLOCK_VECTORS);
    size chunks = divide_up(K, CHUNK_ROWS);
#pragma omp parallel num_threads(cores)
    {
        pack(matrix, transposed, scratch, K, columns, panels);
        Range mine = part_of(count, omp_get_thread_num(), omp_get_num_threads());
        size blocks = divide_up(mine.count, BLOCK_ROWS);
        float *interleaved = scratch + vectors * FLOATS * K + mine.start * smaller(K, CHUNK_ROWS);
        for (size c = 0; c < chunks; c++) {
            Range chunk = part_of(K, c, chunks);
            size depth = chunk.count;
            const float *my_rows = rows + mine.start * stride + chunk.start * step;
            if (step > 1) interleave_rows(my_rows, stride, step, interleaved, mine.count, depth);
            for (size p = 0; p < panels; p++) {
                Range panel = part_of(vectors, p, panels);
                size V = panel.count, column = panel.start * FLOATS, left = columns - column;
                const float *packed = scratch + column * K + chunk.start * V * FLOATS;
                for (size b = 0; b < blocks; b++) {
                    Range block = part_of(mine.count, b, blocks);
                    size R = block.count;
                    float *product = products + (mine.start + block.start) * columns + column;
                    Block sums = {0};
                    if (step > 1)
                        multiply_any_block(R, V, sums, interleaved + block.start * depth, 1, R,
                                           packed, depth, packed);
                    else
                        multiply_any_block(R, V, sums, my_rows + block.start * stride, stride, 1,
                                           packed, depth, packed);
                    if (c > 0)
                        write_products(R, V, sums, product, columns, product, columns, left);
                    else
                        write_products(R, V, sums, bias ? bias + column : NULL, 0, product,
                                       columns, left);
                }
            }
        }
    }
}

/* How many cores share the units of a sequence; 1 if every core has sequences of its own.
   Each core should have at least one block of sequences. Where the weights are larger than L2, it
   should have four: prefetching a piece of them takes as long as four blocks do. */
static size cores_per_sequence(size batch, size hidden, size G) {
    size cores = omp_get_num_threads();
    size fewest = G * hidden * hidden > WEIGHTS_IN_L2 ? 4 * BLOCK_ROWS : BLOCK_ROWS;
    return cores / larger(1, smaller(cores, batch / fewest));
}

/* What one core computes: some sequences, and some panels of units of each. */
typedef struct { Range sequences, panels; } Share;

/* The share of the calling core. It is empty for cores that are left over because the number of
   cores is no multiple of `sharing`, the cores per sequence. */
static Share my_share(size batch, size panels, size sharing) {
    size groups = omp_get_num_threads() / sharing, me = omp_get_thread_num();
    if (me / sharing >= groups) return (Share){0};
    return (Share){part_of(batch, me / sharing, groups), part_of(panels, me % sharing, sharing)};
}

/* A barrier. OpenMP's own spins for milliseconds before it sleeps. That is too slow once per word,
   where another process has one of the cores. This one spins for a few microseconds. */
typedef struct {
    atomic_int arrived, rounds;
    pthread_mutex_t lock;
    pthread_cond_t passed;
} Barrier;

#define BARRIER {.lock = PTHREAD_MUTEX_INITIALIZER, .passed = PTHREAD_COND_INITIALIZER}

static void wait_for_all_cores(Barrier *barrier) {
    enum { SPINS = 200 };
    int round = atomic_load(&barrier->rounds);
    bool is_last = atomic_fetch_add(&barrier->arrived, 1) == omp_get_num_threads() - 1;
    for (int spin = 0; !is_last && spin < SPINS; spin++) {
        if (atomic_load(&barrier->rounds) != round) return;
#ifdef __x86_64__
        __builtin_ia32_pause();
#endif
    }
    pthread_mutex_lock(&barrier->lock);
    if (is_last) {
        atomic_store(&barrier->arrived, 0);
        atomic_store(&barrier->rounds, round + 1);
        pthread_cond_broadcast(&barrier->passed);
    }
    while (atomic_load(&barrier->rounds) == round)
        pthread_cond_wait(&barrier->passed, &barrier->lock);
    pthread_mutex_unlock(&barrier->lock);
}

/* Peephole weights of the gates f, i and o (0, 1, 2) and FLOATS units from `unit` on. */
INLINE vector peephole(const float *peepholes, size gate, size hidden, size unit) {
    return load(peepholes + gate * hidden + unit, hidden - unit);
}

/* Computes the gates, c and h of R sequences and of FLOATS units from `unit` on, for one word.
   sums is U h_prev of the G gates. All pointers are those of the word's first sequence. */
static void forward_block(size R, size G, Block sums, float *gates, float *h, float *c,
                          const float *peepholes, const float *keep, size batch, size hidden,
                          size unit) {
    size left = hidden - unit, next_word = batch * hidden;
    for (size r = 0; r < R; r++) {
        float *f_at = gates + r * G * hidden + unit, *i_at = f_at + hidden;
        float *g_at = f_at + (G - 2) * hidden, *o_at = g_at + hidden;
        float *h_at = h + r * hidden + unit, *c_at = c + r * hidden + unit;
        float kept = keep ? keep[r] : 1;
        vector old_c = kept * load(c_at, left), to_f = load(f_at, left) + kept * sums[r][0];
        vector to_i = G == 4 ? load(i_at, left) + kept * sums[r][1] : to_f;
        vector to_o = load(o_at, left) + kept * sums[r][G - 1];
        if (peepholes) {
            to_f += peephole(peepholes, 0, hidden, unit) * old_c;
            to_i += peephole(peepholes, 1, hidden, unit) * old_c;
        }
        vector f = sigmoid(to_f), i = G == 4 ? sigmoid(to_i) : 1 - f;
        vector g = 2 * sigmoid(load(g_at, left) + kept * sums[r][G - 2]) - 1;
        vector new_c = f * old_c + i * g;
        if (peepholes) to_o += peephole(peepholes, 2, hidden, unit) * new_c;
        vector o = sigmoid(to_o);
        store(f_at, f, left), store(g_at, g, left), store(o_at, o, left);
        if (G == 4) store(i_at, i, left);
        store(c_at + next_word, new_c, left), store(h_at + next_word, o * tanh_of(new_c), left);
    }
}

/* Packs the recurrent weights into panels that have the G gates of FLOATS units each. */
static void pack_recurrent(const float *recurrent, float *scratch, size hidden, size G) {
    size panels = divide_up(hidden, FLOATS), width = G * FLOATS;
#pragma omp for
    for (size panel = 0; panel < panels; panel++)
        for (size gate = 0; gate < G; gate++) {
            size unit = panel * FLOATS;
            transpose_rows(recurrent + (gate * hidden + unit) * hidden, hidden - unit, hidden,
                           scratch + unit * G * hidden + gate * FLOATS, width);
        }
}

/* Reads W x + b from `gates` and overwrites it with the gates; fills in h and c after the first. */
void lstm_forward(float *gates, const float *recurrent, float *h, float *c,
                  const float *peepholes, const float *keep, float *scratch, size time, size batch,
                  size hidden, size G, int cores) {
    Barrier barrier = BARRIER;
#pragma omp parallel num_threads(cores)
    {
        pack_recurrent(recurrent, scratch, hidden, G);
        size sharing = cores_per_sequence(batch, hidden, G);
        Share mine = my_share(batch, divide_up(hidden, FLOATS), sharing);
        size end = mine.sequences.start + mine.sequences.count;
        size last_panel = mine.panels.start + mine.panels.count;
        size group = even_part(mine.sequences.count, GROUP_SEQUENCES);
        for (size t = 0; t < time; t++) {
            for (size first = mine.sequences.start; first < end; first += group) {
                size count = smaller(group, end - first), blocks = divide_up(count, BLOCK_ROWS);
                for (size panel = mine.panels.start; panel < last_panel; panel++) {
                    size unit = panel * FLOATS;
                    Block sums[GROUP_BLOCKS];
                    multiply(count, G, sums, h + (t * batch + first) * hidden, hidden,
                             scratch + unit * G * hidden, hidden);
                    for (size b = 0; b < blocks; b++) {
                        Range block = part_of(count, b, blocks);
                        size row = t * batch + first + block.start;
                        forward_block(block.count, G, sums[b], gates + row * G * hidden,
                                      h + row * hidden, c + row * hidden, peepholes,
                                      keep ? keep + row : NULL, batch, hidden, unit);
                    }
                }
            }
            if (sharing > 1) wait_for_all_cores(&barrier);
        }
    }
}

/* Computes the gates' gradients of R sequences and of V vectors of units from `unit` on, for one
   word. sums is the gradient of h from the next word. All pointers are those of the word's first
   sequence. */
static void backward_block(size R, size V, size G, Block sums, const float *d_outputs,
                           const float *gates, const float *c, const float *peepholes,
                           const float *keep, bool is_last, float *d_gates, float *d_c, size batch,
                           size hidden, size unit) {
    size next_word = batch * hidden;
    for (size r = 0; r < R; r++) {
        float kept = keep ? keep[r] : 1, kept_after = keep && !is_last ? keep[batch + r] : 1;
        for (size v = 0; v < V; v++) {
            size column = unit + v * FLOATS, left = hidden - column;
            size at = r * hidden + column, at_gate = r * G * hidden + column;
            const float *f_at = gates + at_gate, *g_at = f_at + (G - 2) * hidden;
            float *d_at = d_gates + at_gate, *d_g_at = d_at + (G - 2) * hidden;
            vector f = load(f_at, left), i = G == 4 ? load(f_at + hidden, left) : 1 - f;
            vector g = load(g_at, left), o = load(g_at + hidden, left);
            vector tanh_c = tanh_of(load(c + next_word + at, left));
            vector dh = load(d_outputs + at, left) + kept_after * sums[r][v];
            vector d_o = dh * tanh_c * o * (1 - o), old_c = kept * load(c + at, left);
            vector dc = load(d_c + at, left) + dh * o * (1 - tanh_c * tanh_c);
            if (peepholes) dc += d_o * peephole(peepholes, 2, hidden, column);
            vector d_f = dc * (G == 4 ? old_c : old_c - g) * f * (1 - f);
            vector d_i = dc * g * i * (1 - i), d_old_c = dc * f;
            if (peepholes) {
                d_old_c += d_f * peephole(peepholes, 0, hidden, column);
                d_old_c += d_i * peephole(peepholes, 1, hidden, column);
            }
            store(d_at, d_f, left);
            if (G == 4) store(d_at + hidden, d_i, left);
            /* times 0.5, as the gradient of 2 a_g */
            store(d_g_at, dc * i * (1 - g * g) * 0.5f, left);
            store(d_g_at + hidden, d_o, left);
            store(d_c + at, kept * d_old_c, left);
        }
    }
}

/* Fills in d_gates (T, B, GH) from d_outputs (T, B, H). d_c (B, H) is the gradient of the last c and
   becomes that of the first. */
void lstm_backward(const float *d_outputs, const float *recurrent, const float *gates,
                   const float *c, const float *peepholes, const float *keep, float *d_gates,
                   float *d_c, float *scratch, size time, size batch, size hidden, size G,
                   int cores) {
    size vectors = divide_up(hidden, FLOATS);
    Barrier barrier = BARRIER;
#pragma omp parallel num_threads(cores)
    {
        size sharing = cores_per_sequence(batch, hidden, G);
        /* A multiple of `sharing`, so that each core has as many panels. */
        size panels = divide_up(divide_up(vectors, BLOCK_VECTORS), sharing) * sharing;
        pack(recurrent, false, scratch, G * hidden, hidden, panels);
        Share mine = my_share(batch, panels, sharing);
        size end = mine.sequences.start + mine.sequences.count;
        size last_panel = mine.panels.start + mine.panels.count;
        size group = even_part(mine.sequences.count, GROUP_SEQUENCES);
        for (size t = time - 1; t >= 0; t--) {
            bool is_last = t == time - 1;
            for (size first = mine.sequences.start; first < end; first += group) {
                size count = smaller(group, end - first), blocks = divide_up(count, BLOCK_ROWS);
                for (size p = mine.panels.start; p < last_panel; p++) {
                    Range panel = part_of(vectors, p, panels);
                    size V = panel.count, unit = panel.start * FLOATS;
                    Block sums[GROUP_BLOCKS];
                    if (is_last) memset(sums, 0, blocks * sizeof *sums);
                    else
                        multiply(count, V, sums, d_gates + ((t + 1) * batch + first) * G * hidden,
                                 G * hidden, scratch + unit * G * hidden, G * hidden);
                    for (size b = 0; b < blocks; b++) {
                        Range block = part_of(count, b, blocks);
                        size column = first + block.start, row = t * batch + column;
                        backward_block(block.count, V, G, sums[b], d_outputs + row * hidden,
                                       gates + row * G * hidden, c + row * hidden, peepholes,
                                       keep ? keep + row : NULL, is_last,
                                       d_gates + row * G * hidden, d_c + column * hidden, batch,
                                       hidden, unit);
                    }
                }
            }
            if (sharing > 1) wait_for_all_cores(&barrier);
        }
    }
}
