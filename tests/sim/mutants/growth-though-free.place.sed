# SPDX-License-Identifier: MIT
# A model grows while the body has free slots for all who wait (rule 3).
s/model->about_to_serve = pc__is_about_to_serve\(model\);/model->about_to_serve = false;/
