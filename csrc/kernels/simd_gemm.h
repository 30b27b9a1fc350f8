// The product of two tiles with many tokens, for instruction sets whose integer dot product outruns the
// unpacking of its operands; see simd_unpack.h for how this file is included.
//
// The tiles are unpacked once, to scratch that stays in the core's L2:
//
//   codes     for each 4 of 32 columns a vector of 16 rows x 4 columns, tile beside tile
//   scales    a float vector a tile, for 32 columns or for each 16 of them
//   minimums  likewise, where the type has them
//
// Register tile: 2 tiles x 6 tokens. Each activation that is broadcast serves both tiles, so that loads stay
// behind the dot products; 12 float accumulators and 12 integer ones leave room for the operands. Every token
// goes through the operations of simd_matmul.h, in their order.

constexpr int kPairVectors = kTilesPerCall;
constexpr int kPairTokens = 6;
// From this many tokens on, unpacking pays.
constexpr int64_t kFewestUnpacked = 16;

// What the unpacked form of a type depends on.
struct Unpacked {
  bool halves, has_min;
  constexpr int n_scales() const { return halves ? 2 : 1; }
  constexpr int scales_offset() const { return 8 * kPairVectors * 64; }
  constexpr int minimums_offset() const { return scales_offset() + n_scales() * kPairVectors * 64; }
  constexpr int group_bytes() const { return minimums_offset() + (has_min ? n_scales() * kPairVectors * 64 : 0); }
};

template <BlockFormat f>
constexpr Unpacked unpacked_of() {
  return {f.halves(), f.has_min};
}

TROPILLA_INLINE float* float_at(uint8_t* bytes) { return reinterpret_cast<float*>(bytes); }
TROPILLA_INLINE const float* float_at(const uint8_t* bytes) { return reinterpret_cast<const float*>(bytes); }

template <TensorType type>
TROPILLA_INLINE void unpack_group(const uint8_t* group, const Affine& w, uint8_t* out) {
  constexpr Unpacked u = unpacked_of<format_of(type)>();
  Bytes operands[2][4];
  Operand<type>::template columns16<0>(group, operands[0]);
  Operand<type>::template columns16<1>(group, operands[1]);
  TROPILLA_UNROLL
  for (int i = 0; i < 8; ++i) store_bytes(out + i * kPairVectors * 64, operands[i / 4][i % 4]);
  TROPILLA_UNROLL
  for (int half = 0; half < u.n_scales(); ++half) {
    store(float_at(out + u.scales_offset() + half * kPairVectors * 64), w.scale[half]);
    if constexpr (u.has_min) store(float_at(out + u.minimums_offset() + half * kPairVectors * 64), w.minimum[half]);
  }
}

template <TensorType type>
void unpack_tile(const uint8_t* tile, int64_t n_blocks, uint8_t* out) {
  constexpr BlockFormat f = format_of(type);
  for (int64_t b = 0; b < n_blocks; b += f.columns / kActivationBlock, tile += f.bytes()) {
    const Head head = head_of<f>(tile, 0);
    for (int g = 0; g < f.columns / kActivationBlock; ++g, out += unpacked_of<f>().group_bytes()) {
      unpack_group<type>(tile + f.codes_offset() + g * f.group_bytes(), affine_of<f>(head, tile, g, 0), out);
    }
  }
}

// What the dot products start at: -zero times the sum of a token's activations, token after token; for types
// with minimums, whose zero is 0, the sums themselves as floats. One for each scale of a row.
template <Unpacked u>
void prepare_sums(const Tokens& tokens, int n_tokens, int zero, int32_t* out) {
  const int64_t n = tokens.n_blocks * u.n_scales();
  for (int t = 0; t < n_tokens; ++t, out += n) {
    const int32_t* sums = tokens.x.sums + 2 * (tokens.first + t) * tokens.n_blocks;
    for (int64_t i = 0; i < n; ++i) {
      const int32_t sum = u.halves ? sums[i] : sums[2 * i] + sums[2 * i + 1];
      if constexpr (u.has_min) float_at(reinterpret_cast<uint8_t*>(out))[i] = float(sum);
      else out[i] = -zero * sum;
    }
  }
}

// Weights that the caller reads next, fetched while these are multiplied: otherwise unpacking would wait for
// memory, and memory for the multiplication.
struct Prefetch {
  const uint8_t* at;
  const uint8_t* end;
  int64_t lines;  // for each group

  TROPILLA_INLINE void group() {
    for (int64_t i = 0; i < lines && at < end; ++i, at += 64) prefetch(at);
  }
};

// The operands of tokens' products with one group of 32 columns.
template <int n_tokens>
struct GroupOfTokens {
  const int8_t* q[n_tokens];
  const float* scale[n_tokens];
  const int32_t* sums[n_tokens];
};

// Integer sums of 16 columns (of 32, without halves) for both tiles, on top of what they start at.
template <Unpacked u, int n_tokens>
TROPILLA_INLINE void dot_columns(const uint8_t* group, int half, const GroupOfTokens<n_tokens>& x, int64_t b,
                                 Ints sums[kPairVectors][n_tokens]) {
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) {
    const Ints start = u.has_min ? splat_int(0) : splat_int(x.sums[t][u.n_scales() * b + half]);
    TROPILLA_UNROLL
    for (int v = 0; v < kPairVectors; ++v) sums[v][t] = start;
  }
  TROPILLA_UNROLL
  for (int i = 0; i < (u.halves ? 4 : 8); ++i) {
    const int word = 4 * half + i;
    Bytes weights[kPairVectors];
    TROPILLA_UNROLL
    for (int v = 0; v < kPairVectors; ++v) weights[v] = load_bytes(group + 64 * (kPairVectors * word + v));
    TROPILLA_UNROLL
    for (int t = 0; t < n_tokens; ++t) {
      const Bytes columns = splat_columns(x.q[t] + kActivationBlock * b + 4 * word);
      TROPILLA_UNROLL
      for (int v = 0; v < kPairVectors; ++v) sums[v][t] = dot4(sums[v][t], weights[v], columns);
    }
  }
}

// A group's part of the results, before the activations' scale.
template <Unpacked u, int n_tokens>
TROPILLA_INLINE void pair_sums(const uint8_t* group, const GroupOfTokens<n_tokens>& x, int64_t b,
                               Floats out[kPairVectors][n_tokens]) {
  TROPILLA_UNROLL
  for (int half = 0; half < u.n_scales(); ++half) {
    Ints sums[kPairVectors][n_tokens];
    dot_columns<u, n_tokens>(group, half, x, b, sums);
    TROPILLA_UNROLL
    for (int v = 0; v < kPairVectors; ++v) {
      const Floats scale = load(float_at(group + u.scales_offset() + 64 * (kPairVectors * half + v)));
      TROPILLA_UNROLL
      for (int t = 0; t < n_tokens; ++t) {
        const Floats sum = to_floats(sums[v][t]);
        out[v][t] = half == 0 ? mul(sum, scale) : fma(sum, scale, out[v][t]);
      }
    }
  }
  if constexpr (u.has_min) {
    TROPILLA_UNROLL
    for (int half = 0; half < u.n_scales(); ++half) {
      TROPILLA_UNROLL
      for (int v = 0; v < kPairVectors; ++v) {
        const Floats minimum = load(float_at(group + u.minimums_offset() + 64 * (kPairVectors * half + v)));
        TROPILLA_UNROLL
        for (int t = 0; t < n_tokens; ++t) {
          const float sum = as_float(x.sums[t][u.n_scales() * b + half]);
          out[v][t] = fma(splat(sum), minimum, out[v][t]);
        }
      }
    }
  }
}

template <Unpacked u, int n_tokens>
void multiply_pair(const uint8_t* group, const Tokens& tokens, const int32_t* sums, Prefetch& next, float* out,
                   int64_t out_stride) {
  // With halves the first half's products wait in registers for the second's: half of the tokens at a time.
  constexpr int step = u.halves && n_tokens > 2 ? n_tokens / 2 : n_tokens;
  static_assert(n_tokens % step == 0);
  Floats acc[kPairVectors][n_tokens];
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) {
    TROPILLA_UNROLL
    for (int v = 0; v < kPairVectors; ++v) acc[v][t] = splat(0.0f);
  }
  GroupOfTokens<step> x[n_tokens / step];
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) {
    x[t / step].q[t % step] = tokens.columns(t, 0);
    x[t / step].scale[t % step] = tokens.x.scale + (tokens.first + t) * tokens.n_blocks;
    x[t / step].sums[t % step] = sums + t * u.n_scales() * tokens.n_blocks;
  }
  for (int64_t b = 0; b < tokens.n_blocks; ++b, group += u.group_bytes()) {
    next.group();
    TROPILLA_UNROLL
    for (int s = 0; s < n_tokens / step; ++s) {
      Floats part[kPairVectors][step];
      pair_sums<u, step>(group, x[s], b, part);
      TROPILLA_UNROLL
      for (int t = 0; t < step; ++t) {
        const Floats scale = splat(x[s].scale[t][b]);
        TROPILLA_UNROLL
        for (int v = 0; v < kPairVectors; ++v) acc[v][s * step + t] = fma(part[v][t], scale, acc[v][s * step + t]);
      }
    }
  }
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) {
    TROPILLA_UNROLL
    for (int v = 0; v < kPairVectors; ++v) store(out + t * out_stride + kLanes * v, acc[v][t]);
  }
}

// What the passes over the unpacked tiles share.
struct Pass {
  const uint8_t* unpacked;
  int32_t* sums;
  Prefetch next;
  float* out;
  int64_t out_stride;
};

template <TensorType type, int n_tokens>
TROPILLA_INLINE void multiply_tokens(Pass& pass, const Activations& x, int64_t first_token, int64_t t) {
  constexpr Unpacked u = unpacked_of<format_of(type)>();
  const Tokens tokens{x, first_token + t, x.n_cols / kActivationBlock};
  prepare_sums<u>(tokens, n_tokens, Operand<type>::zero, pass.sums);
  multiply_pair<u, n_tokens>(pass.unpacked, tokens, pass.sums, pass.next, pass.out + t * pass.out_stride, pass.out_stride);
}

template <TensorType type>
void matmul_unpacked(const Tiles& tiles, const Activations& x, int64_t first_token, int64_t n_tokens, float* out,
                     int64_t out_stride, uint8_t* scratch) {
  const int64_t n_blocks = x.n_cols / kActivationBlock;
  for (int64_t i = 0; i < kTilesPerCall; ++i) unpack_tile<type>(tiles.first + i * tiles.stride, n_blocks, scratch + 64 * i);
  const int64_t next_bytes = tiles.next ? kTilesPerCall * tiles.stride : 0;
  const int64_t n_groups = n_blocks * (n_tokens / kPairTokens + 1);
  Pass pass{scratch, reinterpret_cast<int32_t*>(scratch + n_blocks * unpacked_of<format_of(type)>().group_bytes()),
            {tiles.next, tiles.next + next_bytes, next_bytes / 64 / n_groups + 1}, out, out_stride};
  int64_t t = 0;
  for (; n_tokens - t >= 6 && n_tokens - t != 8; t += 6) multiply_tokens<type, 6>(pass, x, first_token, t);
  for (; n_tokens - t >= 4; t += 4) multiply_tokens<type, 4>(pass, x, first_token, t);
  for (; n_tokens - t >= 2; t += 2) multiply_tokens<type, 2>(pass, x, first_token, t);
  for (; t < n_tokens; ++t) multiply_tokens<type, 1>(pass, x, first_token, t);
}
