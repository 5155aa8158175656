#include <cblas.h>

#include "tests/baselines/sgemm.hpp"

namespace eggroll::baselines {

std::optional<std::string> prepare_sgemm() {
  openblas_set_num_threads(1);
  return openblas_get_config();
}

void sgemm(int rows, int in, int out, const float* x, const float* w, float* y) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1, x, in, w, in, 0, y, out);
}

}  // namespace eggroll::baselines
