# SPDX-License-Identifier: MIT
# A new figure for the memory is not taken.
s/^\t\tmodel->need_bytes = spec->memory_bytes;/\t\t;/
