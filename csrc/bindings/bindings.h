// What each binding file offers to module.cc.
#pragma once

#include <nanobind/nanobind.h>

namespace tropilla::bindings {}  // namespace tropilla::bindings
