# SPDX-License-Identifier: MIT
# Who was about to be served, and was not, is not looked at again (rule 3).
s/is_about_to_serve\(model\)\)/&\n\t\t\tleave_line(model);\n\t\tif (link->weight == 0)/
