// Attention over one KV block for any instruction set; see simd_unpack.h for how this is included.
//
// Up to kMaxQueries query rows share each key and value that is read and converted. Keys go in chunks
// of kKeys counted from the block's start, whatever a query sees of them, so that a query's bits do
// not depend on its companions.

constexpr int kMaxQueries = 8;  // accumulators of one vector of values, with room for a 16-register set
constexpr int kKeys = 32;       // scores of a chunk stay in the first-level cache

struct Chunk {
  int64_t start, begin, end;  // keys from `begin` to `end` are seen by some query of the group,
  int64_t all_begin, all_end;  // those between these by all of them
  float scores[kMaxQueries][kKeys];  // then the weights exp(score - maximum); key start + j in column j
  float shrink[kMaxQueries];         // of what was gathered before
};

inline Floats load_cells_upto(const uint16_t* x, int64_t n) { return load_f16_upto(x, n); }
inline Floats load_cells_upto(const float* x, int64_t n) { return load_upto(x, n); }

inline bool sees(const AttendBlock& b, int64_t i, int64_t j) { return b.first[i] <= j && j < b.last[i]; }

template <class Cell, int n>
inline void key_scores(const AttendBlock& b, int64_t i, int64_t j, Chunk& chunk) {
  const Cell* keys = static_cast<const Cell*>(b.k);
  Floats sums[n];
  TROPILLA_UNROLL
  for (int k = 0; k < n; ++k) sums[k] = splat(0.0f);
  for (int64_t d = 0; d < b.head_dim; d += kLanes) {
    const Floats key = load_cells_upto(keys + j * b.head_dim + d, b.head_dim - d);
    TROPILLA_UNROLL
    for (int k = 0; k < n; ++k) {
      sums[k] = fma(load_upto(b.q + (i + k) * b.head_dim + d, b.head_dim - d), key, sums[k]);
    }
  }
  for (int k = 0; k < n; ++k) {
    if (sees(b, i + k, j)) chunk.scores[k][j - chunk.start] = sum_of(sums[k]);
  }
}

inline float largest(const float scores[kKeys]) {
  Floats top = load(scores);
  for (int j = kLanes; j < kKeys; j += kLanes) top = max(top, load(scores + j));
  return max_of(top);
}

// Turns one row's scores into weights and brings its maximum and sum up to date.
inline void weigh(const AttendBlock& b, int64_t i, float scores[kKeys], float* shrink) {
  const float top = largest(scores);
  const float maximum = top > b.row_max[i] ? top : b.row_max[i];
  *shrink = 1.0f;
  // The row has seen nothing yet: exp(-inf + inf) would be NaN. A NaN among its scores stays one.
  if (top == minus_infinity() && maximum == minus_infinity()) {
    for (int j = 0; j < kKeys; ++j) scores[j] = 0.0f;
    return;
  }
  Floats sum = splat(0.0f);
  for (int j = 0; j < kKeys; j += kLanes) {
    const Floats weights = exp(sub(load(scores + j), splat(maximum)));
    store(scores + j, weights);
    sum = add(sum, weights);
  }
  *shrink = first_of(exp(splat(b.row_max[i] - maximum)));
  b.row_sum[i] = b.row_sum[i] * *shrink + sum_of(sum);
  b.row_max[i] = maximum;
}

// Adds values from..to - 1 of columns d.. to the rows; to those alone that see them if `everyone` is
// false, because a hidden value may be NaN, and NaN times 0 is not 0.
template <class Cell, int n, bool everyone>
TROPILLA_INLINE void add_range(const AttendBlock& b, int64_t i, const Chunk& chunk, int64_t d, int64_t from,
                               int64_t to, Floats sums[n]) {
  const Cell* values = static_cast<const Cell*>(b.v);
  for (int64_t j = from; j < to; ++j) {
    const Floats value = load_cells_upto(values + j * b.head_dim + d, b.head_dim - d);
    TROPILLA_UNROLL
    for (int k = 0; k < n; ++k) {
      if (!everyone && !sees(b, i + k, j)) continue;
      sums[k] = fma(splat(chunk.scores[k][j - chunk.start]), value, sums[k]);
    }
  }
}

template <class Cell, int n>
inline void add_values(const AttendBlock& b, int64_t i, const Chunk& chunk) {
  for (int64_t d = 0; d < b.head_dim; d += kLanes) {
    float* acc = b.acc + i * b.head_dim + d;
    Floats sums[n];
    TROPILLA_UNROLL
    for (int k = 0; k < n; ++k) {
      sums[k] = mul(load_upto(acc + k * b.head_dim, b.head_dim - d), splat(chunk.shrink[k]));
    }
    add_range<Cell, n, false>(b, i, chunk, d, chunk.begin, chunk.all_begin, sums);
    add_range<Cell, n, true>(b, i, chunk, d, chunk.all_begin, chunk.all_end, sums);
    add_range<Cell, n, false>(b, i, chunk, d, chunk.all_end, chunk.end, sums);
    TROPILLA_UNROLL
    for (int k = 0; k < n; ++k) store_upto(acc + k * b.head_dim, sums[k], b.head_dim - d);
  }
}

template <class Cell, int n>
void attend_chunk(const AttendBlock& b, int64_t i, Chunk& chunk) {
  for (int k = 0; k < n; ++k) {
    for (int j = 0; j < kKeys; ++j) chunk.scores[k][j] = minus_infinity();
  }
  for (int64_t j = chunk.begin; j < chunk.end; ++j) key_scores<Cell, n>(b, i, j, chunk);
  for (int k = 0; k < n; ++k) weigh(b, i + k, chunk.scores[k], chunk.shrink + k);
  add_values<Cell, n>(b, i, chunk);
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

template <class Cell, int n>
void attend_queries(const AttendBlock& b, int64_t i) {
  int64_t first = b.first[i], last = b.last[i], all_first = first, all_last = last;
  for (int k = 1; k < n; ++k) {
    first = smaller(first, b.first[i + k]);
    last = larger(last, b.last[i + k]);
    all_first = larger(all_first, b.first[i + k]);
    all_last = smaller(all_last, b.last[i + k]);
  }
  Chunk chunk;
  for (chunk.start = first / kKeys * kKeys; chunk.start < last; chunk.start += kKeys) {
    chunk.begin = larger(first, chunk.start);
    chunk.end = smaller(last, chunk.start + kKeys);
    chunk.all_begin = smaller(larger(all_first, chunk.begin), chunk.end);
    chunk.all_end = larger(smaller(all_last, chunk.end), chunk.all_begin);
    attend_chunk<Cell, n>(b, i, chunk);
  }
}

template <class Cell, int n = kMaxQueries - 1>
void attend_remainder(const AttendBlock& b, int64_t i) {
  if (b.n_queries - i == n) return attend_queries<Cell, n>(b, i);
  if constexpr (n > 1) attend_remainder<Cell, n - 1>(b, i);
}

template <class Cell>
void attend(const AttendBlock& b) {
  int64_t i = 0;
  for (; i + kMaxQueries <= b.n_queries; i += kMaxQueries) attend_queries<Cell, kMaxQueries>(b, i);
  attend_remainder<Cell>(b, i);
}
