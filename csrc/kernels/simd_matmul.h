// The tile product for any instruction set; see simd_unpack.h for how this file is included.
//
// Register tile: kLanes rows x n_tokens tokens of float accumulators stay in registers over the
// whole row; a group of 32 columns adds one integer dot product, one multiplication and one fused
// multiply-add to each. Every token goes through the same operations whatever the tile's size, so
// its result does not depend on its companions.

constexpr int kVectorsOfRows = kTileRows / kLanes;

// The activations of the tokens that one pass over a tile serves, `b` counting blocks of 32 columns.
struct Tokens {
  const Activations& x;
  int64_t first, n_blocks;

  TROPILLA_INLINE float column(int t, int64_t c) const { return x.f32[(first + t) * x.n_cols + c]; }
  TROPILLA_INLINE const int8_t* columns(int t, int64_t b) const {
    return x.q + kActivationBlock * ((first + t) * n_blocks + b);
  }
  TROPILLA_INLINE float scale(int t, int64_t b) const { return x.scale[(first + t) * n_blocks + b]; }
  TROPILLA_INLINE int32_t sum(int t, int64_t b, int half) const {
    return x.sums[2 * ((first + t) * n_blocks + b) + half];
  }
};

// A group's part of one token's results, before the activation's scale.
template <TensorType type>
TROPILLA_INLINE Floats group_sum(const Bytes operands[2][4], const Affine& w, const Tokens& tokens, int t,
                                 int64_t b) {
  using Op = Operand<type>;
  constexpr BlockFormat f = Op::format;
  const int8_t* q = tokens.columns(t, b);
  const int32_t sums[2] = {tokens.sum(t, b, 0), tokens.sum(t, b, 1)};
  Floats out;
  if constexpr (f.halves()) {
    const Ints first = dot16<Op::max_code>(splat_int(-Op::zero * sums[0]), operands[0], q);
    const Ints second = dot16<Op::max_code>(splat_int(-Op::zero * sums[1]), operands[1], q + kSumBlock);
    out = fma(to_floats(second), w.scale[1], mul(to_floats(first), w.scale[0]));
    if constexpr (f.has_min) {
      out = fma(to_floats(splat_int(sums[0])), w.minimum[0], out);
      out = fma(to_floats(splat_int(sums[1])), w.minimum[1], out);
    }
  } else {
    const Ints start = splat_int(-Op::zero * (sums[0] + sums[1]));
    const Ints first = dot16<Op::max_code>(start, operands[0], q);
    const Ints whole = dot16<Op::max_code>(first, operands[1], q + kSumBlock);
    out = mul(to_floats(whole), w.scale[0]);
    if constexpr (f.has_min) out = fma(to_floats(splat_int(sums[0] + sums[1])), w.minimum[0], out);
  }
  return out;
}

template <TensorType type, int n_tokens>
TROPILLA_INLINE void add_group(const uint8_t* group, const Affine& w, const Tokens& tokens, int64_t b,
                               Floats acc[n_tokens]) {
  Bytes operands[2][4];
  Operand<type>::template columns16<0>(group, operands[0]);
  Operand<type>::template columns16<1>(group, operands[1]);
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) {
    acc[t] = fma(group_sum<type>(operands, w, tokens, t, b), splat(tokens.scale(t, b)), acc[t]);
  }
}

template <TensorType type, int n_tokens, int n_vectors>
TROPILLA_INLINE void add_superblock(const uint8_t* superblock, int lane, const Tokens& tokens, int64_t b,
                                    Floats acc[n_vectors][n_tokens]) {
  constexpr BlockFormat f = format_of(type);
  Head heads[n_vectors];
  TROPILLA_UNROLL
  for (int v = 0; v < n_vectors; ++v) heads[v] = head_of<f>(superblock, lane + v);
  for (int g = 0; g < f.columns / kActivationBlock; ++g) {
    const uint8_t* group = superblock + f.codes_offset() + g * f.group_bytes();
    TROPILLA_UNROLL
    for (int v = 0; v < n_vectors; ++v) {
      const Affine w = affine_of<f>(heads[v], superblock, g, lane + v);
      add_group<type, n_tokens>(group + 4 * kLanes * (lane + v), w, tokens, b + g, acc[v]);
    }
  }
}

// Two columns at a time into two accumulators, so that a single token's additions overlap.
template <TensorType type, int n_tokens>
TROPILLA_INLINE void add_column(const uint8_t* tile, int lane, const Tokens& tokens, int64_t c, Floats acc[n_tokens]) {
  const Floats w = load_weights<type>(tile + (kTileRows * c + kLanes * lane) * float_bytes(type));
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) acc[t] = fma(w, splat(tokens.column(t, c)), acc[t]);
}

template <TensorType type, int n_tokens>
TROPILLA_INLINE void float_rows(const uint8_t* tile, int lane, const Tokens& tokens, Floats acc[n_tokens]) {
  Floats odd[n_tokens];
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) odd[t] = splat(0.0f);
  int64_t c = 0;
  for (; c + 1 < tokens.x.n_cols; c += 2) {
    add_column<type, n_tokens>(tile, lane, tokens, c, acc);
    add_column<type, n_tokens>(tile, lane, tokens, c + 1, odd);
  }
  if (c < tokens.x.n_cols) add_column<type, n_tokens>(tile, lane, tokens, c, acc);
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) acc[t] = add(acc[t], odd[t]);
}

template <TensorType type, int n_tokens, int n_vectors>
TROPILLA_INLINE void tile_rows(const uint8_t* tile, int lane, const Tokens& tokens, float* out, int64_t out_stride) {
  Floats acc[n_vectors][n_tokens];
  TROPILLA_UNROLL
  for (int v = 0; v < n_vectors; ++v) {
    TROPILLA_UNROLL
    for (int t = 0; t < n_tokens; ++t) acc[v][t] = splat(0.0f);
  }
  if constexpr (float_bytes(type) != 0) {
    TROPILLA_UNROLL
    for (int v = 0; v < n_vectors; ++v) float_rows<type, n_tokens>(tile, lane + v, tokens, acc[v]);
  } else {
    constexpr BlockFormat f = format_of(type);
    for (int64_t b = 0; b < tokens.n_blocks; b += f.columns / kActivationBlock, tile += f.bytes()) {
      add_superblock<type, n_tokens, n_vectors>(tile, lane, tokens, b, acc);
    }
  }
  TROPILLA_UNROLL
  for (int v = 0; v < n_vectors; ++v) {
    TROPILLA_UNROLL
    for (int t = 0; t < n_tokens; ++t) store(out + t * out_stride + kLanes * (lane + v), acc[v][t]);
  }
}

// With few tokens the accumulators of several vectors of rows fit: the tile is then read only once.
template <TensorType type, int n_tokens>
void tile_tokens(const uint8_t* tile, const Tokens& tokens, float* out, int64_t out_stride) {
  constexpr int fitting = kMaxTokens / n_tokens;
  constexpr int n_vectors = fitting >= kVectorsOfRows ? kVectorsOfRows : fitting >= 2 ? 2 : 1;
  for (int lane = 0; lane < kVectorsOfRows; lane += n_vectors) {
    tile_rows<type, n_tokens, n_vectors>(tile, lane, tokens, out, out_stride);
  }
}

template <TensorType type, int n_tokens = kMaxTokens - 1>
void tile_remainder(const uint8_t* tile, const Tokens& tokens, int64_t n, float* out, int64_t out_stride) {
  if (n == n_tokens) return tile_tokens<type, n_tokens>(tile, tokens, out, out_stride);
  if constexpr (n_tokens > 1) tile_remainder<type, n_tokens - 1>(tile, tokens, n, out, out_stride);
}

template <TensorType type>
void matmul_tile(const uint8_t* tile, const Activations& x, int64_t first_token, int64_t n_tokens, float* out,
                 int64_t out_stride) {
  const int64_t n_blocks = x.n_cols / kActivationBlock;
  int64_t t = 0;
  for (; t + kMaxTokens <= n_tokens; t += kMaxTokens) {
    tile_tokens<type, kMaxTokens>(tile, {x, first_token + t, n_blocks}, out + t * out_stride, out_stride);
  }
  tile_remainder<type>(tile, {x, first_token + t, n_blocks}, n_tokens - t, out + t * out_stride, out_stride);
}
