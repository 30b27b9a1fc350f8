// Bringing stored weights into another type.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "quantize/encoders.h"

namespace tropilla {

// Encodes n_weights weights of a float type as whole blocks of another type, on the calling thread.
// isa names the encoders to use; their bytes do not differ. Throws std::invalid_argument for a type without
// a reader or an encoder, an isa that does not run here and for sizes that do not fit.
Encoding quantize(TensorType from, std::span<const uint8_t> stored, TensorType to, int64_t n_weights,
                  std::span<uint8_t> out, const std::string& isa);

}  // namespace tropilla
