// What this CPU and its operating system can run.
#pragma once

namespace tropilla {

bool cpu_runs_avx2();    // with FMA and F16C
bool cpu_runs_avx512();  // F, BW, DQ, VL and VNNI
bool cpu_runs_neon();    // with the dot product extension

}  // namespace tropilla
