// Takes the place of flash-attn's header of this name in the kit's build, which knows half precision
// and heads of 64 and 128 numbers only: an eighth of the kernels, so that it builds in minutes and
// travels. Every other switch is upstream's. Whoever asks for more gets an error, not a wrong answer.
#pragma once

#include <c10/util/Exception.h>

#include "upstream_static_switch.h"

#undef FP16_SWITCH
#define FP16_SWITCH(IS_HALF, ...)                                            \
  [&] {                                                                      \
    TORCH_CHECK(IS_HALF, "this flash-attn build has half precision only");   \
    using elem_type = cutlass::half_t;                                       \
    return __VA_ARGS__();                                                    \
  }()

#undef HEADDIM_SWITCH
#define HEADDIM_SWITCH(SIZE, ...)                                            \
  [&] {                                                                      \
    TORCH_CHECK((SIZE) == 64 || (SIZE) == 128,                               \
                "this flash-attn build has heads of 64 and 128 only");       \
    if ((SIZE) == 64) {                                                      \
      constexpr static int kHeadDim = 64;                                    \
      return __VA_ARGS__();                                                  \
    }                                                                        \
    constexpr static int kHeadDim = 128;                                     \
    return __VA_ARGS__();                                                    \
  }()
