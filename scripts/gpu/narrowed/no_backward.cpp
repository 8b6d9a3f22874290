// Nothing is trained here, so the backward kernels are not compiled. Python binds all symbols when it
// imports a module, so that they must exist.
#include <c10/util/Exception.h>
#include <cutlass/numeric_types.h>

#include "namespace_config.h"
#include "flash.h"

namespace FLASH_NAMESPACE {

#define NO_BACKWARD(SIZE, CAUSAL)                                                               \
  template <>                                                                                   \
  void run_mha_bwd_<cutlass::half_t, SIZE, CAUSAL>(Flash_bwd_params &, cudaStream_t) {          \
    TORCH_CHECK(false, "this flash-attn build has no backward pass");                           \
  }

NO_BACKWARD(64, false)
NO_BACKWARD(64, true)
NO_BACKWARD(128, false)
NO_BACKWARD(128, true)

}  // namespace FLASH_NAMESPACE
