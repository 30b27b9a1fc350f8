// A fast hash of large contents, to tell files and weights apart; no protection against malice.
#pragma once

#include <cstdint>
#include <span>

namespace tropilla {

// Depends on every byte and its place, and on the size. The same on every machine.
uint64_t content_hash(std::span<const uint8_t> data);

}  // namespace tropilla
