// Enough of the Metal Shading Language, as C++, to run our kernels on a CPU. The text that MLX assembles is legal C++
// once the words for address spaces are empty; `threadgroup` arrays have become calls before (see translate.py).
#pragma once
#include "groups.h"
#include "matrix.h"
#include "scalars.h"

using namespace metal;

#define device
#define constant
#define thread
#define threadgroup
