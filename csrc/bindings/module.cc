// The compiled extension tropilla._native: each file beside this one binds one noun.
#include "bindings/bindings.h"

NB_MODULE(_native, module) {
  module.doc() = "Tropilla's compiled engine: kernels, forward pass, sampler, quantizer.";
  tropilla::bindings::bind_sampler(module);
  tropilla::bindings::bind_kernels(module);
  tropilla::bindings::bind_engine(module);
  tropilla::bindings::bind_limits(module);
  tropilla::bindings::bind_ngram_index(module);
  tropilla::bindings::bind_quantize(module);
}
