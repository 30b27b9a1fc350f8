// From packed weights to the operands of an integer dot product, for any instruction set.
//
// Included inside the anonymous namespace of an instruction-set file, after its vectors:
// Bytes (kLanes rows x 4 columns), Ints and Floats (kLanes rows), and operations on them.

// Codes of vector v (see pack.h), whose `bits` wide parts lie in `part`, moved up to bit `target`.
template <int bits, int v, int target>
TROPILLA_INLINE Bytes part_of(const uint8_t* part) {
  const Bytes stored = load_bytes(part + 64 * (v % bits));
  if constexpr (bits == 8) return stored;
  constexpr int from = bits * (v / bits);
  return and_bytes(shift_bytes<target - from>(stored), splat_byte(((1 << bits) - 1) << target));
}

// How one weight type feeds the dot product.
template <TensorType type>
struct Operand {
  static constexpr BlockFormat format = format_of(type);
  static constexpr bool is_signed = format.codes != Codes::offset;
  // What the dot product takes for a zero weight: its sums start at -zero times the sum of q.
  static constexpr int zero = is_signed ? kSignedZero : format.zero;
  static constexpr int max_code = is_signed ? 128 : (1 << (format.low_bits + format.high_bits)) - 1;

  template <int v>
  TROPILLA_INLINE static Bytes vector(const uint8_t* group) {
    const Bytes low = part_of<format.low_bits, v, 0>(group + format.low_offset());
    if constexpr (format.codes == Codes::bytes) return signed_operand(low);
    if constexpr (format.codes == Codes::codebook) return lookup(signed_operand(load_table(kCodebook)), low);
    if constexpr (format.high_bits == 0) {
      return low;
    } else {
      return or_bytes(low, part_of<format.high_bits, v, format.low_bits>(group));
    }
  }

  template <int half>
  TROPILLA_INLINE static void columns16(const uint8_t* group, Bytes operands[4]) {
    operands[0] = vector<4 * half>(group);
    operands[1] = vector<4 * half + 1>(group);
    operands[2] = vector<4 * half + 2>(group);
    operands[3] = vector<4 * half + 3>(group);
  }
};

// The f16 fields of a superblock.
struct Head {
  Floats d, minimum;
};

// weight = scale * code + minimum: [0] for the first 16 columns of a group (all 32 if the format
// does not tell halves apart), [1] for the others.
struct Affine {
  Floats scale[2], minimum[2];
};

// `lane` counts vectors of rows: its scales lie kLanes bytes, its halves 2 * kLanes bytes apart.
template <BlockFormat f>
TROPILLA_INLINE Head head_of(const uint8_t* superblock, int lane) {
  Head head{load_f16(superblock + 2 * kLanes * lane), splat(0.0f)};
  if constexpr (f.has_min) head.minimum = load_f16(superblock + f.min_offset() + 2 * kLanes * lane);
  return head;
}

struct IntPair {
  Ints first, second;
};

template <int n_groups>
TROPILLA_INLINE IntPair six_bit_pair(const uint8_t* scales, int g) {
  const Ints low = load_u8(scales + 16 * g);
  const Ints both = load_u8(scales + 16 * n_groups + 16 * (g / 2));
  const Ints high = g % 2 ? shift_ints<-4>(both) : both;
  return {or_ints(and_ints(low, splat_int(15)), shift_ints<4>(and_ints(high, splat_int(3)))),
          or_ints(shift_ints<-4>(low), shift_ints<2>(and_ints(high, splat_int(12))))};
}

template <int n_groups>
TROPILLA_INLINE Ints six_bit_single(const uint8_t* scales, int g) {
  const Ints low = load_u8(scales + 16 * (g / 2));
  const Ints high = shift_ints_by(load_u8(scales + 8 * n_groups + 16 * (g / 4)), 2 * (g % 4));
  return or_ints(and_ints(g % 2 ? shift_ints<-4>(low) : low, splat_int(15)),
                 shift_ints<4>(and_ints(high, splat_int(3))));
}

TROPILLA_INLINE Floats times(Floats d, Ints scale) { return mul(d, to_floats(scale)); }

template <BlockFormat f>
TROPILLA_INLINE Affine affine_of(const Head& head, const uint8_t* superblock, int g, int lane) {
  const uint8_t* scales = superblock + f.scales_offset() + kLanes * lane;
  Affine out;
  if constexpr (f.scales == Scales::none) {
    out.scale[0] = head.d;
    out.minimum[0] = head.minimum;
  } else if constexpr (f.scales == Scales::six) {
    out.scale[0] = times(head.d, sub_ints(six_bit_single<f.columns / 32>(scales, g), splat_int(32)));
  } else if constexpr (f.scales == Scales::six_minmax) {
    const IntPair pair = six_bit_pair<f.columns / 32>(scales, g);
    out.scale[0] = times(head.d, pair.first);
    out.minimum[0] = times(sub(splat(0.0f), head.minimum), pair.second);
  } else if constexpr (f.scales == Scales::six_halves) {
    const IntPair pair = six_bit_pair<f.columns / 32>(scales, g);
    out.scale[0] = times(head.d, sub_ints(pair.first, splat_int(32)));
    out.scale[1] = times(head.d, sub_ints(pair.second, splat_int(32)));
  } else {
    for (int half = 0; half < 2; ++half) {
      const uint8_t* own = scales + 16 * (2 * g + half);
      if constexpr (f.scales == Scales::signed_bytes) {
        out.scale[half] = times(head.d, load_i8(own));
      } else {
        out.scale[half] = times(head.d, and_ints(load_u8(own), splat_int(15)));
        out.minimum[half] = times(sub(splat(0.0f), head.minimum), shift_ints<-4>(load_u8(own)));
      }
    }
  }
  return out;
}
