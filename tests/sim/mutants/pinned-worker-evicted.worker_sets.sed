# SPDX-License-Identifier: MIT
# Pinned models can be evicted (rule 5).
s/idle && !pinned\)/idle)/
