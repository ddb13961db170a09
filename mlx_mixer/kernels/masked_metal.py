"""The masked product and its gradients as Metal kernels; plain twins and shapes are in `masked_plain`.

A threadgroup of four SIMD-groups computes a 32 x 32 tile of the result, each a 16 x 16 quadrant of 8 x 8 fragments.
Both factors are staged in threadgroup memory, 16 deep, and the mask is applied while staging; tiles that the mask
makes zero are never read.
"""

import mlx.core as mx

from mlx_mixer.kernels.metal_source import SIMD_WIDTH, MetalSource, build, tiles

TILE = 32
SIMD_GROUPS = 4

_HEADER = """
#include <metal_simdgroup_matrix>

static constant constexpr const int TILE = 32;
static constant constexpr const int DEPTH = 16;
static constant constexpr const int THREADS = 128;
// Four elements more than a row needs put its neighbours into different banks.
static constant constexpr const int LEFT_PITCH = DEPTH + 4;
static constant constexpr const int RIGHT_PITCH = TILE + 4;

struct Quadrant {
  simdgroup_matrix<float, 8, 8> part[2][2];
};

inline void clear_quadrant(thread Quadrant& total) {
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++) total.part[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
}

// Adds left (TILE x DEPTH) times right (DEPTH x TILE), for the quadrant that begins at (row, column).
template <typename T>
inline void multiply_tiles(
    thread Quadrant& total, threadgroup const T* left, threadgroup const T* right, int row, int column) {
  for (int k = 0; k < DEPTH; k += 8) {
    simdgroup_matrix<T, 8, 8> a[2];
    simdgroup_matrix<T, 8, 8> b[2];
    for (int i = 0; i < 2; i++) {
      simdgroup_load(a[i], left + (row + 8 * i) * LEFT_PITCH + k, LEFT_PITCH);
      simdgroup_load(b[i], right + k * RIGHT_PITCH + column + 8 * i, RIGHT_PITCH);
    }
    for (int i = 0; i < 2; i++)
      for (int j = 0; j < 2; j++)
        simdgroup_multiply_accumulate(total.part[i][j], a[i], b[j], total.part[i][j]);
  }
}

inline void place_quadrant(thread Quadrant& total, threadgroup float* tile, int row, int column) {
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++)
      simdgroup_store(total.part[i][j], tile + (row + 8 * i) * RIGHT_PITCH + column + 8 * j, RIGHT_PITCH);
}
"""

MASKED_PRODUCT = MetalSource(
    name="masked_product",
    inputs=("weight", "rows", "start"),
    outputs=("result",),
    header=_HEADER,
    body="""
    threadgroup T left[TILE * LEFT_PITCH];
    threadgroup T right[DEPTH * RIGHT_PITCH];
    threadgroup float tile[TILE * RIGHT_PITCH];

    const int heads = weight_shape[0];
    const int height = weight_shape[1];
    const int width = weight_shape[2];
    const int dims = rows_shape[3];
    const int offset = start[0];
    // The result has one row per row of the matrix, or per column when it is transposed; the other axis is summed.
    const int out_rows = TRANSPOSED ? width : height;
    const int summed = TRANSPOSED ? height : width;

    const int first_column = threadgroup_position_in_grid.x * TILE;
    const int first_row = threadgroup_position_in_grid.y * TILE;
    const int pair = threadgroup_position_in_grid.z;
    auto matrix = weight + (int64_t)(pair % heads) * height * width;
    auto factor = rows + (int64_t)pair * summed * dims;
    auto out = result + (int64_t)pair * out_rows * dims;

    const int index = thread_index_in_threadgroup;
    const int group = simdgroup_index_in_threadgroup;
    const int row = (group / 2) * 16;
    const int column = (group % 2) * 16;

    Quadrant total;
    clear_quadrant(total);
    const int begin = TRANSPOSED ? max(first_row - offset, 0) : 0;
    const int end = TRANSPOSED ? height : min(offset + min(first_row + TILE, height), width);
    for (int k = begin; k < end; k += DEPTH) {
      for (int e = index; e < TILE * DEPTH; e += THREADS) {
        // Neighbouring threads read neighbours of a row of the matrix, whichever way round it is staged.
        const int r = TRANSPOSED ? e % TILE : e / DEPTH;
        const int c = TRANSPOSED ? e / TILE : e % DEPTH;
        const int t = TRANSPOSED ? k + c : first_row + r;
        const int s = TRANSPOSED ? first_row + r : k + c;
        const bool counts = t < height && s < width && s <= offset + t;
        left[r * LEFT_PITCH + c] = counts ? matrix[(int64_t)t * width + s] : T(0);
      }
      for (int e = index; e < DEPTH * TILE; e += THREADS) {
        const int r = e / TILE;
        const int c = e % TILE;
        const bool counts = k + r < end && first_column + c < dims;
        right[r * RIGHT_PITCH + c] = counts ? factor[(int64_t)(k + r) * dims + first_column + c] : T(0);
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
      multiply_tiles<T>(total, left, right, row, column);
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }

    place_quadrant(total, tile, row, column);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int e = index; e < TILE * TILE; e += THREADS) {
      const int r = e / TILE;
      const int c = e % TILE;
      if (first_row + r < out_rows && first_column + c < dims)
        out[(int64_t)(first_row + r) * dims + first_column + c] = T(tile[r * RIGHT_PITCH + c]);
    }
""",
)

MASKED_OUTER = MetalSource(
    name="masked_outer",
    inputs=("cotangent", "rows", "start"),
    outputs=("result",),
    header=_HEADER,
    body="""
    threadgroup T left[TILE * LEFT_PITCH];
    threadgroup T right[DEPTH * RIGHT_PITCH];
    threadgroup float tile[TILE * RIGHT_PITCH];

    const int batch = rows_shape[0];
    const int heads = rows_shape[1];
    const int height = cotangent_shape[2];
    const int width = rows_shape[2];
    const int dims = rows_shape[3];
    const int offset = start[0];
    const int first_column = threadgroup_position_in_grid.x * TILE;
    const int first_row = threadgroup_position_in_grid.y * TILE;
    const int head = threadgroup_position_in_grid.z;
    auto out = result + (int64_t)head * height * width;

    const int index = thread_index_in_threadgroup;
    const int group = simdgroup_index_in_threadgroup;
    const int row = (group / 2) * 16;
    const int column = (group % 2) * 16;

    Quadrant total;
    clear_quadrant(total);
    // A tile wholly above the diagonal has nothing to sum, but its zeros must be written.
    const bool reached = first_column <= offset + first_row + TILE - 1;
    for (int b = 0; reached && b < batch; b++) {
      auto upper = cotangent + (int64_t)(b * heads + head) * height * dims;
      auto lower = rows + (int64_t)(b * heads + head) * width * dims;
      for (int k = 0; k < dims; k += DEPTH) {
        for (int e = index; e < TILE * DEPTH; e += THREADS) {
          const int r = e / DEPTH;
          const int c = e % DEPTH;
          const bool inside = k + c < dims;
          const bool up = inside && first_row + r < height;
          const bool low = inside && first_column + r < width;
          left[r * LEFT_PITCH + c] = up ? upper[(int64_t)(first_row + r) * dims + k + c] : T(0);
          right[c * RIGHT_PITCH + r] = low ? lower[(int64_t)(first_column + r) * dims + k + c] : T(0);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        multiply_tiles<T>(total, left, right, row, column);
        threadgroup_barrier(mem_flags::mem_threadgroup);
      }
    }

    place_quadrant(total, tile, row, column);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int e = index; e < TILE * TILE; e += THREADS) {
      const int t = first_row + e / TILE;
      const int s = first_column + e % TILE;
      const float value = s <= offset + t ? tile[(e / TILE) * RIGHT_PITCH + e % TILE] : 0.0f;
      if (t < height && s < width) out[(int64_t)t * width + s] = T(value);
    }
""",
)


def product_metal(weight: mx.array, rows: mx.array, start: int) -> tuple[mx.array]:
    """See `masked_plain.product`."""
    batch, heads, _, dims = rows.shape
    return _multiply(weight, rows, start, (batch, heads, weight.shape[1], dims), transposed=False)


def transposed_product_metal(weight: mx.array, cotangent: mx.array, start: int) -> tuple[mx.array]:
    """See `masked_plain.transposed_product`."""
    batch, heads, _, dims = cotangent.shape
    return _multiply(weight, cotangent, start, (batch, heads, weight.shape[2], dims), transposed=True)


def outer_product_metal(cotangent: mx.array, rows: mx.array, start: int) -> tuple[mx.array]:
    """See `masked_plain.outer_product`."""
    heads, height, width = rows.shape[1], cotangent.shape[2], rows.shape[2]
    (result,) = build(MASKED_OUTER)(
        inputs=[cotangent, rows, mx.array([start], mx.int32)],
        template=[("T", rows.dtype)],
        grid=_grid(width, height, heads),
        threadgroup=(SIMD_WIDTH * SIMD_GROUPS, 1, 1),
        output_shapes=[(heads, height, width)],
        output_dtypes=[rows.dtype],
    )
    return (result,)


def _multiply(
    weight: mx.array, rows: mx.array, start: int, shape: tuple[int, int, int, int], *, transposed: bool
) -> tuple[mx.array]:
    batch, heads, height, dims = shape
    (result,) = build(MASKED_PRODUCT)(
        inputs=[weight, rows, mx.array([start], mx.int32)],
        template=[("T", rows.dtype), ("TRANSPOSED", transposed)],
        grid=_grid(dims, height, batch * heads),
        threadgroup=(SIMD_WIDTH * SIMD_GROUPS, 1, 1),
        output_shapes=[shape],
        output_dtypes=[rows.dtype],
    )
    return (result,)


def _grid(columns: int, rows: int, depth: int) -> tuple[int, int, int]:
    # In threads, of which a tile has a row of its own.
    return (SIMD_WIDTH * SIMD_GROUPS * tiles(columns, TILE), tiles(rows, TILE), depth)
