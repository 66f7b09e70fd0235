# SPDX-License-Identifier: MIT
# A new estimate changes nothing.
s/^\tpc__set_need\(model, memory_bytes\);.*//
