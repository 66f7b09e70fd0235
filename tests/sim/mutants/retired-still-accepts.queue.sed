# SPDX-License-Identifier: MIT
# A retired model takes new requests.
s/model->retired/false/
