// The encoders for every processor: vectors of the width that all of its kind have.
#include "quantize/encode.h"

namespace tropilla {

constinit const Encoders kPortableEncoders = encoders("scalar");

}  // namespace tropilla
