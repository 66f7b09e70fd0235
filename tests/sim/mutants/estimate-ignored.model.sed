# SPDX-License-Identifier: MIT
# A new estimate changes nothing.
s/^\tmodel->need_bytes = memory_bytes;//
