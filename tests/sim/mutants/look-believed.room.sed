# SPDX-License-Identifier: MIT
# What was idle when the body was last asked is taken for idle still, and for as long.
s/^\tpc__look\(worker, true\);/\treturn true;/
