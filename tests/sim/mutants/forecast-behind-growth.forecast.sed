# SPDX-License-Identifier: MIT
# A forecast takes what is promised to growth for gone.
s/behind_cold = \{ COLD,/behind_cold = { BELOW_FLOOR,/
