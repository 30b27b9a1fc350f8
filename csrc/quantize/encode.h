// Each type's blocks from float32 weights, kLanes blocks at a time. Included by each instruction set's file.
#pragma once

#include "quantize/columns.h"
#include "quantize/encoders.h"
#include "quantize/floats.h"
#include "quantize/halves.h"
#include "quantize/rounded.h"
#include "quantize/superblocks.h"

namespace tropilla {
namespace {

// What forbids an encoding, in any lane so far.
struct Faults {
  Ints not_finite{}, too_large{};

  TROPILLA_LANES_INLINE void check(Floats x) {
    not_finite |= (bits_of(x) & 0x7f800000) == 0x7f800000 ? splat_int(1) : Ints{};
  }
  TROPILLA_LANES_INLINE Ints half(Floats x) {
    const Ints half = floats_to_half(x);
    too_large |= (half & 0x7fff) == 0x7c00 ? splat_int(1) : Ints{};
    return half;
  }
  Encoding outcome() const {
    if (any(not_finite)) return Encoding::not_finite;
    return any(too_large) ? Encoding::too_large : Encoding::ok;
  }
};

// --- blocks of 32 ---

struct Q4_0 {
  static constexpr int kColumns = 32, kBytes = 18;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    Ints quants[kBlock];
    out.put16(0, faults.half(round_signed<8>(x, quants)));
    put_nibbles(out, 2, quants);
  }
};

struct Q4_1 {
  static constexpr int kColumns = 32, kBytes = 20;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    Ints quants[kBlock];
    const Range range = round_offset<15>(x, quants);
    out.put16(0, faults.half(range.scale));
    out.put16(2, faults.half(range.least));
    put_nibbles(out, 4, quants);
  }
};

struct Q5_0 {
  static constexpr int kColumns = 32, kBytes = 22;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    Ints quants[kBlock];
    out.put16(0, faults.half(round_signed<16>(x, quants)));
    put_fifth_bits(out, 2, quants);
    put_nibbles(out, 6, quants);
  }
};

struct Q5_1 {
  static constexpr int kColumns = 32, kBytes = 24;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    Ints quants[kBlock];
    const Range range = round_offset<31>(x, quants);
    out.put16(0, faults.half(range.scale));
    out.put16(2, faults.half(range.least));
    put_fifth_bits(out, 4, quants);
    put_nibbles(out, 8, quants);
  }
};

struct Q8_0 {
  static constexpr int kColumns = 32, kBytes = 34;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    Ints quants[kBlock];
    out.put16(0, faults.half(round_bytes(x, quants)));
    out.fill(2, 32, [&](int i) TROPILLA_LANES_LAMBDA { return quants[i] & 255; });
  }
};

// --- superblocks of 256 ---

// Beyond this nothing fits a float16 scale, and squares stay far from overflow below it.
constexpr float kLargestWeight = 0x1p30f;

TROPILLA_LANES_INLINE void check_superblock(const Floats* x, Faults& faults) {
  for (int i = 0; i < kSuperblock; ++i) {
    faults.too_large |= magnitude(x[i]) > splat(kLargestWeight) ? splat_int(1) : Ints{};
  }
}

template <int n, int top>
TROPILLA_LANES_INLINE void quants_of(const Floats* x, const AffineSuperblock<n>& s, Ints* quants) {
  for (int i = 0; i < kSuperblock; ++i) quants[i] = to_ints(rounding_of<n, top>(s, i / n)(x[i]));
}

// Quants counted from 0.
template <int n, int half>
TROPILLA_LANES_INLINE void quants_of(const Floats* x, const ScaledSuperblock<n>& s, Ints* quants) {
  for (int i = 0; i < kSuperblock; ++i) quants[i] = to_ints(rounding_of<n, half>(s, i / n)(x[i])) + half;
}

// Fields of `bits` bits from bit `shift` of the quants: in each run of `group` bytes first all lowest
// fields, then all next.
template <int bits, int group>
TROPILLA_LANES_INLINE void put_planes(const BlockBytes& out, int at, const Ints* quants, int shift) {
  constexpr int planes = 8 / bits;
  out.fill(at, kSuperblock / planes, [&](int byte) TROPILLA_LANES_LAMBDA {
    const Ints* first = quants + byte / group * group * planes + byte % group;
    Ints packed{};
    for (int plane = 0; plane < planes; ++plane) {
      packed |= (first[plane * group] >> shift & ((1 << bits) - 1)) << bits * plane;
    }
    return packed;
  });
}

// The 8 scales and 8 minima, six bits each, of Q4_K and Q5_K.
TROPILLA_LANES_INLINE void put_pairs(const BlockBytes& out, int at, const AffineSuperblock<32>& s) {
  for (int i = 0; i < 4; ++i) {
    const Ints scale = to_ints(s.scale[i]), minimum = to_ints(s.minimum[i]);
    const Ints late_scale = to_ints(s.scale[i + 4]), late_minimum = to_ints(s.minimum[i + 4]);
    out.put(at + i, scale | late_scale >> 4 << 6);
    out.put(at + 4 + i, minimum | late_minimum >> 4 << 6);
    out.put(at + 8 + i, (late_scale & 15) | (late_minimum & 15) << 4);
  }
}

struct Q2_K {
  static constexpr int kColumns = 256, kBytes = 84;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    check_superblock(x, faults);
    const AffineSuperblock<16> s = search_affine<16, 3, 15>(x);
    Ints quants[kSuperblock];
    quants_of<16, 3>(x, s, quants);
    for (int part = 0; part < 16; ++part) out.put(part, to_ints(s.scale[part]) | to_ints(s.minimum[part]) << 4);
    put_planes<2, 32>(out, 16, quants, 0);
    out.put16(80, faults.half(s.d));
    out.put16(82, faults.half(s.d_min));
  }
};

struct Q3_K {
  static constexpr int kColumns = 256, kBytes = 110;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    check_superblock(x, faults);
    const ScaledSuperblock<16> s = search_scaled<16, 4, 32>(x);
    Ints quants[kSuperblock];
    quants_of<16, 4>(x, s, quants);
    put_planes<1, 32>(out, 0, quants, 2);
    put_planes<2, 32>(out, 32, quants, 0);
    Ints scales[16];
    for (int part = 0; part < 16; ++part) scales[part] = to_ints(s.scale[part]) + 32;
    for (int i = 0; i < 8; ++i) out.put(96 + i, (scales[i] & 15) | (scales[i + 8] & 15) << 4);
    for (int i = 0; i < 4; ++i) {
      Ints upper{};
      for (int part = i; part < 16; part += 4) upper |= scales[part] >> 4 << 2 * (part / 4);
      out.put(104 + i, upper);
    }
    out.put16(108, faults.half(s.d));
  }
};

struct Q4_K {
  static constexpr int kColumns = 256, kBytes = 144;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    check_superblock(x, faults);
    const AffineSuperblock<32> s = search_affine<32, 15, 63>(x);
    Ints quants[kSuperblock];
    quants_of<32, 15>(x, s, quants);
    out.put16(0, faults.half(s.d));
    out.put16(2, faults.half(s.d_min));
    put_pairs(out, 4, s);
    put_planes<4, 32>(out, 16, quants, 0);
  }
};

struct Q5_K {
  static constexpr int kColumns = 256, kBytes = 176;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    check_superblock(x, faults);
    const AffineSuperblock<32> s = search_affine<32, 31, 63>(x);
    Ints quants[kSuperblock];
    quants_of<32, 31>(x, s, quants);
    out.put16(0, faults.half(s.d));
    out.put16(2, faults.half(s.d_min));
    put_pairs(out, 4, s);
    put_planes<1, 32>(out, 16, quants, 4);
    put_planes<4, 32>(out, 48, quants, 0);
  }
};

struct Q6_K {
  static constexpr int kColumns = 256, kBytes = 210;
  static void encode(const Floats* x, const BlockBytes& out, Faults& faults) {
    check_superblock(x, faults);
    const ScaledSuperblock<16> s = search_scaled<16, 32, 128>(x);
    Ints quants[kSuperblock];
    quants_of<16, 32>(x, s, quants);
    put_planes<4, 64>(out, 0, quants, 0);
    put_planes<2, 32>(out, 128, quants, 4);
    for (int part = 0; part < 16; ++part) out.put(192 + part, to_ints(s.scale[part]));
    out.put16(208, faults.half(s.d));
  }
};

template <class Type>
Encoding encode_blocks(const float* weights, int64_t n_blocks, uint8_t* out) {
  Faults faults;
  for (int64_t first = 0; first < n_blocks; first += kLanes) {
    const int n = n_blocks - first < kLanes ? int(n_blocks - first) : kLanes;
    Floats x[Type::kColumns];
    load_columns<Type::kColumns>(weights + first * Type::kColumns, n, x);
    for (int i = 0; i < Type::kColumns; ++i) faults.check(x[i]);
    Type::encode(x, {out + first * Type::kBytes, Type::kBytes, n}, faults);
  }
  return faults.outcome();
}

constexpr Encoders encoders(const char* name) {
  Encoders table{name, {}, {}};
  table.encode[index_of(TensorType::F32)] = encode_f32;
  table.encode[index_of(TensorType::F16)] = encode_f16;
  table.encode[index_of(TensorType::BF16)] = encode_bf16;
  table.encode[index_of(TensorType::Q4_0)] = encode_blocks<Q4_0>;
  table.encode[index_of(TensorType::Q4_1)] = encode_blocks<Q4_1>;
  table.encode[index_of(TensorType::Q5_0)] = encode_blocks<Q5_0>;
  table.encode[index_of(TensorType::Q5_1)] = encode_blocks<Q5_1>;
  table.encode[index_of(TensorType::Q8_0)] = encode_blocks<Q8_0>;
  table.encode[index_of(TensorType::Q2_K)] = encode_blocks<Q2_K>;
  table.encode[index_of(TensorType::Q3_K)] = encode_blocks<Q3_K>;
  table.encode[index_of(TensorType::Q4_K)] = encode_blocks<Q4_K>;
  table.encode[index_of(TensorType::Q5_K)] = encode_blocks<Q5_K>;
  table.encode[index_of(TensorType::Q6_K)] = encode_blocks<Q6_K>;
  table.read[index_of(TensorType::F32)] = read_f32;
  table.read[index_of(TensorType::F16)] = read_f16;
  table.read[index_of(TensorType::BF16)] = read_bf16;
  return table;
}

}  // namespace
}  // namespace tropilla
