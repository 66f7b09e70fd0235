/* SPDX-License-Identifier: MIT */
/*
 * lint-loops.h - loops that cppcheck takes for a mistake, because it does not read the system's
 * headers. tools/lint puts it in front of every file for cppcheck; nothing else does.
 */
#define json_array_foreach(array, index, value) \
	for (index = 0; index < json_array_size(array) && (value = json_array_get(array, index)); \
	     index++)
#define json_object_foreach(object, key, value) \
	for (key = first_key(object); key && (value = json_object_get(object, key)); \
	     key = next_key(object, key))
