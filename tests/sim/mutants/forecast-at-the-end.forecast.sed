# SPDX-License-Identifier: MIT
# A forecast takes the end of the queue for the place of every request.
s/pc__count_ahead\(model, ticket\)/model->waiting/
