# SPDX-License-Identifier: MIT
# A retired model grows while somebody waits.
s/model->retired/false/
