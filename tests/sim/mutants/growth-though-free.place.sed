# SPDX-License-Identifier: MIT
# A model grows while the body has free slots for all who wait (rule 3).
s/link->key == GROWS && is_about_to_serve\(model\)/false/
