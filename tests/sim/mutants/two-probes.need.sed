# SPDX-License-Identifier: MIT
# A model that failed often is tried with several workers at once (rule 9).
s/pc__has_tripped\(model\)/false/
