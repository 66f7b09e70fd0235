# SPDX-License-Identifier: MIT
# A new figure for the memory is not taken.
s/^\t\tpc__set_need\(model, spec->memory_bytes\);/\t\t;/
