# SPDX-License-Identifier: MIT
# Workers can be evicted as soon as they are loaded (rule 5).
s/!pc__linked\(&worker->young_place\)/true/
