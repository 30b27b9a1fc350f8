// The product of two tiles with several tokens, for instruction sets with many registers and a dot product of
// one instruction; see simd_unpack.h for how this file is included.
//
// Register tile: 2 tiles x up to 6 tokens. Each activation that is broadcast serves both tiles, so that loads
// stay behind the dot products; 12 float accumulators and 12 integer ones leave room for the operands. Every
// token goes through the operations of simd_matmul.h, in their order.
//
// Weights are unpacked in registers, or else once to scratch that stays in the core's L2, group after group of
// 32 columns:
//
//   codes     for each 4 columns a vector of 16 rows x 4 columns, tile beside tile
//   scales    a float vector a tile, for 32 columns or for each 16 of them
//   minimums  likewise, where the type has them

constexpr int kPairVectors = kTilesPerCall;
constexpr int kPairTokens = 6;

// Few enough tokens to unpack in registers: always where scales lie ready as f16, for the conversions hide
// behind the dot products; unpacking integer scales and minimums does not.
constexpr bool unpacks_in_registers(BlockFormat f, int64_t n_tokens) {
  return f.scales == Scales::none || n_tokens < 24;
}

TROPILLA_INLINE float* float_at(uint8_t* bytes) { return reinterpret_cast<float*>(bytes); }
TROPILLA_INLINE const float* float_at(const uint8_t* bytes) { return reinterpret_cast<const float*>(bytes); }

// A group's weights as the file's types have them.
template <TensorType type>
struct PackedPair {
  static constexpr BlockFormat format = format_of(type);
  const uint8_t* tiles;
  int64_t stride;

  struct Group {
    const uint8_t* codes[kPairVectors];
    Affine w[kPairVectors];

    TROPILLA_INLINE Bytes weights(int word, int v) const {
      using Op = Operand<type>;
      switch (word) {
        case 0: return Op::template vector<0>(codes[v]);
        case 1: return Op::template vector<1>(codes[v]);
        case 2: return Op::template vector<2>(codes[v]);
        case 3: return Op::template vector<3>(codes[v]);
        case 4: return Op::template vector<4>(codes[v]);
        case 5: return Op::template vector<5>(codes[v]);
        case 6: return Op::template vector<6>(codes[v]);
        default: return Op::template vector<7>(codes[v]);
      }
    }
    TROPILLA_INLINE Floats scale(int half, int v) const { return w[v].scale[half]; }
    TROPILLA_INLINE Floats minimum(int half, int v) const { return w[v].minimum[half]; }
  };

  TROPILLA_INLINE Group group(int64_t b) const {
    constexpr int n_groups = format.columns / kActivationBlock;
    const int g = int(b % n_groups);
    Group out;
    TROPILLA_UNROLL
    for (int v = 0; v < kPairVectors; ++v) {
      const uint8_t* superblock = tiles + v * stride + b / n_groups * format.bytes();
      out.codes[v] = superblock + format.codes_offset() + g * format.group_bytes();
      out.w[v] = affine_of<format>(head_of<format>(superblock, 0), superblock, g, 0);
    }
    return out;
  }
};

// A group's weights in scratch.
template <TensorType type>
struct UnpackedPair {
  static constexpr BlockFormat format = format_of(type);
  static constexpr int kBeside = 64 * kPairVectors;
  static constexpr int kScales = format.halves() ? 2 : 1;
  static constexpr int kScalesOffset = 8 * kBeside;
  static constexpr int kMinimumsOffset = kScalesOffset + kScales * kBeside;
  static constexpr int kGroupBytes = kMinimumsOffset + (format.has_min ? kScales * kBeside : 0);
  static_assert(kGroupBytes <= matmul_scratch_bytes(kActivationBlock));
  uint8_t* scratch;

  struct Group {
    const uint8_t* at;
    TROPILLA_INLINE Bytes weights(int word, int v) const { return load_bytes(at + kBeside * word + 64 * v); }
    TROPILLA_INLINE Floats scale(int half, int v) const {
      return load(float_at(at + kScalesOffset + kBeside * half + 64 * v));
    }
    TROPILLA_INLINE Floats minimum(int half, int v) const {
      return load(float_at(at + kMinimumsOffset + kBeside * half + 64 * v));
    }
  };

  TROPILLA_INLINE Group group(int64_t b) const { return {scratch + b * kGroupBytes}; }

  TROPILLA_INLINE void put(const typename PackedPair<type>::Group& group, int64_t b) const {
    uint8_t* out = scratch + b * kGroupBytes;
    TROPILLA_UNROLL
    for (int word = 0; word < 8; ++word) {
      TROPILLA_UNROLL
      for (int v = 0; v < kPairVectors; ++v) store_bytes(out + kBeside * word + 64 * v, group.weights(word, v));
    }
    TROPILLA_UNROLL
    for (int i = 0; i < kScales * kPairVectors; ++i) {
      const int half = i / kPairVectors, v = i % kPairVectors;
      store(float_at(out + kScalesOffset + kBeside * half + 64 * v), group.scale(half, v));
      if constexpr (format.has_min) {
        store(float_at(out + kMinimumsOffset + kBeside * half + 64 * v), group.minimum(half, v));
      }
    }
  }
};

// Weights that the caller reads next, fetched while these are multiplied: otherwise the dot products would
// wait for memory, and memory for the dot products.
struct Prefetch {
  const uint8_t* at;
  const uint8_t* end;
  int64_t lines;  // for each group

  TROPILLA_INLINE void group() {
    for (int64_t i = 0; i < lines && at < end; ++i, at += 64) prefetch(at);
  }
};

// The sum of a token's activations that one scale of the weights covers.
template <BlockFormat f>
TROPILLA_INLINE int32_t sum_of_columns(const Tokens& tokens, int t, int64_t b, int half) {
  return f.halves() ? tokens.sum(t, b, half) : tokens.sum(t, b, 0) + tokens.sum(t, b, 1);
}

// Integer sums of the columns of one scale, for both tiles.
template <TensorType type, int first, int n_tokens, class Group>
TROPILLA_INLINE void dot_columns(const Group& group, int half, const Tokens& tokens, int64_t b,
                                 Ints sums[kPairVectors][n_tokens]) {
  constexpr BlockFormat f = format_of(type);
  TROPILLA_UNROLL
  for (int t = 0; t < n_tokens; ++t) {
    constexpr int zero = Operand<type>::zero;
    const int32_t start = zero ? -zero * sum_of_columns<f>(tokens, first + t, b, half) : 0;
    TROPILLA_UNROLL
    for (int v = 0; v < kPairVectors; ++v) sums[v][t] = splat_int(start);
  }
  TROPILLA_UNROLL
  for (int i = 0; i < 8; ++i) {
    if (f.halves() && i / 4 != half) continue;
    Bytes weights[kPairVectors];
    TROPILLA_UNROLL
    for (int v = 0; v < kPairVectors; ++v) weights[v] = group.weights(i, v);
    TROPILLA_UNROLL
    for (int t = 0; t < n_tokens; ++t) {
      const Bytes columns = splat_columns(tokens.columns(first + t, b) + 4 * i);
      TROPILLA_UNROLL
      for (int v = 0; v < kPairVectors; ++v) sums[v][t] = dot4(sums[v][t], weights[v], columns);
    }
  }
}

// Adds a group's products with tokens first .. first + n_tokens - 1.
template <TensorType type, int first, int n_tokens, int n_all, class Group>
TROPILLA_INLINE void add_products(const Group& group, const Tokens& tokens, int64_t b,
                                  Floats acc[kPairVectors][n_all]) {
  constexpr BlockFormat f = format_of(type);
  constexpr int n_scales = f.halves() ? 2 : 1;
  Floats part[kPairVectors][n_tokens];
  TROPILLA_UNROLL
  for (int half = 0; half < n_scales; ++half) {
    Ints sums[kPairVectors][n_tokens];
    dot_columns<type, first, n_tokens>(group, half, tokens, b, sums);
    TROPILLA_UNROLL
    for (int i = 0; i < kPairVectors * n_tokens; ++i) {
      const int v = i / n_tokens, t = i % n_tokens;
      const Floats sum = to_floats(sums[v][t]), scale = group.scale(half, v);
      part[v][t] = half == 0 ? mul(sum, scale) : fma(sum, scale, part[v][t]);
    }
  }
  if constexpr (f.has_min) {
    TROPILLA_UNROLL
    for (int i = 0; i < n_scales * kPairVectors * n_tokens; ++i) {
      const int half = i / (kPairVectors * n_tokens), v = i / n_tokens % kPairVectors, t = i % n_tokens;
      const Floats sum = to_floats(splat_int(sum_of_columns<f>(tokens, first + t, b, half)));
      part[v][t] = fma(sum, group.minimum(half, v), part[v][t]);
    }
  }
  TROPILLA_UNROLL
  for (int i = 0; i < kPairVectors * n_tokens; ++i) {
    const int v = i / n_tokens, t = i % n_tokens;
    acc[v][first + t] = fma(part[v][t], splat(tokens.scale(first + t, b)), acc[v][first + t]);
  }
}

template <TensorType type, int n_tokens, class Pair>
void multiply_pair(const Pair& pair, const Tokens& tokens, Prefetch& next, float* out, int64_t out_stride) {
  // With halves the first half's products wait in registers for the second's: half of the tokens at a time.
  constexpr int n_first = format_of(type).halves() && n_tokens > 3 ? (n_tokens + 1) / 2 : n_tokens;
  Floats acc[kPairVectors][n_tokens];
  TROPILLA_UNROLL
  for (int i = 0; i < kPairVectors * n_tokens; ++i) acc[i / n_tokens][i % n_tokens] = splat(0.0f);
  for (int64_t b = 0; b < tokens.n_blocks; ++b) {
    next.group();
    const typename Pair::Group group = pair.group(b);
    add_products<type, 0, n_first, n_tokens>(group, tokens, b, acc);
    if constexpr (n_first < n_tokens) add_products<type, n_first, n_tokens - n_first, n_tokens>(group, tokens, b, acc);
  }
  TROPILLA_UNROLL
  for (int i = 0; i < kPairVectors * n_tokens; ++i) {
    const int v = i / n_tokens, t = i % n_tokens;
    store(out + t * out_stride + kLanes * v, acc[v][t]);
  }
}

template <TensorType type, class Pair, int n_tokens = kPairTokens>
void multiply_tokens(const Pair& pair, const Tokens& tokens, int64_t n, Prefetch& next, float* out,
                     int64_t out_stride) {
  if (n == n_tokens) return multiply_pair<type, n_tokens>(pair, tokens, next, out, out_stride);
  if constexpr (n_tokens > 1) multiply_tokens<type, Pair, n_tokens - 1>(pair, tokens, n, next, out, out_stride);
}

// In as few passes as registers allow, as even as can be.
template <TensorType type, class Pair>
void multiply_all(const Pair& pair, const Tiles& tiles, const Tokens& tokens, int64_t n_tokens, float* out,
                  int64_t out_stride) {
  int64_t n_passes = (n_tokens + kPairTokens - 1) / kPairTokens;
  const int64_t next_bytes = tiles.next ? tiles.n * tiles.stride : 0;
  Prefetch next{tiles.next, tiles.next + next_bytes, next_bytes / (64 * tokens.n_blocks * n_passes) + 1};
  for (int64_t t = 0; t < n_tokens; --n_passes) {
    const int64_t n = (n_tokens - t + n_passes - 1) / n_passes;
    const Tokens some{tokens.x, tokens.first + t, tokens.n_blocks};
    multiply_tokens<type, Pair>(pair, some, n, next, out + t * out_stride, out_stride);
    t += n;
  }
}

template <TensorType type>
void matmul_pair(const Tiles& tiles, const Tokens& tokens, int64_t n_tokens, float* out, int64_t out_stride,
                 uint8_t* scratch) {
  const PackedPair<type> packed{tiles.first, tiles.stride};
  if (unpacks_in_registers(format_of(type), n_tokens)) {
    return multiply_all<type>(packed, tiles, tokens, n_tokens, out, out_stride);
  }
  if constexpr (!unpacks_in_registers(format_of(type), INT64_MAX)) {
    const UnpackedPair<type> unpacked{scratch};
    for (int64_t b = 0; b < tokens.n_blocks; ++b) unpacked.put(packed.group(b), b);
    multiply_all<type>(unpacked, tiles, tokens, n_tokens, out, out_stride);
  }
}
