# SPDX-License-Identifier: MIT
# A lease whose client left keeps its slot (I4).
s/^\tworker->leases--;/\tworker->leases -= outcome != PC_OUTCOME_CANCELLED;/
