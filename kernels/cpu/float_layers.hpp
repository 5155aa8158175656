// CpuFloatLayers: the CPU twin of FloatLayers. Weights in panels, packed when a generation first uses
// them; the noise of the pairs at hand, a slot each. The loops are perturbed_linear.hpp's and
// formed_weights.hpp's, in the device's instruction set.
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/cpu/activations.hpp"
#include "kernels/cpu/device.hpp"
#include "kernels/cpu/formed_weights.hpp"
#include "kernels/float_layers.hpp"
#include "kernels/learner.hpp"

namespace eggroll::cpu {

class CpuFloatLayers final : public FloatLayers {
 public:
  CpuFloatLayers(CpuDevice& device, const FloatLayersSettings& settings, const Learner& learner);

  void begin(uint32_t noise_epoch, float sigma, std::span<const RowNoise> rows) override;
  void linear(size_t tensor, std::span<const float> x, std::span<float> y) override;
  void embed(size_t tensor, std::span<const uint32_t> index, std::span<float> y) override;
  void add_vector(size_t tensor, std::span<float> y) override;
  void add_vector_and_tanh(size_t tensor, std::span<float> y) override;
  void tanh(std::span<float> y) override;
  void normalise(size_t cols, std::span<float> y) override;
  void materialise(size_t tensor, const RowNoise& row, std::span<float> to) override;

 private:
  // What is kept of a tensor.
  struct Kept {
    std::optional<uint64_t> packed;  // version of the parameters in the panels
    Buffer<float> panels;
    std::vector<bool> made;  // for each slot
    Buffer<int8_t> noise;    // [slots, stride]
    size_t stride = 0;
  };
  // A pair whose noise there is room for.
  struct Slot {
    uint32_t pair;
    uint64_t last_used;  // number of a begin()
  };
  // Rows of the same kind, next to each other.
  struct Stretch {
    size_t first, count;
    bool is_perturbed;
  };

  const TensorSpec& float_tensor(size_t tensor) const;
  const float* weights(const TensorSpec& tensor) const;
  const float* panels(size_t tensor);
  void take_slots();
  // Noise of the pairs of all rows; of matrices with full noise in the order of the panels.
  void make_noise(size_t tensor);
  NoiseRow all_elements(size_t tensor, uint32_t pair, int8_t* to) const;
  void run(const std::vector<NoiseRow>& rows) const;
  // s sigma times what elements of noise are short of the perturbation's unit.
  float scale(const TensorSpec& tensor, float sign) const;
  const int8_t* noise_of_row(size_t tensor, size_t row) const;
  template <typename Body>
  void for_each_stretch(const TensorSpec& tensor, const Body& body) const;
  // add: of a FormedWeightsIsa or an ActivationsIsa.
  template <typename Add>
  void add_to_rows(size_t tensor, std::span<float> y, const Add& add);
  // Elements of a row of a tensor with full noise.
  const int8_t* some_elements(size_t tensor, uint32_t pair, size_t first, size_t count);

  const FloatLayersSettings settings_;
  const Learner& learner_;
  const Isa& isa_;
  const FloatIsa<float>& float_isa_;
  const FormedWeightsIsa& formed_isa_;
  const ActivationsIsa& activations_isa_;

  Learner::View view_{};
  uint32_t epoch_ = 0;
  float sigma_ = 0, low_rank_scale_ = 0;
  std::vector<RowNoise> rows_;
  std::vector<size_t> slot_of_row_;
  uint64_t begins_ = 0;
  std::vector<Slot> slots_;
  std::unordered_map<uint32_t, size_t> slot_of_pair_;
  std::vector<Kept> kept_;  // for each tensor

  std::vector<NoisyRow> noisy_rows_;
  std::vector<int8_t> elements_;
  std::vector<float> numbers_;
};

}  // namespace eggroll::cpu
