# SPDX-License-Identifier: MIT
# A model that fails is tried again at once (rule 9).
s/pc__is_backing_off\(model\) \|\| //
