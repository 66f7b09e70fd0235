# SPDX-License-Identifier: MIT
# Room is kept for a load that was refused.
s/^\tpc__review_need\(model\); .*//
