# SPDX-License-Identifier: MIT
# A forecast forgets who will be evicted.
s/forecast->evicted = plan\.victim_count/forecast->evicted = 0/
