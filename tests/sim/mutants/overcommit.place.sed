# SPDX-License-Identifier: MIT
# The check takes half of what is needed for enough, and nothing is refused at the ledger (I1).
s/bytes < model->need_bytes\)/bytes * 2 < model->need_bytes)/
