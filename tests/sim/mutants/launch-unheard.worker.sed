# SPDX-License-Identifier: MIT
# The start timeout goes on from the preparation's begin (I10).
s/limit_start\(worker, true\);$/(void)worker;/
