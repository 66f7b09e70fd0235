# SPDX-License-Identifier: MIT
# A worker may be prepared for ever (I10).
s/: spec->prepare_timeout_ns\);/: PC_TIME_NEVER);/
