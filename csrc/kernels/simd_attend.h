// Attention over KV blocks for any instruction set; see simd_unpack.h for how this is included.
//
// Two register-tiled products with an online softmax between them: scores = queries x keys, lanes
// being keys, and acc += weights x values, lanes being dimensions. Keys go in chunks counted from the
// first block, and every row through the same operations in the same order whatever the tile: a row's
// bits do not depend on its companions.

constexpr int kChunkKeys = kUnpackedBlocks * kKVBlockTokens;

// Query rows against a chunk of keys, which are counted from the chunk's start.
struct Tile {
  int64_t begin, end;          // keys that some row sees are between these,
  int64_t all_begin, all_end;  // those between these are seen by all of them
  float scores[kMaxQueries][kChunkKeys];  // then the weights exp(score - maximum)
  float shrink[kMaxQueries + kLanes];     // of what was gathered before
};

// A chunk's blocks, as they are kept or unpacked.
struct Chunk {
  int64_t start;  // first key
  const uint8_t* const* k;
  const uint8_t* const* v;
};

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t clamp(int64_t x, int64_t low, int64_t high) { return larger(low, smaller(x, high)); }

template <int n>
inline void see(const AttendBlocks& a, int64_t i, const Chunk& chunk, Tile& tile) {
  tile.begin = tile.all_end = kChunkKeys;
  tile.end = tile.all_begin = 0;
  for (int r = 0; r < n; ++r) {
    const int64_t first = clamp(a.first[i + r] - chunk.start, 0, kChunkKeys);
    const int64_t last = clamp(a.last[i + r] - chunk.start, 0, kChunkKeys);
    tile.all_begin = larger(tile.all_begin, first);
    tile.all_end = smaller(tile.all_end, last);
    if (first >= last) continue;
    tile.begin = smaller(tile.begin, first);
    tile.end = larger(tile.end, last);
  }
  tile.all_begin = clamp(tile.all_begin, tile.begin, larger(tile.begin, tile.end));
  tile.all_end = clamp(tile.all_end, tile.all_begin, larger(tile.all_begin, tile.end));
}

template <KVType type>
TROPILLA_INLINE Floats cells_at(const uint8_t* cells, int64_t i) {
  if constexpr (type == KVType::F32) return load(reinterpret_cast<const float*>(cells) + i);
  return load_f16(cells + 2 * i);
}

// Scores of n rows for `vectors` vectors of one block's keys, from `slot` on.
template <KVType type, int n, int vectors>
TROPILLA_INLINE void score_keys(const AttendBlocks& a, int64_t i, const uint8_t* keys, int slot,
                                float* scores) {
  Floats sums[n][vectors];
  TROPILLA_UNROLL
  for (int r = 0; r < n; ++r) {
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) sums[r][v] = splat(0.0f);
  }
  const float* q = a.q + i * a.head_dim;
  for (int64_t d = 0; d < a.head_dim; ++d) {
    Floats key[vectors];
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) key[v] = cells_at<type>(keys, d * kKVBlockTokens + slot + v * kLanes);
    TROPILLA_UNROLL
    for (int r = 0; r < n; ++r) {
      TROPILLA_UNROLL
      for (int v = 0; v < vectors; ++v) sums[r][v] = fma(splat(q[r * a.head_dim + d]), key[v], sums[r][v]);
    }
  }
  TROPILLA_UNROLL
  for (int r = 0; r < n; ++r) {
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) store(scores + r * kChunkKeys + slot + v * kLanes, sums[r][v]);
  }
}

template <KVType type, int n>
TROPILLA_INLINE void score_chunk(const AttendBlocks& a, int64_t i, const Chunk& chunk, Tile& tile) {
  constexpr int vectors = 2;
  for (int64_t b = tile.begin / kKVBlockTokens; b * kKVBlockTokens < tile.end; ++b) {
    for (int slot = 0; slot < kKVBlockTokens; slot += vectors * kLanes) {
      score_keys<type, n, vectors>(a, i, chunk.k[b], slot, tile.scores[0] + b * kKVBlockTokens);
    }
  }
}

// Puts -inf for the keys that a row does not see, as far as another row of the tile makes weigh() look.
inline void hide(const Tile& tile, int64_t first, int64_t last, float* scores) {
  const int64_t begin = tile.begin / kLanes * kLanes;
  const int64_t end = (tile.end + kLanes - 1) / kLanes * kLanes;
  for (int64_t j = begin; j < smaller(first, end); ++j) scores[j] = minus_infinity();
  for (int64_t j = larger(last, begin); j < end; ++j) scores[j] = minus_infinity();
}

inline float largest(const Tile& tile, const float* scores) {
  Floats top = splat(minus_infinity());
  for (int64_t j = tile.begin / kLanes * kLanes; j < tile.end; j += kLanes) top = max(top, load(scores + j));
  return max_of(top);
}

// Scores less their maximum to weights; returns their sum.
inline float weigh(const Tile& tile, float maximum, float* scores) {
  Floats sum = splat(0.0f);
  for (int64_t j = tile.begin / kLanes * kLanes; j < tile.end; j += kLanes) {
    const Floats weights = exp(sub(load(scores + j), splat(maximum)));
    store(scores + j, weights);
    sum = add(sum, weights);
  }
  return sum_of(sum);
}

inline void clear(const Tile& tile, float* scores) {
  for (int64_t j = tile.begin / kLanes * kLanes; j < tile.end; j += kLanes) store(scores + j, splat(0.0f));
}

// Turns scores into weights and brings the rows' maxima and sums up to date.
template <int n>
TROPILLA_INLINE void weigh_rows(const AttendBlocks& a, int64_t i, const Chunk& chunk, Tile& tile) {
  float maxima[kMaxQueries];
  bool blind[kMaxQueries];
  for (int r = 0; r < n; ++r) {
    hide(tile, a.first[i + r] - chunk.start, a.last[i + r] - chunk.start, tile.scores[r]);
    const float top = largest(tile, tile.scores[r]);
    maxima[r] = top > a.row_max[i + r] ? top : a.row_max[i + r];
    // Nothing seen yet: exp(-inf + inf) would be NaN. A NaN among the scores stays one.
    blind[r] = top == minus_infinity() && maxima[r] == minus_infinity();
    tile.shrink[r] = a.row_max[i + r] - maxima[r];
  }
  for (int r = 0; r < n; r += kLanes) store(tile.shrink + r, exp(load(tile.shrink + r)));
  for (int r = 0; r < n; ++r) {
    if (blind[r]) {
      tile.shrink[r] = 1.0f;
      clear(tile, tile.scores[r]);
      continue;
    }
    a.row_sum[i + r] = a.row_sum[i + r] * tile.shrink[r] + weigh(tile, maxima[r], tile.scores[r]);
    a.row_max[i + r] = maxima[r];
  }
}

// Adds values from..to - 1 of a block to the rows; to those alone that see them if `everyone` is
// false, because a hidden value may be NaN, and NaN times 0 is not 0. `key` is the block's first.
template <KVType type, int n, int vectors, bool everyone>
TROPILLA_INLINE void add_range(const AttendBlocks& a, int64_t i, const Chunk& chunk, const Tile& tile, int64_t b,
                               int64_t d, int64_t from, int64_t to, Floats sums[n][vectors]) {
  const int64_t width = kv_width(a.head_dim), block = b * kKVBlockTokens;
  from = clamp(from, block, block + kKVBlockTokens);
  to = clamp(to, block, block + kKVBlockTokens);
  for (int64_t j = from; j < to; ++j) {
    Floats value[vectors];
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) value[v] = cells_at<type>(chunk.v[b], (j - block) * width + d + v * kLanes);
    TROPILLA_UNROLL
    for (int r = 0; r < n; ++r) {
      const int64_t key = chunk.start + j;
      if (!everyone && !(a.first[i + r] <= key && key < a.last[i + r])) continue;
      TROPILLA_UNROLL
      for (int v = 0; v < vectors; ++v) sums[r][v] = fma(splat(tile.scores[r][j]), value[v], sums[r][v]);
    }
  }
}

template <KVType type, int n, int vectors>
TROPILLA_INLINE void add_values(const AttendBlocks& a, int64_t i, const Chunk& chunk, const Tile& tile, int64_t d) {
  const int64_t width = kv_width(a.head_dim);
  float* acc = a.acc + i * width + d;
  Floats sums[n][vectors];
  TROPILLA_UNROLL
  for (int r = 0; r < n; ++r) {
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) sums[r][v] = mul(load(acc + r * width + v * kLanes), splat(tile.shrink[r]));
  }
  for (int64_t b = tile.begin / kKVBlockTokens; b * kKVBlockTokens < tile.end; ++b) {
    add_range<type, n, vectors, false>(a, i, chunk, tile, b, d, tile.begin, tile.all_begin, sums);
    add_range<type, n, vectors, true>(a, i, chunk, tile, b, d, tile.all_begin, tile.all_end, sums);
    add_range<type, n, vectors, false>(a, i, chunk, tile, b, d, tile.all_end, tile.end, sums);
  }
  TROPILLA_UNROLL
  for (int r = 0; r < n; ++r) {
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) store(acc + r * width + v * kLanes, sums[r][v]);
  }
}

template <KVType type, int n>
void attend_tile(const AttendBlocks& a, int64_t i, const Chunk& chunk) {
  Tile tile;
  see<n>(a, i, chunk, tile);
  if (tile.begin >= tile.end) return;
  score_chunk<type, n>(a, i, chunk, tile);
  weigh_rows<n>(a, i, chunk, tile);
  constexpr int vectors = n <= kMaxQueries / 2 ? 4 : 2;
  const int64_t width = kv_width(a.head_dim);
  int64_t d = 0;
  for (; d + vectors * kLanes <= width; d += vectors * kLanes) add_values<type, n, vectors>(a, i, chunk, tile, d);
  for (; d < width; d += kLanes) add_values<type, n, 1>(a, i, chunk, tile, d);
}

template <KVType type, int n = kMaxQueries - 1>
void attend_remainder(const AttendBlocks& a, int64_t i, const Chunk& chunk) {
  if (a.n_queries - i == n) return attend_tile<type, n>(a, i, chunk);
  if constexpr (n > 1) attend_remainder<type, n - 1>(a, i, chunk);
}

template <KVType type>
void attend_chunk(const AttendBlocks& a, const Chunk& chunk) {
  int64_t i = 0;
  for (; i + kMaxQueries <= a.n_queries; i += kMaxQueries) attend_tile<type, kMaxQueries>(a, i, chunk);
  attend_remainder<type>(a, i, chunk);
}

template <KVType type>
void unpack_block(int64_t head_dim, const uint8_t* keys, const uint8_t* values, float* k, float* v) {
  for (int64_t i = 0; i < kKVBlockTokens * head_dim; i += kLanes) store(k + i, cells_at<type>(keys, i));
  for (int64_t i = 0; i < kKVBlockTokens * kv_width(head_dim); i += kLanes) store(v + i, cells_at<type>(values, i));
}

// Unpacks the chunk's blocks that some row sees, into the layout of KVType::F32.
template <KVType type>
void attend_unpacked(const AttendBlocks& a, const Chunk& chunk, int64_t first, int64_t last) {
  const uint8_t *k[kUnpackedBlocks], *v[kUnpackedBlocks];
  const int64_t floats = kKVBlockTokens * kv_width(a.head_dim);
  for (int64_t b = 0; b < kUnpackedBlocks; ++b) {
    float *keys = a.scratch + 2 * b * floats, *values = keys + floats;
    k[b] = reinterpret_cast<const uint8_t*>(keys);
    v[b] = reinterpret_cast<const uint8_t*>(values);
    const int64_t start = chunk.start + b * kKVBlockTokens;
    if (start < last && first < start + kKVBlockTokens) unpack_block<type>(a.head_dim, chunk.k[b], chunk.v[b], keys, values);
  }
  attend_chunk<KVType::F32>(a, {chunk.start, k, v});
}

// One tile of rows reads keys and values as they are kept; more share what is unpacked once.
template <KVType type>
void attend(const AttendBlocks& a) {
  int64_t first = kMaxAttendBlocks * kKVBlockTokens, last = 0;
  for (int64_t i = 0; i < a.n_queries; ++i) {
    if (a.first[i] >= a.last[i]) continue;
    first = smaller(first, a.first[i]);
    last = larger(last, a.last[i]);
  }
  for (int64_t start = first / kChunkKeys * kChunkKeys; start < last; start += kChunkKeys) {
    const int64_t block = start / kKVBlockTokens;
    const Chunk chunk{start, a.k + block, a.v + block};
    if (type == KVType::F32 || a.n_queries <= kMaxQueries) {
      attend_chunk<type>(a, chunk);
    } else {
      attend_unpacked<type>(a, chunk, first, last);
    }
  }
}
