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
  const uint8_t* next;  // the keys that are read after it, or any address
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
  if constexpr (type == KVType::Q8_0) return to_floats(load_i8(cells + i));
  return load_f16(cells + 2 * i);
}

TROPILLA_INLINE Floats nibbles_at(const uint8_t* bytes, int shift) {
  const Ints codes = and_ints(shift_ints_by(load_u8(bytes), shift), splat_int(15));
  return to_floats(sub_ints(codes, splat_int(8)));
}

// Few rows take keys and values as fast as memory gives them. A block is a short stream, which the
// processor sees late: each line that is read asks for the same line of the block that comes next.
template <KVType type, int n>
constexpr bool reads_memory = type != KVType::F32 || n <= kMaxQueries / 2;

// Some neighbouring keys of a block, dimension by dimension.
template <KVType type, int vectors>
struct Keys {
  // begin() is to be called for every so many dimensions.
  static constexpr int kStep = is_quantized(type) ? kKVGroup / 2 : 1 << 30;
  const uint8_t* keys;
  const uint8_t* scales;
  const uint8_t* next;  // what is read after this block
  int slot, shift;
  Floats scale[vectors];

  TROPILLA_INLINE Keys(const uint8_t* block, const uint8_t* next_block, int64_t head_dim, int first_slot)
      : keys(block), scales(block + kv_cells_bytes(type, head_dim)), next(next_block), slot(first_slot), shift(0) {}

  TROPILLA_INLINE void begin(int64_t d) {
    if constexpr (!is_quantized(type)) return;
    shift = nibble_shift(d);
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) {
      scale[v] = load_f16(scales + 2 * (d / kKVGroup * kKVBlockTokens + slot + v * kLanes));
    }
  }

  TROPILLA_INLINE void ask_ahead(int64_t d) const {
    prefetch(next + kv_cells_bytes(type, 16) / 16 * (type == KVType::Q4_0 ? 2 * nibble_byte(d) : d));
  }

  TROPILLA_INLINE Floats read(int64_t d, int v) const {
    const int64_t at = slot + v * kLanes;
    if constexpr (type == KVType::Q4_0) {
      return mul(nibbles_at(keys + nibble_byte(d) * kKVBlockTokens + at, shift), scale[v]);
    }
    const Floats cells = cells_at<type>(keys, d * kKVBlockTokens + at);
    if constexpr (type == KVType::Q8_0) return mul(cells, scale[v]);
    return cells;
  }
};

// Some neighbouring dimensions of a block's values, one after another; d is a multiple of theirs.
template <KVType type, int vectors, bool asks = false>
struct Values {
  static constexpr int kGroups = (vectors * kLanes + kKVGroup - 1) / kKVGroup;
  const uint8_t* values;
  const uint8_t* next;  // what is read after this block
  int64_t width, first;
  float scales[is_quantized(type) ? kGroups : 1][is_quantized(type) ? kKVBlockTokens : 1];

  TROPILLA_INLINE Values(const uint8_t* block, const uint8_t* next_block, int64_t head_dim, int64_t d)
      : values(block), next(next_block), width(kv_width(head_dim)), first(d) {
    if constexpr (is_quantized(type)) {
      const uint8_t* start = block + kv_cells_bytes(type, head_dim) + 2 * (d / kKVGroup * kKVBlockTokens);
      TROPILLA_UNROLL
      for (int i = 0; i < kGroups * kKVBlockTokens; i += kLanes) store(scales[0] + i, load_f16(start + 2 * i));
    }
  }

  TROPILLA_INLINE void ask_ahead(int64_t j) const {
    if constexpr (!asks) return;
    prefetch(next + (kv_cells_bytes(type, width) * j + kv_cells_bytes(type, first)) / kKVBlockTokens);
  }

  TROPILLA_INLINE Floats read(int64_t j, int v) const {
    const int64_t d = first + v * kLanes;
    if constexpr (type == KVType::Q4_0) {
      const Floats codes = nibbles_at(values + j * (width / 2) + nibble_byte(d), nibble_shift(d));
      return mul(codes, splat(scales[v * kLanes / kKVGroup][j]));
    }
    const Floats cells = cells_at<type>(values, j * width + d);
    if constexpr (type == KVType::Q8_0) return mul(cells, splat(scales[v * kLanes / kKVGroup][j]));
    return cells;
  }
};

// Scores of n rows for `vectors` vectors of one block's keys, from `slot` on.
template <KVType type, int n, int vectors>
TROPILLA_INLINE void score_keys(const AttendBlocks& a, int64_t i, const uint8_t* block, const uint8_t* next, int slot,
                                float* scores) {
  Floats sums[n][vectors];
  TROPILLA_UNROLL
  for (int r = 0; r < n; ++r) {
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) sums[r][v] = splat(0.0f);
  }
  const float* q = a.q + i * a.head_dim;
  using Reader = Keys<type, vectors>;
  Reader keys(block, next, a.head_dim, slot);
  for (int64_t begin = 0; begin < a.head_dim; begin += Reader::kStep) {
    keys.begin(begin);
    for (int64_t d = begin; d < smaller(begin + Reader::kStep, a.head_dim); ++d) {
      Floats key[vectors];
      TROPILLA_UNROLL
      for (int v = 0; v < vectors; ++v) key[v] = keys.read(d, v);
      if constexpr (reads_memory<type, n>) keys.ask_ahead(d);
      TROPILLA_UNROLL
      for (int r = 0; r < n; ++r) {
        TROPILLA_UNROLL
        for (int v = 0; v < vectors; ++v) sums[r][v] = fma(splat(q[r * a.head_dim + d]), key[v], sums[r][v]);
      }
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
  const int64_t first = tile.begin / kKVBlockTokens;
  for (int64_t b = first; b * kKVBlockTokens < tile.end; ++b) {
    const uint8_t* next = (b + 1) * kKVBlockTokens < tile.end ? chunk.k[b + 1] : chunk.v[first];
    for (int slot = 0; slot < kKVBlockTokens; slot += vectors * kLanes) {
      score_keys<type, n, vectors>(a, i, chunk.k[b], next, slot, tile.scores[0] + b * kKVBlockTokens);
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

inline bool sees_any(const AttendBlocks& a, int64_t row, const Chunk& chunk) {
  return larger(a.first[row], chunk.start) < smaller(a.last[row], chunk.start + kChunkKeys);
}

// Turns scores into weights and brings the rows' maxima and sums up to date.
template <int n>
TROPILLA_INLINE void weigh_rows(const AttendBlocks& a, int64_t i, const Chunk& chunk, Tile& tile) {
  float maxima[kMaxQueries];
  for (int r = 0; r < n; ++r) {
    hide(tile, a.first[i + r] - chunk.start, a.last[i + r] - chunk.start, tile.scores[r]);
    const float top = largest(tile, tile.scores[r]);
    maxima[r] = top > a.row_max[i + r] ? top : a.row_max[i + r];
    tile.shrink[r] = a.row_max[i + r] - maxima[r];
  }
  for (int r = 0; r < n; r += kLanes) store(tile.shrink + r, exp(load(tile.shrink + r)));
  for (int r = 0; r < n; ++r) {
    // Where nothing was ever seen exp(-inf + inf) would be NaN. The maximum does not tell: vectors lose a NaN.
    if (!sees_any(a, i + r, chunk)) {
      tile.shrink[r] = 1.0f;
      continue;
    }
    a.row_sum[i + r] = a.row_sum[i + r] * tile.shrink[r] + weigh(tile, maxima[r], tile.scores[r]);
    a.row_max[i + r] = maxima[r];
  }
}

// Adds a block's values from..to - 1 to the rows, counted from `block` in the chunk; to those alone that
// see them if `everyone` is false, because a hidden value may be NaN, and NaN times 0 is not 0.
template <int n, int vectors, bool everyone, class Reader>
TROPILLA_INLINE void add_range(const AttendBlocks& a, int64_t i, const Chunk& chunk, const Tile& tile,
                               const Reader& values, int64_t block, int64_t from, int64_t to, Floats sums[n][vectors]) {
  from = clamp(from, block, block + kKVBlockTokens);
  to = clamp(to, block, block + kKVBlockTokens);
  for (int64_t j = from; j < to; ++j) {
    Floats value[vectors];
    TROPILLA_UNROLL
    for (int v = 0; v < vectors; ++v) value[v] = values.read(j - block, v);
    values.ask_ahead(j - block);
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
    const int64_t block = b * kKVBlockTokens;
    const uint8_t* next = block + kKVBlockTokens < tile.end ? chunk.v[b + 1] : chunk.next;
    const Values<type, vectors, reads_memory<type, n>> values(chunk.v[b], next, a.head_dim, d);
    add_range<n, vectors, false>(a, i, chunk, tile, values, block, tile.begin, tile.all_begin, sums);
    add_range<n, vectors, true>(a, i, chunk, tile, values, block, tile.all_begin, tile.all_end, sums);
    add_range<n, vectors, false>(a, i, chunk, tile, values, block, tile.all_end, tile.end, sums);
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
void unpack_keys(int64_t head_dim, const uint8_t* block, float* out) {
  for (int slot = 0; slot < kKVBlockTokens; slot += kLanes) {
    Keys<type, 1> keys(block, block, head_dim, slot);
    for (int64_t begin = 0; begin < head_dim; begin += keys.kStep) {
      keys.begin(begin);
      for (int64_t d = begin; d < smaller(begin + keys.kStep, head_dim); ++d) {
        store(out + d * kKVBlockTokens + slot, keys.read(d, 0));
      }
    }
  }
}

template <KVType type>
void unpack_values(int64_t head_dim, const uint8_t* block, float* out) {
  const int64_t width = kv_width(head_dim);
  for (int64_t d = 0; d < width; d += kLanes) {
    const Values<type, 1> values(block, block, head_dim, d);
    for (int64_t j = 0; j < kKVBlockTokens; ++j) store(out + j * width + d, values.read(j, 0));
  }
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
    if (start >= last || first >= start + kKVBlockTokens) continue;
    unpack_keys<type>(a.head_dim, chunk.k[b], keys);
    unpack_values<type>(a.head_dim, chunk.v[b], values);
  }
  attend_chunk<KVType::F32>(a, {chunk.start, k, v, k[0]});
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
    const bool more = start + kChunkKeys < last;
    const Chunk chunk{start, a.k + block, a.v + block, a.k[more ? block + kUnpackedBlocks : first / kKVBlockTokens]};
    if (type == KVType::F32 || a.n_queries <= kMaxQueries) {
      attend_chunk<type>(a, chunk);
    } else {
      attend_unpacked<type>(a, chunk, first, last);
    }
  }
}
