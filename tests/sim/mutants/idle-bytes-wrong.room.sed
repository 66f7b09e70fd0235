# SPDX-License-Identifier: MIT
# Bytes that could be freed are forgotten.
s/evictable_below\(link->right, kind\);/0;/
