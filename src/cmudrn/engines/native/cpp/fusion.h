// Operations that become parts of others.
#pragma once

#include "program.h"

namespace cmudrn {

// Before a program is packed: sums of maps that a convolution can make on the way out (mixes of its
// groups, pixel shuffle, residuals) need no operations and no maps of their own.
void fuse(Program& program);

}  // namespace cmudrn
