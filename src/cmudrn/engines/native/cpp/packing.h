// Weights in the order in which the kernels read them.
#pragma once

#include "program.h"

namespace cmudrn {

// Fills program.packed and makes every operation's indices indices of it. Decides which
// convolutions run as Winograd's. Throws std::invalid_argument where that takes too much memory.
void pack(Program& program, const float* numbers);

}  // namespace cmudrn
