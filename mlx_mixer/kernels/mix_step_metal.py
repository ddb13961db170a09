"""The decode sublayer as one Metal launch; the plain twin and the meaning are in `mix_step`.

A threadgroup covers 32 features of one sequence, one per lane. Mixing never crosses features, so it reads only its own
columns of the recent rows; its 8 SIMD-groups share them out and add up in threadgroup memory. The statistics of the
normalisation are computed anew in every threadgroup: that is cheaper than a launch of its own.
"""

import mlx.core as mx

from mlx_mixer.kernels.metal_source import SIMD_WIDTH, MetalSource, build, tiles
from mlx_mixer.kernels.recent_rows import write_row

SIMD_GROUPS = 8

MIX_STEP = MetalSource(
    name="mix_step",
    inputs=("x", "ahead", "recent", "within", "norm_weight", "norm_bias", "epsilon", "position"),
    outputs=("y", "row"),
    body="""
    constexpr int LANES = 32;
    threadgroup float partial[SIMD_GROUPS * LANES];
    threadgroup float sums[SIMD_GROUPS];
    threadgroup float squares[SIMD_GROUPS];

    const int dims = x_shape[1];
    const int heads = within_shape[0];
    const int slot = position[0] % BLOCK;
    const int lane = thread_index_in_simdgroup;
    const int group = simdgroup_index_in_threadgroup;
    const int index = thread_index_in_threadgroup;
    const int batch = threadgroup_position_in_grid.z;
    const int column = threadgroup_position_in_grid.x * LANES + lane;
    const bool live = column < dims;

    float mean = 0.0f;
    float scale = 1.0f;
    if (NORMALISE) {
      float sum = 0.0f;
      for (int i = index; i < dims; i += SIMD_GROUPS * LANES) sum += float(x[batch * dims + i]);
      sum = simd_sum(sum);
      if (lane == 0) sums[group] = sum;
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (int g = 0; g < SIMD_GROUPS; g++) mean += sums[g];
      mean /= float(dims);
      // Squares of differences and not a difference of squares: the latter loses everything when the mean is large.
      float square = 0.0f;
      for (int i = index; i < dims; i += SIMD_GROUPS * LANES) {
        const float centred = float(x[batch * dims + i]) - mean;
        square += centred * centred;
      }
      square = simd_sum(square);
      if (lane == 0) squares[group] = square;
      threadgroup_barrier(mem_flags::mem_threadgroup);
      float variance = 0.0f;
      for (int g = 0; g < SIMD_GROUPS; g++) variance += squares[g];
      scale = metal::precise::rsqrt(variance / float(dims) + epsilon[0]);
    }

    const int head = live ? column / (dims / heads) : 0;
    auto mixing = within + (head * BLOCK + slot) * BLOCK;
    float total = 0.0f;
    if (live) {
      for (int s = group; s < slot; s += SIMD_GROUPS)
        total += float(mixing[s]) * float(recent[(batch * BLOCK + s) * dims + column]);
    }
    partial[group * LANES + lane] = total;
    threadgroup_barrier(mem_flags::mem_threadgroup);

    if (group == 0 && live) {
      const float input = float(x[batch * dims + column]);
      float normal = input;
      if (NORMALISE) normal = (input - mean) * scale * float(norm_weight[column]) + float(norm_bias[column]);
      const T fresh = T(normal);
      float value = float(mixing[slot]) * float(fresh) + float(ahead[(batch * BLOCK + slot) * dims + column]);
      for (int g = 0; g < SIMD_GROUPS; g++) value += partial[g * LANES + lane];
      if (RESIDUAL) value += input;
      y[batch * dims + column] = T(value);
      row[batch * dims + column] = fresh;
    }
""",
)


def mix_step_metal(
    x: mx.array,
    ahead: mx.array,
    recent: mx.array,
    within: mx.array,
    position: mx.array,
    norm: tuple[mx.array, mx.array] | None,
    eps: float,
    residual: bool,
) -> tuple[mx.array, mx.array]:
    """See `mix_step`."""
    batch, dims = x.shape
    # Without a normalisation the kernel never looks at its parameters, but it still wants arrays.
    norm_weight, norm_bias = (ahead, ahead) if norm is None else norm
    y, row = build(MIX_STEP)(
        inputs=[x, ahead, recent, within, norm_weight, norm_bias, mx.array([eps], mx.float32), position],
        template=[
            ("T", x.dtype),
            ("BLOCK", recent.shape[1]),
            ("SIMD_GROUPS", SIMD_GROUPS),
            ("NORMALISE", norm is not None),
            ("RESIDUAL", residual),
        ],
        grid=(SIMD_WIDTH * tiles(dims, SIMD_WIDTH), SIMD_GROUPS, batch),
        threadgroup=(SIMD_WIDTH, SIMD_GROUPS, 1),
        output_shapes=[x.shape, x.shape],
        output_dtypes=[x.dtype, x.dtype],
    )
    return y, write_row(recent, row, position)
