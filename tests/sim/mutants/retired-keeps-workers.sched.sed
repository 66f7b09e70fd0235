# SPDX-License-Identifier: MIT
# The workers of a retired model stay.
s/else if \(model->retired\)/else if (false)/
