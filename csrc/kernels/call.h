// Calls a kernel by name, so that one list of test cases reaches every instruction set: through the
// Python extension for those of this CPU, through an emulator for the others.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/kernels.h"

namespace tropilla {

// `numbers` are sizes (and eps); `buffers` the pointer arguments in the order of the kernel's
// signature. Trusts both: a test hook, not an interface. Throws std::invalid_argument on a name or a
// count of arguments that no kernel has.
void call_kernel(const Kernels& table, std::string_view kernel, std::span<const double> numbers,
                 std::span<void* const> buffers);

}  // namespace tropilla
