// The table of block encoders: one implementation per vector width, all of which write the same bytes.
#pragma once

#include <cstdint>

#include "kernels/tensor_type.h"

namespace tropilla {

enum class Encoding : int32_t { ok = 0, not_finite = 1, too_large = 2 };

// Encodes n_blocks whole blocks of float32 weights. Where the outcome is not ok, what is written means nothing.
using EncodeBlocks = Encoding (*)(const float* weights, int64_t n_blocks, uint8_t* out);
// Decodes n weights of a float type.
using ReadFloats = void (*)(const uint8_t* stored, int64_t n, float* out);

struct Encoders {
  const char* name;  // of the kernel table that runs on the same processors
  EncodeBlocks encode[kTensorTypes];  // by index_of(type); null where the type cannot be written
  ReadFloats read[kTensorTypes];      // likewise; null where the type cannot be read
};

extern const Encoders kPortableEncoders;
extern const Encoders kAvx2Encoders;
extern const Encoders kAvx512Encoders;

}  // namespace tropilla
