#!/usr/bin/env bash
# The theory of low-rank perturbations (arXiv 2511.16652, section 5 and appendices) as an experiment: prints `eggroll bench theory` and
# draws it, with our noise, layers and sums of integers.
#   deploy/experiments/theory.sh [PICTURE]      default theory.png
#   EGGROLL=PROGRAM    default build/eggroll
# About half a minute of one core.
#
#   distance    of the expected low-rank update to that of full noise, over the noise rank r: O(1/r). Of a quadratic fitness both are the
#               gradient, whatever r is, so the fitness is bounded and is not: the mean of cos((W x)_o - t) over outputs o and inputs x.
#               Its expected update needs no sampling: elements of noise are independent and their law is a table, so E[cos(sigma E x)] is a
#               product over inputs, averaged over one element of A, to the power r; a derivative of it is the update. Exact, for the
#               integers that we draw. The same is then measured with 2^20 antithetic pairs that run through layers and reconstruction. What
#               beats their noise: the part of a utility that the gradient foretells is subtracted, as its mean is known (control variate), and
#               the square of the distance is taken from products of different blocks of pairs, whose chance has mean zero.
#   alignment   cosine between update and gradient. Over pairs N it is 1 / sqrt(1 + (c - 1) / N) for small sigma, with c the number of
#               weights d and a little more for small r. Over d it stays with N / d if sigma falls faster than d^-1/2 (the fitness then
#               counts as linear), also at r = 1; with sigma as d^-1/2 a cubic keeps a bias, and with a constant sigma it loses the gradient.
#   density     of an element of A B^T / sqrt(r), members formed by the layers, beside the formula for normal A and B (a Bessel function).
#   cost        time and memory of a member over the size of a matrix: low rank, full noise, and plain inference.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=${EGGROLL:-$here/../../build/eggroll}
[[ -x $program ]] || { echo "theory: $program: no such program; deploy/build.sh cpu eggroll makes it" >&2; exit 2; }
figures=$(mktemp -t eggroll-theory.XXXXXX)
trap 'rm -f "$figures"' EXIT
"$program" bench theory --json >"$figures"
/usr/bin/python3 "$here/theory.py" "$figures" "${1:-theory.png}"
